//! Hands out the rows of the backend tables, so that a backend keeps its row (and with it its state and counts) from
//! one snapshot to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::shared::backend_table::BackendTables;

/// A backend's row, held by every snapshot that names the backend and free again when the last of them is gone.
#[derive(Debug)]
pub struct Slot {
    id: BackendId,
    free: Weak<Mutex<Vec<BackendId>>>,
}

impl Slot {
    /// The row.
    pub fn id(&self) -> BackendId {
        self.id
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(free) = self.free.upgrade() {
            free.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

/// All rows. Owned by the thread that compiles configurations.
#[derive(Debug)]
pub struct Slots {
    tables: Arc<BackendTables>,
    free: Arc<Mutex<Vec<BackendId>>>,
    taken: HashMap<(String, String), Weak<Slot>>,
}

impl Slots {
    /// Rows for these tables, all free.
    pub fn new(tables: Arc<BackendTables>) -> Slots {
        let free = (0..limits::BACKENDS as u32).rev().map(BackendId).collect();
        Slots {
            tables,
            free: Arc::new(Mutex::new(free)),
            taken: HashMap::new(),
        }
    }

    /// The row of the backend that is called `address` in the pool called `pool`; `None` if all rows are taken.
    pub fn slot(&mut self, pool: &str, address: &str) -> Option<Arc<Slot>> {
        let key = (pool.to_owned(), address.to_owned());
        if let Some(slot) = self.taken.get(&key).and_then(Weak::upgrade) {
            return Some(slot);
        }
        self.taken.retain(|_, slot| slot.strong_count() > 0);
        let id = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        self.tables.reset(id);
        let slot = Arc::new(Slot {
            id,
            free: Arc::downgrade(&self.free),
        });
        self.taken.insert(key, Arc::downgrade(&slot));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn rows_are_bounded() {
        let mut slots = Slots::new(BackendTables::new(1));
        let held: Vec<_> = (0..limits::BACKENDS)
            .map(|n| slots.slot("api", &n.to_string()).unwrap())
            .collect();
        assert!(slots.slot("api", "one more").is_none());
        drop(held);
        assert!(slots.slot("api", "one more").is_some());
    }
}
