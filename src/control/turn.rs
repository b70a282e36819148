//! One turn of the control thread's loop: everything that there is to do at the moment.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::base::limits;
use crate::base::log;
use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::change_request::Operation;
use crate::control::config_store::Edit;
use crate::control::pending::PendingOperation;
use crate::control::removals::DueRemoval;
use crate::control::signals::Signal;
use crate::messages::ToControl;

impl Control {
    /// Does all work that is due, and returns the time until the next turn, at the latest. `somebody_waits`: the API
    /// has asked for something that was not begun.
    pub(super) fn turn(&mut self, somebody_waits: bool, now: Micros) -> Duration {
        while let Some(message) = self.inbox.take() {
            self.read(message, now);
        }
        panic_on_demand("control");
        self.look_at_threads(now);
        self.changes.answer_adopted(self.threads.adopted_by_all());
        self.look_at_clock(now);
        self.follow_pending(somebody_waits, now);
        self.keep_up(now);
        self.tell_service_manager(now);
        self.access_log.watch(now);
        self.monitoring.live_stats.turn(now);
        for unused in self.threads.take_unused() {
            self.access_log.forget(&unused);
            self.files.discard(unused);
        }
        if let Some(last) = self.threads.end_oldest() {
            warn!(
                "too many configurations are in use: requests that began under generation {last} or an earlier one \
                 must end"
            );
        }
        let all_sent = self.threads.send();
        let is_swept = self.monitoring.sweep_cache(Micros::now());
        self.pause(all_sent, is_swept, now)
    }

    /// Stops the process if a thread has ended that must not end: the rest could not work without it.
    fn look_at_threads(&mut self, now: Micros) {
        let threads = [
            ("health", self.threads.has_health_ended()),
            ("files", self.files.has_ended()),
            ("access-log", self.access_log.has_ended()),
            ("log", log::has_ended()),
        ];
        if let Some((name, _)) = threads.iter().find(|(_, has_ended)| *has_ended)
            && !self.shutdown.has_begun()
        {
            error!("the {name} thread has ended; stopping");
            self.stop_failed(now);
        }
    }

    fn pause(&self, all_sent: bool, is_swept: bool, now: Micros) -> Duration {
        let pause = Duration::from_secs(limits::CONTROL_PAUSE_SECS);
        let until_stats = Duration::from_micros(self.monitoring.live_stats.due().since(now));
        let mut pause = pause.min(until_stats);
        let deadlines = [
            self.shutdown.deadline(),
            self.files.deadline(),
            self.files.committed_until(),
        ];
        // A deadline that has passed is waited for no longer: a message says when its work is done.
        let ahead = deadlines
            .into_iter()
            .flatten()
            .filter(|deadline| *deadline > now);
        for deadline in ahead {
            pause = pause.min(Duration::from_micros(deadline.since(now)));
        }
        if let Some(trial) = &self.changes.trial {
            pause = pause.min(trial.left(now));
        }
        if let Some(next) = self.service_manager.next() {
            pause = pause.min(Duration::from_micros(next.since(now)));
        }
        let mut at_most = |holds: bool, millis| {
            if holds {
                pause = pause.min(Duration::from_millis(millis));
            }
        };
        at_most(!is_swept, limits::SWEEP_PAUSE_MILLIS);
        at_most(!all_sent, limits::POST_AGAIN_MILLIS);
        at_most(self.has_conditions(), limits::CONDITION_PAUSE_MILLIS);
        pause
    }

    fn has_conditions(&self) -> bool {
        self.changes.trial.is_some() || self.removals.any_drained()
    }

