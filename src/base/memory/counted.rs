//! Counting what is allocated, and what is promised.
//!
//! Every thread counts for itself, and adds to the count of the process. A worker does so in steps of
//! `limits::MEMORY_STEP_BYTES` ([`count_in_steps`]), so that requests which come and go touch no memory of another
//! core.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::base::limits;

/// Bytes that are allocated and not freed.
static ALLOCATED: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));
/// Bytes that the exchanges which have begun may come to take.
static PROMISED: CachePadded<AtomicIsize> = CachePadded::new(AtomicIsize::new(0));

thread_local! {
    static THREAD: Thread = const {
        Thread {
            allocated: Share::new(),
            promised: Share::new(),
            step: Cell::new(0),
        }
    };
}

/// The bytes that one thread has counted.
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
pub struct CountedAllocator<A>(pub A);

// SAFETY: every call is passed on as it is to an allocator that keeps the contract. Counting neither allocates nor
// panics: the thread's counters are initialised when the program is compiled, and have no destructor.
#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountedAllocator<A> {
    // SAFETY: the caller keeps the contract of the trait.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { self.0.alloc(layout) };
        if !pointer.is_null() {
            note_allocated(layout.size() as isize);
        }
        pointer
    }

    // SAFETY: the caller keeps the contract of the trait.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { self.0.alloc_zeroed(layout) };
        if !pointer.is_null() {
            note_allocated(layout.size() as isize);
        }
        pointer
    }

    // SAFETY: the caller keeps the contract of the trait.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) };
        note_allocated(-(layout.size() as isize));
    }

    // SAFETY: the caller keeps the contract of the trait.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
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

/// The bytes that an exchange which has begun may come to take. They count until the promise is dropped, on the thread
/// that made it.
#[derive(Debug)]
pub struct Promise(());

/// Counts an exchange that has begun: it has taken little yet, and may soon take
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

/// Bytes that this thread has allocated and not freed.
pub fn allocated_by_thread() -> usize {
    THREAD.with(|thread| thread.allocated.bytes.get().max(0) as usize)
}

/// Bytes that the process has allocated and not freed.
pub(super) fn allocated() -> usize {
    ALLOCATED.load(Relaxed).max(0) as usize
}

/// Bytes that are promised to exchanges.
pub(super) fn promised() -> usize {
    PROMISED.load(Relaxed).max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

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
    #[expect(unsafe_code, reason = "the test calls an allocator")]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        let allocator = CountedAllocator(std::alloc::System);
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
