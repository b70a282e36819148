//! Runs a scenario: the real workers, and the actors around them.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use super::backend_one::BackendOne;
use super::backend_two::BackendTwo;
use super::client_one::ClientOne;
use super::client_two::ClientTwo;
use super::ledger::{InForce, Outcome};
use super::scenario::{PoolKind, Scenario, What};
use super::stage::{Reminder, Stage};
use super::{check, panics, settings};
use crate::base::addresses::ListenAddr;
use crate::base::ids::{BackendId, WorkerId};
use crate::messages::links::Links;
use crate::messages::{ToControl, ToHealth, ToWorker};
use crate::net::Engine;
use crate::shared::SharedTables;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::shared::mailbox::{Inbox, Mailbox, mailbox};
use crate::shared::slots::Slots;
use crate::shared::worker_counters::{AllWorkerCounters, counters};
use crate::simulated::{ConnId, Happening, Kernel, Manner, Simulating};
use crate::snapshot::Snapshot;
use crate::worker;

/// Messages that a mailbox of a run holds.
const MAILBOX: usize = 64;
/// Backends that there may be at once: many more than a run has.
const ROWS: usize = 32;
/// Microseconds between two looks at everything.
const LOOK: u64 = 100_000;
/// Microseconds after which workers that were told to end accept nobody any more.
const ENDS_WITHIN: u64 = 300_000;
/// Steps of a run, beyond which it is taken to go on without an end.
const STEPS: u64 = 400_000;
/// Invariant: no turn lasts without an end. Rounds without an event of the kernel, beyond which a worker spins.
const QUIET_ROUNDS: u32 = 4_000;

enum Client {
    One(ClientOne),
    Two(ClientTwo),
    /// A client that came when the workers had stopped: its connection, which nobody may accept.
    Late(ConnId),
}

enum Backend {
    One(BackendOne),
    Two(BackendTwo),
}

/// A run of a scenario.
pub struct Run {
    pub stage: Stage,
    pub tables: SharedTables,
    pub counters: AllWorkerCounters,
    /// The row of each backend.
    pub rows: Vec<Option<BackendId>>,
    clients: Vec<Option<Client>>,
    backends: BTreeMap<ConnId, Backend>,
    listeners: Vec<RawFd>,
    workers: Vec<Mailbox<ToWorker>>,
    control: Inbox<ToControl>,
    health: Inbox<ToHealth>,
    /// Whether each worker has said that nothing is left of its connections.
    pub drained: Vec<bool>,
    slots: Slots,
    generation: u64,
    /// When the last client was gone.
    pub gone_at: Option<u64>,
    pub is_over: bool,
    _snapshot: Arc<Snapshot>,
}

/// Runs a scenario to its end. The result is what must not be, if there is something.
pub fn run(scenario: &Rc<Scenario>) -> Option<String> {
    steps(scenario).0
}

/// Runs a scenario to its end, and tells besides how many steps it took and at which instant it ended.
pub fn steps(scenario: &Rc<Scenario>) -> (Option<String>, u64, u64) {
    let kernel = Kernel::new(scenario.workers, scenario.seed, scenario.weather);
    let simulating = Simulating::with(kernel.clone());
    panics::watch();
    let mut run = Run::start(kernel.clone(), scenario.clone());
    let steps = run.go_on_to_the_end();
    let violation = panics::take().or(run.stage.ledger.violation.take());
    drop(simulating);
    (violation, steps, kernel.now())
}

