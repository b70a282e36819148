//! The control thread, which is the program's first: takes signals, keeps names resolved, writes the access log, and
//! ends the process in good order.

pub mod access_log;
pub mod api;
pub mod ask;
pub mod desk;
pub mod listeners;
pub mod page;
pub mod resolve;
mod shutdown;
mod signals;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{error, info};

pub use signals::hold_signals;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::access_log::{AccessLog, LogFile};
use crate::control::resolve::{Answer, Known, Names, Recompile, look_up_forever};
use crate::control::shutdown::Shutdown;
use crate::control::signals::{Signal, Signals};
use crate::shared::access::AccessLine;
use crate::shared::gauges::AllGauges;
use crate::shared::mailbox::{Letters, Mailbox};
use crate::shared::messages::{ToControl, ToHealth, ToWorker};
use crate::shared::outbox::Outbox;
use crate::snapshot::Snapshot;

/// Everything that has been started.
pub struct Started {
    /// What the workers began with. [`run`] sends it to the health thread.
    pub snapshot: Arc<Snapshot>,
    pub workers: Vec<Mailbox<ToWorker>>,
    pub gauges: AllGauges,
    /// One ring per worker.
    pub access_lines: Vec<Receiver<AccessLine>>,
    /// Open if the snapshot has an access log.
    pub access_log: Option<LogFile>,
    pub health: Mailbox<ToHealth>,
    pub health_thread: JoinHandle<()>,
    pub letters: Letters<ToControl>,
    pub names: Names,
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
        let mut signals = Signals::take()?;
        let wake = UnixStream::from_std(started.letters.wake_stream()?)?;
        let (found, answers) = mpsc::channel(1);
        let Names { hosts, every, .. } = &started.names;
        if !hosts.is_empty() {
            tokio::spawn(look_up_forever(hosts.clone(), *every, found));
        }
        Ok(Control::new(started)
            .run(wake, answers, async || signals.next().await)
            .await)
    });
    // A look-up that hangs would keep the runtime from being dropped.
    runtime.shutdown_background();
    code
}

/// What an outbox holds: the latest of each, sent in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Snapshot,
    Drain,
}

/// What the thread owns.
struct Control {
    snapshot: Arc<Snapshot>,
    workers: Vec<Outbox<Order, ToWorker>>,
    health: Outbox<Order, ToHealth>,
    health_thread: JoinHandle<()>,
    gauges: AllGauges,
    access_log: Option<AccessLog>,
    letters: Letters<ToControl>,
    known: Known,
    recompile: Recompile,
    /// The snapshot in force does not have the latest addresses: it could not be compiled.
    behind: bool,
    shutdown: Shutdown,
}

/// What the thread wakes for.
enum Event {
    Signal(Signal),
    Answers(Vec<Answer>),
    /// Letters, or time has passed.
    Turn,
}

impl Control {
    fn new(started: Started) -> Control {
        let rings = started.access_lines;
        let gauges = started.gauges.clone();
        let mut access_log = started
            .access_log
            .map(|file| AccessLog::new(file, rings, gauges));
        if let Some(log) = &mut access_log {
            log.learn(&started.snapshot);
        }
        let mut health = Outbox::new(started.health);
        health.put(
            Order::Snapshot,
            ToHealth::Snapshot(started.snapshot.clone()),
        );
        Control {
            snapshot: started.snapshot,
            shutdown: Shutdown::new(started.workers.len()),
            workers: started.workers.into_iter().map(Outbox::new).collect(),
            health,
            health_thread: started.health_thread,
            gauges: started.gauges,
            access_log,
            letters: started.letters,
            known: Known::new(&started.names.hosts, started.names.resolved),
            recompile: started.names.recompile,
            behind: false,
        }
    }

    /// Turns until the process is to end; the exit code.
    async fn run(
        mut self,
        wake: UnixStream,
        mut answers: mpsc::Receiver<Vec<Answer>>,
        mut next_signal: impl AsyncFnMut() -> Signal,
    ) -> u8 {
        loop {
            let pause = self.turn(Micros::now());
            if self.shutdown.is_over(Micros::now()) {
                return self.shutdown.exit_code(&self.gauges);
            }
            let event = tokio::select! {
                signal = next_signal() => Event::Signal(signal),
                Some(answers) = answers.recv() => Event::Answers(answers),
                () = woken(&wake) => Event::Turn,
                () = sleep(pause) => Event::Turn,
            };
            match event {
                Event::Signal(signal) => self.take_signal(signal, Micros::now()),
                Event::Answers(answers) => self.take_answers(answers),
                Event::Turn => {}
            }
        }
    }

