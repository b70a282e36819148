//! The snapshot made live on one core: its balancers, retry budgets and queues.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

use crate::base::ids::{BackendId, PoolId, WorkerId};
use crate::base::limits;
use crate::base::retry_budget::RetryBudget;
use crate::base::time::Micros;
use crate::shared::SharedSnapshot;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::{Backend, Pool, Snapshot};
use crate::worker::balance::{Balancer, Candidate, View, hash_key};

/// A snapshot and what one core keeps beside it. An exchange holds on to the plan it began with.
pub struct Plan {
    snapshot: SharedSnapshot,
    pools: Vec<LivePool>,
}

/// One pool on one core.
pub struct LivePool {
    balancer: RefCell<Box<dyn Balancer>>,
    usable: RefCell<Vec<Usable>>,
    pub retry_budget: RefCell<RetryBudget>,
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

impl Plan {
    /// Makes a snapshot live on the worker.
    pub fn new(snapshot: SharedSnapshot, worker: WorkerId, tables: &BackendTables) -> Plan {
        let now = Micros::now();
        let workers = snapshot.workers;
        let live = |pool: &Pool| LivePool {
            balancer: RefCell::new(pool.algorithm.build(worker)),
            usable: RefCell::default(),
            retry_budget: RefCell::new(RetryBudget::new(workers, now)),
            waiting: RefCell::default(),
        };
        let pools = snapshot.pools.iter().map(live).collect();
        let plan = Plan { snapshot, pools };
        for index in 0..plan.pools.len() {
            plan.refresh(PoolId(index as u32), worker, tables);
        }
        plan
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
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

    /// Takes a changed state of a backend into account.
    pub fn state_changed(&self, id: BackendId, worker: WorkerId, tables: &BackendTables) {
        for (index, pool) in self.snapshot.pools.iter().enumerate() {
            if pool.backends.iter().any(|backend| backend.id() == id) {
                self.refresh(PoolId(index as u32), worker, tables);
            }
        }
    }

    /// Wakes all requests that wait for a connection, in every pool.
    pub fn wake_waiting(&self) {
        self.pools.iter().for_each(LivePool::wake_waiting);
    }

    fn refresh(&self, id: PoolId, worker: WorkerId, tables: &BackendTables) {
        let takes_requests = |backend: &Backend| {
            let state = tables.of(worker).state(backend.id());
            backend.addr.is_some() && !backend.draining && state == BackendState::Healthy
        };
        let (usable, candidates): (Vec<_>, Vec<_>) = self
            .pool(id)
            .backends
            .iter()
            .enumerate()
            .filter(|(_, backend)| takes_requests(backend))
            .map(|(index, backend)| {
                let usable = Usable {
                    id: backend.id(),
                    index: index as u32,
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
        let live = self.live(id);
        live.balancer.borrow_mut().rebuild(&candidates);
        live.usable.replace(usable);
        live.wake_waiting();
    }
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

impl LivePool {
    /// Picks a backend: one that was not tried yet if there is one, else again one that was.
    pub fn pick(&self, choice: &Choice<'_>) -> Pick {
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

    /// Queues a task that waits for a connection to become free; false if the queue is full.
    pub fn wait(&self, waker: &Waker) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= limits::WAITING_REQUESTS {
            return false;
        }
        waiting.push_back(waker.clone());
        true
    }

    /// Wakes all that wait: each looks for itself, in the order they came.
    pub fn wake_waiting(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}
