//! Runs a scenario with a cache: the real workers, and the actors around them.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use super::origin_one::OriginOne;
use super::origin_two::OriginTwo;
use super::records::{CameOut, REACHED};
use super::scenario::{AskId, CachedScenario, When};
use super::scene::{CachedReminder, Scene};
use super::settings::{self, CACHE_BYTES};
use super::visitor_one::VisitorOne;
use super::visitor_two::VisitorTwo;
use crate::base::addresses::ListenAddr;
use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::messages::links::Links;
use crate::messages::{ToControl, ToHealth, ToWorker};
use crate::net::Engine;
use crate::shared::backend_table::BackendTables;
use crate::shared::cache::{CacheStore, CacheUsage, Purge, PurgeEffect, Remains, StoreSettings};
use crate::shared::mailbox::{Inbox, Mailbox, mailbox};
use crate::shared::slots::Slots;
use crate::shared::worker_counters::{self, AllWorkerCounters, counters};
use crate::simulated::world::panics;
use crate::simulated::world::scenario::PoolKind;
use crate::simulated::{ConnId, Happening, Kernel, Manner, Simulating};
use crate::snapshot::Snapshot;
use crate::worker;

/// Messages that a mailbox of a run holds.
const MAILBOX: usize = 64;
/// Backends that there may be at once.
const ROWS: usize = 8;
/// Microseconds between two looks at everything.
const LOOK: u64 = 200_000;
/// Steps of a run, beyond which it is taken to go on without an end.
const STEPS: u64 = 600_000;
/// Rounds without an event of the kernel, beyond which a worker spins.
const QUIET_ROUNDS: u32 = 4_000;
/// Microseconds that a request may take where nobody reads slowly, and where somebody does.
const ASK_TIME: u64 = 25_000_000;
const SLOW_TIME: u64 = 90_000_000;
/// Microseconds after the last client is gone, when no fetch may be left.
const BACK: u64 = 15_000_000;

enum Client {
    One(VisitorOne),
    Two(VisitorTwo),
}

enum OriginConn {
    One(OriginOne),
    Two(OriginTwo),
}

/// A run of a scenario.
struct CachedRun {
    scene: Scene,
    counters: AllWorkerCounters,
    clients: Vec<Option<Client>>,
    origins: BTreeMap<ConnId, OriginConn>,
    listeners: Vec<RawFd>,
    workers: Vec<Mailbox<ToWorker>>,
    control: Inbox<ToControl>,
    health: Inbox<ToHealth>,
    gone_at: Option<u64>,
    is_over: bool,
    _snapshot: Arc<Snapshot>,
}

/// Runs a scenario to its end. The result is what must not be, if there is something.
pub fn run(scenario: &Rc<CachedScenario>) -> Option<String> {
    course(scenario).violation
}

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub struct Course {
    /// The first thing that must not be, if there is one.
    pub violation: Option<String>,
    pub steps: u64,
    /// The instant at which the run ended, in microseconds.
    pub ended_at: u64,
    /// The answers that the origin gave.
    pub answers: usize,
    pub reached: [u64; REACHED.len()],
    pub usage: CacheUsage,
}

/// Runs a scenario to its end, and tells how it went.
pub fn course(scenario: &Rc<CachedScenario>) -> Course {
    let kernel = Kernel::new(scenario.workers, scenario.seed, scenario.weather);
    let simulating = Simulating::with(kernel.clone());
    panics::watch();
    let mut run = CachedRun::start(kernel.clone(), scenario.clone());
    let steps = run.go_on_to_the_end();
    // The tasks of the workers end, and with them all that they hold of the store.
    kernel.executor.clear();
    run.check_store();
    let violation = panics::take().or(run.scene.records.violation.take());
    drop(simulating);
    Course {
        violation,
        steps,
        ended_at: kernel.now(),
        answers: run.scene.origin.productions.len(),
        reached: run.scene.records.reached,
        usage: run.scene.store.usage(),
    }
}

