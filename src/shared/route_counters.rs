//! Counts of routes, pools and backends. Each worker counts for itself; the control thread reads and adds up. Counts
//! are held by the snapshots that name the thing, and go on from one snapshot to the next.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed, Ordering::SeqCst, fence};

use super::backend_table::BackendState;
use super::counter::{Counter, PerWorker, numbers};
use super::failure::REASON_GROUPS;
use super::histogram::{COARSE, FINE, Histogram, Times};
use crate::base::ids::WorkerId;
use crate::base::time::Micros;

/// Classes of statuses: 1xx to 5xx.
pub const CLASSES: usize = 5;
/// One value for each group of reasons for which requests fail.
#[derive(Clone, Debug)]
pub struct PerGroup<T>(pub [T; REASON_GROUPS]);

// The standard library has no default for an array of more than 32 elements.
impl<T: Default> Default for PerGroup<T> {
    fn default() -> Self {
        PerGroup(std::array::from_fn(|_| T::default()))
    }
}

/// States that a backend may change to.
const STATES: usize = BackendState::ALL.len();

/// The class of a status as an index: 0 for 1xx. A status of 600 or above counts as a 5xx (RFC 9110 section 15).
#[inline]
pub fn status_class(status: u16) -> usize {
    (usize::from(status) / 100).clamp(1, CLASSES) - 1
}

/// The counts that one worker keeps of one route.
#[derive(Debug, Default)]
pub struct RouteBlock {
    /// Requests under way.
    pub in_flight: Counter,
    /// Requests that ended, by the class of what the client was answered.
    pub classes: [Counter; CLASSES],
    /// Bytes of request bodies.
    pub request_bytes: Counter,
    /// Bytes of response bodies.
    pub response_bytes: Counter,
    /// From a request's first byte until its answer's head was there.
    pub response_times: Histogram<COARSE>,
    /// Attempts after the first one of a request.
    pub retries: Counter,
    /// Requests that failed, by group of reasons.
    pub failures: PerGroup<Counter>,
}

/// The counts that one worker keeps of one pool.
#[derive(Debug, Default)]
pub struct PoolBlock {
    /// Requests that wait for a connection to become free.
    pub waiting: Counter,
    /// Since when the first of them does, in microseconds; 0: none does.
    oldest: Counter,
}

/// The counts that one worker keeps of one backend. Every attempt that came to an end with the backend is in either
/// `answers` or
/// `failures`, and in one only.
#[derive(Debug, Default)]
pub struct BackendBlock {
    /// Answers passed on to their end (or as far as the client wanted), by the class of their status.
    pub answers: [Counter; CLASSES],
    /// Bytes of request bodies.
    pub request_bytes: Counter,
    /// Bytes of response bodies.
    pub response_bytes: Counter,
    last_failure: Counter,
    /// From the request's sending until the answer's head was there.
    pub response_times: Histogram<FINE>,
    /// Of connections that were made.
    pub connect_times: Histogram<COARSE>,
    /// Attempts that failed by the backend's fault, by group of reasons.
    pub failures: PerGroup<Counter>,
}

/// Bits of a packed [`LastFailure`] that say the group; the others say when.
const GROUP_BITS: u32 = 8;
const _: () = assert!(REASON_GROUPS < 1 << GROUP_BITS);

impl BackendBlock {
    /// Counts a failed attempt.
    pub fn fail(&self, group: usize, at: Micros) {
        self.failures.0[group].add(1);
        self.note_failure(group, at);
    }

    /// Notes what the latest failure was, in one store, so that no reader sees half of it.
    pub fn note_failure(&self, group: usize, at: Micros) {
        debug_assert!(group < REASON_GROUPS && at.0 < 1 << (u64::BITS - GROUP_BITS));
        self.last_failure.set((at.0 << GROUP_BITS) | group as u64);
    }

    fn last_failure(&self) -> Option<LastFailure> {
        let packed = self.last_failure.get();
        (packed != 0).then_some(LastFailure {
            at: Micros(packed >> GROUP_BITS),
            group: (packed & ((1 << GROUP_BITS) - 1)) as usize,
        })
    }
}

/// A backend's latest failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastFailure {
    /// The time of the failure.
    pub at: Micros,
    /// As in [`BackendBlock::failures`].
    pub group: usize,
}

/// All workers' counts of one route.
pub type RouteCounters = PerWorker<RouteBlock>;
/// All workers' counts of one pool.
pub type PoolCounters = PerWorker<PoolBlock>;

