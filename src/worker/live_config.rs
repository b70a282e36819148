//! The snapshot in use on one core, with its balancers, retry budgets and queues.
//!
//! A change of configuration must cost a worker next to nothing. So a new live configuration takes as much as possible
//! from the live configuration before it: an unchanged pool is the same live pool in both, and a changed pool keeps its
//! balancer, its retry budget and its queue. Nothing is computed when a live configuration is made or the state of a
//! backend changes: the pool is marked, and its balancer is rebuilt when the next request asks for it.

pub mod listener;
mod pool;
mod resort;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::base::addresses::ListenAddr;
use crate::base::ids::{BackendId, PoolId};
use crate::base::time::Micros;
use crate::shared::backend_table::BackendTables;
use crate::snapshot::SharedSnapshot;
use crate::snapshot::{Backend, Pool, Snapshot};
use crate::worker::live_config::listener::{LiveListener, end_changed, listeners_after};
use crate::worker::live_config::pool::Carried;
use crate::worker::upstream::{Backends, Neighbours, Queue, ReuseKey};

pub use pool::{Choice, LivePool, Pick};

/// A snapshot and the state that one core keeps beside it. An exchange keeps the live configuration with which it
/// began.
pub struct LiveConfig {
    snapshot: SharedSnapshot,
    neighbours: Rc<Neighbours>,
    pools: Vec<Rc<LivePool>>,
    /// The listeners of the snapshot. A connection keeps the value of its listener.
    listeners: Vec<Rc<LiveListener>>,
    /// The positions of the backends that take requests, by row in the tables.
    positions: Vec<Option<BackendPosition>>,
    /// The last key that was given out on this core.
    last_key: ReuseKey,
    /// The instant by which exchanges that began with this live configuration must end, if too many snapshots are in
    /// use.
    due: Cell<Option<Micros>>,
}

/// The position of a backend in a snapshot, and the key of the connections that may be used.
#[derive(Clone, Copy)]
struct BackendPosition {
    pool: PoolId,
    /// Index in the pool's backends.
    index: u32,
    key: ReuseKey,
}

impl LiveConfig {
    /// The live configuration of a worker's first snapshot.
    pub fn new(snapshot: SharedSnapshot, neighbours: &Rc<Neighbours>) -> LiveConfig {
        LiveConfig::with(snapshot, neighbours, None, |pool, snapshot| {
            let carried = Carried::new(pool, snapshot, neighbours);
            LivePool::new(pool, neighbours.worker, carried)
        })
    }

    /// The live configuration of the snapshot that follows `before`.
    pub fn after(before: &LiveConfig, snapshot: SharedSnapshot) -> LiveConfig {
        let neighbours = &before.neighbours;
        let worker = neighbours.worker;
        let pools = before.snapshot.pools.iter().zip(&before.pools);
        let known: HashMap<&str, _> = pools
            .map(|(pool, live)| (pool.name.as_str(), (pool, live)))
            .collect();
        LiveConfig::with(
            snapshot,
            neighbours,
            Some(before),
            |pool, snapshot| match known.get(pool.name.as_str()) {
                None => LivePool::new(pool, worker, Carried::new(pool, snapshot, neighbours)),
                Some((old, live)) if balances_alike(old, pool) => Rc::clone(live),
                Some((old, live)) => live.succeeded_by(old, pool, worker),
            },
        )
    }

