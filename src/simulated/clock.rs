//! The virtual clock of the simulated world: [`crate::base::time::Micros`] reads it on a thread that simulates.

use std::cell::Cell;

use crate::base::time::Micros;

/// Readings of the clock that one turn of a task may make. No task needs a thousand: one that makes more never ends.
/// Invariant: no turn lasts without an end.
const READINGS_PER_TURN: u32 = 20_000;

/// The instant at which the simulated world begins, in milliseconds since 1970.
pub const UNIX_START: u64 = 1_700_000_000_000;

thread_local! {
    static NOW: Cell<Option<u64>> = const { Cell::new(None) };
    static READINGS: Cell<u32> = const { Cell::new(0) };
}

/// The virtual time, if this thread simulates. Panics if the running task has read the clock so often that its turn
/// must be without an end.
pub fn read() -> Option<Micros> {
    let now = NOW.get()?;
    let readings = READINGS.get() + 1;
    READINGS.set(readings);
    if readings > READINGS_PER_TURN {
        READINGS.set(0);
        panic!("a turn of a worker does not end");
    }
    Some(Micros(now))
}

/// Sets the virtual time; `None`: the thread simulates no longer.
pub fn set(now: Option<Micros>) {
    NOW.set(now.map(|now| now.0));
}

/// Another turn of a task begins.
pub fn begin_turn() {
    READINGS.set(0);
}
