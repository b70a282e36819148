//! The control thread, which is the program's first: takes signals, changes the configuration, keeps names resolved,
//! tells the thread of the access log what to do, and ends the process in good order.
//!
//! [`Control`] alone changes anything; its loop is in this file. What is done at every turn of it is in `turn`, how a
//! change comes into force in `change`.

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

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub use signals::hold_signals;
pub use start_signals::StartSignals;

use crate::base::limits;
use crate::base::time::Micros;
use crate::config::Machine;
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
use crate::control::last_resort::LastResort;
use crate::control::listeners::Listeners;
use crate::control::metrics::{Boards, Sources};
use crate::control::pending::Pending;
use crate::control::resolve::{Compile, Found, Known, LookUps, Names, Question};
use crate::control::shutdown::Shutdown;
use crate::control::signals::{Signal, Signals};
use crate::control::start_state::StartState;
use crate::control::succession::Succession;
use crate::control::threads::Threads;
use crate::control::trial::OnTrial;
use crate::control::upgrade::{Progress, Upgrades};
use crate::net::BoundListener;
use crate::shared::SharedTables;
use crate::shared::count::Count;
use crate::shared::gauges::AllGauges;
use crate::shared::mailbox::{Letters, Mailbox};
use crate::shared::messages::{ToControl, ToHealth, ToWorker};
use crate::shared::pulse::Watched;
use crate::snapshot::Snapshot;
use crate::tls::TicketKeys;

/// Everything that has been started.
pub struct Started {
    /// The configuration with which the workers and the health thread began.
    pub snapshot: Arc<Snapshot>,
    /// The configuration that it was compiled from.
    pub desk: Desk,
    /// The state that an earlier process left.
    pub left: StartState,
    /// What look-ups found before the snapshot was compiled.
    pub known: Known,
    /// Looks names up from now on.
    pub look_ups: LookUps,
    pub compile: Compile,
    /// Those that the compiled TLS makes tickets with.
    pub tickets: Arc<TicketKeys>,
    pub listeners: Listeners,
    pub workers: Vec<Mailbox<ToWorker>>,
    pub tables: SharedTables,
    pub gauges: AllGauges,
    /// With an open file if the snapshot has an access log.
    pub access_log: AccessLog,
    pub health: Mailbox<ToHealth>,
    pub health_thread: Watched,
    pub letters: Letters<ToControl>,
    pub upgrades: Upgrades,
    /// No other process is, or was just now, the service.
    pub is_alone: bool,
    /// Where the management API listens and what it lets through, if there is one.
    pub admin: Option<(BoundListener, api::Gate)>,
}

/// The thread with everything that it needs and may be refused.
pub struct Prepared {
    runtime: Runtime,
    control: Control,
    inlets: Inlets,
    /// Looks names up; the receiver brings the questions.
    look_ups: (LookUps, mpsc::Receiver<Question>),
    /// Where the management API listens, and what it lets through.
    admin: Option<(api::ApiListener, api::Gate)>,
    /// Where the management API asks.
    asks: Asks,
    signals: Signals,
}

/// Makes everything that the thread needs, before anybody is served. Errors: no descriptors or no threads left.
pub fn prepare(mut started: Started) -> io::Result<Prepared> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::ACME_ORDERS)
        .build()?;
    let entered = runtime.enter();
    let (found, answers) = mpsc::channel(1);
    let (asks, asked) = mpsc::channel(limits::ASKS);
    let (finished, ended) = mpsc::channel(1);
    let (questions, questioned) = mpsc::channel(1);
    let (broken, breaks) = mpsc::channel(1);
    let inlets = Inlets {
        wake: UnixStream::from_std(started.letters.wake_stream()?)?,
        finished: ended,
        found: answers,
        asks: asked,
        broken: breaks,
    };
    let admin = started.admin.take();
    let admin = match admin {
        Some((listener, gate)) => Some((api::ApiListener::open(listener)?, gate)),
        None => None,
    };
    let look_ups = (std::mem::take(&mut started.look_ups), questioned);
    let outlets = Outlets {
        finished,
        found,
        questions,
        hanging: look_ups.0.hanging(),
        broken,
    };
    let control = Control::new(started, outlets)?;
    let signals = Signals::take()?;
    drop(entered);
    has_descriptors()?;
    Ok(Prepared {
        runtime,
        control,
        inlets,
        look_ups,
        admin,
        asks,
        signals,
    })
}

