//! How a body stands that is only passed on.

use crate::base::limits;

/// A body that is only passed on.
#[derive(Clone, Copy, Debug)]
pub struct Passing<R> {
    /// The reason for which the body is not stored.
    pub reason: R,
    /// The bytes that had come when the store gave up. They are kept until all have read them, or as many bytes as the
    /// ring has have come behind them.
    pub from: u64,
    /// The memory is less than the ring needs, so that the writer waits until all have read everything.
    pub is_short: bool,
}

impl<R> Passing<R> {
    /// The bytes that a follower may be behind before the writer waits.
    pub fn allowed(&self) -> u64 {
        if self.is_short {
            0
        } else {
            limits::RING_BYTES / 2
        }
    }
}
