//! The possessions of one worker. Everything on the way of a request reaches them by reference; none of them is shared.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use crate::base::addresses::ListenAddr;
use crate::base::ids::{BackendId, RequestId, WorkerId};
use crate::base::limits;
use crate::base::memory;
use crate::base::random::SplitMix64;
use crate::base::time::Micros;
use crate::http::traceparent;
use crate::http::websocket::{self, KEY_BYTES};
use crate::messages::ToHealth;
use crate::messages::links::Links;
use crate::net::{AcceptSwitch, Blocks, Timers, Turn, thread_number};
use crate::shared::SharedTables;
use crate::shared::backend_table::{BackendState, Permit};
use crate::shared::worker_counters::WorkerCounters;
use crate::snapshot::SharedSnapshot;
use crate::worker::bulk_turns::BulkTurns;
use crate::worker::exchange::Exchange;
use crate::worker::idle_clients::IdleClients;
use crate::worker::live_config::LiveConfig;
use crate::worker::log_ration::LogRation;
use crate::worker::memory::Memory;
use crate::worker::reply::RenderedReplies;
use crate::worker::under_way::UnderWay;
use crate::worker::upstream::{Neighbours, Rests, Shared, Upstreams, descriptors};

/// How far a worker has come towards its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Serving,
    /// Another process accepts; connections end when their clients have had one more answer, or by themselves.
    Retiring,
    /// Connections end after their running exchange, idle ones at once.
    Draining,
}

/// A worker's possessions.
pub struct Shard {
    /// The number of the worker.
    pub worker: WorkerId,
    /// The tables of all workers; this worker writes its own.
    pub tables: SharedTables,
    /// Free blocks.
    pub blocks: Blocks,
    /// The room for bulk transfers in each turn.
    pub bulk_turns: BulkTurns,
    /// The use of memory.
    pub memory: Memory,
    /// The timers of all tasks.
    pub timers: Rc<Timers>,
    /// The clients' connections that are idle.
    pub idle_clients: Rc<IdleClients>,
    /// The idle connections to backends.
    pub upstreams: Upstreams,
    /// The connections to backends of HTTP/2, which requests share.
    pub shared_upstreams: Shared,
    /// The requests that wait for a descriptor.
    pub descriptor_waiters: descriptors::Waiters,
    /// The backends that could not be connected to.
    pub rests: RefCell<Rests>,
    /// Lets a task wait for the next turn of the core's loop.
    pub turn: Turn,
    /// The ways to other threads.
    pub links: Links,
    /// The mailboxes of all workers.
    pub neighbours: Rc<Neighbours>,
    /// The lines that may still be logged in this second.
    pub log_ration: LogRation,
    /// Answers of our own, ready to be sent.
    pub rendered_replies: RenderedReplies,
    /// The attempts at backends that are under way.
    pub under_way: UnderWay,
    config: RefCell<Rc<LiveConfig>>,
    /// Live configurations that requests began with which may still run.
    earlier_configs: RefCell<Vec<Weak<LiveConfig>>>,
    /// The generation of the live configuration, if the control thread could not be told of it yet.
    untold: Cell<Option<u64>>,
    /// One for each address that is listened on.
    accept_switches: RefCell<Vec<(ListenAddr, Rc<AcceptSwitch>)>>,
    next_request: Cell<u64>,
    connections: Cell<usize>,
    listeners: Cell<usize>,
    ending: Cell<Ending>,
    /// The process ends now.
    is_cut: Cell<bool>,
    /// The accept loops, waiting for a connection to end.
    full: RefCell<Vec<Waker>>,
    /// The longest lag of the loop in this second, in microseconds.
    worst_lag: Cell<u64>,
    /// Two, because one alone would begin where another process' does before long.
    trace_ids: RefCell<[SplitMix64; 2]>,
}