impl Run {
    fn start(kernel: Rc<Kernel>, scenario: Rc<Scenario>) -> Run {
        let tables = BackendTables::with_rows(scenario.workers, ROWS);
        let mut slots = Slots::new(tables.clone());
        let snapshot = settings::snapshot(&scenario, &scenario.settings, &mut slots, 1);
        let all_gauges = counters(scenario.workers);
        let (to_health, health) = mailbox(MAILBOX).unwrap();
        let (to_control, control) = mailbox(MAILBOX).unwrap();
        let boxes = (0..scenario.workers).map(|_| mailbox(MAILBOX).unwrap());
        let (workers, inbox): (Vec<_>, Vec<_>) = boxes.unzip();
        let mut run = Run {
            stage: Stage::new(kernel.clone(), scenario.clone()),
            tables: tables.clone(),
            counters: all_gauges.clone(),
            rows: rows(&scenario, &snapshot),
            clients: (0..scenario.clients.len()).map(|_| None).collect(),
            backends: BTreeMap::new(),
            listeners: Vec::new(),
            workers: workers.clone(),
            control,
            health,
            drained: vec![false; scenario.workers],
            slots,
            generation: 1,
            gone_at: None,
            is_over: false,
            _snapshot: snapshot.clone(),
        };
        for (inbox, number) in inbox.into_iter().zip(0..) {
            let start = worker::Start {
                worker: WorkerId(number),
                engine: Engine::Epoll,
                cpu: None,
                snapshot: snapshot.clone(),
                tables: tables.clone(),
                cache: None,
                inbox,
                links: Links {
                    counters: all_gauges.clone(),
                    health: to_health.clone(),
                    control: to_control.clone(),
                    access_lines: crossbeam_channel::bounded(1).0,
                },
                mailboxes: workers.clone(),
            };
            kernel
                .executor
                .spawn_on(number as usize, worker::simulate(start));
            run.listen(number as usize);
        }
        run.config();
        run
    }

    fn listen(&mut self, worker: usize) {
        let (socket, _) = UnixStream::pair().unwrap();
        let socket = OwnedFd::from(socket);
        self.listeners.push(socket.as_raw_fd());
        self.stage.kernel.listen(socket.as_raw_fd());
        let listen = ToWorker::Listen {
            addr: ListenAddr::Tcp(([127, 0, 0, 1], 80).into()),
            socket,
            came_for: None,
        };
        self.workers[worker].post(listen).unwrap();
    }

    /// Has the scenario's events come to pass.
    fn config(&mut self) {
        let scenario = self.stage.scenario.clone();
        for (at, client) in scenario.clients.iter().enumerate() {
            self.stage.remind(client.at, Reminder::Begin(at));
            if let Some((after, _)) = client.leaves {
                self.stage.remind(client.at + after, Reminder::Leave(at));
            }
        }
        for (at, change) in scenario.changes.iter().enumerate() {
            self.stage.remind(change.at, Reminder::Change(at));
        }
        for (at, backend) in scenario.backends.iter().enumerate() {
            let addr = scenario.addr(at);
            self.stage.kernel.set_manner(addr, Manner::Accepts);
            for (number, (since, _)) in backend.manners.iter().enumerate() {
                self.stage.remind(*since, Reminder::Manner(at, number));
            }
        }
        self.stage.remind(LOOK, Reminder::Look);
    }

    fn go_on_to_the_end(&mut self) -> u64 {
        let mut steps = 0;
        while !self.is_over && self.stage.ledger.violation.is_none() && !panics::is_any() {
            steps += 1;
            let goes_on = self.stage.kernel.step();
            if !goes_on || steps > STEPS || self.stage.kernel.quiet_rounds() > QUIET_ROUNDS {
                self.stage
                    .ledger
                    .violated("a worker spins, or nothing happens any more".to_owned());
            }
            self.take_messages();
            while let Some(happening) = self.stage.kernel.take_happening() {
                self.happen(happening);
            }
        }
        steps
    }

