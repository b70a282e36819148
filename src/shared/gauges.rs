//! What each worker has under way, for the control thread to read: one padded block per worker, written by its owner
//! alone, so that counting costs a load and a store and no other core's cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

/// One worker's block.
#[derive(Debug, Default)]
pub struct WorkerGauges {
    connections: AtomicU32,
    exchanges: AtomicU32,
    lost_lines: AtomicU64,
}

/// All workers' blocks, by worker number.
pub type AllGauges = Arc<[CachePadded<WorkerGauges>]>;

/// Blocks for `workers` workers, all at zero.
pub fn gauges(workers: usize) -> AllGauges {
    (0..workers).map(|_| CachePadded::default()).collect()
}

/// Requests under way at this moment, all workers together.
pub fn exchanges(all: &AllGauges) -> u64 {
    all.iter().map(|gauges| u64::from(gauges.exchanges())).sum()
}

/// Client connections open at this moment, all workers together.
pub fn connections(all: &AllGauges) -> u64 {
    all.iter()
        .map(|gauges| u64::from(gauges.connections()))
        .sum()
}

/// Access-log lines that found a full ring since the start, all workers together.
pub fn lost_lines(all: &AllGauges) -> u64 {
    all.iter().map(|gauges| gauges.lost_lines()).sum()
}

impl WorkerGauges {
    /// Client connections that the worker has open.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Requests that the worker has begun and not ended: those that a stop would cut.
    pub fn exchanges(&self) -> u32 {
        self.exchanges.load(Relaxed)
    }

    /// Access-log lines that found the worker's ring full, since the start.
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Relaxed)
    }

    /// Sets the number of open client connections. For the owner.
    pub fn set_connections(&self, count: u32) {
        self.connections.store(count, Relaxed);
    }

    /// Counts a request that begins. For the owner.
    pub fn begin_exchange(&self) {
        self.exchanges.store(self.exchanges() + 1, Relaxed);
    }

    /// Counts a request that ended, however it did. For the owner.
    pub fn end_exchange(&self) {
        let count = self.exchanges();
        debug_assert!(count > 0, "an exchange ended that never began");
        self.exchanges.store(count.saturating_sub(1), Relaxed);
    }

    /// Counts an access-log line that found the ring full. For the owner.
    pub fn lose_line(&self) {
        self.lost_lines.store(self.lost_lines() + 1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_over_all_workers() {
        let all = gauges(3);
        all[0].begin_exchange();
        all[2].begin_exchange();
        all[2].begin_exchange();
        all[2].end_exchange();
        all[1].set_connections(7);
        all[0].set_connections(1);
        all[1].lose_line();
        assert_eq!(
            (exchanges(&all), connections(&all), lost_lines(&all)),
            (2, 8, 1)
        );
    }
}