impl Shard {
    /// The possessions of a worker that starts with `config`.
    pub fn new(
        neighbours: Rc<Neighbours>,
        tables: SharedTables,
        links: Links,
        config: LiveConfig,
        turn: Turn,
    ) -> Shard {
        let worker = neighbours.worker;
        let shard = Shard {
            worker,
            neighbours,
            tables,
            blocks: Blocks::default(),
            bulk_turns: BulkTurns::default(),
            memory: Memory::default(),
            timers: Rc::default(),
            idle_clients: Rc::default(),
            upstreams: Upstreams::default(),
            shared_upstreams: Shared::default(),
            descriptor_waiters: descriptors::Waiters::default(),
            rests: RefCell::default(),
            turn,
            links,
            log_ration: LogRation::default(),
            rendered_replies: RenderedReplies::default(),
            under_way: UnderWay::default(),
            config: RefCell::new(Rc::new(config)),
            earlier_configs: RefCell::default(),
            untold: Cell::default(),
            accept_switches: RefCell::default(),
            next_request: Cell::new(0),
            connections: Cell::default(),
            listeners: Cell::default(),
            ending: Cell::default(),
            is_cut: Cell::default(),
            full: RefCell::default(),
            worst_lag: Cell::default(),
            trace_ids: RefCell::default(),
        };
        let counters = shard.links.counters(worker);
        counters.set_thread(thread_number());
        counters.pulse().beat(Micros::now());
        shard.derive_bounds();
        shard
    }

    /// The live configuration that requests begin with now.
    pub fn config(&self) -> Rc<LiveConfig> {
        self.config.borrow().clone()
    }

    /// Takes a new snapshot over, between two requests.
    pub fn adopt(&self, snapshot: SharedSnapshot) {
        let before = self.config();
        let config = Rc::new(LiveConfig::after(&before, snapshot));
        self.config.replace(config.clone());
        self.remember(&before);
        // The row of a backend that is gone may soon be another's.
        let stays = |id| config.takes(id) && config.reuse_key(id) == before.reuse_key(id);
        self.upstreams
            .forget_unless(self.tables.of(self.worker), stays);
        self.shared_upstreams.forget_unless(stays);
        let forgotten = self.rests.borrow_mut().forget_unless(stays);
        for id in forgotten {
            self.set_share(id, limits::WHOLE_SHARE);
        }
        self.close_accept_switches(|addr| config.snapshot().listener(addr).is_none());
        if config.end_changed_listeners(&before) {
            self.timers.wake_all();
        }
        self.derive_bounds();
        self.look_for_places();
        self.untold.set(Some(config.snapshot().generation));
        self.tell_adopted();
    }

    /// Keeps a live configuration in sight for as long as requests that began with it may run.
    fn remember(&self, config: &Rc<LiveConfig>) {
        let mut earlier = self.earlier_configs.borrow_mut();
        earlier.retain(|config| config.strong_count() > 0);
        earlier.push(Rc::downgrade(config));
    }

    /// Says which generation is adopted; [`Shard::end_tick`] says it again if the mailbox was full.
    fn tell_adopted(&self) {
        if let Some(generation) = self.untold.take()
            && !self.links.say_adopted(self.worker, generation)
        {
            self.untold.set(Some(generation));
        }
    }

    /// Takes over what the health thread says of a backend.
    pub fn set_backend_state(&self, id: BackendId, state: BackendState, is_down: bool) {
        let table = self.tables.of(self.worker);
        let was_down = table.is_down(id);
        if (table.state(id), was_down) == (state, is_down) {
            return;
        }
        table.set_state(id, state);
        table.set_down(id, is_down);
        // Failures before a change of the state say nothing about the backend's present state.
        self.tables.end_failures(id);
        self.config.borrow().state_changed(id);
        self.each_earlier_config(|config| config.state_changed(id));
        if is_down && !was_down {
            self.upstreams.close_idle_to(id, table);
            self.shared_upstreams.suspect(id);
        }
        self.under_way.set_down(id, is_down, &self.timers);
    }

    /// Asks for early probes of the backends in which requests wait without an answer.
    fn report_silent(&self, now: u64) {
        for id in self.under_way.silent(now) {
            self.links.tell_health(ToHealth::Silent(id));
        }
    }

    /// Gives a backend this share of the requests that it would get otherwise, of `limits::WHOLE_SHARE`.
    pub fn set_share(&self, id: BackendId, share: u8) {
        let table = self.tables.of(self.worker);
        if table.share(id) == share {
            return;
        }
        table.set_share(id, share);
        self.config.borrow().state_changed(id);
        self.each_earlier_config(|config| config.state_changed(id));
    }