    fn take_messages(&mut self) {
        while self.health.take().is_some() {}
        while let Some(message) = self.control.take() {
            match message {
                ToControl::Adopted(worker, generation) => {
                    let now = self.stage.now();
                    let before = generation as usize - 1;
                    for one in &mut self.stage.ledger.in_force[..before] {
                        one.until[worker.index()].get_or_insert(now);
                    }
                }
                ToControl::Drained(worker) => self.drained[worker.index()] = true,
                ToControl::WorkerFailed(worker, task) => {
                    let what = format!("worker {} has failed: {task}", worker.0);
                    self.stage.ledger.violated(what);
                }
                _ => {}
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.stage.ledger.now = self.stage.now();
        if let Happening::Due(number) = happening {
            let reminder = self.stage.reminder(number);
            if !matches!(reminder, Reminder::Look) {
                self.stage.kernel.trace(|| format!("{reminder:?}"));
            }
        }
        match happening {
            Happening::Connected(conn) => self.connected(conn),
            Happening::Changed(conn) => self.changed(conn),
            Happening::Due(number) => {
                let reminder = self.stage.reminder(number);
                self.remember(reminder);
            }
        }
    }

    fn connected(&mut self, conn: ConnId) {
        let addr = self.stage.kernel.backend_of(conn).unwrap();
        let scenario = self.stage.scenario.clone();
        let mut all = 0..scenario.backends.len();
        let backend = all.find(|one| scenario.addr(*one) == addr).unwrap();
        let config = &scenario.backends[backend];
        let made = match config.pool {
            PoolKind::One => Backend::One(BackendOne::new(conn, backend)),
            PoolKind::Two => Backend::Two(BackendTwo::new(conn, backend, config.streams)),
        };
        self.backends.insert(conn, made);
        self.changed(conn);
    }

    fn changed(&mut self, conn: ConnId) {
        let stage = &mut self.stage;
        match self.backends.get_mut(&conn) {
            Some(Backend::One(backend)) => backend.changed(stage),
            Some(Backend::Two(backend)) => backend.changed(stage),
            None => {
                let client = self
                    .clients
                    .iter_mut()
                    .flatten()
                    .find(|client| client.conn() == conn);
                if let Some(client) = client {
                    client.go_on(stage);
                }
            }
        }
    }

    fn remember(&mut self, reminder: Reminder) {
        let stage = &mut self.stage;
        match reminder {
            Reminder::Begin(at) => self.begin(at),
            Reminder::GoOn(at) => {
                if let Some(client) = &mut self.clients[at] {
                    client.go_on(stage);
                }
            }
            Reminder::Leave(at) => {
                let resets = stage.scenario.clients[at]
                    .leaves
                    .is_some_and(|(_, resets)| resets);
                if let Some(client) = &mut self.clients[at] {
                    client.end(stage, Outcome::Left, resets);
                }
            }
            Reminder::Answer(conn, stream) => match self.backends.get_mut(&conn) {
                Some(Backend::One(backend)) => backend.answer(stage),
                Some(Backend::Two(backend)) => backend.answer(stage, stream),
                None => {}
            },
            Reminder::Idle(conn, served) => match self.backends.get_mut(&conn) {
                Some(Backend::One(backend)) => backend.look_idle(stage, served),
                Some(Backend::Two(backend)) => backend.look_idle(stage),
                None => {}
            },
            Reminder::Change(at) => self.change(at),
            Reminder::Ended => self.end_late_clients(),
            Reminder::Manner(backend, number) => {
                let addr = stage.scenario.addr(backend);
                let (_, manner) = stage.scenario.backends[backend].manners[number];
                stage.kernel.set_manner(addr, manner);
            }
            Reminder::Look => {
                check::look(self);
                self.stage.remind_after(LOOK, Reminder::Look);
            }
        }
    }

    fn begin(&mut self, at: usize) {
        let stage = &mut self.stage;
        let config = &stage.scenario.clone().clients[at];
        let from = ([10, 2, 0, at as u8 + 1], 5_000).into();
        let conn = stage.kernel.knock(self.listeners[config.worker], from);
        let now = stage.now();
        if stage
            .ledger
            .ending_at
            .is_some_and(|at| at + ENDS_WITHIN < now)
        {
            self.clients[at] = Some(Client::Late(conn));
            for id in &config.requests {
                stage.ledger.finish(*id, Outcome::Unsent);
            }
            return;
        }
        self.clients[at] = Some(if config.http2 {
            Client::Two(ClientTwo::new(stage, at, conn))
        } else {
            Client::One(ClientOne::new(stage, at, conn))
        });
    }

    fn change(&mut self, at: usize) {
        let scenario = self.stage.scenario.clone();
        match &scenario.changes[at].what {
            What::Reload(wanted) => {
                self.generation += 1;
                let made = settings::snapshot(&scenario, wanted, &mut self.slots, self.generation);
                self.stage.ledger.in_force.push(InForce {
                    settings: wanted.clone(),
                    since: self.stage.now(),
                    until: vec![None; scenario.workers],
                });
                for (row, new) in self.rows.iter_mut().zip(rows(&scenario, &made)) {
                    *row = new.or(*row);
                }
                self.tell(|| ToWorker::Snapshot(made.clone()));
                self._snapshot = made;
            }
            What::Health { backend, is_down } => {
                let state = if *is_down {
                    BackendState::Unhealthy
                } else {
                    BackendState::Healthy
                };
                if let Some(id) = self.rows[*backend] {
                    let is_down = *is_down;
                    self.tell(|| ToWorker::BackendState { id, state, is_down });
                }
            }
            What::Retire => self.end_workers(|| ToWorker::Retire),
            What::Drain => self.end_workers(|| ToWorker::Drain),
        }
    }

    fn end_workers(&mut self, message: impl Fn() -> ToWorker) {
        let now = self.stage.now();
        if self.stage.ledger.ending_at.is_none() {
            self.stage.ledger.ending_at = Some(now);
            self.stage.remind_after(ENDS_WITHIN, Reminder::Ended);
        }
        self.tell(message);
    }

    /// Has the clients leave that nobody has accepted: another process would serve them.
    fn end_late_clients(&mut self) {
        for client in self.clients.iter_mut().flatten() {
            if !self.stage.kernel.is_accepted(client.conn()) {
                client.end(&mut self.stage, Outcome::Unsent, false);
                *client = Client::Late(client.conn());
            }
        }
    }

    /// Invariant: a worker that was told to end accepts nobody.
    pub fn check_accepted(&mut self) {
        let kernel = self.stage.kernel.clone();
        let is_wrong =
            |client: &Client| matches!(client, Client::Late(conn) if kernel.is_accepted(*conn));
        if self.clients.iter().flatten().any(is_wrong) {
            let what = "a client was accepted by a worker that had been told to end";
            self.stage.ledger.violated(what.to_owned());
        }
    }

    fn tell(&self, message: impl Fn() -> ToWorker) {
        for worker in &self.workers {
            worker.post(message()).unwrap();
        }
        self.stage.kernel.note_post();
    }

    /// Whether every client has come and gone.
    pub fn are_clients_gone(&self) -> bool {
        self.clients.iter().all(|client| match client {
            Some(Client::One(client)) => client.course.is_over,
            Some(Client::Two(client)) => client.course.is_over,
            Some(Client::Late(_)) => true,
            None => false,
        })
    }
}

impl Client {
    fn conn(&self) -> ConnId {
        match self {
            Client::One(client) => client.course.conn,
            Client::Two(client) => client.course.conn,
            Client::Late(conn) => *conn,
        }
    }

    fn go_on(&mut self, stage: &mut Stage) {
        match self {
            Client::One(client) => client.go_on(stage),
            Client::Two(client) => client.go_on(stage),
            Client::Late(_) => {}
        }
    }

    fn end(&mut self, stage: &mut Stage, outcome: Outcome, resets: bool) {
        match self {
            Client::One(client) => client.course.end(stage, outcome, resets),
            Client::Two(client) => client.course.end(stage, outcome, resets),
            Client::Late(_) => {}
        }
    }
}

/// The rows of the backends that a snapshot has.
fn rows(scenario: &Scenario, snapshot: &Snapshot) -> Vec<Option<BackendId>> {
    let find = |at: usize| {
        let label = scenario.addr(at).to_string();
        let mut backends = snapshot.pools.iter().flat_map(|pool| &pool.backends);
        backends
            .find(|backend| backend.label == label)
            .map(|backend| backend.id())
    };
    (0..scenario.backends.len()).map(find).collect()
}
