//! The memory of the process: how much of it is allocated, how much streams that have begun may come to take, and how
//! near that is to the one bound for all, `limits.memory_bytes`.
//!
//! Every thread counts for itself, and adds to the count of the process. A worker does so in steps of
//! [`limits::MEMORY_STEP_BYTES`] ([`count_in_steps`]), so that requests which come and go touch no memory of another
//! core. Nobody but the program itself allocates through [`Counted`]: in its unit tests nothing is counted, and memory
//! is always ample.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::limits;

/// Bytes that are allocated and not freed.
static ALLOCATED: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// Bytes that the open streams of clients may come to take.
static PROMISED: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// The most that may be in use.
static BUDGET: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(usize::MAX));

thread_local! {
    static THREAD: Thread = const {
        Thread {
            allocated: Share::new(),
            promised: Share::new(),
            step: Cell::new(0),
        }
    };
}

/// What one thread has counted.
struct Thread {
    /// May be negative: memory may be freed by another thread than the one that allocated it.
    allocated: Share,
    promised: Share,
    /// The bytes by which the count of the process may differ from this thread's.
    step: Cell<usize>,
}

struct Share {
    bytes: Cell<isize>,
    /// How many of them the count of the process has.
    told: Cell<isize>,
}

impl Share {
    const fn new() -> Share {
        Share {
            bytes: Cell::new(0),
            told: Cell::new(0),
        }
    }

    fn change(&self, by: isize, step: usize, total: &AtomicIsize) {
        let bytes = self.bytes.get() + by;
        self.bytes.set(bytes);
        let untold = bytes - self.told.get();
        if untold.unsigned_abs() > step {
            self.told.set(bytes);
            total.fetch_add(untold, Relaxed);
        }
    }
}

fn note_allocated(bytes: isize) {
    THREAD.with(|thread| {
        thread
            .allocated
            .change(bytes, thread.step.get(), &ALLOCATED);
    });
}

/// An allocator whose allocations are counted.
#[derive(Debug)]
pub struct Counted<A>(pub A);

// SAFETY: every call is passed on as it is to an allocator that keeps the contract. Counting neither allocates nor
// panics: the thread's counters are initialised when the program is compiled, and have no destructor.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        let pointer = unsafe { self.0.alloc(layout) };
        if !pointer.is_null() {
            note_allocated(layout.size() as isize);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        let pointer = unsafe { self.0.alloc_zeroed(layout) };
        if !pointer.is_null() {
            note_allocated(layout.size() as isize);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.dealloc(pointer, layout) };
        note_allocated(-(layout.size() as isize));
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        let moved = unsafe { self.0.realloc(pointer, layout, size) };
        if !moved.is_null() {
            note_allocated(size as isize - layout.size() as isize);
        }
        moved
    }
}

/// Lets this thread add to the count of the process in steps. For a thread that lasts as long as the process: what it
/// has not added when it ends is lost.
pub fn count_in_steps() {
    THREAD.with(|thread| thread.step.set(limits::MEMORY_STEP_BYTES));
}

/// What a stream that has begun may come to take. It counts until this is dropped, on the thread that made it.
#[derive(Debug)]
pub struct Promise(());

/// Counts a stream of a client that has begun: it has taken little yet, and may soon take
/// [`limits::MEMORY_STREAM_BYTES`].
pub fn promise() -> Promise {
    note_promised(limits::MEMORY_STREAM_BYTES as isize);
    Promise(())
}

impl Drop for Promise {
    fn drop(&mut self) {
        note_promised(-(limits::MEMORY_STREAM_BYTES as isize));
    }
}

fn note_promised(bytes: isize) {
    THREAD.with(|thread| thread.promised.change(bytes, thread.step.get(), &PROMISED));
}

/// How much of the memory is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nobody need save any.
    Ample,
    /// What makes things faster alone is given up.
    Tight,
    /// Nothing more is taken in than is needed to get rid of what is there.
    Full,
    /// The bound is reached.
    Exhausted,
}

/// Bytes in use, and the bound on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are allocated, and what is resident besides.
    pub used: usize,
    pub budget: usize,
}

/// Sets the bound.
pub fn set_budget(bytes: u64) {
    BUDGET.store(usize::try_from(bytes).unwrap_or(usize::MAX), Relaxed);
}

/// What the process uses at this moment.
pub fn usage() -> Usage {
    Usage {
        used: counted(&ALLOCATED),
        budget: BUDGET.load(Relaxed),
    }
}

/// How much is in use at this moment.
pub fn level() -> Level {
    usage().level()
}

/// How many streams a client's connection may have open at this moment to open another one.
pub fn stream_bound() -> usize {
    usage().stream_bound(counted(&PROMISED))
}

/// Bytes that this thread should free for the process to be relieved: its share of them, as it has its share of all
/// that is allocated.
pub fn excess_of_thread() -> usize {
    let excess = usage().excess() as f64;
    let total = ALLOCATED.load(Relaxed).max(1) as f64;
    (excess * (allocated_by_thread() as f64 / total).min(1.0)) as usize
}

/// Bytes that this thread has allocated and not freed.
pub fn allocated_by_thread() -> usize {
    THREAD.with(|thread| thread.allocated.bytes.get().max(0) as usize)
}

fn counted(total: &AtomicIsize) -> usize {
    total.load(Relaxed).max(0) as usize + limits::MEMORY_BASE_BYTES
}

impl Usage {
    fn percent(&self, percent: usize) -> usize {
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
    /// always possible, for clients that come late, until the bound is reached. `promised`: bytes that all open streams
    /// may come to take.
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

/// Returns to the system what this thread has freed. It may take milliseconds: not for the way of a request.
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

    #[test]
    fn a_thread_tells_of_what_it_counts_in_steps() {
        let (share, total) = (Share::new(), AtomicIsize::new(0));
        share.change(60, 100, &total);
        assert_eq!(total.load(Relaxed), 0);
        share.change(60, 100, &total);
        assert_eq!(total.load(Relaxed), 120);
        share.change(-100, 100, &total);
        share.change(-20, 100, &total);
        assert_eq!(total.load(Relaxed), 0);
        share.change(1, 0, &total);
        assert_eq!(total.load(Relaxed), 1, "without steps at once");
    }

    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        let allocator = Counted(std::alloc::System);
        let before = allocated_by_thread();
        let (first, second) = (1000, 5000);
        let layout = Layout::from_size_align(first, 8).unwrap();
        let larger = Layout::from_size_align(second, 8).unwrap();
        // SAFETY: each block is used as it was allocated, and freed once.
        unsafe {
            let block = allocator.alloc_zeroed(layout);
            assert_eq!(allocated_by_thread(), before + first);
            let block = allocator.realloc(block, layout, second);
            assert_eq!(allocated_by_thread(), before + second);
            allocator.dealloc(block, larger);
        }
        assert_eq!(allocated_by_thread(), before);
    }
}