impl CachedRun {
    fn start(kernel: Rc<Kernel>, scenario: Rc<CachedScenario>) -> CachedRun {
        let tables = BackendTables::with_rows(scenario.workers, ROWS);
        let mut slots = Slots::new(tables.clone());
        let snapshot = settings::snapshot(&scenario, &mut slots);
        let all_gauges = counters(scenario.workers);
        let (to_health, health) = mailbox(MAILBOX).unwrap();
        let (to_control, control) = mailbox(MAILBOX).unwrap();
        let boxes = (0..scenario.workers).map(|_| mailbox(MAILBOX).unwrap());
        let (workers, inbox): (Vec<_>, Vec<_>) = boxes.unzip();
        let settings = StoreSettings {
            max_bytes: CACHE_BYTES,
            cores: scenario.workers,
        };
        let store = CacheStore::new(settings).unwrap();
        let mut run = CachedRun {
            scene: Scene::new(kernel.clone(), scenario.clone(), store.clone()),
            counters: all_gauges.clone(),
            clients: scenario.visitors.iter().map(|_| None).collect(),
            origins: BTreeMap::new(),
            listeners: Vec::new(),
            workers: workers.clone(),
            control,
            health,
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
                cache: Some(store.clone()),
                inbox,
                links: Links {
                    counters: all_gauges.clone(),
                    health: to_health.clone(),
                    control: to_control.clone(),
                    access_lines: crossbeam_channel::bounded(1).0,
                },
                mailboxes: workers.clone(),
            };
            let worker = number as usize;
            kernel.executor.spawn_on(worker, worker::simulate(start));
            run.listen(worker);
        }
        run.schedule();
        run
    }

    fn listen(&mut self, worker: usize) {
        let (socket, _) = UnixStream::pair().unwrap();
        let socket = OwnedFd::from(socket);
        self.listeners.push(socket.as_raw_fd());
        self.scene.kernel.listen(socket.as_raw_fd());
        let listen = ToWorker::Listen {
            addr: ListenAddr::Tcp(([127, 0, 0, 1], 80).into()),
            socket,
            came_for: None,
        };
        self.workers[worker].post(listen).unwrap();
    }

    /// Has the scenario's events come to pass.
    fn schedule(&mut self) {
        let scenario = self.scene.scenario.clone();
        let scene = &mut self.scene;
        for (at, visitor) in scenario.visitors.iter().enumerate() {
            scene.remind(visitor.at, CachedReminder::Begin(at));
            if let Some((after, _)) = visitor.leaves {
                scene.remind(visitor.at + after, CachedReminder::Leave(at));
            }
        }
        for (at, purge) in scenario.purges.iter().enumerate() {
            if let When::At(micros) = purge.when {
                scene.remind(micros, CachedReminder::Purge(at));
            }
        }
        for (at, (micros, _)) in scenario.changes.iter().enumerate() {
            scene.remind(*micros, CachedReminder::Change(at));
        }
        for pool in [PoolKind::One, PoolKind::Two] {
            let addr = CachedScenario::addr(pool);
            scene.kernel.set_manner(addr, Manner::Accepts);
        }
        for (at, outage) in scenario.outages.iter().enumerate() {
            scene.remind(outage.from, CachedReminder::Outage(at, true));
            scene.remind(outage.to, CachedReminder::Outage(at, false));
        }
        scene.remind(LOOK, CachedReminder::Look);
    }

    fn go_on_to_the_end(&mut self) -> u64 {
        let mut steps = 0;
        while !self.is_over && self.scene.records.violation.is_none() && !panics::is_any() {
            steps += 1;
            let goes_on = self.scene.kernel.step();
            if !goes_on || steps > STEPS || self.scene.kernel.quiet_rounds() > QUIET_ROUNDS {
                let what = "a worker spins, or nothing happens any more".to_owned();
                self.scene.records.violated(what);
            }
            self.take_messages();
            self.scene.step();
            while let Some(happening) = self.scene.kernel.take_happening() {
                self.happen(happening);
            }
        }
        steps
    }

    fn take_messages(&mut self) {
        while self.health.take().is_some() {}
        while let Some(message) = self.control.take() {
            if let ToControl::WorkerFailed(worker, task) = message {
                let what = format!("worker {} has failed: {task}", worker.0);
                self.scene.records.violated(what);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(conn) => self.connected(conn),
            Happening::Changed(conn) => self.changed(conn),
            Happening::Due(number) => {
                let reminder = self.scene.reminder(number);
                self.remember(reminder);
            }
        }
    }

    fn connected(&mut self, conn: ConnId) {
        let addr = self.scene.kernel.backend_of(conn).unwrap();
        let made = if addr == CachedScenario::addr(PoolKind::One) {
            OriginConn::One(OriginOne::new(conn))
        } else {
            OriginConn::Two(OriginTwo::new(conn))
        };
        self.origins.insert(conn, made);
        self.changed(conn);
    }

    fn changed(&mut self, conn: ConnId) {
        let scene = &mut self.scene;
        match self.origins.get_mut(&conn) {
            Some(OriginConn::One(origin)) => origin.changed(scene),
            Some(OriginConn::Two(origin)) => origin.changed(scene),
            None => {
                let mut clients = self.clients.iter_mut().flatten();
                if let Some(client) = clients.find(|client| client.conn() == conn) {
                    client.go_on(scene);
                }
            }
        }
    }

    fn remember(&mut self, reminder: CachedReminder) {
        let scene = &mut self.scene;
        match reminder {
            CachedReminder::Begin(at) => self.begin(at),
            CachedReminder::GoOn(at) => {
                if let Some(client) = &mut self.clients[at] {
                    client.go_on(scene);
                }
            }
            CachedReminder::Leave(at) => {
                let leaves = scene.scenario.visitors[at].leaves;
                let resets = leaves.is_some_and(|(_, resets)| resets);
                if let Some(client) = &mut self.clients[at] {
                    client.end(scene, CameOut::Left, resets);
                }
            }
            CachedReminder::Answer(conn, stream) => match self.origins.get_mut(&conn) {
                Some(OriginConn::One(origin)) => origin.answer(scene),
                Some(OriginConn::Two(origin)) => origin.answer(scene, stream),
                None => {}
            },
            CachedReminder::Piece(conn) => match self.origins.get_mut(&conn) {
                Some(OriginConn::One(origin)) => origin.go_on(scene),
                Some(OriginConn::Two(origin)) => origin.go_on(scene),
                None => {}
            },
            CachedReminder::Purge(number) => scene.purge(number),
            CachedReminder::Change(at) => {
                let (_, resource) = scene.scenario.changes[at];
                scene.origin.versions[resource] += 1;
            }
            CachedReminder::Outage(at, begins) => self.outage(at, begins),
            CachedReminder::Look => {
                self.look();
                self.scene.remind_after(LOOK, CachedReminder::Look);
            }
        }
    }

    fn outage(&mut self, at: usize, begins: bool) {
        let scene = &mut self.scene;
        let pool = scene.scenario.outages[at].pool;
        let manner = if begins {
            Manner::Refuses
        } else {
            Manner::Accepts
        };
        scene.kernel.set_manner(CachedScenario::addr(pool), manner);
        scene.trouble(pool);
        if !begins {
            return;
        }
        for origin in self.origins.values_mut() {
            match origin {
                OriginConn::One(origin) if pool == PoolKind::One => origin.close(scene, true),
                OriginConn::Two(origin) if pool == PoolKind::Two => origin.close(scene, true),
                _ => {}
            }
        }
    }

    fn begin(&mut self, at: usize) {
        let scene = &mut self.scene;
        let visitor = &scene.scenario.clone().visitors[at];
        let from = ([10, 2, 0, at as u8 + 1], 5_000).into();
        let conn = scene.kernel.knock(self.listeners[visitor.worker], from);
        self.clients[at] = Some(if visitor.http2 {
            Client::Two(VisitorTwo::new(scene, at, conn))
        } else {
            Client::One(VisitorOne::new(scene, at, conn))
        });
    }

    /// Looks at everything.
    fn look(&mut self) {
        self.scene
            .store
            .sweep(limits::LISTED_AT_ONCE, self.scene.millis());
        let now = self.scene.now();
        self.check_open(now);
        let is_gone = |client: &Option<Client>| client.as_ref().is_some_and(Client::is_over);
        if self.gone_at.is_none() && self.clients.iter().all(is_gone) {
            self.gone_at = Some(now);
        }
        if self.gone_at.is_some_and(|gone| now > gone + BACK) {
            self.check_end();
            self.is_over = true;
        }
    }

    /// Invariant: every request gets an answer, or a failure that shows, within a bounded time.
    fn check_open(&mut self, now: u64) {
        let visitors = &self.scene.scenario.visitors;
        let is_slow = visitors.iter().any(|one| one.reads_slowly.is_some());
        let most = if is_slow { SLOW_TIME } else { ASK_TIME };
        let is_late = |begun: Option<(u64, u64, u64)>| {
            begun.is_some_and(|(_, _, micros)| micros + most < now)
        };
        let late = self
            .scene
            .records
            .open()
            .filter(|(_, one)| is_late(one.begun));
        let late: Vec<AskId> = late.map(|(id, _)| id).collect();
        if !late.is_empty() {
            self.scene
                .records
                .violated(format!("requests {late:?} wait without an end"));
        }
    }

    /// Invariant: when the clients are gone, no fetch runs, nobody follows one, and no exchange is counted.
    fn check_end(&mut self) {
        let remains = self.scene.store.remains();
        let exchanges = worker_counters::exchanges(&self.counters);
        if (remains.fetches, remains.followers, exchanges) != (0, 0, 0) {
            let what = format!("after the last client {exchanges} exchanges are left: {remains:?}");
            self.scene.records.violated(what);
        }
    }

    /// Invariant: all memory of the store is given back but what entries have, and that when they end.
    fn check_store(&mut self) {
        if self.scene.records.violation.is_some() {
            return;
        }
        let (store, millis) = (&self.scene.store, self.scene.millis());
        let used = store.usage();
        store.purge(Purge::All, PurgeEffect::Hard);
        while !store.sweep(limits::LISTED_AT_ONCE, millis).is_done {}
        let remains = store.remains();
        let nothing = Remains {
            fetches: 0,
            followers: 0,
            blocks: 0,
            unexplained: 0,
        };
        if remains != nothing || store.usage().entries > 0 {
            let what = format!("the store has not got everything back: {remains:?} of {used:?}");
            self.scene.records.violated(what);
        } else if used.resident_bytes > CACHE_BYTES {
            let what = format!("the store has taken too much: {used:?}");
            self.scene.records.violated(what);
        }
    }
}

impl Client {
    fn conn(&self) -> ConnId {
        match self {
            Client::One(client) => client.visit.conn,
            Client::Two(client) => client.visit.conn,
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Client::One(client) => client.visit.is_over,
            Client::Two(client) => client.visit.is_over,
        }
    }

    fn go_on(&mut self, scene: &mut Scene) {
        match self {
            Client::One(client) => client.go_on(scene),
            Client::Two(client) => client.go_on(scene),
        }
    }

    fn end(&mut self, scene: &mut Scene, came_out: CameOut, resets: bool) {
        match self {
            Client::One(client) => client.visit.end(scene, came_out, resets),
            Client::Two(client) => client.visit.end(scene, came_out, resets),
        }
    }
}
