//! The possessions of one worker. Every step of a request gets them by reference; no other worker shares them.

mod accepting;
mod adoption;
mod backends;
mod counted;
mod ending;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::task::Waker;

use crate::base::addresses::ListenAddr;
use crate::base::ids::{RequestId, WorkerId};
use crate::base::limits;
use crate::base::random::SplitMix64;
use crate::base::time::Micros;
use crate::http::traceparent;
use crate::http::websocket::{self, KEY_BYTES};
use crate::messages::links::Links;
use crate::net::{AcceptSwitch, Blocks, Timers, Turn, thread_number};
use crate::shared::{SharedStore, SharedTables};
use crate::worker::bulk_turns::BulkTurns;
use crate::worker::cache::Cache;
use crate::worker::cache::waits::Wait;
use crate::worker::client_room::idle::IdleClients;
use crate::worker::exchange::Exchange;
use crate::worker::live_config::LiveConfig;
use crate::worker::log_ration::LogRation;
use crate::worker::memory::Memory;
use crate::worker::reply::RenderedReplies;
use crate::worker::shard::ending::Ending;
use crate::worker::under_way::UnderWay;
use crate::worker::upstream::{Neighbours, Rests, Shared, Upstreams, descriptors};

pub use counted::{CountedInFlight, CountedListener};

/// A worker's possessions.
pub struct Shard {
    /// The number of the worker.
    pub worker: WorkerId,
    /// The tables of all workers; this worker writes its own.
    pub tables: SharedTables,
    /// Free blocks of memory for received and sent bytes.
    pub blocks: Blocks,
    /// The byte budget for bulk transfers in each turn of the event loop.
    pub bulk_turns: BulkTurns,
    /// The use of memory, and the waits for it.
    pub memory: Memory,
    /// The timers of all tasks.
    pub timers: Rc<Timers>,
    /// The idle connections of clients.
    pub idle_clients: Rc<IdleClients>,
    /// The idle connections to backends.
    pub upstreams: Upstreams,
    /// The connections to backends of HTTP/2, which requests share.
    pub shared_upstreams: Shared,
    /// The requests that wait for a descriptor.
    pub descriptor_waiters: descriptors::Waiters,
    /// The backends that could not be connected to.
    pub rests: RefCell<Rests>,
    /// Lets a task wait for the next turn of the core's event loop.
    pub turn: Turn,
    /// The ways to other threads.
    pub links: Links,
    /// The mailboxes of all workers.
    pub neighbours: Rc<Neighbours>,
    /// The bounds on log lines and reports in this second.
    pub log_ration: LogRation,
    /// The replies that this core has rendered.
    pub rendered_replies: RenderedReplies,
    /// The attempts at backends that are under way.
    pub under_way: UnderWay,
    /// The cache; `None`: nothing is cached.
    pub cache: Option<Cache>,
    config: RefCell<Rc<LiveConfig>>,
    /// Earlier live configurations, while requests that began with them may still run.
    earlier_configs: RefCell<Vec<Weak<LiveConfig>>>,
    /// The generation of the live configuration, if the control thread has not been told of it yet because its mailbox
    /// was full.
    untold: Cell<Option<u64>>,
    /// The switch of each listening address.
    accept_switches: RefCell<Vec<(ListenAddr, Rc<AcceptSwitch>)>>,
    next_request: Cell<u64>,
    connections: Cell<usize>,
    listeners: Cell<usize>,
    ending: Cell<Ending>,
    /// Whether the process ends now.
    is_cut: Cell<bool>,
    /// The tasks that wait for a client slot.
    full: RefCell<Vec<Waker>>,
    /// The longest lag of the event loop in this second, in microseconds.
    worst_lag: Cell<u64>,
    /// The two states of the generator of trace ids. With one state alone, the ids of two processes would soon overlap.
    trace_ids: RefCell<[SplitMix64; 2]>,
}

impl Shard {
    /// The possessions of a worker that starts with `config`. Errors: the kernel grants no descriptor for the turns of
    /// the event loop.
    pub fn new(
        neighbours: Rc<Neighbours>,
        tables: SharedTables,
        links: Links,
        config: LiveConfig,
        store: Option<SharedStore>,
    ) -> io::Result<Shard> {
        let worker = neighbours.worker;
        let mailbox = |worker: WorkerId| neighbours.mailboxes[worker.index()].clone();
        let cache = store.map(|store| Cache::new(store, worker, mailbox(worker)));
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
            turn: Turn::new()?,
            links,
            log_ration: LogRation::default(),
            rendered_replies: RenderedReplies::default(),
            under_way: UnderWay::default(),
            cache,
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
        Ok(shard)
    }

    /// The live configuration with which requests begin now.
    pub fn config(&self) -> Rc<LiveConfig> {
        self.config.borrow().clone()
    }

    /// A new exchange, with the current live configuration and an id of its own.
    pub fn begin_exchange(&self) -> Exchange {
        let count = self.next_request.get();
        self.next_request.set(count + 1);
        debug_assert!(count < 1 << 48, "the number of the worker stands above");
        let id = RequestId((u64::from(self.worker.0) << 48) | count);
        Exchange::new(self.config(), self.worker, id)
    }

    /// The `traceparent` of a request that begins a trace.
    pub fn begin_trace(&self) -> [u8; traceparent::BYTES] {
        let [first, second] = &mut *self.trace_ids.borrow_mut();
        let trace = [first.number(), second.number()];
        traceparent::new(trace, first.number())
    }

    /// A key for a WebSocket request that goes to a backend.
    pub fn make_websocket_key(&self) -> [u8; KEY_BYTES] {
        let [first, second] = &mut *self.trace_ids.borrow_mut();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.number().to_ne_bytes());
        bytes[8..].copy_from_slice(&second.number().to_ne_bytes());
        websocket::key(bytes)
    }

    /// The workers besides this one.
    pub fn other_workers(&self) -> impl Iterator<Item = WorkerId> {
        let workers = (0..self.tables.workers() as u32).map(WorkerId);
        workers.filter(|&worker| worker != self.worker)
    }

    /// Lets a task wait for the fill of this number.
    pub fn wait_for_fill(&self, fill: u64) -> Rc<Wait> {
        let cache = self.cache.as_ref();
        cache
            .map(|cache| cache.waits.join(fill))
            .unwrap_or_default()
    }

    /// Wakes the tasks that wait for the fill of this number.
    pub fn wake_followers(&self, fill: u64) {
        if let Some(cache) = &self.cache {
            cache.waits.wake(fill);
        }
    }

    /// Notes how long the event loop was delayed, in microseconds.
    pub fn note_lag(&self, micros: u64) {
        self.links.counters(self.worker).observe_lag(micros);
        self.worst_lag.set(self.worst_lag.get().max(micros));
    }

    /// Ends a tick at the core's millisecond `now`: lets waiting requests check again, and sends the messages to other
    /// threads that were not sent yet.
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
}

#[cfg(test)]
mod tests {
    use crate::worker::sample::{refusing, run_worker};

    #[test]
    fn requests_have_numbers_of_their_own_below_that_of_their_worker() {
        run_worker(
            &[refusing()],
            |_| (),
            async |shard| {
                let ids = [(); 3].map(|()| shard.begin_exchange().id.0);
                assert_eq!(ids, [0, 1, 2], "of the first worker");
            },
        );
    }
}
