//! The health thread: probes every backend, listens to what the workers saw, and tells all workers when a backend's
//! state changes.
//!
//! [`watch`] knows all backends and when to do what; [`backend_health`] decides about one; [`probe`] asks one. This
//! file moves what they say between the runtime and the other threads.

mod backend_health;
mod backend_ref;
mod health_event;
mod jitter;
mod probe;
mod resume;
mod schedule;
mod watch;

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::base::machine_clock::MachineClock;
use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::health::health_event::HealthEvent;
use crate::health::probe::ProbeOutcome;
use crate::health::resume::Records;
use crate::health::watch::{Assignment, Watch};
use crate::messages::{Resumption, ToControl, ToHealth, ToWorker};
use crate::net::{WakeSocket, run_sleeper, spawn};
use crate::shared::SharedTables;
use crate::shared::mailbox::{Inbox, Mailbox};
use crate::shared::outbox::Outbox;
use crate::shared::pulse::{Pulse, SharedPulse, Watched};

/// Starts the thread, and waits until its loop runs. The thread watches nothing until it receives a
/// [`ToHealth::Snapshot`], and ends on [`ToHealth::Stop`]. Errors: no thread can be started, or no descriptors are
/// left. If the thread ends without being asked, the log has the reason.
pub fn start(
    inbox: Inbox<ToHealth>,
    workers: Vec<Mailbox<ToWorker>>,
    control: Mailbox<ToControl>,
    tables: &SharedTables,
) -> io::Result<Watched> {
    let tables = tables.clone();
    let pulse = SharedPulse::default();
    let beating = pulse.clone();
    let wake = inbox.wake_stream()?;
    let (told, tells) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || {
            let ended = run_sleeper(async {
                let wake = WakeSocket::new(wake)?;
                let _ = told.send(());
                Health::new(inbox, workers, control, tables)
                    .run(wake, &beating)
                    .await
            });
            if let Err(error) = ended.flatten() {
                tracing::error!(%error, "the health thread cannot go on");
            }
        })?;
    match tells.recv() {
        Ok(()) => Ok(Watched { thread, pulse }),
        Err(_) => Err(io::Error::other("the health thread cannot start")),
    }
}

/// The state that the health thread owns.
struct Health {
    arrivals: Rc<Arrivals>,
    /// Probes that may be under way at once.
    most_probes: usize,
    watch: Watch,
    tables: SharedTables,
    workers: Vec<Outbox<BackendId, ToWorker>>,
    control: Outbox<BackendId, ToControl>,
    /// Receives a message when the workers have been told everything that is known.
    told: Option<Sender<()>>,
}

/// The outcomes of the probes' tasks, and the messages of other threads.
struct Arrivals {
    inbox: Inbox<ToHealth>,
    outcomes: RefCell<Vec<(Assignment, Option<ProbeOutcome>)>>,
    under_way: Cell<usize>,
}

impl Health {
    fn new(
        inbox: Inbox<ToHealth>,
        workers: Vec<Mailbox<ToWorker>>,
        control: Mailbox<ToControl>,
        tables: SharedTables,
    ) -> Health {
        Health {
            arrivals: Rc::new(Arrivals {
                inbox,
                outcomes: RefCell::default(),
                under_way: Cell::new(0),
            }),
            most_probes: limits::PROBES,
            watch: Watch::new(),
            tables,
            workers: workers.into_iter().map(Outbox::new).collect(),
            control: Outbox::new(control),
            told: None,
        }
    }

    /// Sleeps until a message or an outcome has come or something is due, and deals with it.
    async fn run(mut self, wake: WakeSocket, pulse: &Pulse) -> io::Result<()> {
        loop {
            panic_on_demand("health");
            self.arrivals.inbox.clear_wake();
            let now = Micros::now();
            pulse.beat(now);
            if self.read_messages(now).is_break() {
                return Ok(());
            }
            for (assignment, outcome) in self.arrivals.outcomes.take() {
                self.watch.probed(&assignment, outcome.as_ref(), now);
            }
            self.watch.end_ejections(now);
            self.watch.let_go(|id| self.tables.in_flight(id));
            for assignment in self.watch.due_probes(self.room(), now) {
                self.start_probe(assignment);
            }
            let all_sent = self.send_events();
            if all_sent && let Some(told) = self.told.take() {
                let _ = told.try_send(()); // The receiver may have stopped waiting.
            }
            wake.wait(self.pause(all_sent)).await?;
        }
    }

