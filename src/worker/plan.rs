//! The snapshot made live on one core: its balancers, retry budgets and queues.
//!
//! A change of configuration must cost a worker next to nothing. So a new plan takes over from the one before what it
//! can: a pool that did not change is the same live pool in both, one that did keeps its balancer, its budget and its
//! queue. And nothing is computed when a plan is made or a backend's state changes: the pool is marked, and its
//! balancer rebuilt when the next request asks for it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;

use rustls::ClientConfig;

use crate::base::ids::{BackendId, PoolId, WorkerId};
use crate::base::limits;
use crate::base::retry_budget::RetryBudget;
use crate::base::time::Micros;
use crate::shared::SharedSnapshot;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::{Backend, ListenAddr, Pool, Protocol, ProxyProtocol, Snapshot};
use crate::worker::balance::{Balancer, Candidate, View, hash_key};
use crate::worker::live_listener::{LiveListener, end_changed, listeners_after};

/// A snapshot and what one core keeps beside it. An exchange holds on to the plan it began with.
pub struct Plan {
    snapshot: SharedSnapshot,
    worker: WorkerId,
    pools: Vec<Rc<LivePool>>,
    /// As in the snapshot; a connection holds on to the one that it came by.
    listeners: Vec<Rc<LiveListener>>,
    /// The pool of each backend that takes requests, by row; [`NO_POOL`] for all others.
    pool_of: Vec<u16>,
}

/// The protocol, the settings of TLS by their address, and the header that begins a connection.
type Manners = (Protocol, Option<*const ClientConfig>, Option<ProxyProtocol>);

const NO_POOL: u16 = u16::MAX;

const _: () = assert!(limits::POOLS < NO_POOL as usize);

/// One pool on one core.
pub struct LivePool {
    balancer: RefCell<Box<dyn Balancer>>,
    usable: RefCell<Vec<Usable>>,
    /// Whether `balancer` and `usable` do not know the latest states of the backends.
    is_stale: Cell<bool>,
    carried: Rc<Carried>,
}

/// What a pool keeps from plan to plan, whatever of it changes.
struct Carried {
    retry_budget: RefCell<RetryBudget>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// A backend that takes requests now.
struct Usable {
    id: BackendId,
    /// Its index in the pool's backends.
    index: u32,
    max_connections: u32,
}

/// The outcome of asking a pool for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Index in the pool's backends.
    Backend(u32),
    /// Some backend is usable, but none may have a further connection.
    Saturated,
    /// None is usable.
    None,
}

/// What a pick depends on.
pub struct Choice<'a> {
    pub tables: &'a BackendTables,
    pub now: Micros,
    /// Hash of the request's key, for algorithms that use it.
    pub key: u64,
    /// Whether the request was sent to a backend already; `None` if to none at all.
    pub tried: Option<&'a dyn Fn(BackendId) -> bool>,
    /// Whether this core has an idle connection to a backend.
    pub has_idle: &'a dyn Fn(BackendId) -> bool,
}

impl Plan {
    /// Makes a worker's first snapshot live.
    pub fn new(snapshot: SharedSnapshot, worker: WorkerId) -> Plan {
        Plan::with(snapshot, worker, &[], |pool, snapshot| {
            LivePool::new(pool, worker, Carried::new(snapshot))
        })
    }

    /// Makes the snapshot live that comes after `before`.
    pub fn after(before: &Plan, snapshot: SharedSnapshot) -> Plan {
        let worker = before.worker;
        let pools = before.snapshot.pools.iter().zip(&before.pools);
        let known: HashMap<&str, _> = pools
            .map(|(pool, live)| (pool.name.as_str(), (pool, live)))
            .collect();
        Plan::with(
            snapshot,
            worker,
            &before.listeners,
            |pool, snapshot| match known.get(pool.name.as_str()) {
                None => LivePool::new(pool, worker, Carried::new(snapshot)),
                Some((old, live)) if balances_alike(old, pool) => Rc::clone(live),
                Some((old, live)) => live.succeeded_by(old, pool, worker),
            },
        )
    }