    fn with(
        snapshot: SharedSnapshot,
        neighbours: &Rc<Neighbours>,
        before: Option<&LiveConfig>,
        mut live: impl FnMut(&Pool, &Snapshot) -> Rc<LivePool>,
    ) -> LiveConfig {
        let (positions, last_key) = positions(&snapshot, before);
        let pools = snapshot.pools.iter().map(|pool| live(pool, &snapshot));
        LiveConfig {
            pools: pools.collect(),
            listeners: listeners_after(before.map_or(&[], |before| &before.listeners), &snapshot),
            positions,
            last_key,
            due: Cell::default(),
            snapshot,
            neighbours: neighbours.clone(),
        }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Bounds the exchanges that began with this live configuration: they must end by `due`. An earlier bound stays.
    pub fn end_by(&self, due: Micros) {
        let earlier = self.due.get().unwrap_or(due);
        self.due.set(Some(due.min(earlier)));
    }

    /// The instant by which exchanges that began with this live configuration must end; `None`: there is no limit.
    pub fn due(&self) -> Option<Micros> {
        self.due.get()
    }

    /// The settings of the listener on an address, if there is one.
    pub fn listener(&self, addr: &ListenAddr) -> Option<&Rc<LiveListener>> {
        self.listeners
            .iter()
            .find(|listener| listener.addr == *addr)
    }

    /// Ends the listeners of `before` that are gone or have other demands now. The result says whether there are any.
    pub fn end_changed_listeners(&self, before: &LiveConfig) -> bool {
        end_changed(&before.listeners, &self.listeners)
    }

    /// A pool as configured.
    pub fn pool(&self, id: PoolId) -> &Pool {
        &self.snapshot.pools[id.index()]
    }

    /// The live part of a pool.
    pub fn live(&self, id: PoolId) -> &LivePool {
        &self.pools[id.index()]
    }

    /// A backend as configured.
    pub fn backend(&self, pool: PoolId, index: u32) -> &Backend {
        &self.pool(pool).backends[index as usize]
    }

    /// Whether requests may go to this backend: a pool of the snapshot has the backend, and the backend is not
    /// draining.
    pub fn takes(&self, id: BackendId) -> bool {
        self.position(id).is_some()
    }

    /// The key of the connections to a backend that may be used; `None`: the backend takes no requests.
    pub fn reuse_key(&self, id: BackendId) -> Option<ReuseKey> {
        Some(self.position(id)?.key)
    }

    /// Index in its pool's backends of a backend that takes requests.
    pub fn index_of(&self, id: BackendId) -> Option<u32> {
        Some(self.position(id)?.index)
    }

    /// The most connections that a backend may have; `None`: the backend takes no requests.
    pub fn most_connections(&self, id: BackendId) -> Option<u32> {
        let position = self.position(id)?;
        Some(self.backend(position.pool, position.index).max_connections)
    }

    /// The queue of the requests that wait for a connection to a backend's pool; `None`: the backend takes no requests.
    pub fn queue_for(&self, id: BackendId) -> Option<&Rc<Queue>> {
        Some(self.live(self.position(id)?.pool).queue())
    }

    /// Whether a connection to a backend with this key may be used.
    pub fn is_current(&self, id: BackendId, key: ReuseKey) -> bool {
        self.reuse_key(id) == Some(key)
    }

    /// A backend that takes requests, as configured.
    pub fn backend_of(&self, id: BackendId) -> Option<&Backend> {
        let position = self.position(id)?;
        Some(self.backend(position.pool, position.index))
    }

    /// The pool of a backend that takes requests.
    pub fn pool_with(&self, id: BackendId) -> Option<&Pool> {
        Some(self.pool(self.position(id)?.pool))
    }

    fn position(&self, id: BackendId) -> Option<BackendPosition> {
        *self.positions.get(id.index())?
    }

    /// The key of a backend whose connections are made as this live configuration makes them; `None`: the backend is
    /// new, or its connections are made in another way.
    fn kept_key(&self, pool: &Pool, backend: &Backend) -> Option<ReuseKey> {
        let position = self.position(backend.id())?;
        let known = (
            self.pool(position.pool),
            self.backend(position.pool, position.index),
        );
        connects_alike(known, (pool, backend)).then_some(position.key)
    }

    /// Marks the pool of a backend whose state has changed, and lets requests that wait for a connection check again.
    pub fn state_changed(&self, id: BackendId) {
        if let Some(position) = self.position(id) {
            self.live(position.pool).is_stale.set(true);
            self.live(position.pool).queue().look();
        }
    }

    /// Lets the requests that wait for a connection check again, in every pool.
    pub fn let_look(&self) {
        self.pools.iter().for_each(|pool| pool.queue().look());
    }

    /// Picks a backend of a pool: a backend that was not tried yet, otherwise one that was.
    #[inline]
    pub fn pick(&self, id: PoolId, choice: &Choice<'_>) -> Pick {
        self.up_to_date(id, choice.tables).pick(choice)
    }

    /// Whether `is_wanted` holds for any backend of a pool that takes requests.
    pub fn takes_any(
        &self,
        id: PoolId,
        tables: &BackendTables,
        is_wanted: impl Fn(BackendId) -> bool,
    ) -> bool {
        let usable = self.up_to_date(id, tables).usable.borrow();
        usable.iter().any(|backend| is_wanted(backend.id))
    }

    /// Whether all backends of a pool take requests, because too few are healthy.
    pub fn panics(&self, id: PoolId, tables: &BackendTables) -> bool {
        self.up_to_date(id, tables).panics.get()
    }

    fn up_to_date(&self, id: PoolId, tables: &BackendTables) -> &LivePool {
        let live = self.live(id);
        if live.is_stale.replace(false) {
            let worker = self.neighbours.worker;
            live.rebuild(self.pool(id), tables, worker);
            debug_assert!(!live.is_stale.get());
        }
        live
    }
}

/// Whether two configurations of a pool are equal for picking a backend, including the indices.
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
        && old.panic_threshold == new.panic_threshold
        && old.backends.iter().zip(&new.backends).all(same)
}

