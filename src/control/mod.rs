//! The control thread, which is the program's first thread: it takes signals, changes the configuration, keeps names
//! resolved, gives orders to the access-log thread, and ends the process in good order.
//!
//! [`Control`] holds all state that changes; its loop is in this file. The module `turn` has the work of every turn of
//! the loop, and `change` the way of a change into force.

pub mod access_log;
pub mod acme;
pub mod api;
pub mod bad_requests;
pub mod cache;
mod certificates;
mod change;
pub mod change_request;
pub mod compiler;
pub mod config_store;
mod configuration;
mod ending;
mod file_thread;
mod file_watch;
mod last_resort;
pub mod listeners;
pub mod metrics;
mod monitoring;
pub mod page;
pub mod pending;
mod prepared;
mod removals;
mod requested_file;
pub mod resolve;
pub mod service_manager;
mod shutdown;
mod signals;
pub mod start_files;
mod start_signals;
pub mod start_state;
mod threads;
mod trial;
mod turn;
pub mod upgrade;

use std::io;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

pub use prepared::{Prepared, Started, prepare, wait_for_workers};
pub use signals::hold_signals;
pub use start_signals::StartSignals;

use crate::base::time::Micros;
use crate::control::access_log::RunningAccessLog;
use crate::control::acme::order_forever;
use crate::control::certificates::Certificates;
use crate::control::change::{ChangesUnderWay, Finished, Saved, state_path};
use crate::control::change_request::ChangeRequest;
use crate::control::config_store::ConfigStore;
use crate::control::configuration::Configuration;
use crate::control::file_thread::FileThread;
use crate::control::listeners::Listeners;
use crate::control::metrics::Sources;
use crate::control::monitoring::Monitoring;
use crate::control::removals::Removals;
use crate::control::resolve::{FollowedNames, LookUpResults, NameChannels};
use crate::control::service_manager::ServiceManager;
use crate::control::shutdown::Shutdown;
use crate::control::signals::Signal;
use crate::control::start_state::StartState;
use crate::control::threads::Threads;
use crate::control::upgrade::{UpgradeRun, UpgradeStep};
use crate::messages::ToControl;
use crate::shared::mailbox::Inbox;
use crate::snapshot::Snapshot;

/// The state of the control thread: the owners of everything that it changes.
struct Control {
    /// The configuration, and which one is in force.
    config: Configuration,
    /// The changes that are under way.
    changes: ChangesUnderWay,
    /// The names that are looked up.
    names: FollowedNames,
    /// Certificates and keys that are renewed.
    certificates: Certificates,
    /// The backends that are drained until they are removed.
    removals: Removals,
    /// The listening sockets of the workers.
    listeners: Listeners,
    /// The workers and the health thread.
    threads: Threads,
    /// The messages of the other threads.
    inbox: Inbox<ToControl>,
    /// The thread that works with files.
    files: FileThread,
    /// The access log and its thread.
    access_log: RunningAccessLog,
    /// The counters, and the numbers made of them.
    monitoring: Monitoring,
    /// The end of the process.
    shutdown: Shutdown,
    /// The upgrade that is under way, and the role of this process in it.
    upgrade_run: UpgradeRun,
    /// The messages to the service manager.
    service_manager: ServiceManager,
    /// The channels that bring results back to the loop.
    outlets: Outlets,
}

/// Takes over the state that an earlier process left: the drains that it began go on.
fn resume(
    config_store: &mut ConfigStore,
    left: StartState,
    snapshot: &Snapshot,
) -> (Removals, Saved) {
    let StartState { state, lock, .. } = left;
    config_store.note_removals(state.removals.clone());
    let mut removals = Removals::default();
    removals.resume(&state, snapshot.generation, Micros::now());
    let path = state_path(config_store.config());
    (removals, Saved { path, state, lock })
}

/// The channels by which tasks deliver results to the control thread's loop.
struct Outlets {
    /// Receives the results of work on files.
    finished: mpsc::Sender<Finished>,
    /// Receives the name of a task that has panicked.
    broken: mpsc::Sender<&'static str>,
}

/// The channels that wake the thread, besides signals and time.
struct Inlets {
    wake: UnixStream,
    finished: mpsc::Receiver<Finished>,
    found: mpsc::Receiver<LookUpResults>,
    change_requests: mpsc::Receiver<ChangeRequest>,
    broken: mpsc::Receiver<&'static str>,
}

