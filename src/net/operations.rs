//! How many operations this thread has handed to the engine: accepts, connects, sends, waits for bytes and
//! events.

use std::cell::Cell;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts one more.
#[inline]
pub(super) fn count_operation() {
    OPERATIONS.set(OPERATIONS.get() + 1);
}

/// Operations that this thread has handed to its engine since it began.
pub fn operations() -> u64 {
    OPERATIONS.get()
}