    /// Does what a message of another thread says.
    pub(super) fn read(&mut self, message: ToControl, now: Micros) {
        match message {
            ToControl::Adopted(worker, generation) => self.threads.note_adopted(worker, generation),
            ToControl::Refused(refused) => {
                self.monitoring
                    .note_refused(*refused, &self.config.snapshot);
            }
            ToControl::BackendChanged(change) => self.monitoring.live_stats.note(change, now),
            ToControl::PredecessorOver(left) => self.be_alone(left),
            ToControl::Drained(worker) => self.shutdown.worker_done(worker),
            ToControl::NotListening(worker, reason) => {
                error!(worker = worker.0, reason, "a new listener cannot be used");
            }
            ToControl::WorkerFailed(worker, task) => {
                let worker = worker.0;
                error!(worker, "a worker has panicked while {task}; stopping");
                self.stop_failed(now);
            }
            ToControl::WorkerEnded(worker, reason) => {
                error!(worker = worker.0, reason, "a worker has ended; stopping");
                self.shutdown.worker_done(worker);
                self.stop_failed(now);
            }
        }
    }

    /// Stops the process because a task has panicked that the control thread needs to receive its orders or to follow
    /// them.
    pub(super) fn take_broken(&mut self, task: &str, now: Micros) {
        error!("{task} has panicked; stopping");
        self.stop_failed(now);
    }

    /// Does what a signal asks for.
    pub(super) fn take_signal(&mut self, signal: Signal, now: Micros) {
        match signal {
            Signal::Stop(name) => {
                // Before anybody hears of the stop from the log.
                self.upgrade_run.upgrades.note_stop();
                let patience = self.config.snapshot.shutdown_timeout;
                if self.shutdown.signal(name, patience, now) {
                    self.drain(now);
                }
            }
            Signal::HangUp => {
                self.reopen_logs("SIGHUP");
                self.take_pending(PendingOperation::Reload, "SIGHUP");
            }
            Signal::Reopen => self.reopen_logs("SIGUSR1"),
            Signal::Upgrade => self.take_pending(PendingOperation::Upgrade, "SIGUSR2"),
            Signal::StopAccepting => self.stop_accepting(now),
        }
    }

    fn take_pending(&mut self, operation: PendingOperation, signal: &str) {
        if self.shutdown.has_begun() {
            return info!(
                signal,
                "the signal is ignored, because this process only finishes the requests that are under way"
            );
        }
        if self.is_upgrading() {
            info!(signal, "the signal waits, because an upgrade is under way");
        }
        if operation == PendingOperation::Reload {
            self.changes.requested_file.request();
        }
        self.changes.pending.request(operation);
    }

    fn stop_failed(&mut self, now: Micros) {
        self.upgrade_run.upgrades.note_stop();
        self.shutdown
            .fail(self.config.snapshot.shutdown_timeout, now);
        self.drain(now);
    }

    fn drain(&mut self, now: Micros) {
        self.forsake_changes(now);
        self.end_watching();
        self.stop_upgrade();
        self.certificates.stop_orders();
        self.threads.drain();
        // A socket that is kept here would go on taking connections that nobody accepts.
        self.listeners.keep_only(&[]).close();
        self.publish();
    }

    /// Stops probing backends and looking names up. Requests that are still under way use the states and addresses that
    /// are known now, and the failures that they meet themselves.
    pub(super) fn end_watching(&mut self) {
        self.names.stop();
        self.threads.stop_probing();
    }

    /// Carries out operations that no channel brings: the end of a trial, a reload or upgrade by a signal, the removal
    /// of backends. One at a time, and only while it can be granted; the next turn comes soon.
    fn follow_pending(&mut self, somebody_waits: bool, now: Micros) {
        let why_back = self.changes.why_back(&self.monitoring.outcomes(), now);
        if why_back.is_some() {
            self.changes.pending.want(PendingOperation::Rollback);
        }
        let may_try = self.may_decide() && !self.changes.pending.must_yield(somebody_waits);
        if self.shutdown.has_begun() || !may_try || self.files.complaint(now).is_some() {
            return;
        }
        let must_wait = self.is_upgrading() || self.changes.trial.is_some();
        let may_look = self.changes.pending.is_due(PendingOperation::Reload, now);
        if must_wait && may_look && self.changes.requested_file.is_unseen() {
            return self.look_at_asked_file(now);
        }
        if !self.is_upgrading() {
            self.try_next_own(why_back, now);
        }
    }