    fn each_earlier_config(&self, look: impl Fn(&LiveConfig)) {
        let earlier = self.earlier_configs.borrow();
        earlier
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|config| look(&config));
    }

    /// Lets exchanges that began under a snapshot up to the generation `last` end soon.
    pub fn end_generations(&self, last: u64) {
        let due = Micros::now().after(self.config().snapshot().shutdown_timeout);
        self.each_earlier_config(|config| {
            if config.snapshot().generation <= last {
                config.end_by(due);
            }
        });
        self.timers.wake_all();
    }

    /// Makes a switch for an address that is listened on from now on.
    pub fn open_accept_switch(&self, addr: ListenAddr) -> Rc<AcceptSwitch> {
        let accept_switch = Rc::new(AcceptSwitch::default());
        if self.is_ending() {
            accept_switch.close();
        }
        self.accept_switches
            .borrow_mut()
            .push((addr, accept_switch.clone()));
        accept_switch
    }

    /// Turns these switches off: accepting ends there.
    fn close_accept_switches(&self, closes: impl Fn(&ListenAddr) -> bool) {
        let mut accept_switches = self.accept_switches.borrow_mut();
        for (_, accept_switch) in accept_switches.extract_if(.., |(addr, _)| closes(addr)) {
            accept_switch.close();
        }
    }

    fn derive_bounds(&self) {
        let config = self.config.borrow();
        for listener in &config.snapshot().listeners {
            listener.clients.set_most(listener.connections);
        }
        memory::set_budget(config.snapshot().memory_bytes);
    }

    /// Counts an exchange under way until the guard is dropped: what a stop would cut.
    pub fn count_exchange(&self) -> CountedExchange<'_> {
        let counters = self.links.counters(self.worker);
        counters.begin_exchange();
        CountedExchange(counters)
    }

    /// A new exchange: with the current live configuration and an id of its own.
    pub fn begin_exchange(&self) -> Exchange {
        let count = self.next_request.get();
        self.next_request.set(count + 1);
        debug_assert!(count < 1 << 48, "the number of the worker stands above");
        let id = RequestId((u64::from(self.worker.0) << 48) | count);
        Exchange::new(self.config(), self.worker, id)
    }

    /// `traceparent` for a request that begins a trace.
    pub fn begin_trace(&self) -> [u8; traceparent::BYTES] {
        let [first, second] = &mut *self.trace_ids.borrow_mut();
        let trace = [first.number(), second.number()];
        traceparent::new(trace, first.number())
    }

    /// A key for a WebSocket that a backend is asked for.
    pub fn make_websocket_key(&self) -> [u8; KEY_BYTES] {
        let [first, second] = &mut *self.trace_ids.borrow_mut();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.number().to_ne_bytes());
        bytes[8..].copy_from_slice(&second.number().to_ne_bytes());
        websocket::key(bytes)
    }

    /// Counts a client's connection that has begun. [`Shard::connection_ends`] follows when the connection has ended.
    pub fn connection_begins(&self) {
        self.connections.set(self.connections.get() + 1);
        self.memory.note_accepted();
        let counters = self.links.counters(self.worker);
        counters.accept();
        counters.set_connections(self.connections.get() as u32);
    }

    /// Counts a client's connection less.
    pub fn connection_ends(&self) {
        debug_assert!(self.connections.get() > 0, "each connection began before");
        self.connections.set(self.connections.get() - 1);
        let counters = self.links.counters(self.worker);
        counters.set_connections(self.connections.get() as u32);
    }

    /// Has the task woken when there may be a place for another client.
    pub fn wake_with_place(&self, cx: &mut Context<'_>) {
        self.full.borrow_mut().push(cx.waker().clone());
    }

    /// Lets the accept loops that wait for a place look around.
    pub fn look_for_places(&self) {
        self.full.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Begins to drain: accepting stops, and every waiting task is woken to look around.
    pub fn drain(&self) {
        self.ending.set(Ending::Draining);
        self.close_accept_switches(|_| true);
        self.look_for_places();
        self.timers.wake_all();
        self.upstreams.close_idle(self.tables.of(self.worker));
        self.report_drained();
    }

    /// Begins to retire: accepting stops, because another process has the same listening sockets. Nothing is closed
    /// under a client's hands: each learns from its next answer that the connection ends.
    pub fn retire(&self) {
        if self.ending.get() == Ending::Serving {
            self.ending.set(Ending::Retiring);
        }
        self.close_accept_switches(|_| true);
        self.look_for_places();
        self.timers.wake_all();
        self.report_drained();
    }

    /// Has every exchange under way recorded in its present state.
    pub fn cut(&self) {
        self.is_cut.set(true);
        self.timers.wake_all();
    }

    /// Whether the process ends now.
    pub fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Whether connections are to end after their running exchange.
    pub fn is_draining(&self) -> bool {
        self.ending.get() == Ending::Draining
    }

    /// Whether another process has the same listening sockets, and this one only finishes.
    pub fn is_retiring(&self) -> bool {
        self.ending.get() == Ending::Retiring
    }

    /// Whether it drains or retires.
    pub fn is_ending(&self) -> bool {
        self.ending.get() != Ending::Serving
    }

    /// Counts a listener that accepts until the guard is dropped: what it accepts last must still be served.
    pub fn count_listener(self: &Rc<Self>) -> CountedListener {
        self.listeners.set(self.listeners.get() + 1);
        CountedListener(self.clone())
    }

    /// Counts a request under way at a backend until the guard is dropped.
    pub fn count_in_flight(&self, backend: BackendId) -> CountedInFlight<'_> {
        self.tables.of(self.worker).begin(backend);
        CountedInFlight {
            shard: self,
            backend,
        }
    }

    /// The workers besides this one.
    pub fn other_workers(&self) -> impl Iterator<Item = WorkerId> {
        let workers = (0..self.tables.workers() as u32).map(WorkerId);
        workers.filter(|&worker| worker != self.worker)
    }

    /// Takes over what another worker freed for a request that waits here.
    pub fn take_permit(&self, permit: Permit) {
        let config = self.config();
        if let Some(queue) = config.queue_for(permit.backend()) {
            queue.take_over(permit);
        }
    }

    /// Gives idle connections to the pool of this backend up for requests that wait on other workers.
    pub fn give_idle(&self, id: BackendId) {
        let config = self.config();
        let table = self.tables.of(self.worker);
        let backends = config
            .pool_with(id)
            .into_iter()
            .flat_map(|pool| &pool.backends);
        backends.for_each(|backend| self.upstreams.share(backend.id(), table));
        self.shared_upstreams.share();
    }

    /// Lets requests that wait for a connection to the pool of this backend look around.
    pub fn look_for(&self, id: BackendId) {
        if let Some(queue) = self.config().queue_for(id) {
            queue.look();
        }
    }

    /// Takes in how long the loop was kept from its work, in microseconds.
    pub fn note_lag(&self, micros: u64) {
        self.links.counters(self.worker).observe_lag(micros);
        self.worst_lag.set(self.worst_lag.get().max(micros));
    }

    /// Lets requests that wait look around, and says what other threads were not told yet: the end of a tick in the
    /// core's millisecond `now`.
    pub fn end_tick(&self, now: u64) {
        self.config.borrow().let_look();
        self.each_earlier_config(LiveConfig::let_look);
        self.tell_adopted();
        if now.is_multiple_of(limits::SUSPECT_LOOK_MILLIS) {
            self.report_silent(now);
        }
        if now.is_multiple_of(1000) {
            let counters = self.links.counters(self.worker);
            counters.set_worst_lag(self.worst_lag.take());
            self.log_ration.renew(self.worker);
        }
    }

    /// Takes into account that a request to a backend failed, and tells the health thread when that makes as many in
    /// a row as the pool ejects a backend for. A full mailbox loses the report: no request waits for it.
    pub fn report_failure(&self, exchange: &Exchange, backend: BackendId, word: &'static str) {
        let Some(outlier) = &exchange.config.pool(exchange.route().pool).outlier else {
            return;
        };
        let most = outlier.consecutive_failures;
        if let Some(failures) = self.tables.count_failure(backend, most) {
            self.links.tell_health(ToHealth::Failed {
                backend,
                failures,
                word,
            });
        }
    }

    /// Takes an answer's status into account: a 5xx counts as a failure, anything else ends a row of them.
    pub fn report_answer(&self, exchange: &Exchange, backend: BackendId) {
        if exchange.tally().status >= 500 {
            self.report_failure(exchange, backend, "status_5xx");
        } else {
            self.tables.end_failures(backend);
        }
    }

    /// Tells the control thread if the calling task ends by a panic: the worker cannot work without the task.
    pub fn report_panic(&self, task: &'static str) {
        if std::thread::panicking() {
            self.links.say_failed(self.worker, task);
        }
    }

    /// Tells the control thread if the worker is to end and has no connection and no listener any more.
    pub fn report_drained(&self) {
        if self.is_ending() && self.connections.get() == 0 && self.listeners.get() == 0 {
            self.links.say_drained(self.worker);
        }
    }
}

