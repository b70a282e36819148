//! Counts of each worker, and of the work that it has under way, for the control thread to read: one padded block per
//! worker, written by its owner alone, so that counting costs a load and a store and no other core's cache line.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::connection_failure::CONNECTION_REASONS;
use super::counter::{Counter, numbers};
use super::failure::REASONS;
use super::histogram::{COARSE, Histogram, Times};
use super::pulse::Pulse;
use super::route_counters::CLASSES;

/// One worker's block. What every request touches comes first.
#[derive(Debug)]
pub struct WorkerCounters {
    exchanges: Counter,
    classes: [Counter; CLASSES],
    server_succeeded: Counter,
    connections: Counter,
    accepted: Counter,
    waiting: Counter,
    paused: Counter,
    operations: Counter,
    lost_lines: Counter,
    failed: Counter,
    refused: Counter,
    server_failed: Counter,
    thread: Counter,
    pulse: Pulse,
    loop_lag: Histogram<COARSE>,
    worst_lag: Counter,
    refused_streams: Counter,
    ended_exchanges: Counter,
    reasons: [Counter; REASONS],
    connection_failures: [Counter; CONNECTION_REASONS],
}

/// All workers' blocks, by worker number.
pub type AllWorkerCounters = Arc<[CachePadded<WorkerCounters>]>;

