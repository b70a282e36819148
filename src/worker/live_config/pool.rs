//! A pool on one core: its balancer, the backends that take requests now, its retry budget and its queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::balance::{Balancer, Candidate, PickInput};
use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;
use crate::base::retry_budget::RetryBudget;
use crate::base::time::Micros;
use crate::shared::backend_table::BackendTables;
use crate::snapshot::{Backend, Pool, Snapshot};
use crate::worker::live_config::resort::Resort;
use crate::worker::upstream::{Neighbours, Queue};

/// One pool on one core.
pub struct LivePool {
    balancer: RefCell<Box<dyn Balancer>>,
    pub(super) usable: RefCell<Vec<Usable>>,
    /// Whether `balancer` and `usable` lack the latest states of the backends.
    pub(super) is_stale: Cell<bool>,
    /// Whether all backends take requests because too few are healthy.
    pub(super) panics: Cell<bool>,
    /// Whether a later live configuration has the pool with other settings, so that this value decides no longer which
    /// backends take requests.
    is_succeeded: Cell<bool>,
    carried: Rc<Carried>,
}

/// The part of a pool that a later live configuration takes over unchanged.
pub(super) struct Carried {
    retry_budget: RefCell<RetryBudget>,
    queue: Rc<Queue>,
}

/// A backend that takes requests now.
pub(super) struct Usable {
    pub(super) id: BackendId,
    /// The backend's index in its pool.
    index: u32,
    max_connections: u32,
}

/// The outcome of asking a pool for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The backend's index in its pool.
    Backend(u32),
    /// At least one backend is usable, but no usable backend may have a further connection.
    Saturated,
    /// No backend is usable.
    None,
}

/// The facts that a pick depends on.
pub struct Choice<'a> {
    /// The tables of all workers.
    pub tables: &'a BackendTables,
    /// The time of the pick.
    pub now: Micros,
    /// Hash of the request's key, for algorithms that use it.
    pub key: u64,
    /// Whether the request was already sent to a backend; `None`: the request was sent to no backend yet.
    pub tried: Option<&'a dyn Fn(BackendId) -> bool>,
    /// Whether a backend that may have so many connections can take no further request of this core.
    pub is_full: &'a dyn Fn(BackendId, u32) -> bool,
}

impl Carried {
    pub(super) fn new(
        pool: &Pool,
        snapshot: &Snapshot,
        neighbours: &Rc<Neighbours>,
    ) -> Rc<Carried> {
        Rc::new(Carried {
            retry_budget: RefCell::new(RetryBudget::new(snapshot.workers, Micros::now())),
            queue: Queue::new(pool.counters.clone(), neighbours),
        })
    }
}

impl LivePool {
    pub(super) fn new(pool: &Pool, worker: WorkerId, carried: Rc<Carried>) -> Rc<LivePool> {
        LivePool::balanced_by(pool.algorithm.build(worker), carried)
    }

    fn balanced_by(balancer: Box<dyn Balancer>, carried: Rc<Carried>) -> Rc<LivePool> {
        Rc::new(LivePool {
            balancer: RefCell::new(balancer),
            usable: RefCell::default(),
            is_stale: Cell::new(true),
            panics: Cell::default(),
            is_succeeded: Cell::default(),
            carried,
        })
    }

    /// The live part of the pool `new`, which replaces this one. The balancer and its state move to the new live pool;
    /// requests that began before get a fresh balancer here, should they pick once more.
    pub(super) fn succeeded_by(&self, old: &Pool, new: &Pool, worker: WorkerId) -> Rc<LivePool> {
        self.is_succeeded.set(true);
        let carried = self.carried.clone();
        if old.algorithm.name() != new.algorithm.name() {
            return LivePool::new(new, worker, carried);
        }
        self.is_stale.set(true);
        let fresh = old.algorithm.build(worker);
        LivePool::balanced_by(self.balancer.replace(fresh), carried)
    }

    pub(super) fn rebuild(&self, pool: &Pool, tables: &BackendTables, worker: WorkerId) {
        let table = tables.of(worker);
        let share = |backend: &Backend| table.share(backend.id());
        let panics = pool.panics(|backend| table.state(backend.id()));
        self.panics.set(panics);
        if !self.is_succeeded.get() {
            for backend in &pool.backends {
                table.set_forced(backend.id(), panics && !backend.draining);
            }
        }
        let resort = |backend: &Backend| Resort::of(backend, table, panics);
        let Some(best) = pool.backends.iter().filter_map(resort).min() else {
            self.balancer.borrow_mut().rebuild(&[]);
            self.usable.take();
            return;
        };
        let chosen = || {
            let backends = pool.backends.iter().zip(0..);
            backends.filter(|(backend, _)| resort(backend) == Some(best))
        };
        let is_whole = |backend| share(backend) == limits::WHOLE_SHARE;
        let are_equal = best == Resort::Resting || chosen().all(|(backend, _)| is_whole(backend));
        let (usable, candidates): (Vec<_>, Vec<_>) = chosen()
            .map(|(backend, index)| {
                let usable = Usable {
                    id: backend.id(),
                    index,
                    max_connections: backend.max_connections,
                };
                let share = if are_equal {
                    limits::WHOLE_SHARE
                } else {
                    share(backend)
                };
                let candidate = Candidate {
                    id: backend.id(),
                    weight: if are_equal {
                        backend.weight
                    } else {
                        backend.weight * u16::from(share)
                    },
                    share,
                    member: index,
                };
                (usable, candidate)
            })
            .unzip();
        let mut balancer = self.balancer.borrow_mut();
        if let Some(table) = &pool.table {
            balancer.take_table(table);
        }
        debug_assert_eq!(usable.len(), candidates.len());
        debug_assert!(
            !usable.is_empty(),
            "one backend at least is as good as the best"
        );
        balancer.rebuild(&candidates);
        drop(balancer);
        self.usable.replace(usable);
    }

    #[inline]
    pub(super) fn pick(&self, choice: &Choice<'_>) -> Pick {
        let usable = self.usable.borrow();
        if usable.is_empty() {
            return Pick::None;
        }
        let saturated = |backend: &Usable| (choice.is_full)(backend.id, backend.max_connections);
        let pick = |blocked: &dyn Fn(usize) -> bool| {
            self.balancer.borrow_mut().pick(&PickInput {
                in_flight: choice.tables,
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
            None => Pick::Saturated,
        }
    }

    /// Tells the algorithm how long a backend took to send its response head, in microseconds.
    pub fn observe(&self, id: BackendId, micros: u64, now: Micros) {
        self.balancer.borrow_mut().observe(id, micros, now);
    }

    /// Notes that a request begins, which adds a fraction of a retry to the budget.
    pub fn note_request(&self) {
        self.retry_budget().borrow_mut().deposit();
    }

    /// The budget of retries of the pool.
    pub fn retry_budget(&self) -> &RefCell<RetryBudget> {
        &self.carried.retry_budget
    }

    /// The queue of the requests that wait for a connection.
    pub fn queue(&self) -> &Rc<Queue> {
        &self.carried.queue
    }
}