/// A listener that accepts, counted.
pub struct CountedListener(Rc<Shard>);

impl CountedListener {
    /// The worker that it belongs to.
    pub fn shard(&self) -> &Rc<Shard> {
        &self.0
    }
}

impl Drop for CountedListener {
    fn drop(&mut self) {
        self.0.report_panic("accepting");
        debug_assert!(self.0.listeners.get() > 0, "each listener was counted");
        self.0.listeners.set(self.0.listeners.get() - 1);
        self.0.report_drained();
    }
}

/// An exchange under way, counted.
pub struct CountedExchange<'a>(&'a WorkerCounters);

impl Drop for CountedExchange<'_> {
    fn drop(&mut self) {
        self.0.end_exchange();
    }
}

/// A request under way at a backend, counted.
pub struct CountedInFlight<'a> {
    shard: &'a Shard,
    backend: BackendId,
}

impl Drop for CountedInFlight<'_> {
    fn drop(&mut self) {
        let shard = self.shard;
        shard.tables.of(shard.worker).end(self.backend);
        if !shard.descriptor_waiters.is_empty() {
            let most = shard.config().snapshot().descriptors;
            shard.descriptor_waiters.let_go(most); // The connection may have ended as well.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{POOL, refusing, run_worker};

    fn with_shard(test: impl AsyncFnOnce(Rc<Shard>)) {
        run_worker(&[refusing()], |_| (), test);
    }

    #[test]
    fn a_worker_that_drains_does_not_go_back_to_retiring() {
        type Change = fn(&Shard);
        let rows: [(&[Change], bool, bool); 4] = [
            (&[], false, false),
            (&[Shard::retire], true, false),
            (&[Shard::retire, Shard::drain], false, true),
            (&[Shard::drain, Shard::retire], false, true),
        ];
        for (row, (changes, is_retiring, is_draining)) in rows.into_iter().enumerate() {
            with_shard(async |shard| {
                changes.iter().for_each(|change| change(&shard));
                let found = (shard.is_retiring(), shard.is_draining());
                assert_eq!(found, (is_retiring, is_draining), "row {row}");
                assert_eq!(shard.is_ending(), is_retiring || is_draining);
            });
        }
    }

    #[test]
    fn requests_have_numbers_of_their_own_below_that_of_their_worker() {
        with_shard(async |shard| {
            let ids = [(); 3].map(|()| shard.begin_exchange().id.0);
            assert_eq!(ids, [0, 1, 2], "of the first worker");
        });
    }

    #[test]
    fn what_is_counted_ends_with_its_guard() {
        with_shard(async |shard| {
            let id = shard.config().backend(POOL, 0).id();
            let table = shard.tables.of(shard.worker);
            let in_flight = [(); 2].map(|()| shard.count_in_flight(id));
            assert_eq!(table.in_flight(id), 2);
            drop(in_flight);
            assert_eq!(table.in_flight(id), 0);
            let counters = shard.links.counters(shard.worker);
            let exchange = shard.count_exchange();
            assert_eq!(counters.exchanges(), 1);
            drop(exchange);
            assert_eq!(counters.exchanges(), 0);
        });
    }

    #[test]
    fn a_gate_that_is_opened_while_the_worker_ends_is_closed() {
        with_shard(async |shard| {
            let addr = ListenAddr::Tcp(([127, 0, 0, 1], 1).into());
            let early = shard.open_accept_switch(addr.clone());
            assert!(!early.is_closed());
            shard.retire();
            assert!(early.is_closed() && shard.open_accept_switch(addr).is_closed());
        });
    }
}