/// All that is counted of one backend.
pub struct BackendCounters {
    /// The counts of each worker.
    pub workers: PerWorker<BackendBlock>,
    /// The changes of the backend's state.
    pub changes: Changes,
}

/// Tells nothing that moves: two snapshots of one configuration look the same.
impl fmt::Debug for BackendCounters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.workers.fmt(out)
    }
}

/// Changes of a backend's state. Written by the control thread; at a start that takes over from another process, before
/// anybody is served, by the health thread.
#[derive(Debug, Default)]
pub struct Changes {
    to: [Counter; STATES],
    /// The instant of the last change of the state, or at which the backend came, in microseconds of [`Micros`];
    /// negative: before this process began.
    since: AtomicI64,
}

impl Changes {
    /// Counts a change. For the control thread.
    pub fn note(&self, to: BackendState, at: Micros) {
        self.to[to as usize].add(1);
        self.since.store(at.0 as i64, Relaxed);
    }

    /// Takes over the instant of the last change from another process; negative: before this process began.
    pub fn resume(&self, since: i64) {
        self.since.store(since, Relaxed);
    }

    /// How often the backend came into this state from another one.
    pub fn to(&self, state: BackendState) -> u64 {
        self.to[state as usize].get()
    }

    /// The instant of the last change of the backend's state, in microseconds of [`Micros`]; negative: before this
    /// process began.
    pub fn since(&self) -> i64 {
        self.since.load(Relaxed)
    }
}

impl BackendCounters {
    /// All at zero, for a backend that comes at `now`.
    pub fn new(workers: usize, now: Micros) -> BackendCounters {
        BackendCounters {
            workers: PerWorker::new(workers),
            changes: Changes {
                since: AtomicI64::new(now.0 as i64),
                ..Changes::default()
            },
        }
    }

    /// All workers' counts together.
    pub fn totals(&self) -> BackendTotals {
        let mut totals = BackendTotals::default();
        for block in self.workers.iter() {
            add(&mut totals.answers, &block.answers);
            add(&mut totals.failures.0, &block.failures.0);
            totals.request_bytes += block.request_bytes.get();
            totals.response_bytes += block.response_bytes.get();
            totals.response_times.add(&block.response_times.times());
            totals.connect_times.add(&block.connect_times.times());
            totals.last_failure = totals.last_failure.max(block.last_failure());
        }
        totals
    }
}

/// The sums over all workers of a [`BackendBlock`].
#[derive(Clone, Debug, Default)]
pub struct BackendTotals {
    /// Answers by the class of their status.
    pub answers: [u64; CLASSES],
    /// Attempts that failed by the backend's fault, by reason.
    pub failures: PerGroup<u64>,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// The times from the sending of a request to the end of the head of its response.
    pub response_times: Times<FINE>,
    /// The times that connections took to be made.
    pub connect_times: Times<COARSE>,
    /// The latest failure of all workers.
    pub last_failure: Option<LastFailure>,
}

impl BackendTotals {
    /// Attempts that the backend answered below 500.
    pub fn success(&self) -> u64 {
        self.answers[..CLASSES - 1].iter().sum()
    }

    /// Attempts that failed by its fault, and answers of 500 and above.
    pub fn failed(&self) -> u64 {
        self.answers[CLASSES - 1] + self.failures.0.iter().sum::<u64>()
    }
}

/// The sums over all workers of a [`RouteBlock`].
#[derive(Clone, Debug, Default)]
pub struct RouteTotals {
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that ended, by the class of the status that the client was answered with.
    pub classes: [u64; CLASSES],
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// The times from the first byte of a request to the end of the head of its response.
    pub response_times: Times<COARSE>,
    /// Attempts after the first one of a request.
    pub retries: u64,
    /// Requests that failed, by reason.
    pub failures: PerGroup<u64>,
}

impl RouteCounters {
    /// All workers' counts together.
    pub fn totals(&self) -> RouteTotals {
        let mut totals = RouteTotals::default();
        for block in self.iter() {
            totals.in_flight += block.in_flight.get();
            totals.request_bytes += block.request_bytes.get();
            totals.response_bytes += block.response_bytes.get();
            totals.retries += block.retries.get();
            totals.response_times.add(&block.response_times.times());
            add(&mut totals.classes, &block.classes);
            add(&mut totals.failures.0, &block.failures.0);
        }
        totals
    }
}