/// The reason for which the thread wakes.
enum Event {
    /// A signal has come.
    Signal(Signal),
    /// Look-ups of names have ended.
    Found(LookUpResults),
    /// A piece of work on files has ended.
    Finished(Finished),
    /// The management API asks for an operation.
    Asked(ChangeRequest),
    /// A new process has taken a step.
    Upgrade(UpgradeStep),
    /// A task whose panic ends the process has panicked.
    Broken(&'static str),
    /// Messages have come, or time has passed.
    Turn,
}

impl Control {
    /// The state at the start. Errors: the thread that works with files cannot be started.
    fn new(mut started: Started, names: NameChannels, outlets: Outlets) -> io::Result<Control> {
        let now = Micros::now();
        let left = std::mem::take(&mut started.left);
        let (removals, saved) = resume(&mut started.config_store, left, &started.snapshot);
        let config = Configuration::new(started.config_store, saved, started.snapshot.clone());
        let settings = config.config_store.config();
        let files = FileThread::start(started.compiler)?;
        let changes = ChangesUnderWay::default();
        let tls_files = started.snapshot.files.clone();
        let certificates = Certificates::new(settings, tls_files, started.tickets);
        let health = (started.health, started.health_thread.thread);
        let threads = Threads::new(started.workers, health, &started.snapshot);
        let sources = Sources {
            standing: config.standing(),
            tables: started.tables.clone(),
            counters: started.counters,
            store: started.store,
            orders: certificates.orders.clone(),
            wanted: changes.pending.wanted(),
            access_log: started.access_log.progress(),
            health: started.health_thread.pulse,
            files: files.progress(),
            texts: Default::default(),
            generations: threads.generations(),
            hanging_look_ups: names.hanging.clone(),
        };
        started.access_log.learn(&started.snapshot);
        Ok(Control {
            names: FollowedNames::new(
                settings,
                config.config_store.revision(),
                started.known,
                names,
            ),
            monitoring: Monitoring::new(sources, now),
            shutdown: Shutdown::new(started.tables.workers()),
            upgrade_run: UpgradeRun::new(started.upgrades, started.is_alone),
            service_manager: ServiceManager::from_environment(now),
            config,
            changes,
            certificates,
            removals,
            listeners: started.listeners,
            threads,
            inbox: started.inbox,
            files,
            access_log: started.access_log,
            outlets,
        })
    }

    /// Has certificates ordered, as long as no other process does so.
    fn order_certificates(&self) {
        let challenges = self.config.snapshot.challenges.clone();
        let orders = order_forever(
            self.certificates.wanted.subscribe(),
            challenges,
            self.certificates.orders.clone(),
        );
        let mut accepting = self.upgrade_run.upgrades.accepting();
        self.spawn_vital("the order of certificates", async move {
            tokio::select! {
                () = orders => {}
                stopped = accepting.wait_for(|accepting| !accepting) => drop(stopped),
            }
        });
    }

    /// Spawns a task whose panic ends the process, because nothing else would notice the panic.
    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (task, broken) = (tokio::spawn(task), self.outlets.broken.clone());
        tokio::spawn(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                let _ = broken.send(name).await;
            }
        });
    }

    /// Turns until the process is to end; the exit code.
    async fn run(mut self, mut inlets: Inlets, mut next_signal: impl AsyncFnMut() -> Signal) -> u8 {
        loop {
            let pause = self.turn(!inlets.change_requests.is_empty(), Micros::now());
            if self.may_end(Micros::now()) {
                self.tell_last().await;
                let code = self.shutdown.exit_code(&self.monitoring.counters);
                self.record_cut().await;
                self.end_disk(&mut next_signal).await;
                self.access_log.finish();
                shutdown::remove_socket_files();
                return code.max(self.end_new_process(&mut next_signal).await);
            }
            let event = tokio::select! {
                // A signal that came before an upgrade's last step is followed before that step.
                biased;
                signal = next_signal() => Event::Signal(signal),
                progress = self.upgrade_run.upgrades.progress() => Event::Upgrade(progress),
                Some(task) = inlets.broken.recv() => Event::Broken(task),
                Some(found) = inlets.found.recv() => Event::Found(found),
                Some(finished) = inlets.finished.recv() => Event::Finished(finished),
                Some(request) = inlets.change_requests.recv(), if self.may_decide() => Event::Asked(request),
                () = woken(&inlets.wake) => Event::Turn,
                () = sleep(pause) => Event::Turn,
            };
            let now = Micros::now();
            match event {
                Event::Signal(signal) => self.take_signal(signal, now),
                Event::Found(LookUpResults::New(answers)) => self.take_new_names(answers, now),
                Event::Found(LookUpResults::Again(answers)) => self.names.known.take_in(answers),
                Event::Finished(finished) => self.take_finished(finished, now),
                Event::Asked(request) => self.take_request(request, now),
                Event::Upgrade(progress) => self.take_progress(progress, now),
                Event::Broken(task) => self.take_broken(task, now),
                Event::Turn => {}
            }
        }
    }
}

/// Waits until messages have come. May be dropped while it waits.
async fn woken(wake: &UnixStream) {
    let mut bytes = [0; 256];
    // An error is as good as a message: the next turn looks for itself.
    if wake.readable().await.is_ok() {
        while wake.try_read(&mut bytes).is_ok_and(|read| read > 0) {}
    }
}

#[cfg(test)]
mod tests;
