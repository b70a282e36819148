//! The memory of the process: how much of it is allocated (`counted.rs`), how much exchanges that have begun may come
//! to take, and how near that is to the one bound for all, `limits.memory`. Nobody but the program itself
//! allocates through [`CountedAllocator`]: in its unit tests nothing is counted, and memory is always ample.

mod counted;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::limits;

pub use counted::{CountedAllocator, Promise, allocated_by_thread, count_in_steps, promise};

/// The most that may be in use.
static BUDGET: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(usize::MAX));
/// Bytes of resident memory that are not allocated: the program itself, stacks, rings.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// Bytes that were allocated before anybody was served.
static AT_REST: AtomicUsize = AtomicUsize::new(0);

/// How much of the memory is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No part of the program saves memory.
    Ample,
    /// Memory that only makes things faster is given up: windows do not grow, and free blocks are not kept.
    Tight,
    /// A worker takes in no more than it needs to get rid of what it holds.
    Full,
    /// The bound is reached.
    Exhausted,
}

/// Bytes in use, and the bound on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are allocated, and what is resident besides.
    pub used: usize,
    /// The bytes that the process may allocate, `limits.memory`.
    pub budget: usize,
}

/// Sets the bound.
pub fn set_budget(bytes: u64) {
    BUDGET.store(usize::try_from(bytes).unwrap_or(usize::MAX), Relaxed);
}

/// Measures what the program itself needs: once, when all threads run and nobody is served yet.
pub fn measure_base() {
    let resident = resident_bytes().unwrap_or_default();
    let allocated = counted::allocated();
    let base = resident.saturating_sub(allocated);
    AT_REST.store(allocated, Relaxed);
    BASE.store(base + limits::MEMORY_RESERVE_BYTES, Relaxed);
}

/// The second field of `/proc/self/statm` (proc(5)), in bytes.
fn resident_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size())
}

/// The bytes that the process uses at this moment, and their bound.
pub fn usage() -> Usage {
    Usage {
        used: used(counted::allocated()),
        budget: BUDGET.load(Relaxed),
    }
}

/// Bytes in use where so many are allocated. What the program itself needs counts for at most half of the bound: one
/// that is too small for it must not keep it from serving anybody.
fn used(allocated: usize) -> usize {
    let (base, at_rest) = (BASE.load(Relaxed), AT_REST.load(Relaxed));
    let beyond = (base + at_rest).saturating_sub(BUDGET.load(Relaxed) / 2);
    (allocated + base).saturating_sub(beyond)
}

/// Bytes in use if all exchanges took what they may come to take.
fn promised() -> usize {
    used(AT_REST.load(Relaxed) + counted::promised())
}

/// How much is in use at this moment.
pub fn level() -> Level {
    usage().level()
}

/// Whether another exchange may begin, in view of what those take that have begun, and of what they may come to take.
pub fn may_begin() -> bool {
    let usage = usage();
    let used = usage.used.max(promised());
    let budget = usage.budget;
    Usage { used, budget }.level() < Level::Exhausted
}

/// How many streams a client's connection may have open at this moment to open another one.
pub fn stream_bound() -> usize {
    usage().stream_bound(promised())
}

/// Bytes that this thread should free for the process to be relieved: its share of them, as it has its share of all
/// that is allocated.
pub fn excess_of_thread() -> usize {
    let excess = usage().excess() as f64;
    let total = counted::allocated().max(1) as f64;
    (excess * (allocated_by_thread() as f64 / total).min(1.0)) as usize
}

impl Usage {
    fn percent(&self, percent: usize) -> usize {
        debug_assert!(percent <= 100);
        self.budget / 100 * percent
    }

    /// The level that it means.
    pub fn level(&self) -> Level {
        match self.used {
            used if used < self.percent(limits::MEMORY_TIGHT_PERCENT) => Level::Ample,
            used if used < self.percent(limits::MEMORY_FULL_PERCENT) => Level::Tight,
            used if used < self.budget => Level::Full,
            _ => Level::Exhausted,
        }
    }

