//! The loop's work for the processes before and after this one: the new process that takes over at an upgrade, and the
//! old process that this one took over from.

use std::process;

use tracing::{error, info};

use crate::base::time::Micros;
use crate::control::Control;
use crate::control::change::{Requester, stopping};
use crate::control::config_store::{Problem, ProblemKind, state_handed};
use crate::control::pending::PendingOperation;
use crate::control::resolve::to_blob;
use crate::control::upgrade::{self, Successor, UpgradeStep, Upgrades};
use crate::messages::LeftToDo;
use crate::net::{BoundListener, Handed, Passed};
use crate::shared::socket_files;
use crate::snapshot::Listener;

/// The state of upgrades.
pub(in crate::control) struct UpgradeRun {
    /// The means of an upgrade.
    pub upgrades: Upgrades,
    /// The origin and the recipient of the upgrade that is under way.
    requester: Option<Requester>,
    /// Whether a signal has asked to reopen the log files since the last upgrade began.
    reopen: bool,
    /// Whether this process alone is the service: the process before it is over, if there was one.
    pub is_alone: bool,
}

impl UpgradeRun {
    /// At the start.
    pub fn new(upgrades: Upgrades, is_alone: bool) -> UpgradeRun {
        UpgradeRun {
            upgrades,
            requester: None,
            reopen: false,
            is_alone,
        }
    }
}

impl Control {
    /// Stops this process, and with it a new one that is being started. If the old process is still the service, the
    /// old process goes on alone: its management API gets all clients, and it alone has something to say.
    pub(in crate::control) fn stop_upgrade(&mut self) {
        self.upgrade_run.upgrades.abandon();
        if self.upgrade_run.is_alone {
            self.service_manager.notifier.stopping()
        } else {
            self.upgrade_run.upgrades.stop_accepting()
        }
    }

    /// Starts the next process, or says why not.
    pub(in crate::control) fn begin_upgrade(
        &mut self,
        requester: Requester,
        allow_empty: bool,
        now: Micros,
    ) {
        info!(
            audit = "upgrade",
            requested_by = requester.requested_by,
            "an upgrade begins"
        );
        debug_assert!(
            self.upgrade_run.requester.is_none(),
            "one upgrade at a time"
        );
        self.upgrade_run.reopen = false;
        let handed = self.handed(allow_empty);
        let begun = handed.and_then(|handed| self.upgrade_run.upgrades.begin(handed));
        match begun {
            Ok(()) => self.upgrade_run.requester = Some(requester),
            Err(reason) => self.refuse(requester, failed(&reason), now),
        }
    }

    /// Everything that the next process receives. Errors: no descriptors are left.
    fn handed(&self, allow_empty: bool) -> Result<Handed, String> {
        let must_serve = !allow_empty && !self.config.config_store.config().is_empty();
        let saved = &self.config.saved;
        let blobs = [
            to_blob(self.names.known.resolved()),
            must_serve.then(upgrade::must_serve),
            Some(state_handed::to_blob(saved.path.as_deref(), &saved.state)?),
        ];
        let lock = saved.lock.as_ref().map(|lock| lock.descriptor());
        let lock = lock.transpose().map_err(|error| error.to_string())?;
        let sockets = self.listeners.duplicates();
        let sockets = sockets.map_err(|error| error.to_string())?.into_iter();
        Ok(Handed {
            sockets: sockets.map(|socket| self.with_purpose(socket)).collect(),
            blobs: blobs.into_iter().flatten().collect(),
            lock,
            ..Handed::default()
        })
    }

    fn with_purpose(&self, socket: BoundListener) -> Passed {
        let listener = self.config.snapshot.listener(&socket.addr);
        let purpose = listener.map(Listener::purpose);
        (socket, purpose)
    }

    /// Takes the next step of the upgrade that is under way. If the upgrade has failed, everything stays as it was.
    pub(in crate::control) fn take_progress(&mut self, progress: UpgradeStep, now: Micros) {
        match progress {
            UpgradeStep::Ready(successor) => {
                if let Err(reason) = self.upgrade_run.upgrades.let_go(successor) {
                    self.upgrade_failed(&reason, now);
                }
            }
            UpgradeStep::Accepting(successor) => self.hand_over(successor, now),
            UpgradeStep::Failed(reason) => self.upgrade_failed(&reason, now),
        }
    }

