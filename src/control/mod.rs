//! The control thread, which is the program's first: takes signals, changes the configuration, keeps names resolved,
//! writes the access log, and ends the process in good order.
//!
//! [`Control`] alone changes anything; its loop is in this file. What is done at every turn of it is in `turn`, how a change
//! comes into force in `change`.

pub mod access_log;
pub mod acme;
pub mod api;
pub mod ask;
pub mod bad_requests;
mod change;
mod departures;
pub mod desk;
mod file_watch;
pub mod listeners;
pub mod metrics;
pub mod page;
pub mod resolve;
mod shutdown;
mod signals;
mod succession;
pub mod systemd;
mod threads;
mod trial;
mod turn;
pub mod upgrade;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub use signals::hold_signals;

use crate::base::limits;
use crate::base::time::Micros;
use crate::config::Resolved;
use crate::control::access_log::{AccessLog, LogFile};
use crate::control::acme::{OrderCounts, Wanted, order_forever};
use crate::control::api::ApiState;
use crate::control::ask::{Ask, Asks, InForce};
use crate::control::bad_requests::BadRequests;
use crate::control::change::{Change, Unanswered};
use crate::control::departures::Departures;
use crate::control::desk::{Desk, Overlay};
use crate::control::file_watch::FileWatch;
use crate::control::listeners::Listeners;
use crate::control::metrics::{Boards, Sources};
use crate::control::resolve::{Compile, Found, Known, Names, look_up_forever};
use crate::control::shutdown::Shutdown;
use crate::control::signals::{Signal, Signals};
use crate::control::succession::Succession;
use crate::control::threads::Threads;
use crate::control::trial::OnTrial;
use crate::control::upgrade::{Outcome, Upgrades};
use crate::net::BoundListener;
use crate::shared::SharedTables;
use crate::shared::access::AccessLine;
use crate::shared::gauges::AllGauges;
use crate::shared::mailbox::{Letters, Mailbox};
use crate::shared::messages::{ToControl, ToHealth, ToWorker};
use crate::snapshot::Snapshot;
use crate::tls::TicketKeys;

/// Everything that has been started.
pub struct Started {
    /// The configuration with which the workers and the health thread began.
    pub snapshot: Arc<Snapshot>,
    /// The configuration that it was compiled from.
    pub desk: Desk,
    /// What the state file says, if there is one.
    pub said: Overlay,
    /// What look-ups found before the snapshot was compiled.
    pub resolved: Resolved,
    pub compile: Compile,
    /// Those that the compiled TLS makes tickets with.
    pub tickets: Arc<TicketKeys>,
    pub listeners: Listeners,
    pub workers: Vec<Mailbox<ToWorker>>,
    pub tables: SharedTables,
    pub gauges: AllGauges,
    /// One ring per worker.
    pub access_lines: Vec<Receiver<AccessLine>>,
    /// Open if the snapshot has an access log.
    pub access_log: Option<LogFile>,
    pub health: Mailbox<ToHealth>,
    pub health_thread: JoinHandle<()>,
    pub letters: Letters<ToControl>,
    pub upgrades: Upgrades,
    /// Where the management API listens and what it lets through, if there is one.
    pub admin: Option<(BoundListener, api::Gate)>,
}

/// Runs until a signal or the end of another thread stops the process; the exit code: 0 if everything ended in order
/// and no request was cut, else 1. The caller must end the process with it at once, without dropping a runtime.
/// Errors: no descriptors left for signals and timers.
pub fn run(started: Started) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::LOOKUPS)
        .build()?;
    let code = runtime.block_on(async {
        let mut started = started;
        let mut signals = Signals::take()?;
        let (found, answers) = mpsc::channel(1);
        let (asks, asked) = mpsc::channel(limits::ASKS);
        let inlets = Inlets {
            wake: UnixStream::from_std(started.letters.wake_stream()?)?,
            found: answers,
            asks: asked,
        };
        let admin = started.admin.take();
        let control = Control::new(started, found.clone());
        control.order_certificates();
        if let Some((listener, gate)) = admin {
            let router = api::router(control.api_state(asks), gate);
            let standing = control.standing.subscribe();
            let mut accepting = control.succession.upgrades.accepting();
            tokio::spawn(async move {
                tokio::select! {
                    served = api::serve(listener, router, standing) => drop(served),
                    stopped = accepting.wait_for(|accepting| !accepting) => drop(stopped),
                }
            });
        }
        tokio::spawn(look_up_forever(control.names.subscribe(), found));
        Ok(control.run(inlets, async || signals.next().await).await)
    });
    // A look-up that hangs would keep the runtime from being dropped.
    runtime.shutdown_background();
    code
}

/// What the thread owns.
struct Control {
    desk: Desk,
    /// What the state file says.
    said: Overlay,
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