/// Whether there are descriptors left to serve anybody with, now that the program has all of its own. Errors: too few.
fn has_descriptors() -> io::Result<()> {
    let most = Machine::of_this_process().descriptors;
    let used = fs::read_dir("/proc/self/fd")?.count() as u64;
    let least = limits::SOCKETS_LEAST as u64;
    if used + least > most {
        let text = format!(
            "the program itself has {used} descriptors open and needs {least} more to serve anybody, but may have \
             {most} in all (ulimit -n)"
        );
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// Waits until every worker has said that it has adopted its snapshot, and with it done all that it was told before.
/// Every other message goes to `read`. Errors: a worker has ended, or takes too long.
pub fn wait_for_workers(
    letters: &Letters<ToControl>,
    workers: usize,
    mut read: impl FnMut(ToControl),
) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(limits::WORKER_START_SECS);
    let mut adopted = BTreeSet::new();
    while adopted.len() < workers {
        let left = deadline.saturating_duration_since(Instant::now());
        match letters.take_within(left) {
            Some(ToControl::Adopted(worker, _)) => drop(adopted.insert(worker)),
            Some(
                ToControl::WorkerEnded(worker, reason) | ToControl::NotListening(worker, reason),
            ) => {
                return Err(format!("cannot start: worker {}: {reason}", worker.0));
            }
            Some(letter) => read(letter),
            None => return Err("cannot start: a worker does not turn".to_owned()),
        }
    }
    Ok(())
}

impl Prepared {
    /// Lets the servers on the sockets that are not the workers' accept, and waits until all workers have done what
    /// they were told. Errors: a worker has ended, or takes too long.
    pub fn accept(&mut self) -> Result<(), String> {
        let control = &mut self.control;
        control.succession.upgrades.accept();
        let mut others = Vec::new();
        let workers = control.tables.workers();
        wait_for_workers(&control.letters, workers, |letter| others.push(letter))?;
        for letter in others {
            control.read(letter, Micros::now());
        }
        Ok(())
    }

    /// Runs until a signal or the end of another thread stops the process; the exit code: 0 if everything ended in
    /// order and no request was cut, else 1. The caller must end the process with it at once, without dropping a
    /// runtime.
    pub fn run(self) -> u8 {
        let Prepared {
            runtime,
            control,
            inlets,
            look_ups: (look_ups, questions),
            admin,
            asks,
            mut signals,
        } = self;
        let last = LastResort::of(&control);
        let turning = async {
            signals.let_in();
            control.order_certificates();
            if let Some((listener, gate)) = admin {
                let router = api::router(control.api_state(asks), gate);
                let standing = control.standing.subscribe();
                let mut accepting = control.succession.upgrades.accepting();
                control.spawn_vital("the management API", async move {
                    tokio::select! {
                        () = api::serve(listener, router, standing) => {}
                        stopped = accepting.wait_for(|accepting| !accepting) => drop(stopped),
                    }
                });
            }
            let (names, found) = (control.names.subscribe(), control.found.clone());
            control.spawn_vital(
                "the look-up of names",
                look_ups.run(names, questions, found),
            );
            control.run(inlets, async || signals.next().await).await
        };
        let code = catch_unwind(AssertUnwindSafe(|| runtime.block_on(turning)));
        // A look-up of an authority that hangs would keep the runtime from being dropped.
        runtime.shutdown_background();
        code.unwrap_or_else(|_| last.stop())
    }
}

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
    /// Where what the thread that works with files has done comes back.
    finished: mpsc::Sender<Finished>,
    /// Where the name of a task goes that has panicked.
    broken: mpsc::Sender<&'static str>,
    tickets: Arc<TicketKeys>,
    file_watch: FileWatch,
    known: Known,
    /// The names that are looked up again and again.
    names: watch::Sender<Names>,
    /// The certificates that are ordered and renewed, and how that went so far.
    wanted: watch::Sender<Wanted>,
    orders: Arc<OrderCounts>,
    /// Where the answers about new names go.
    found: mpsc::Sender<Found>,
    /// The inlet of the look-ups.
    questions: mpsc::Sender<Question>,
    /// The version of the addresses that the snapshot in force has.
    addresses: u64,

    /// The asker of the change that is being prepared. Nothing else is decided meanwhile.
    asker: Option<Asker>,
    /// A change that waits for names to be looked up.
    looking_up: Option<LookingUp>,
    unanswered: Vec<Unanswered>,
    /// The operations that palantir itself wants.
    pending: Pending,
    /// What a reload that is wanted is to take over.
    asked_file: AskedFile,
    trial: Option<OnTrial>,
    departures: Departures,
    bad_requests: BadRequests,
    shutdown: Shutdown,
    succession: Succession,
}

/// Takes up the departures that an earlier process promised.
fn resume(desk: &Desk, left: StartState, snapshot: &Snapshot) -> (Departures, Arc<Saved>) {
    let StartState { state, lock, .. } = left;
    let mut departures = Departures::default();
    departures.resume(&state.departures, snapshot.generation, Micros::now());
    let path = state_path(desk.config());
    (departures, Arc::new(Saved { path, state, lock }))
}

/// Where other threads and tasks bring what they have found, and where they are asked.
struct Outlets {
    finished: mpsc::Sender<Finished>,
    found: mpsc::Sender<Found>,
    questions: mpsc::Sender<Question>,
    /// How many look-ups hang.
    hanging: Arc<Count>,
    /// The name of a task that has panicked.
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
    /// A task that must not has panicked.
    Broken(&'static str),
    /// Letters, or time has passed.
    Turn,
}

impl Control {
    fn new(mut started: Started, outlets: Outlets) -> io::Result<Control> {
        let Outlets {
            finished,
            found,
            questions,
            hanging,
            broken,
        } = outlets;
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
            hanging_look_ups: hanging,
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
            finished,
            broken,
            tickets: started.tickets,
            found,
            questions,
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

    /// Spawns a task whose panic ends the process: nobody else would know of it.
    fn spawn_vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (task, broken) = (tokio::spawn(task), self.broken.clone());
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
                self.succession.upgrades.wait_for_abandoned().await;
                return code;
            }
            let event = tokio::select! {
                // A signal that has come before an upgrade's last step is followed before it.
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