    fn read_messages(&mut self, now: Micros) -> ControlFlow<()> {
        while let Some(message) = self.arrivals.inbox.take() {
            match message {
                ToHealth::Snapshot(snapshot) => {
                    self.most_probes = snapshot.descriptors.probes;
                    self.watch.adopt(&snapshot, now);
                }
                ToHealth::Resume(resumption) => self.resume(resumption, now),
                ToHealth::Report(to) => {
                    // The receiver may have stopped waiting.
                    let _ = to.try_send(self.watch.records(MachineClock::read()));
                }
                ToHealth::Failed {
                    backend,
                    failures,
                    label,
                } => self.watch.failed(backend, failures, label, now),
                ToHealth::Silent(backend) => self.watch.hasten(backend, now),
                ToHealth::StopProbing => self.watch.stop_probing(),
                ToHealth::Stop => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    fn resume(&mut self, resumption: Resumption, now: Micros) {
        let Resumption {
            snapshot,
            records,
            told,
        } = resumption;
        self.most_probes = snapshot.descriptors.probes;
        let records = Records::new(records, MachineClock::read());
        self.watch.resume(&snapshot, records, now);
        self.told = Some(told);
    }

    /// How many more probes may be under way.
    fn room(&self) -> usize {
        self.most_probes
            .saturating_sub(self.arrivals.under_way.get())
    }

    fn start_probe(&self, assignment: Assignment) {
        let arrivals = self.arrivals.clone();
        arrivals.under_way.update(|count| count + 1);
        spawn(async move {
            let outcome =
                probe::probe(assignment.pool(), assignment.backend(), assignment.check()).await;
            arrivals.under_way.update(|count| count - 1);
            arrivals.outcomes.borrow_mut().push((assignment, outcome));
            arrivals.inbox.wake();
        });
    }

    /// Logs what happened and tells the workers and the control thread; whether all of them know.
    fn send_events(&mut self) -> bool {
        for events in self.watch.take_events() {
            events.log();
            if let HealthEvent::Changed(change) | HealthEvent::DownChanged(change) = events {
                let (id, state, is_down) = (change.id, change.to, change.is_down);
                for worker in &mut self.workers {
                    worker.put(id, ToWorker::BackendState { id, state, is_down });
                }
                if change.from.is_some_and(|from| from != change.to) {
                    self.control
                        .put(change.id, ToControl::BackendChanged(change));
                }
            }
        }
        let mut all_sent = self.control.send();
        for worker in &mut self.workers {
            all_sent &= worker.send();
        }
        all_sent
    }

    /// The time to sleep if no message comes.
    fn pause(&self, all_sent: bool) -> Duration {
        let longest = Duration::from_millis(if all_sent {
            limits::PULSE_MILLIS
        } else {
            limits::POST_AGAIN_MILLIS
        });
        let due = self.watch.next_due(self.room() > 0);
        due.map_or(longest, |due| due.until().min(longest))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use std::time::Instant;

    use super::*;
    use crate::base::addresses::BackendAddr;
    use crate::shared::backend_table::BackendState::{self, Ejected, Healthy, Unhealthy};
    use crate::shared::backend_table::BackendTables;
    use crate::shared::mailbox::mailbox;
    use crate::snapshot::sample;
    use crate::snapshot::{Outlier, Pool, Snapshot};

    /// The thread with two workers, the second of which has room for one message at a time.
    struct Running {
        health: Mailbox<ToHealth>,
        workers: [Inbox<ToWorker>; 2],
        control: Inbox<ToControl>,
        thread: JoinHandle<()>,
    }

    impl Running {
        fn start(snapshot: &Arc<Snapshot>) -> Running {
            let (health, inbox) = mailbox(100).unwrap();
            let (first, first_inbox) = mailbox(100).unwrap();
            let (second, second_inbox) = mailbox(1).unwrap();
            let (control, control_inbox) = mailbox(1000).unwrap();
            health.post(ToHealth::Snapshot(snapshot.clone())).unwrap();
            Running {
                health,
                workers: [first_inbox, second_inbox],
                control: control_inbox,
                thread: super::start(inbox, vec![first, second], control, &BackendTables::new(2))
                    .unwrap()
                    .thread,
            }
        }

        /// Waits until both workers were told this.
        fn expect(&self, id: BackendId, state: BackendState) {
            for inbox in &self.workers {
                let patience = Instant::now() + Duration::from_secs(30);
                loop {
                    match inbox.take() {
                        Some(ToWorker::BackendState {
                            id: told,
                            state: to,
                            ..
                        }) if (told, to) == (id, state) => {
                            break;
                        }
                        Some(_) => {}
                        None => std::thread::sleep(Duration::from_millis(1)),
                    }
                    assert!(Instant::now() < patience, "nobody said {state:?} of {id:?}");
                }
            }
        }

        /// Whether the control thread was told of this change, with a reason.
        fn expect_told(&self, from: Option<BackendState>, to: BackendState) {
            let told = std::iter::from_fn(|| self.control.take());
            let mut changes = told.filter_map(|message| match message {
                ToControl::BackendChanged(change) => Some(change),
                _ => None,
            });
            let told = changes.find(|change| (change.from, change.to) == (from, to));
            assert!(!told.expect("a change is told").reason.is_empty());
        }

        fn stop(self) {
            self.health.post(ToHealth::Stop).unwrap();
            self.thread.join().unwrap();
        }
    }

    #[test]
    fn a_backend_goes_down_and_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let pool = sample::pool(&mut sample::slots(), "api", &[BackendAddr::Tcp(addr)]);
        let pool = sample::probed(pool, &sample::check(Duration::from_millis(5)));
        let snapshot = sample::snapshot(1, vec![pool]);
        let id = snapshot.pools[0].backends[0].id();
        let running = Running::start(&snapshot);
        running.expect(id, Healthy);
        drop(listener);
        running.expect(id, Unhealthy);
        running.expect_told(Some(Healthy), Unhealthy);
        let _listener = TcpListener::bind(addr).unwrap();
        running.expect(id, Healthy);
        running.stop();
    }

    #[test]
    fn workers_reports_eject_a_backend_for_a_while() {
        let outlier = Outlier {
            eject: Duration::from_millis(5),
            ..sample::outlier(2)
        };
        let pool = Pool {
            outlier: Some(outlier),
            ..sample::pool(&mut sample::slots(), "api", &sample::addrs(3))
        };
        let snapshot = sample::snapshot(1, vec![pool]);
        let ids: Vec<_> = snapshot.pools[0]
            .backends
            .iter()
            .map(|backend| backend.id())
            .collect();
        let running = Running::start(&snapshot);
        for id in ids {
            running.expect(id, Healthy);
        }
        let id = snapshot.pools[0].backends[1].id();
        let failed = ToHealth::Failed {
            backend: id,
            failures: 2,
            label: "reset",
        };
        running.health.post(failed).unwrap();
        running.expect(id, Ejected);
        running.expect(id, Healthy);
        running.stop();
    }

    #[test]
    fn more_backends_than_probes_at_once_are_all_probed() {
        let backends = limits::PROBES as u16 + 50;
        let pool = sample::pool(&mut sample::slots(), "api", &sample::addrs(backends));
        let pool = sample::probed(pool, &sample::check(Duration::from_millis(1)));
        let snapshot = sample::snapshot(1, vec![pool]);
        let running = Running::start(&snapshot);
        let mut down = BTreeSet::new();
        let patience = Instant::now() + Duration::from_secs(30);
        while down.len() < usize::from(backends) {
            match running.workers[0].take() {
                Some(ToWorker::BackendState {
                    id,
                    state: Unhealthy,
                    ..
                }) => drop(down.insert(id)),
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(Instant::now() < patience, "only {} are down", down.len());
        }
        running.stop();
    }
}