    fn with(
        snapshot: SharedSnapshot,
        worker: WorkerId,
        listeners: &[Rc<LiveListener>],
        mut live: impl FnMut(&Pool, &Snapshot) -> Rc<LivePool>,
    ) -> Plan {
        let pools = snapshot.pools.iter().map(|pool| live(pool, &snapshot));
        Plan {
            pools: pools.collect(),
            listeners: listeners_after(listeners, &snapshot),
            pool_of: pool_of(&snapshot),
            snapshot,
            worker,
        }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How clients that come by an address are spoken to, if it is listened on.
    pub fn listener(&self, addr: &ListenAddr) -> Option<&Rc<LiveListener>> {
        self.listeners
            .iter()
            .find(|listener| listener.addr == *addr)
    }

    /// Ends the listeners of the plan before that are gone, or demand something else of clients. Whether there are any.
    pub fn end_changed_listeners(&self, before: &Plan) -> bool {
        end_changed(&before.listeners, &self.listeners)
    }

    /// A pool as configured.
    pub fn pool(&self, id: PoolId) -> &Pool {
        &self.snapshot.pools[id.index()]
    }

    /// A pool's live part.
    pub fn live(&self, id: PoolId) -> &LivePool {
        &self.pools[id.index()]
    }

    /// A backend as configured.
    pub fn backend(&self, pool: PoolId, index: u32) -> &Backend {
        &self.pool(pool).backends[index as usize]
    }

    /// Whether requests may go to this backend: a pool of the snapshot has it, and it is not to be drained.
    pub fn takes(&self, id: BackendId) -> bool {
        self.pool_with(id).is_some()
    }

    /// How a backend is spoken to, such that connections to it may be used as long as this is the same.
    pub fn speaks_with(&self, id: BackendId) -> Option<Manners> {
        let pool = self.pool(self.pool_with(id)?);
        let tls = pool
            .tls
            .as_ref()
            .map(|tls| std::ptr::from_ref(&*tls.config));
        Some((pool.protocol, tls, pool.proxy_protocol))
    }

    fn pool_with(&self, id: BackendId) -> Option<PoolId> {
        let pool = *self.pool_of.get(id.index())?;
        (pool != NO_POOL).then_some(PoolId(u32::from(pool)))
    }

    /// Takes a changed state of a backend into account.
    pub fn state_changed(&self, id: BackendId) {
        if let Some(pool) = self.pool_with(id) {
            self.live(pool).is_stale.set(true);
            self.live(pool).wake_waiting();
        }
    }

    /// Wakes all requests that wait for a connection, in every pool.
    pub fn wake_waiting(&self) {
        self.pools.iter().for_each(|pool| pool.wake_waiting());
    }

    /// Picks a backend of a pool: one that was not tried yet if there is one, else again one that was.
    pub fn pick(&self, id: PoolId, choice: &Choice<'_>) -> Pick {
        let live = self.live(id);
        if live.is_stale.replace(false) {
            live.rebuild(&self.pool(id).backends, choice.tables, self.worker);
        }
        live.pick(choice)
    }
}

/// Whether two configurations of a pool are the same as far as picking a backend goes, down to the indices.
fn balances_alike(old: &Pool, new: &Pool) -> bool {
    let same = |(old, new): (&Backend, &Backend)| {
        old.id() == new.id()
            && old.weight == new.weight
            && old.max_connections == new.max_connections
            && old.draining == new.draining
            && old.addr == new.addr
    };
    old.algorithm.name() == new.algorithm.name()
        && old.backends.len() == new.backends.len()
        && old.backends.iter().zip(&new.backends).all(same)
}

fn pool_of(snapshot: &Snapshot) -> Vec<u16> {
    let mut pool_of = Vec::new();
    for (pool, number) in snapshot.pools.iter().zip(0..) {
        for backend in pool.backends.iter().filter(|backend| !backend.draining) {
            let row = backend.id().index();
            if row >= pool_of.len() {
                pool_of.resize(row + 1, NO_POOL);
            }
            pool_of[row] = number;
        }
    }
    pool_of
}

impl Carried {
    fn new(snapshot: &Snapshot) -> Rc<Carried> {
        Rc::new(Carried {
            retry_budget: RefCell::new(RetryBudget::new(snapshot.workers, Micros::now())),
            waiting: RefCell::default(),
        })
    }
}

impl LivePool {
    fn new(pool: &Pool, worker: WorkerId, carried: Rc<Carried>) -> Rc<LivePool> {
        LivePool::balanced_by(pool.algorithm.build(worker), carried)
    }