    /// Streams that a connection may have open to open another one: a part of what is free, so that some is always
    /// left for others, however many there are (Choudhury and Hahne, 1998: dynamic queue length thresholds). One is
    /// always possible, for clients that come late, until the bound is reached. `promised`: bytes that all
    /// exchanges may come to take.
    fn stream_bound(&self, promised: usize) -> usize {
        let used = self.used.max(promised);
        let free = self
            .percent(limits::MEMORY_FULL_PERCENT)
            .saturating_sub(used);
        let bound = free / limits::MEMORY_SHARES / limits::MEMORY_STREAM_BYTES;
        match self.level() {
            Level::Exhausted => 0,
            _ => bound.max(1),
        }
    }

    /// Bytes that are to be freed.
    fn excess(&self) -> usize {
        match self.level() {
            Level::Ample | Level::Tight => 0,
            Level::Full | Level::Exhausted => {
                self.used - self.percent(limits::MEMORY_RELIEVED_PERCENT)
            }
        }
    }

    /// Bytes that may be taken until the bound is reached.
    pub fn room(&self) -> usize {
        self.budget.saturating_sub(self.used)
    }
}

/// Whether more memory is resident than is in use: the allocator holds some that is free.
pub fn is_more_resident() -> bool {
    resident_bytes().is_some_and(|resident| resident > usage().used)
}

/// Whether more memory is resident than is in use, and that is short.
pub fn is_resident_short() -> bool {
    #[cfg(test)]
    if crate::simulated::kernel().is_some() {
        return false; // Memory that the process holds besides must not decide a simulated run.
    }
    let usage = usage();
    let tight = usage.percent(limits::MEMORY_TIGHT_PERCENT);
    resident_bytes().is_some_and(|resident| resident > usage.used && resident >= tight)
}

/// Returns to the system what this thread has freed. It may take milliseconds: not for the way of a request.
#[expect(unsafe_code, reason = "the allocators have no safe interface for this")]
pub fn purge() {
    // SAFETY: the functions work on the allocator's own structures, which they lock or which are this thread's.
    #[cfg(feature = "fast")]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
    // SAFETY: as above.
    #[cfg(all(not(feature = "fast"), target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 1000 << 20;

    fn usage(used: usize) -> Usage {
        let budget = BUDGET;
        Usage { used, budget }
    }

    #[test]
    fn the_resident_memory_of_this_process_is_known() {
        assert!((1 << 20..1 << 40).contains(&resident_bytes().unwrap()));
    }

    #[test]
    fn levels_rise_with_what_is_used() {
        let levels = [0, 749, 751, 849, 851, 999, 1000, 2000].map(|mib| usage(mib << 20).level());
        use Level::{Ample, Exhausted, Full, Tight};
        let expected = [Ample, Ample, Tight, Tight, Full, Full, Exhausted, Exhausted];
        assert_eq!(levels, expected);
        assert_eq!(usage(700 << 20).excess(), 0);
        assert!(usage(900 << 20).excess() >= 100 << 20);
        let unbounded = Usage {
            used: 1 << 50,
            budget: usize::MAX,
        };
        assert_eq!(unbounded.level(), Level::Ample);
    }

    #[test]
    fn a_connection_may_open_the_fewer_streams_the_less_is_free() {
        let bounds = [0, 400, 700, 830, 900].map(|mib| usage(mib << 20).stream_bound(0));
        assert!(bounds[0] > 128, "nothing is restricted far from the bound");
        assert!(bounds.is_sorted_by(|a, b| a >= b), "{bounds:?}");
        assert_eq!(bounds[4], 1, "one is possible");
        assert_eq!(usage(BUDGET).stream_bound(0), 0, "until the bound");
        assert_eq!(usage(0).stream_bound(BUDGET), 1, "a promise counts");
    }

    /// However many connections open as many as they may, some of the memory stays free.
    #[test]
    fn connections_that_open_what_they_may_leave_room() {
        let mut open = vec![0; 2000];
        let mut promised = 0;
        for _ in 0..100 {
            for streams in &mut open {
                if *streams < usage(promised).stream_bound(promised) {
                    *streams += 1;
                    promised += limits::MEMORY_STREAM_BYTES;
                }
            }
        }
        assert!(usage(promised).level() <= Level::Tight, "{promised}");
    }
}
