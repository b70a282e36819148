//! The control thread, which is the program's first thread: it takes signals, changes the configuration, keeps names
//! resolved, gives orders to the access-log thread, and ends the process in good order.
//!
//! [`Control`] holds all state that changes; its loop is in this file. The module `turn` has the work of every turn of
//! the loop, and `change` the way of a change into force.

pub mod access_log;
pub mod acme;
pub mod api;
pub mod ask;
mod asked_file;
pub mod bad_requests;
mod change;
mod departures;
pub mod desk;
mod ending;
mod file_thread;
mod file_watch;
mod last_resort;
pub mod listeners;
pub mod metrics;
pub mod page;
pub mod pending;
mod prepared;
pub mod resolve;
mod shutdown;
mod signals;
pub mod start_files;
mod start_signals;
pub mod start_state;
mod succession;
pub mod systemd;
mod threads;
mod trial;
mod turn;
pub mod upgrade;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub use prepared::{Prepared, Started, prepare, wait_for_workers};
pub use signals::hold_signals;
pub use start_signals::StartSignals;

use crate::base::time::Micros;
use crate::control::access_log::AccessLog;
use crate::control::acme::{OrderCounts, Wanted, order_forever};
use crate::control::api::ApiState;
use crate::control::ask::{Ask, Asks, InForce};
use crate::control::asked_file::AskedFile;
use crate::control::bad_requests::BadRequests;
use crate::control::change::{Asker, Finished, LookingUp, Saved, Unanswered, state_path};
use crate::control::departures::Departures;
use crate::control::desk::Desk;
use crate::control::file_thread::FileThread;
use crate::control::file_watch::FileWatch;
use crate::control::listeners::Listeners;
use crate::control::metrics::{Boards, Sources};
use crate::control::pending::Pending;
use crate::control::resolve::{Found, Known, Names, Question};
use crate::control::shutdown::Shutdown;
use crate::control::signals::Signal;
use crate::control::start_state::StartState;
use crate::control::succession::Succession;
use crate::control::threads::Threads;
use crate::control::trial::OnTrial;
use crate::control::upgrade::Progress;
use crate::messages::ToControl;
use crate::shared::SharedTables;
use crate::shared::count::Count;
use crate::shared::gauges::AllGauges;
use crate::shared::mailbox::Letters;
use crate::snapshot::Snapshot;
use crate::tls::TicketKeys;

/// The state of the control thread.
struct Control {
    desk: Arc<Desk>,
    /// The content of the state file, and its path.
    saved: Arc<Saved>,
    /// As in [`desk::state_file::State::taken_back`].
    taken_back: Option<String>,
    snapshot: Arc<Snapshot>,
    standing: watch::Sender<Arc<InForce>>,
    threads: Threads,
    listeners: Listeners,
    tables: SharedTables,
    gauges: AllGauges,
    health_thread: JoinHandle<()>,
    letters: Letters<ToControl>,
    access_log: AccessLog,
    boards: Boards,

    files: FileThread,
    outlets: Outlets,
    tickets: Arc<TicketKeys>,
    file_watch: FileWatch,
    known: Known,
    /// The names that are looked up repeatedly.
    names: watch::Sender<Names>,
    /// The certificates that are ordered and renewed, and the results so far.
    wanted: watch::Sender<Wanted>,
    orders: Arc<OrderCounts>,
    /// The version of the addresses in the snapshot in force.
    addresses: u64,

    /// The asker of the change that is being prepared. No other change is decided meanwhile.
    asker: Option<Asker>,
    /// A change that waits for the look-up of its new names.
    looking_up: Option<LookingUp>,
    unanswered: Vec<Unanswered>,
    /// The operations that palantir itself wants.
    pending: Pending,
    /// The content of the file that a wanted reload is to load.
    asked_file: AskedFile,
    trial: Option<OnTrial>,
    departures: Departures,
    bad_requests: BadRequests,
    shutdown: Shutdown,
    succession: Succession,
}

/// Resumes the departures that an earlier process began.
fn resume(desk: &Desk, left: StartState, snapshot: &Snapshot) -> (Departures, Arc<Saved>) {
    let StartState { state, lock, .. } = left;
    let mut departures = Departures::default();
    departures.resume(&state, snapshot.generation, Micros::now());
    let path = state_path(desk.config());
    (departures, Arc::new(Saved { path, state, lock }))
}

/// The channels by which other threads and tasks deliver results to the control thread and receive their orders.
struct Outlets {
    finished: mpsc::Sender<Finished>,
    found: mpsc::Sender<Found>,
    questions: mpsc::Sender<Question>,
    /// The number of look-ups that hang.
    hanging: Arc<Count>,
    /// Receives the name of a task that has panicked.
    broken: mpsc::Sender<&'static str>,
}

/// What wakes the thread, besides signals and time.
struct Inlets {
    wake: UnixStream,
    finished: mpsc::Receiver<Finished>,
    found: mpsc::Receiver<Found>,
    asks: mpsc::Receiver<Ask>,
    broken: mpsc::Receiver<&'static str>,
}