    fn upgrade_failed(&mut self, reason: &str, now: Micros) {
        let is_stopping = self.shutdown.has_begun();
        if is_stopping {
            // The new process may still read the cache, which this one needs for its last requests alone.
            info!("palantir is stopping, and the new process with it")
        } else {
            self.upgrade_run.upgrades.thaw_cache();
            error!(reason, "the upgrade failed; this process goes on")
        }
        if let Some(requester) = self.upgrade_run.requester.take() {
            let problem = if is_stopping {
                stopping()
            } else {
                failed(reason)
            };
            self.refuse(requester, problem, now);
        }
    }

    /// Lets the new process, which accepts by now, be the service from now on.
    fn hand_over(&mut self, successor: Successor, now: Micros) {
        if self.shutdown.has_begun() {
            drop(successor);
            return self.upgrade_failed("palantir is stopping", now);
        }
        let pid = successor.pid;
        if let Err(reason) = self.say_over(successor) {
            return self.upgrade_failed(&reason, now);
        }
        socket_files::forget_all();
        self.upgrade_run.upgrades.stop_accepting();
        info!(
            pid,
            "another process has taken over; running requests may finish here"
        );
        self.service_manager.fall_silent();
        self.retire(now);
        let mut accepted = self.config.unchanged();
        accepted.notes.push(format!("process {pid} has taken over"));
        if let Some(requester) = self.upgrade_run.requester.take() {
            self.changes.accept(requester.recipient, accepted);
        }
    }

    /// Tells the new process and the service manager that the new process is the service. Errors: how the new process
    /// has ended; this process goes on.
    fn say_over(&mut self, successor: Successor) -> Result<(), String> {
        let notifier = &self.service_manager.notifier;
        let is_there = successor.is_there();
        if is_there {
            // The service manager listens to the main process only, so this message comes before the first one of the
            // new process.
            notifier.main_pid(successor.pid);
        }
        let left = LeftToDo {
            reload: self
                .changes
                .pending
                .wanted()
                .is_wanted(PendingOperation::Reload),
            reopen: self.upgrade_run.reopen,
            upgrade: self
                .changes
                .pending
                .is_asked_again(PendingOperation::Upgrade),
        };
        let said = successor.over(left);
        if said.is_err() && is_there {
            notifier.main_pid(process::id());
        }
        said
    }

    /// Notes that this process alone is the service from now on. It does what signals asked the old process for
    /// meanwhile, because it may have read its files before those signals came.
    pub(in crate::control) fn be_alone(&mut self, left: LeftToDo) {
        self.upgrade_run.is_alone = true;
        if left.reopen {
            self.access_log.reopen("a signal to the old process");
        }
        if left.reload {
            self.changes.pending.request(PendingOperation::Reload);
        }
        if left.upgrade {
            self.changes.pending.request(PendingOperation::Upgrade);
        }
    }

    /// Reopens the log files, as this signal asks. A process that is just taking over reopens them, too.
    pub(in crate::control) fn reopen_logs(&mut self, signal: &'static str) {
        self.access_log.reopen(signal);
        self.upgrade_run.reopen = true;
    }

    /// Stops accepting. The sockets kept here are closed too: as long as any process has one, the kernel lets clients
    /// connect to it.
    fn retire(&mut self, now: Micros) {
        self.shutdown.retire(now);
        self.forsake_changes(now);
        self.end_watching();
        self.access_log.follow_path();
        self.listeners.keep_only(&[]).close();
        self.threads.retire();
        self.publish();
    }

    /// Stops accepting on a signal. Users of nginx send the signal to the old process of an upgrade; here the old
    /// process stops by itself when the new one accepts.
    pub(in crate::control) fn stop_accepting(&mut self, now: Micros) {
        let upgrades = &mut self.upgrade_run.upgrades;
        let is_wanted = self
            .changes
            .pending
            .wanted()
            .is_wanted(PendingOperation::Upgrade);
        if is_wanted || upgrades.is_under_way() {
            return info!("SIGWINCH: accepting ends when the new process accepts");
        }
        if self.shutdown.has_begun() {
            return;
        }
        info!("SIGWINCH: no new clients from now on; running requests may finish");
        upgrades.note_stop();
        upgrades.stop_accepting();
        self.certificates.stop_orders();
        self.retire(now);
        let status = "no longer accepting: running requests may finish";
        self.service_manager
            .end_reload(self.config.config_store.revision());
        self.service_manager.notifier.status(status);
    }
}

fn failed(reason: &str) -> Problem {
    Problem::new(ProblemKind::Failed, reason)
}