    /// Tries the most important wanted operation of those that may be tried now. `why_back`: why a reload on trial is
    /// to be taken back.
    fn try_next_own(&mut self, why_back: Option<String>, now: Micros) {
        if let Some(trial) = &self.changes.trial {
            if self.changes.pending.is_due(PendingOperation::Rollback, now) {
                let revision = trial.back_to;
                let why = why_back.unwrap_or_else(|| "too many requests failed".to_owned());
                if !self.changes.pending.was_refused(PendingOperation::Rollback) {
                    warn!("the reload on trial is taken back: {why}");
                }
                let requested_by = format!("trial: {why}");
                self.try_own(
                    PendingOperation::Rollback,
                    Operation::Rollback { revision },
                    requested_by,
                    now,
                );
            }
        } else if self.changes.pending.is_due(PendingOperation::Reload, now) {
            let reload = Operation::Reload {
                trial: None,
                allow_empty: false,
                asked: Some(self.changes.requested_file.clone()),
            };
            self.try_own(PendingOperation::Reload, reload, "SIGHUP".to_owned(), now);
        } else if self.changes.pending.is_due(PendingOperation::Upgrade, now) {
            let upgrade = Operation::Upgrade {
                force: false,
                allow_empty: false,
            };
            self.try_own(
                PendingOperation::Upgrade,
                upgrade,
                "SIGUSR2".to_owned(),
                now,
            );
        } else if self.changes.pending.may_try(PendingOperation::Removal, now) {
            match self.next_removal(now) {
                Some(DueRemoval {
                    backend,
                    requested_by,
                }) => {
                    let edit = Edit::RemoveServer {
                        pool: backend.pool,
                        addr: backend.addr,
                    };
                    self.try_own(
                        PendingOperation::Removal,
                        Operation::Edit(edit),
                        requested_by,
                        now,
                    );
                }
                None => self.changes.pending.settle(PendingOperation::Removal),
            }
        }
    }

    /// Updates the snapshot in force with new addresses and changed files, when no other change is under way.
    fn keep_up(&mut self, now: Micros) {
        let may_begin = !self.is_preparing() && self.files.is_idle();
        if self.shutdown.has_begun() || !may_begin {
            return;
        }
        let may_save = self
            .changes
            .pending
            .is_due(PendingOperation::StateFile, now)
            && !self.is_upgrading();
        if may_save {
            self.save_confirmation(now);
        } else if self.names.is_behind()
            && self
                .changes
                .pending
                .may_try(PendingOperation::Addresses, now)
        {
            self.follow_addresses(now);
        } else if self.certificates.file_watch.is_due(now) {
            self.look_at_files(now);
        }
    }

    fn next_removal(&mut self, now: Micros) -> Option<DueRemoval> {
        if self.removals.takes_turn_of_drained() {
            self.next_drained(now).or_else(|| self.next_down(now))
        } else {
            self.next_down(now).or_else(|| self.next_drained(now))
        }
    }

    fn next_drained(&mut self, now: Micros) -> Option<DueRemoval> {
        let adopted = self.threads.adopted_by_all();
        let (snapshot, tables) = (&self.config.snapshot, &self.monitoring.tables);
        self.removals.next_drained(snapshot, tables, adopted, now)
    }

    fn next_down(&mut self, now: Micros) -> Option<DueRemoval> {
        let store = &self.config.config_store;
        let in_file = |pool: &str| store.backends_in_file(pool);
        let (snapshot, tables) = (&self.config.snapshot, &self.monitoring.tables);
        self.removals
            .next_down(store.config(), snapshot, tables, &in_file, now)
    }
}
