//! The client connections of one listener, counted over all workers, and the workers that wait for one of them to end.
//! A worker touches this when it accepts a connection and when one ends, never for a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use crossbeam_utils::CachePadded;

use crate::base::ids::WorkerId;

/// A listener's count, held by every snapshot that names the listener and by its connections.
pub type SharedClientCount = Arc<ClientCount>;

/// How many client connections a listener has. A connection that ends while workers wait leaves its place to one of
/// them, each in its turn: a worker that is quick to accept cannot keep the others waiting.
#[derive(Debug)]
pub struct ClientCount {
    open: CachePadded<AtomicUsize>,
    /// The most that there may be.
    most: AtomicUsize,
    /// By worker: [`AT_EASE`], [`WAITS`] or [`IS_GIVEN`].
    workers: Box<[AtomicU8]>,
    /// Workers that wait.
    waiting: AtomicUsize,
    /// Idle connections that were told to end for workers that wait, and have not ended yet.
    owed: AtomicUsize,
    /// The worker that is looked at first when the next connection ends.
    next: AtomicUsize,
}

const AT_EASE: u8 = 0;
const WAITS: u8 = 1;
/// A place was left to the worker, which is still counted as open.
const IS_GIVEN: u8 = 2;

impl ClientCount {
    /// No connections of these workers, as many as are counted.
    pub fn new(workers: usize) -> ClientCount {
        ClientCount {
            open: CachePadded::default(),
            most: AtomicUsize::new(usize::MAX),
            workers: (0..workers).map(|_| AtomicU8::new(AT_EASE)).collect(),
            waiting: AtomicUsize::default(),
            owed: AtomicUsize::default(),
            next: AtomicUsize::default(),
        }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Sets how many there may be from now on. What is open stays open.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, SeqCst);
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.open() >= self.most.load(SeqCst)
    }

    /// Counts one more connection if there may be one more.
    pub fn try_begin(&self) -> bool {
        let most = self.most.load(SeqCst);
        let more = |open| (open < most).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Counts one more connection, however many there are.
    pub fn begin(&self) {
        self.open.fetch_add(1, SeqCst);
    }

    /// Whether another idle connection should end for a worker that waits; it is counted as owed then.
    pub fn is_one_wanted(&self) -> bool {
        let waiting = self.waiting.load(SeqCst);
        let more = |owed| (owed < waiting).then_some(owed + 1);
        self.owed.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Counts one less, whose place is for another listener.
    pub fn give_up(&self) {
        let before = self.open.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "a client that ends was counted");
    }

    /// Notes that a connection has ended, whose place is still counted.
    pub fn settle(&self) {
        let less = |owed: usize| owed.checked_sub(1);
        let _ = self.owed.fetch_update(SeqCst, SeqCst, less); // Most connections end by themselves.
    }

    /// Counts one less. The worker that should look whether it may accept, if one waits: the place was left to it.
    pub fn leave(&self) -> Option<WorkerId> {
        if self.waiting.load(SeqCst) > 0
            && self.open() <= self.most.load(SeqCst)
            && let Some(worker) = self.give()
        {
            return Some(worker);
        }
        let before = self.open.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "a client that ends was counted");
        // A worker that began to wait just now may have found the connection still open.
        self.waiting_worker()
    }

    /// Leaves a place that is counted to a worker that waits.
    fn give(&self) -> Option<WorkerId> {
        let count = self.workers.len();
        let first = self.next.load(SeqCst);
        let gets = |at: &usize| {
            let state = &self.workers[*at];
            let given = state.compare_exchange(WAITS, IS_GIVEN, SeqCst, SeqCst);
            given.is_ok()
        };
        let at = (first..first + count).map(|at| at % count).find(gets)?;
        self.waiting.fetch_sub(1, SeqCst);
        self.next.store(at + 1, SeqCst);
        Some(WorkerId(at as u32))
    }

    /// A worker that waits, if there is one.
    pub fn waiting_worker(&self) -> Option<WorkerId> {
        if self.waiting.load(SeqCst) == 0 {
            return None;
        }
        let waits = |state: &AtomicU8| state.load(SeqCst) == WAITS;
        let at = self.workers.iter().position(waits)?;
        Some(WorkerId(at as u32))
    }

    /// Notes that a worker has a client that it cannot count yet.
    pub fn wait(&self, worker: WorkerId) {
        let state = &self.workers[worker.index()];
        let begun = state.compare_exchange(AT_EASE, WAITS, SeqCst, SeqCst);
        if begun.is_ok() {
            self.waiting.fetch_add(1, SeqCst);
        }
    }

    /// Notes that a worker waits no longer. Whether a place was left to it, which it has then.
    pub fn stop_waiting(&self, worker: WorkerId) -> bool {
        let before = self.workers[worker.index()].swap(AT_EASE, SeqCst);
        if before == WAITS {
            self.waiting.fetch_sub(1, SeqCst);
        }
        before == IS_GIVEN
    }

    /// Takes the place that was left to a worker, if there is one.
    pub fn take(&self, worker: WorkerId) -> bool {
        let state = &self.workers[worker.index()];
        let taken = state.compare_exchange(IS_GIVEN, AT_EASE, SeqCst, SeqCst);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: WorkerId = WorkerId(0);
    const B: WorkerId = WorkerId(1);
    const C: WorkerId = WorkerId(2);

    fn full(most: usize) -> ClientCount {
        let count = ClientCount::new(3);
        count.set_most(most);
        (0..most).for_each(|_| assert!(count.try_begin()));
        assert!(!count.try_begin());
        assert!(count.is_full());
        count
    }

    #[test]
    fn who_waits_gets_the_next_place_and_nobody_else() {
        let count = full(2);
        count.wait(B);
        assert!(!count.take(B));
        assert_eq!(count.leave(), Some(B));
        assert!(!count.try_begin(), "the place is taken");
        assert!(count.take(B));
        assert!(!count.take(B), "once");
        assert_eq!((count.open(), count.leave()), (2, None));
        assert!(count.try_begin());
    }

    #[test]
    fn workers_take_turns() {
        let count = full(1);
        for expected in [A, B, C, A, C] {
            for worker in [A, B, C] {
                if (expected, worker) != (C, B) {
                    count.wait(worker);
                }
            }
            if expected == C {
                count.stop_waiting(B);
            }
            assert_eq!(count.leave(), Some(expected));
            assert!(count.take(expected));
        }
    }

    #[test]
    fn as_many_idle_connections_end_as_workers_wait() {
        let count = full(3);
        assert!(!count.is_one_wanted(), "nobody waits");
        count.wait(A);
        assert!(count.is_one_wanted());
        assert!(!count.is_one_wanted(), "one is on its way");
        count.wait(B);
        assert!(count.is_one_wanted());
        count.settle();
        assert_eq!(count.leave(), Some(A));
        assert!(!count.is_one_wanted(), "another is on its way for B");
        count.settle();
        assert!(count.is_one_wanted());
    }

    #[test]
    fn a_lower_bound_leaves_no_place_to_anybody() {
        let count = full(3);
        count.set_most(2);
        count.wait(A);
        assert_eq!(count.leave(), Some(A), "to look, in vain");
        assert!(!count.take(A));
        assert!(!count.try_begin());
        assert_eq!(count.leave(), Some(A));
        assert!(count.take(A));
        assert_eq!(count.open(), 2);
    }

    #[test]
    fn who_no_longer_waits_may_have_a_place_to_give_back() {
        let count = full(1);
        count.wait(A);
        assert!(!count.stop_waiting(A));
        assert_eq!(count.waiting_worker(), None);
        count.wait(A);
        count.wait(B);
        assert_eq!(count.leave(), Some(A));
        assert!(count.stop_waiting(A));
        assert_eq!(count.leave(), Some(B));
        assert!(count.stop_waiting(B));
        assert_eq!((count.leave(), count.open()), (None, 0));
    }

    #[test]
    fn threads_lose_no_place() {
        let count = full(4);
        std::thread::scope(|scope| {
            for worker in [A, B, C] {
                let count = &count;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        // One place is given up, and one is got back.
                        count.leave();
                        count.wait(worker);
                        while !count.take(worker) && !count.try_begin() {
                            std::thread::yield_now();
                        }
                        if count.stop_waiting(worker) {
                            count.leave();
                        }
                        assert!(count.open() <= 4);
                    }
                });
            }
        });
        assert_eq!((count.open(), count.waiting_worker()), (4, None));
    }
}