impl Default for WorkerCounters {
    fn default() -> Self {
        WorkerCounters {
            exchanges: Counter::default(),
            classes: Default::default(),
            server_succeeded: Counter::default(),
            connections: Counter::default(),
            accepted: Counter::default(),
            waiting: Counter::default(),
            paused: Counter::default(),
            operations: Counter::default(),
            lost_lines: Counter::default(),
            failed: Counter::default(),
            refused: Counter::default(),
            server_failed: Counter::default(),
            thread: Counter::default(),
            pulse: Pulse::default(),
            loop_lag: Histogram::default(),
            worst_lag: Counter::default(),
            refused_streams: Counter::default(),
            ended_exchanges: Counter::default(),
            reasons: std::array::from_fn(|_| Counter::default()),
            connection_failures: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// Blocks for `workers` workers, all at zero.
pub fn counters(workers: usize) -> AllWorkerCounters {
    (0..workers).map(|_| CachePadded::default()).collect()
}

/// Requests under way at this moment, all workers together.
pub fn exchanges(all: &AllWorkerCounters) -> u64 {
    all.iter()
        .map(|counters| u64::from(counters.exchanges()))
        .sum()
}

/// Client connections open at this moment, all workers together.
pub fn connections(all: &AllWorkerCounters) -> u64 {
    all.iter()
        .map(|counters| u64::from(counters.connections()))
        .sum()
}

/// Clients of all workers together that were accepted and wait for a connection to end. More clients may wait in the
/// queues of the listening sockets.
pub fn waiting(all: &AllWorkerCounters) -> u64 {
    all.iter().map(|counters| counters.waiting.get()).sum()
}

/// Access-log lines that found a full ring since the start, all workers together.
pub fn lost_lines(all: &AllWorkerCounters) -> u64 {
    all.iter().map(|counters| counters.lost_lines()).sum()
}

/// How requests and attempts came out, all workers together.
pub fn outcomes(all: &AllWorkerCounters) -> Outcomes {
    let mut total = Outcomes::default();
    for one in all.iter().map(|counters| counters.outcomes()) {
        total.succeeded += one.succeeded;
        total.refused += one.refused;
        total.failed += one.failed;
        total.server_succeeded += one.server_succeeded;
        total.server_failed += one.server_failed;
    }
    total
}

/// How requests came out since the start. Each is in one of the first three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Requests that were answered whole and below 500 by a backend, or by a reply of our own that tells no failure,
    /// such as a redirect.
    pub succeeded: u64,
    /// Requests that failed by the client's fault: malformed, for no route, given up by the client.
    pub refused: u64,
    /// Requests that failed by a backend's fault or ours, those answered 500 and above by a backend included.
    pub failed: u64,
    /// Attempts at a backend that were answered below 500.
    pub server_succeeded: u64,
    /// Attempts that failed by a backend's fault, or were answered 500 and above.
    pub server_failed: u64,
}

impl Outcomes {
    /// All requests that ended.
    pub fn requests(&self) -> u64 {
        self.succeeded + self.refused + self.failed
    }

    /// The outcomes that were added since an earlier look.
    pub fn since(&self, earlier: &Outcomes) -> Outcomes {
        Outcomes {
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            refused: self.refused.saturating_sub(earlier.refused),
            failed: self.failed.saturating_sub(earlier.failed),
            server_succeeded: self
                .server_succeeded
                .saturating_sub(earlier.server_succeeded),
            server_failed: self.server_failed.saturating_sub(earlier.server_failed),
        }
    }
}

impl WorkerCounters {
    /// Client connections that the worker has open.
    pub fn connections(&self) -> u32 {
        self.connections.get() as u32
    }

    /// Client connections that it has accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// Clients that the worker has accepted and that wait for a connection to end.
    pub fn waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// How often accepting has paused since the start because a bound on connections was reached.
    pub fn paused(&self) -> u64 {
        self.paused.get()
    }

    /// Counts a client that begins to wait for a connection to end. Only the owner calls this.
    pub fn begin_waiting(&self) {
        self.paused.add(1);
        self.waiting.add(1);
    }

    /// Counts a client that waits no longer. Only the owner calls this.
    pub fn end_waiting(&self) {
        self.waiting.sub(1);
    }

    /// Requests that the worker has begun and not ended: those that a stop would cut.
    pub fn exchanges(&self) -> u32 {
        self.exchanges.get() as u32
    }

    /// Requests that ended since the start, by the class of what the client was answered.
    pub fn classes(&self) -> [u64; CLASSES] {
        numbers(&self.classes)
    }

    /// Requests that failed since the start, by reason.
    pub fn reasons(&self) -> [u64; REASONS] {
        numbers(&self.reasons)
    }

    /// How its requests came out since the start.
    pub fn outcomes(&self) -> Outcomes {
        let (refused, failed) = (self.refused.get(), self.failed.get());
        let requests: u64 = self.classes().iter().sum();
        Outcomes {
            succeeded: requests.saturating_sub(refused + failed),
            refused,
            failed,
            server_succeeded: self.server_succeeded.get(),
            server_failed: self.server_failed.get(),
        }
    }

    /// Operations handed to the engine since the start: accepts, connects, sends, waits for bytes and events. As of the
    /// last tick.
    pub fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// The system's number of the worker's thread; `None` before it runs.
    pub fn thread(&self) -> Option<u32> {
        Some(self.thread.get() as u32).filter(|thread| *thread > 0)
    }

    /// The worker's sign of life, which it gives ten times a second if all is well.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// How late the ticks came, and how long pauses of the loop were that are measured one by one.
    pub fn loop_lag(&self) -> Times<COARSE> {
        self.loop_lag.times()
    }

    /// The longest lag of the last full second, in microseconds.
    pub fn worst_lag(&self) -> u64 {
        self.worst_lag.get()
    }

    /// Access-log lines that found the worker's ring full, since the start.
    pub fn lost_lines(&self) -> u64 {
        self.lost_lines.get()
    }

    /// Sets the number of open client connections. For the owner.
    pub fn set_connections(&self, count: u32) {
        self.connections.set(count.into());
    }

    /// Counts an accepted client connection. For the owner.
    pub fn accept(&self) {
        self.accepted.add(1);
    }

    /// Counts a request that begins. For the owner.
    pub fn begin_exchange(&self) {
        self.exchanges.add(1);
    }

    /// Counts a request that ended, however it did. For the owner.
    pub fn end_exchange(&self) {
        self.exchanges.sub(1);
    }

    /// Counts what the client of a request was answered. For the owner.
    #[inline]
    pub fn answer(&self, class: usize) {
        self.classes[class].add(1);
    }

    /// Counts a request, already counted by [`WorkerCounters::answer`], as failed by the client's fault. For the owner.
    pub fn refuse(&self) {
        self.refused.add(1);
    }

    /// Counts such a request as failed by a backend's fault or ours. For the owner.
    pub fn fail(&self) {
        self.failed.add(1);
    }

    /// Counts the reason why a client's connection was ended. For the owner.
    pub fn note_connection_failure(&self, reason: usize) {
        self.connection_failures[reason].add(1);
    }

    /// Connections of clients that were ended, by reason.
    pub fn connection_failures(&self) -> [u64; CONNECTION_REASONS] {
        numbers(&self.connection_failures)
    }

    /// Streams of clients' connections of HTTP/2 that were refused for want of memory.
    pub fn refused_streams(&self) -> u64 {
        self.refused_streams.get()
    }

    /// Counts streams that were refused for want of memory. For the owner.
    pub fn refuse_streams(&self, count: u32) {
        self.refused_streams.add(count.into());
    }

    /// Exchanges that were ended for want of memory.
    pub fn ended_exchanges(&self) -> u64 {
        self.ended_exchanges.get()
    }

    /// Counts exchanges that were ended for want of memory. For the owner.
    pub fn note_ended(&self, count: u32) {
        self.ended_exchanges.add(count.into());
    }

    /// Counts the reason why a request failed. For the owner.
    pub fn note_reason(&self, reason: usize) {
        self.reasons[reason].add(1);
    }

    /// Counts an attempt at a backend. For the owner.
    #[inline]
    pub fn attempt(&self, succeeded: bool) {
        if succeeded {
            self.server_succeeded.add(1)
        } else {
            self.server_failed.add(1)
        }
    }

    /// Publishes the number of operations. For the owner.
    pub fn set_operations(&self, operations: u64) {
        self.operations.set(operations);
    }

    /// Says which thread the owner is.
    pub fn set_thread(&self, thread: u32) {
        self.thread.set(thread.into());
    }

    /// Takes in how long something that was due had to wait, in microseconds. For the owner.
    pub fn observe_lag(&self, micros: u64) {
        self.loop_lag.observe(micros);
    }

    /// Publishes the longest lag of a second, in microseconds. For the owner.
    pub fn set_worst_lag(&self, micros: u64) {
        self.worst_lag.set(micros);
    }

    /// Counts an access-log line that found the ring full. For the owner.
    pub fn lose_line(&self) {
        self.lost_lines.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_over_all_workers() {
        let all = counters(3);
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

    #[test]
    fn every_request_has_one_outcome() {
        let all = counters(2);
        for class in [1, 1, 3, 4] {
            all[0].answer(class);
        }
        all[0].refuse();
        all[0].fail();
        all[1].answer(2);
        all[1].attempt(true);
        all[0].attempt(false);
        let outcomes = outcomes(&all);
        let expected = Outcomes {
            succeeded: 3,
            refused: 1,
            failed: 1,
            server_succeeded: 1,
            server_failed: 1,
        };
        assert_eq!((outcomes, outcomes.requests()), (expected, 5));
        assert_eq!(outcomes.since(&expected), Outcomes::default());
    }
}