    fn balanced_by(balancer: Box<dyn Balancer>, carried: Rc<Carried>) -> Rc<LivePool> {
        Rc::new(LivePool {
            balancer: RefCell::new(balancer),
            usable: RefCell::default(),
            is_stale: Cell::new(true),
            carried,
        })
    }

    /// The live part of the pool `new`, as this one's pool is now configured. What the balancer has learnt goes with it;
    /// requests that began before get a fresh one, should they ask once more.
    fn succeeded_by(&self, old: &Pool, new: &Pool, worker: WorkerId) -> Rc<LivePool> {
        let carried = self.carried.clone();
        if old.algorithm.name() != new.algorithm.name() {
            return LivePool::new(new, worker, carried);
        }
        self.is_stale.set(true);
        let fresh = old.algorithm.build(worker);
        LivePool::balanced_by(self.balancer.replace(fresh), carried)
    }

    fn rebuild(&self, backends: &[Backend], tables: &BackendTables, worker: WorkerId) {
        let takes_requests = |backend: &Backend| {
            let state = tables.of(worker).state(backend.id());
            backend.addr.is_some() && !backend.draining && state == BackendState::Healthy
        };
        let (usable, candidates): (Vec<_>, Vec<_>) = backends
            .iter()
            .zip(0..)
            .filter(|(backend, _)| takes_requests(backend))
            .map(|(backend, index)| {
                let usable = Usable {
                    id: backend.id(),
                    index,
                    max_connections: backend.max_connections,
                };
                let candidate = Candidate {
                    id: backend.id(),
                    weight: backend.weight,
                    identity: hash_key(backend.label.as_bytes()),
                };
                (usable, candidate)
            })
            .unzip();
        self.balancer.borrow_mut().rebuild(&candidates);
        self.usable.replace(usable);
    }

    fn pick(&self, choice: &Choice<'_>) -> Pick {
        let usable = self.usable.borrow();
        if usable.is_empty() {
            return Pick::None;
        }
        let saturated = |backend: &Usable| {
            backend.max_connections != u32::MAX
                && choice.tables.open(backend.id) >= backend.max_connections
                && !(choice.has_idle)(backend.id)
        };
        let pick = |blocked: &dyn Fn(usize) -> bool| {
            self.balancer.borrow_mut().pick(&View {
                tables: choice.tables,
                now: choice.now,
                key: choice.key,
                blocked,
            })
        };
        let picked = match choice.tried {
            None => pick(&|at| saturated(&usable[at])),
            Some(tried) => pick(&|at| tried(usable[at].id) || saturated(&usable[at]))
                .or_else(|| pick(&|at| saturated(&usable[at]))),
        };
        match picked {
            Some(at) => Pick::Backend(usable[at].index),
            None => {
                usable
                    .iter()
                    .for_each(|backend| choice.tables.want(backend.id));
                Pick::Saturated
            }
        }
    }

    /// Tells the algorithm how long a backend took for its response head.
    pub fn observe(&self, id: BackendId, micros: u64, now: Micros) {
        self.balancer.borrow_mut().observe(id, micros, now);
    }

    /// How many retries the pool may still see.
    pub fn retry_budget(&self) -> &RefCell<RetryBudget> {
        &self.carried.retry_budget
    }

    /// Queues a task that waits for a connection to become free; false if the queue is full.
    pub fn wait(&self, waker: &Waker) -> bool {
        let mut waiting = self.carried.waiting.borrow_mut();
        if waiting.len() >= limits::WAITING_REQUESTS {
            return false;
        }
        waiting.push_back(waker.clone());
        true
    }

    /// Wakes all that wait: each looks for itself, in the order they came.
    pub fn wake_waiting(&self) {
        for waker in self.carried.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