impl PoolCounters {
    /// Requests that wait for a connection now, on all workers.
    pub fn waiting(&self) -> u64 {
        self.iter().map(|block| block.waiting.get()).sum()
    }

    /// Says how many requests wait on a worker, and since when the first does. For that worker. Whoever looks at a
    /// backend's connections afterwards, and whoever frees one and then asks who waits, cannot both miss the other.
    pub fn set_waiting(&self, worker: WorkerId, count: usize, oldest: Option<Micros>) {
        debug_assert_eq!(
            count == 0,
            oldest.is_none(),
            "a request waits longest where any waits"
        );
        let block = self.of(worker);
        block.waiting.set(count as u64);
        block.oldest.set(oldest.map_or(0, |since| since.0.max(1)));
        fence(SeqCst);
    }

    /// The worker, other than this one, whose first request has waited longest, and since when.
    pub fn longest_waiting(&self, except: WorkerId) -> Option<(WorkerId, Micros)> {
        fence(SeqCst);
        let others = self.each().filter(|(worker, _)| *worker != except);
        let waiting = others.map(|(worker, block)| (worker, Micros(block.oldest.get())));
        waiting
            .filter(|(_, since)| since.0 > 0)
            .min_by_key(|(_, since)| *since)
    }

    /// The workers, other than this one, on which requests wait.
    pub fn waiting_workers(&self, except: WorkerId) -> impl Iterator<Item = WorkerId> {
        fence(SeqCst);
        let others = self.each().filter(move |(worker, _)| *worker != except);
        let waiting = others.filter(|(_, block)| block.waiting.get() > 0);
        waiting.map(|(worker, _)| worker)
    }

    /// Requests that wait on other workers than this one.
    pub fn waiting_elsewhere(&self, worker: WorkerId) -> u64 {
        fence(SeqCst);
        let others = self.each().filter(|(other, _)| *other != worker);
        others.map(|(_, block)| block.waiting.get()).sum()
    }
}

fn add<const N: usize>(totals: &mut [u64; N], counters: &[Counter; N]) {
    for (total, number) in totals.iter_mut().zip(numbers(counters)) {
        *total += number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_table() {
        let rows = [
            (100, 0),
            (101, 0),
            (200, 1),
            (304, 2),
            (499, 3),
            (500, 4),
            (599, 4),
        ];
        for (status, class) in rows {
            assert_eq!(status_class(status), class, "{status}");
        }
        assert_eq!(
            (status_class(0), status_class(999)),
            (0, 4),
            "never outside of the array"
        );
    }

    #[test]
    fn totals_of_a_backend_are_over_all_workers() {
        let counters = BackendCounters::new(3, Micros(5));
        let [first, second] = [0, 2].map(|worker| counters.workers.of(WorkerId(worker)));
        first.answers[1].add(3);
        second.answers[4].add(1);
        second.response_times.observe(100);
        second.fail(7, Micros(20));
        first.fail(3, Micros(10));
        let totals = counters.totals();
        assert_eq!((totals.success(), totals.failed()), (3, 3));
        assert_eq!(totals.response_times.count(), 1);
        let latest = LastFailure {
            at: Micros(20),
            group: 7,
        };
        assert_eq!(totals.last_failure, Some(latest));
        assert_eq!(counters.changes.since(), 5);
    }

    #[test]
    fn who_has_waited_longest_elsewhere() {
        let counters: PoolCounters = PerWorker::new(3);
        let workers = [0, 1, 2].map(WorkerId);
        assert_eq!(counters.longest_waiting(workers[0]), None);
        counters.set_waiting(workers[0], 2, Some(Micros(5)));
        counters.set_waiting(workers[1], 3, Some(Micros(9)));
        counters.set_waiting(workers[2], 4, Some(Micros(7)));
        let rows = [(0, (2, 7)), (1, (0, 5)), (2, (0, 5))];
        for (own, (longest, since)) in rows {
            let expected = Some((workers[longest], Micros(since)));
            assert_eq!(counters.longest_waiting(workers[own]), expected);
        }
        assert_eq!(counters.waiting_elsewhere(workers[1]), 6);
        counters.set_waiting(workers[0], 0, None);
        let expected = Some((workers[2], Micros(7)));
        assert_eq!(counters.longest_waiting(workers[1]), expected);
    }

    #[test]
    fn what_a_worker_counts_of_a_route_or_a_backend_is_small() {
        assert!(size_of::<RouteBlock>() <= 576);
        assert!(size_of::<BackendBlock>() <= 896);
    }
}