/// What the thread wakes for.
enum Event {
    Signal(Signal),
    Found(Found),
    Finished(Finished),
    Asked(Ask),
    Upgrade(Progress),
    /// A task whose panic ends the process has panicked.
    Broken(&'static str),
    /// Letters, or time has passed.
    Turn,
}

impl Control {
    fn new(mut started: Started, outlets: Outlets) -> io::Result<Control> {
        let names = Names::of(started.desk.config());
        started.known.keep(&names.hosts, started.desk.revision());
        let addresses = started.known.version();
        started.access_log.learn(&started.snapshot);
        let in_force = InForce::new(&started.desk, &started.snapshot);
        let standing = watch::Sender::new(Arc::new(in_force));
        let orders = Arc::<OrderCounts>::default();
        let threads = Threads::new(started.workers, started.health, &started.snapshot);
        let files = FileThread::start(started.compile)?;
        let pending = Pending::default();
        let sources = Sources {
            standing: standing.subscribe(),
            tables: started.tables.clone(),
            gauges: started.gauges.clone(),
            orders: orders.clone(),
            wanted: pending.wanted(),
            access_log: started.access_log.progress(),
            health: started.health_thread.pulse,
            files: files.progress(),
            texts: Default::default(),
            generations: threads.generations(),
            hanging_look_ups: outlets.hanging.clone(),
        };
        let on_their_way = started.left.state.departures.clone();
        started.desk.note_departures(on_their_way);
        let (departures, saved) = resume(&started.desk, started.left, &started.snapshot);
        Ok(Control {
            boards: Boards::new(sources, Micros::now()),
            succession: Succession::new(started.upgrades, started.is_alone, Micros::now()),
            bad_requests: BadRequests::default(),
            shutdown: Shutdown::new(started.tables.workers()),
            threads,
            standing,
            known: started.known,
            names: watch::Sender::new(names),
            wanted: watch::Sender::new(Wanted::of(started.desk.config())),
            orders,
            file_watch: FileWatch::new(started.snapshot.files.clone()),
            desk: Arc::new(started.desk),
            saved,
            taken_back: None,
            snapshot: started.snapshot,
            listeners: started.listeners,
            tables: started.tables,
            gauges: started.gauges,
            health_thread: started.health_thread.thread,
            letters: started.letters,
            access_log: started.access_log,
            files,
            outlets,
            tickets: started.tickets,
            addresses,
            asker: None,
            looking_up: None,
            unanswered: Vec::new(),
            pending,
            asked_file: AskedFile::default(),
            trial: None,
            departures,
        })
    }

    /// Has certificates ordered, as long as no other process does so.
    fn order_certificates(&self) {
        let challenges = self.snapshot.challenges.clone();
        let orders = order_forever(self.wanted.subscribe(), challenges, self.orders.clone());
        let mut accepting = self.succession.upgrades.accepting();
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

    /// What the management API speaks of.
    fn api_state(&self, asks: Asks) -> ApiState {
        ApiState::new(
            asks,
            self.boards.sources().clone(),
            self.boards.watch(),
            self.bad_requests.clone(),
        )
    }

    /// Turns until the process is to end; the exit code.
    async fn run(mut self, mut inlets: Inlets, mut next_signal: impl AsyncFnMut() -> Signal) -> u8 {
        loop {
            let pause = self.turn(!inlets.asks.is_empty(), Micros::now());
            if self.may_end(Micros::now()) {
                self.tell_last().await;
                let code = self.shutdown.exit_code(&self.gauges);
                self.record_cut().await;
                self.access_log.finish();
                shutdown::remove_socket_files();
                return code.max(self.end_new_process(&mut next_signal).await);
            }
            let event = tokio::select! {
                // A signal that came before an upgrade's last step is followed before that step.
                biased;
                signal = next_signal() => Event::Signal(signal),
                progress = self.succession.upgrades.progress() => Event::Upgrade(progress),
                Some(task) = inlets.broken.recv() => Event::Broken(task),
                Some(found) = inlets.found.recv() => Event::Found(found),
                Some(finished) = inlets.finished.recv() => Event::Finished(finished),
                Some(ask) = inlets.asks.recv(), if self.may_decide() => Event::Asked(ask),
                () = woken(&inlets.wake) => Event::Turn,
                () = sleep(pause) => Event::Turn,
            };
            let now = Micros::now();
            match event {
                Event::Signal(signal) => self.take_signal(signal, now),
                Event::Found(Found::New(answers)) => self.take_new_names(answers, now),
                Event::Found(Found::Again(answers)) => self.known.take_in(answers),
                Event::Finished(finished) => self.take_finished(finished, now),
                Event::Asked(ask) => self.take_ask(ask, now),
                Event::Upgrade(progress) => self.take_progress(progress, now),
                Event::Broken(task) => self.take_broken(task, now),
                Event::Turn => {}
            }
        }
    }
}

/// Waits until letters have come. May be dropped while it waits.
async fn woken(wake: &UnixStream) {
    let mut bytes = [0; 256];
    // An error is as good as a letter: the next turn looks for itself.
    if wake.readable().await.is_ok() {
        while wake.try_read(&mut bytes).is_ok_and(|read| read > 0) {}
    }
}

#[cfg(test)]
mod tests;
