//! Hands out the rows of the backend tables, so that a backend keeps its row (and with it its state and counts) from
//! one snapshot to the next; and what is counted of routes and pools, which they keep as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::shared::backend_table::BackendTables;
use crate::shared::cache_counters::CacheCounters;
use crate::shared::client_count::{ClientCount, SharedClientCount};
use crate::shared::counter::PerWorker;
use crate::shared::route_counters::{BackendCounters, PoolCounters, RouteCounters};

/// A backend's row, held by all that works with it.
pub type SharedSlot = Arc<Slot>;

/// A backend's row, held by every snapshot that names the backend and free again when the last of them is gone.
#[derive(Debug)]
pub struct Slot {
    id: BackendId,
    counters: BackendCounters,
    free: Weak<Mutex<Vec<BackendId>>>,
}

impl Slot {
    /// The row.
    pub fn id(&self) -> BackendId {
        self.id
    }

    /// The counts of the backend.
    #[inline]
    pub fn counters(&self) -> &BackendCounters {
        &self.counters
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(free) = self.free.upgrade() {
            free.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.id);
        }
    }
}

/// All rows. Owned by the thread that compiles configurations.
#[derive(Debug)]
pub struct Slots {
    tables: Arc<BackendTables>,
    free: Arc<Mutex<Vec<BackendId>>>,
    taken: HashMap<(String, String), Weak<Slot>>,
    routes: HashMap<String, Weak<RouteCounters>>,
    caches: HashMap<String, Weak<CacheCounters>>,
    pools: HashMap<String, Weak<PoolCounters>>,
    listeners: HashMap<String, Weak<ClientCount>>,
}

impl Slots {
    /// Rows for these tables, all free.
    pub fn new(tables: Arc<BackendTables>) -> Slots {
        let free = (0..tables.rows() as u32).rev().map(BackendId).collect();
        Slots {
            tables,
            free: Arc::new(Mutex::new(free)),
            taken: HashMap::new(),
            routes: HashMap::new(),
            caches: HashMap::new(),
            pools: HashMap::new(),
            listeners: HashMap::new(),
        }
    }

    /// The row of the backend that is called `address` in the pool called `pool`; `None` if all rows are taken.
    pub fn slot(&mut self, pool: &str, address: &str) -> Option<Arc<Slot>> {
        let key = (pool.to_owned(), address.to_owned());
        if let Some(slot) = self.taken.get(&key).and_then(Weak::upgrade) {
            return Some(slot);
        }
        self.taken.retain(|_, slot| slot.strong_count() > 0);
        let id = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()?;
        debug_assert!(id.index() < limits::BACKENDS);
        self.tables.reset(id);
        let slot = Arc::new(Slot {
            id,
            counters: BackendCounters::new(self.tables.workers(), Micros::now()),
            free: Arc::downgrade(&self.free),
        });
        self.taken.insert(key, Arc::downgrade(&slot));
        Some(slot)
    }

    /// The counts of the route of this name.
    pub fn route_counters(&mut self, name: &str) -> Arc<RouteCounters> {
        kept(&mut self.routes, name, || {
            PerWorker::new(self.tables.workers())
        })
    }

    /// The counts of the cache of the route of this name.
    pub fn cache_counters(&mut self, name: &str) -> Arc<CacheCounters> {
        kept(&mut self.caches, name, || {
            PerWorker::new(self.tables.workers())
        })
    }

    /// The counts of the pool of this name.
    pub fn pool_counters(&mut self, name: &str) -> Arc<PoolCounters> {
        kept(&mut self.pools, name, || {
            PerWorker::new(self.tables.workers())
        })
    }

    /// The client connections of the listener at this address.
    pub fn client_count(&mut self, addr: &str) -> SharedClientCount {
        let workers = self.tables.workers();
        kept(&mut self.listeners, addr, || ClientCount::new(workers))
    }
}

/// The value that `known` has under this name, if some snapshot still holds the value, else a new value.
fn kept<T>(known: &mut HashMap<String, Weak<T>>, name: &str, new: impl FnOnce() -> T) -> Arc<T> {
    if let Some(counters) = known.get(name).and_then(Weak::upgrade) {
        return counters;
    }
    if known.len() == known.capacity() {
        known.retain(|_, counters| counters.strong_count() > 0);
    }
    let counters = Arc::new(new());
    known.insert(name.to_owned(), Arc::downgrade(&counters));
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::WorkerId;
    use crate::base::limits;
    use crate::shared::backend_table::BackendState;

    #[test]
    fn a_backend_keeps_its_row_while_a_snapshot_names_it() {
        let mut slots = Slots::new(BackendTables::new(1));
        let first = slots.slot("api", "127.0.0.1:1").unwrap();
        let again = slots.slot("api", "127.0.0.1:1").unwrap();
        let other = slots.slot("web", "127.0.0.1:1").unwrap();
        assert_eq!(first.id(), again.id());
        assert_ne!(first.id(), other.id());
        let id = first.id();
        drop((first, again));
        assert_eq!(slots.slot("api", "127.0.0.1:2").unwrap().id(), id);
    }

    #[test]
    fn a_new_backend_inherits_no_state_with_its_row() {
        let tables = BackendTables::new(2);
        let mut slots = Slots::new(tables.clone());
        let first = slots.slot("api", "127.0.0.1:1").unwrap();
        let id = first.id();
        for table in tables.iter() {
            table.set_state(id, BackendState::Unhealthy);
            table.set_down(id, true);
            table.set_forced(id, true);
        }
        drop(first);
        assert_eq!(slots.slot("api", "127.0.0.1:2").unwrap().id(), id);
        for table in tables.iter() {
            assert_eq!(table.state(id), BackendState::Healthy);
            assert!(!table.is_down(id));
            table.set_state(id, BackendState::Unhealthy);
            assert!(!table.takes_requests(id), "it is forced");
        }
    }

    #[test]
    fn rows_are_bounded() {
        let mut slots = Slots::new(BackendTables::new(1));
        let held: Vec<_> = (0..limits::BACKENDS)
            .map(|n| slots.slot("api", &n.to_string()).unwrap())
            .collect();
        assert!(slots.slot("api", "one more").is_none());
        drop(held);
        assert!(slots.slot("api", "one more").is_some());
    }

    #[test]
    fn counts_go_on_as_long_as_a_snapshot_holds_them() {
        let mut slots = Slots::new(BackendTables::new(1));
        let worker = WorkerId(0);
        let first = slots.route_counters("/api");
        first.of(worker).retries.add(1);
        assert_eq!(slots.route_counters("/api").totals().retries, 1);
        assert_eq!(slots.route_counters("/web").totals().retries, 0);
        drop(first);
        assert_eq!(slots.route_counters("/api").totals().retries, 0);
        for n in 0..1000 {
            slots.pool_counters(&n.to_string());
        }
        assert!(slots.pools.len() < 100, "names of the past are forgotten");
    }
}