    compile: Compile,
    tickets: Arc<TicketKeys>,
    file_watch: FileWatch,
    known: Known,
    /// What is looked up again and again.
    names: watch::Sender<Names>,
    /// What is ordered and renewed, and how that went so far.
    wanted: watch::Sender<Wanted>,
    orders: Arc<OrderCounts>,
    /// Where the answers of other look-ups go.
    found: mpsc::Sender<Found>,
    /// The snapshot in force does not have the latest addresses: it could not be compiled.
    behind: bool,

    /// A change that waits for names to be looked up. Nothing else is decided meanwhile.
    preparing: Option<Change>,
    unanswered: Vec<Unanswered>,
    /// SIGHUP came and was not followed yet.
    reload_wanted: bool,
    trial: Option<OnTrial>,
    departures: Departures,
    bad_requests: BadRequests,
    shutdown: Shutdown,
    succession: Succession,
}

/// What wakes the thread, besides signals and time.
struct Inlets {
    wake: UnixStream,
    found: mpsc::Receiver<Found>,
    asks: mpsc::Receiver<Ask>,
}

/// What the thread wakes for.
enum Event {
    Signal(Signal),
    Found(Found),
    Asked(Ask),
    Upgraded(Outcome),
    /// Letters, or time has passed.
    Turn,
}

impl Control {
    fn new(started: Started, found: mpsc::Sender<Found>) -> Control {
        let names = Names::of(started.desk.config());
        let mut access_log = AccessLog::new(
            started.access_log,
            started.access_lines,
            started.gauges.clone(),
        );
        access_log.learn(&started.snapshot);
        let in_force = InForce::new(&started.desk, &started.snapshot, false);
        let standing = watch::Sender::new(Arc::new(in_force));
        let orders = Arc::<OrderCounts>::default();
        let sources = Sources {
            standing: standing.subscribe(),
            tables: started.tables.clone(),
            gauges: started.gauges.clone(),
            orders: orders.clone(),
        };
        Control {
            boards: Boards::new(sources, Micros::now()),
            succession: Succession::new(started.upgrades, Micros::now()),
            bad_requests: BadRequests::default(),
            shutdown: Shutdown::new(started.workers.len()),
            threads: Threads::new(started.workers, started.health, &started.snapshot),
            standing,
            known: Known::new(&names.hosts, started.resolved),
            names: watch::Sender::new(names),
            wanted: watch::Sender::new(Wanted::of(started.desk.config())),
            orders,
            desk: started.desk,
            said: started.said,
            snapshot: started.snapshot,
            listeners: started.listeners,
            tables: started.tables,
            gauges: started.gauges,
            health_thread: started.health_thread,
            letters: started.letters,
            access_log,
            compile: started.compile,
            tickets: started.tickets,
            file_watch: FileWatch::default(),
            found,
            behind: false,
            preparing: None,
            unanswered: Vec::new(),
            reload_wanted: false,
            trial: None,
            departures: Departures::default(),
        }
    }

    /// Has certificates ordered, as long as no other process does so.
    fn order_certificates(&self) {
        let challenges = self.snapshot.challenges.clone();
        let orders = order_forever(self.wanted.subscribe(), challenges, self.orders.clone());
        let mut accepting = self.succession.upgrades.accepting();
        tokio::spawn(async move {
            tokio::select! {
                () = orders => {}
                stopped = accepting.wait_for(|accepting| !accepting) => drop(stopped),
            }
        });
    }

    /// What the management API speaks of.
    fn api_state(&self, asks: Asks) -> ApiState {
        let sources = Sources {
            standing: self.standing.subscribe(),
            tables: self.tables.clone(),
            gauges: self.gauges.clone(),
            orders: self.orders.clone(),
        };
        ApiState::new(
            asks,
            sources,
            self.boards.watch(),
            self.bad_requests.clone(),
        )
    }

    /// Turns until the process is to end; the exit code.
    async fn run(mut self, mut inlets: Inlets, mut next_signal: impl AsyncFnMut() -> Signal) -> u8 {
        loop {
            let pause = self.turn(Micros::now());
            if self.shutdown.is_over(Micros::now()) {
                return self.shutdown.exit_code(&self.gauges);
            }
            let event = tokio::select! {
                signal = next_signal() => Event::Signal(signal),
                Some(found) = inlets.found.recv() => Event::Found(found),
                Some(ask) = inlets.asks.recv(), if self.may_decide() => Event::Asked(ask),
                outcome = self.succession.upgrades.outcome() => Event::Upgraded(outcome),
                () = woken(&inlets.wake) => Event::Turn,
                () = sleep(pause) => Event::Turn,
            };
            let now = Micros::now();
            match event {
                Event::Signal(signal) => self.take_signal(signal, now),
                Event::Found(Found::New(answers)) => self.take_new_names(answers, now),
                Event::Found(Found::Again(answers)) => self.take_answers(answers),
                Event::Asked(ask) => self.take_ask(ask, now),
                Event::Upgraded(outcome) => self.take_outcome(outcome, now),
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
