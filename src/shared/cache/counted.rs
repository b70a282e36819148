//! Locks on the parts of the store, whose growth counts to the bound of the store.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::Budget;
use super::entry::Entry;
use super::s3_fifo::S3Fifo;
use super::shard::StoreShard;

/// A lock on a part of the store. The growth of the part is counted when the lock ends.
pub(super) struct Counted<'a, T: HeapBytes> {
    guard: MutexGuard<'a, T>,
    before: u64,
    budget: &'a Budget,
}

/// A part of the store whose size is counted.
pub(super) trait HeapBytes {
    /// Bytes of the heap that the part takes.
    fn heap_bytes(&self) -> u64;
}

impl HeapBytes for StoreShard {
    fn heap_bytes(&self) -> u64 {
        StoreShard::heap_bytes(self)
    }
}

impl HeapBytes for S3Fifo<Arc<Entry>> {
    fn heap_bytes(&self) -> u64 {
        S3Fifo::heap_bytes(self)
    }
}

impl<'a, T: HeapBytes> Counted<'a, T> {
    /// Locks a part of the store.
    pub(super) fn new(lock: &'a Mutex<T>, budget: &'a Budget) -> Counted<'a, T> {
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let before = guard.heap_bytes();
        Counted {
            guard,
            before,
            budget,
        }
    }
}

impl<T: HeapBytes> Deref for Counted<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: HeapBytes> DerefMut for Counted<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: HeapBytes> Drop for Counted<'_, T> {
    fn drop(&mut self) {
        let after = self.guard.heap_bytes();
        if after > self.before {
            self.budget.note(after - self.before);
        } else if after < self.before {
            self.budget.give(self.before - after);
        }
    }
}
