//! The snapshot made live on one core: its balancers, retry budgets and queues.
//!
//! A change of configuration must cost a worker next to nothing. So a new live configuration takes over from the one
//! before what it can: a pool that did not change is the same live pool in both, one that did keeps its balancer, its
//! budget and its queue. And nothing is computed when a live configuration is made or a backend's state changes: the
//! pool is marked, and its balancer rebuilt when the next request asks for it.

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

/// A snapshot and what one core keeps beside it. An exchange holds on to the live configuration it began with.
pub struct LiveConfig {
    snapshot: SharedSnapshot,
    neighbours: Rc<Neighbours>,
    pools: Vec<Rc<LivePool>>,
    /// As in the snapshot; a connection holds on to the one that it came by.
    listeners: Vec<Rc<LiveListener>>,
    /// Where each backend that takes requests stands, by its row in the tables.
    positions: Vec<Option<BackendPosition>>,
    /// The latest key that was given out on this core.
    last_key: ReuseKey,
    /// The instant by which exchanges that began with this live configuration must end, if too many snapshots are in
    /// use.
    due: Cell<Option<Micros>>,
}

/// Where a backend stands in a snapshot, and which connections to it may be used.
#[derive(Clone, Copy)]
struct BackendPosition {
    pool: PoolId,
    /// Index in the pool's backends.
    index: u32,
    key: ReuseKey,
}

impl LiveConfig {
    /// Makes a worker's first snapshot live.
    pub fn new(snapshot: SharedSnapshot, neighbours: &Rc<Neighbours>) -> LiveConfig {
        LiveConfig::with(snapshot, neighbours, None, |pool, snapshot| {
            let carried = Carried::new(pool, snapshot, neighbours);
            LivePool::new(pool, neighbours.worker, carried)
        })
    }

    /// Makes the snapshot live that comes after `before`.
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

    /// Lets exchanges that began with this live configuration end by `due`, if not earlier.
    pub fn end_by(&self, due: Micros) {
        let earlier = self.due.get().unwrap_or(due);
        self.due.set(Some(due.min(earlier)));
    }

    /// The instant by which exchanges that began with this live configuration must end; `None`: there is no limit.
    pub fn due(&self) -> Option<Micros> {
        self.due.get()
    }

    /// How clients that come by an address are spoken to, if it is listened on.
    pub fn listener(&self, addr: &ListenAddr) -> Option<&Rc<LiveListener>> {
        self.listeners
            .iter()
            .find(|listener| listener.addr == *addr)
    }

    /// Ends the listeners of the live configuration before that are gone, or demand something else of clients. Whether
    /// there are any.
    pub fn end_changed_listeners(&self, before: &LiveConfig) -> bool {
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
        self.position(id).is_some()
    }

    /// The key that a connection to a backend must carry to be used; `None`: the backend takes no requests.
    pub fn reuse_key(&self, id: BackendId) -> Option<ReuseKey> {
        Some(self.position(id)?.key)
    }

    /// Index in its pool's backends of a backend that takes requests.
    pub fn index_of(&self, id: BackendId) -> Option<u32> {
        Some(self.position(id)?.index)
    }

    /// How many connections a backend may have; `None`: it takes no requests.
    pub fn most_connections(&self, id: BackendId) -> Option<u32> {
        let position = self.position(id)?;
        Some(self.backend(position.pool, position.index).max_connections)
    }

    /// The requests that wait for a connection to the pool of a backend.
    pub fn queue_for(&self, id: BackendId) -> Option<&Rc<Queue>> {
        Some(self.live(self.position(id)?.pool).queue())
    }

    /// Whether a connection to a backend that carries this key may be used.
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

    /// The key of a backend that is connected to as this live configuration does it.
    fn kept_key(&self, pool: &Pool, backend: &Backend) -> Option<ReuseKey> {
        let position = self.position(backend.id())?;
        let known = (
            self.pool(position.pool),
            self.backend(position.pool, position.index),
        );
        connects_alike(known, (pool, backend)).then_some(position.key)
    }

    /// Takes a changed state of a backend into account.
    pub fn state_changed(&self, id: BackendId) {
        if let Some(position) = self.position(id) {
            self.live(position.pool).is_stale.set(true);
            self.live(position.pool).queue().look();
        }
    }

    /// Lets requests that wait for a connection look around, in every pool.
    pub fn let_look(&self) {
        self.pools.iter().for_each(|pool| pool.queue().look());
    }

    /// Picks a backend of a pool: one that was not tried yet if there is one, else again one that was.
    pub fn pick(&self, id: PoolId, choice: &Choice<'_>) -> Pick {
        self.up_to_date(id, choice.tables).pick(choice)
    }

    /// Whether a backend of a pool takes requests that this holds for.
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
        && old.panic_threshold == new.panic_threshold
        && old.backends.iter().zip(&new.backends).all(same)
}

/// Where the backends of a snapshot stand. One that is connected to as `before` does it keeps its key there, and with
/// it its connections.
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

/// Whether a connection made by the old configuration is all that one made by the new would be. Both are alive, so that
/// settings of TLS are the same if they lie at the same place: what is built of the same settings and the same files is
/// built once.
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