/// The positions of the backends of a snapshot. A backend whose connections are made as `before` makes them keeps its
/// key, and with the key its connections.
fn positions(
    snapshot: &Snapshot,
    before: Option<&LiveConfig>,
) -> (Vec<Option<BackendPosition>>, ReuseKey) {
    let mut positions = Vec::new();
    let mut last_key = before.map_or_else(ReuseKey::default, |before| before.last_key);
    for (pool, number) in snapshot.pools.iter().zip(0..) {
        for (backend, index) in pool.backends.iter().zip(0..) {
            if backend.draining {
                continue;
            }
            let kept = before.and_then(|before| before.kept_key(pool, backend));
            let position = BackendPosition {
                pool: PoolId(number),
                index,
                key: kept.unwrap_or_else(|| last_key.advance()),
            };
            let row = backend.id().index();
            positions.resize(positions.len().max(row + 1), None);
            debug_assert!(positions[row].is_none(), "a backend stands at one position");
            positions[row] = Some(position);
        }
    }
    (positions, last_key)
}

/// Whether a connection that the old configuration made is equal to one that the new configuration makes. TLS settings
/// are compared by address: equal settings with equal files are built once, and both configurations are alive.
fn connects_alike(old: (&Pool, &Backend), new: (&Pool, &Backend)) -> bool {
    let ((old_pool, old), (new_pool, new)) = (old, new);
    let secured_alike = match (&old_pool.tls, &new_pool.tls) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            std::ptr::eq(&*before.config, &*after.config) && old.server_name == new.server_name
        }
        _ => false,
    };
    let is_counted = |backend: &Backend| backend.max_connections != u32::MAX;
    secured_alike
        && old.addr == new.addr
        && old_pool.protocol == new_pool.protocol
        && old_pool.proxy_protocol == new_pool.proxy_protocol
        && is_counted(old) == is_counted(new)
}

impl Backends for LiveConfig {
    fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    fn reuse_key(&self, id: BackendId) -> Option<ReuseKey> {
        LiveConfig::reuse_key(self, id)
    }

    fn most_connections(&self, id: BackendId) -> Option<u32> {
        LiveConfig::most_connections(self, id)
    }
}

#[cfg(test)]
mod tests;