    /// Does everything that there is to do at the moment; when at the latest to come back. The access log comes after the
    /// letters: a worker that says it is done has put its last line into its ring.
    fn turn(&mut self, now: Micros) -> Duration {
        while let Some(letter) = self.letters.take() {
            self.read(letter, now);
        }
        if self.health_thread.is_finished() && !self.shutdown.has_begun() {
            error!("the health thread has ended; stopping");
            self.stop_failed(now);
        }
        if let Some(log) = &mut self.access_log {
            log.round(now);
        }
        let mut all_sent = self.health.send();
        for worker in &mut self.workers {
            all_sent &= worker.send();
        }
        self.pause(all_sent, now)
    }

    fn pause(&self, all_sent: bool, now: Micros) -> Duration {
        let mut pause = Duration::from_secs(limits::CONTROL_PAUSE_SECS);
        if let Some(deadline) = self.shutdown.deadline() {
            pause = pause.min(Duration::from_micros(deadline.since(now)));
        }
        if !all_sent {
            pause = pause.min(Duration::from_millis(limits::POST_AGAIN_MILLIS));
        }
        if self.access_log.is_some() {
            pause = pause.min(Duration::from_millis(limits::ACCESS_LOG_ROUND_MILLIS));
        }
        pause
    }

    fn read(&mut self, letter: ToControl, now: Micros) {
        match letter {
            ToControl::Adopted(..) => {}
            ToControl::Drained(worker) => self.shutdown.worker_done(worker),
            ToControl::WorkerEnded(worker, reason) => {
                error!(worker = worker.0, reason, "a worker has ended; stopping");
                self.shutdown.worker_done(worker);
                self.stop_failed(now);
            }
        }
    }

    fn take_signal(&mut self, signal: Signal, now: Micros) {
        match signal {
            Signal::Stop(name) => {
                if self
                    .shutdown
                    .signal(name, self.snapshot.shutdown_timeout, now)
                {
                    self.drain();
                }
            }
            Signal::Reopen => match &mut self.access_log {
                Some(log) => log.reopen(),
                None => info!("SIGHUP: there is no access log to open anew"),
            },
        }
    }

    fn stop_failed(&mut self, now: Micros) {
        self.shutdown.fail(self.snapshot.shutdown_timeout, now);
        self.drain();
    }

    fn drain(&mut self) {
        for worker in &mut self.workers {
            worker.put(Order::Drain, ToWorker::Drain);
        }
    }

    /// Brings a new snapshot into force if addresses came or went.
    fn take_answers(&mut self, answers: Vec<Answer>) {
        if !self.known.take_in(answers) && !self.behind {
            return;
        }
        match (self.recompile)(self.known.resolved(), self.snapshot.generation + 1) {
            Ok(snapshot) => {
                self.behind = false;
                self.put_in_force(Arc::new(snapshot));
            }
            Err(error) => {
                self.behind = true;
                error!(error, "the new addresses cannot be used; the old ones stay");
            }
        }
    }

    fn put_in_force(&mut self, snapshot: Arc<Snapshot>) {
        log_difference(&self.snapshot, &snapshot);
        if let Some(log) = &mut self.access_log {
            log.learn(&snapshot);
        }
        for worker in &mut self.workers {
            worker.put(Order::Snapshot, ToWorker::Snapshot(snapshot.clone()));
        }
        self.health
            .put(Order::Snapshot, ToHealth::Snapshot(snapshot.clone()));
        self.snapshot = snapshot;
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

/// Logs which backends came and went.
fn log_difference(before: &Snapshot, after: &Snapshot) {
    let (before, after) = (backends(before), backends(after));
    for (pool, backend) in after.difference(&before) {
        info!(pool, backend, "a backend came: its name resolves to it");
    }
    for (pool, backend) in before.difference(&after) {
        info!(
            pool,
            backend, "a backend went: its name no longer resolves to it"
        );
    }
}

fn backends(snapshot: &Snapshot) -> BTreeSet<(&str, &str)> {
    let pools = snapshot.pools.iter();
    pools
        .flat_map(|pool| {
            pool.backends
                .iter()
                .map(|backend| (pool.name.as_str(), backend.label.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
