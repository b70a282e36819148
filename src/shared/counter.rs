//! Counters that one thread writes and others read, without a locked instruction: the owner loads, adds and stores.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::base::ids::WorkerId;

/// A number that only its owner changes. Readers may see it a moment late.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds to it. For the owner.
    #[inline]
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Takes away from it, down to zero at most. For the owner.
    #[inline]
    pub fn sub(&self, less: u64) {
        debug_assert!(self.get() >= less, "something ended that never began");
        self.set(self.get().saturating_sub(less));
    }

    /// Replaces it. For the owner.
    #[inline]
    pub fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }
}

/// The numbers of an array of counters.
pub fn numbers<const N: usize>(counters: &[Counter; N]) -> [u64; N] {
    std::array::from_fn(|at| counters[at].get())
}

/// One block of counters per worker, each on cache lines of its own. A worker's block is made when it counts for the
/// first time: of ten thousand routes most are idle on most cores.
pub struct PerWorker<T> {
    blocks: Box<[Block<T>]>,
}

type Block<T> = OnceLock<Box<CachePadded<T>>>;

impl<T: Default> PerWorker<T> {
    /// Room for the blocks of `workers` workers.
    pub fn new(workers: usize) -> PerWorker<T> {
        PerWorker {
            blocks: (0..workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The worker's own block. For that worker.
    #[inline]
    pub fn of(&self, worker: WorkerId) -> &T {
        self.blocks[worker.index()].get_or_init(Box::default)
    }

    /// The blocks of all workers that have counted anything.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.each().map(|(_, block)| block)
    }

    /// The blocks of all workers, each with its worker.
    pub fn each(&self) -> impl Iterator<Item = (WorkerId, &T)> {
        let blocks = self.blocks.iter().zip(0..);
        blocks.filter_map(|(block, worker)| Some((WorkerId(worker), &***block.get()?)))
    }
}

impl<T> fmt::Debug for PerWorker<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PerWorker({})", self.blocks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_made_when_its_worker_counts() {
        let blocks: PerWorker<Counter> = PerWorker::new(3);
        assert_eq!(blocks.iter().count(), 0);
        blocks.of(WorkerId(2)).add(5);
        blocks.of(WorkerId(2)).sub(1);
        blocks.of(WorkerId(0)).set(7);
        let numbers: Vec<u64> = blocks.iter().map(Counter::get).collect();
        assert_eq!(numbers, [7, 4]);
    }
}
