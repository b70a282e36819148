//! Stopping in good order: no new requests, time for the running ones, then the count of those that were cut.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::shared::socket_files;
use crate::shared::worker_counters::{self, AllWorkerCounters};

/// How far a stop has come. Time is an argument.
#[derive(Debug)]
pub struct Shutdown {
    workers: usize,
    /// Workers that have nothing left to do, whatever the reason.
    done: BTreeSet<WorkerId>,
    deadline: Option<Micros>,
    /// Whether another process has taken over, so that nobody waits for the end of this process before a signal asks
    /// for it.
    retired: bool,
    /// Whether a signal has asked for the end.
    signalled: bool,
    /// Something else than a signal is the reason.
    failed: bool,
    at_once: bool,
}

impl Shutdown {
    /// The state of a process with so many workers whose stop has not begun.
    pub fn new(workers: usize) -> Shutdown {
        Shutdown {
            workers,
            done: BTreeSet::new(),
            deadline: None,
            retired: false,
            signalled: false,
            failed: false,
            at_once: false,
        }
    }

    /// Begins without haste, because another process has taken over. A signal may hasten it.
    pub fn retire(&mut self, now: Micros) {
        self.retired = true;
        self.deadline = Some(now.after(Duration::from_secs(limits::RETIRE_SECS)));
    }

    /// Begins, on a signal; the second one ends everything at once. Whether this was the first.
    pub fn signal(&mut self, name: &str, patience: Duration, now: Micros) -> bool {
        let is_first = self.retired && !self.signalled;
        self.signalled = true;
        if self.deadline.is_some() && !is_first {
            info!(signal = name, "stopping at once");
            self.at_once = true;
            return false;
        }
        info!(
            signal = name,
            ?patience,
            "stopping: running requests may finish"
        );
        self.deadline = Some(now.after(patience));
        true
    }

    /// Begins because a thread has ended that should not have; the exit code will say so.
    pub fn fail(&mut self, patience: Duration, now: Micros) {
        self.failed = true;
        self.deadline.get_or_insert(now.after(patience));
    }

    /// Notes that the worker has nothing left to do. A worker may say so again, because a connection that was being
    /// accepted at its first message comes to an end too.
    pub fn worker_done(&mut self, worker: WorkerId) {
        debug_assert!(worker.index() < self.workers);
        self.done.insert(worker);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether another process has taken over.
    pub fn has_retired(&self) -> bool {
        self.retired
    }

    /// Whether a second signal has asked for the end.
    pub fn is_at_once(&self) -> bool {
        self.at_once
    }

    /// Whether it is time to end the process.
    pub fn is_over(&self, now: Micros) -> bool {
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        late || self.at_once || (self.has_begun() && self.done.len() >= self.workers)
    }

    /// When [`Shutdown::is_over`] becomes true by itself.
    pub fn deadline(&self) -> Option<Micros> {
        self.deadline
    }

    /// Counts and logs what is cut; the exit code.
    pub fn exit_code(&self, counters: &AllWorkerCounters) -> u8 {
        let requests = worker_counters::exchanges(counters);
        if requests > 0 {
            warn!(
                requests,
                connections = worker_counters::connections(counters),
                "stopped: {requests} requests were cut"
            );
        } else {
            info!("stopped: no request was cut");
        }
        u8::from(requests > 0 || self.failed)
    }
}

/// Removes the files of Unix sockets at the end of the process, on a thread of its own, so that a disk that does not
/// answer cannot keep the process from ending.
pub fn remove_socket_files() {
    let (done, is_done) = crossbeam_channel::bounded(1);
    let work = move || {
        socket_files::remove_all();
        let _ = done.send(());
    };
    let named = thread::Builder::new().name("files".to_owned());
    if named.spawn(work).is_ok() {
        let _ = is_done.recv_timeout(Duration::from_millis(limits::SOCKET_FILES_MILLIS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    #[test]
    fn ends_when_every_worker_is_done() {
        let mut shutdown = Shutdown::new(2);
        shutdown.worker_done(WorkerId(0));
        shutdown.worker_done(WorkerId(1));
        assert!(!shutdown.is_over(at(100)), "nobody asked for it");
        let mut shutdown = Shutdown::new(2);
        assert!(shutdown.signal("SIGTERM", PATIENCE, at(0)));
        shutdown.worker_done(WorkerId(1));
        shutdown.worker_done(WorkerId(1));
        assert!(!shutdown.is_over(at(1)), "the other one is not done");
        shutdown.worker_done(WorkerId(0));
        assert!(shutdown.is_over(at(1)));
        assert_eq!(shutdown.exit_code(&worker_counters::counters(2)), 0);
    }

    #[test]
    fn ends_by_time_and_says_what_is_cut() {
        let all = worker_counters::counters(2);
        all[1].begin_exchange();
        let mut shutdown = Shutdown::new(2);
        shutdown.signal("SIGTERM", PATIENCE, at(5));
        assert!(!shutdown.is_over(at(14)));
        assert!(shutdown.is_over(at(15)));
        assert_eq!(shutdown.exit_code(&all), 1);
        all[1].end_exchange();
        assert_eq!(shutdown.exit_code(&all), 0);
    }

    #[test]
    fn a_second_signal_ends_at_once() {
        let mut shutdown = Shutdown::new(1);
        assert!(shutdown.signal("SIGINT", PATIENCE, at(0)));
        assert!(!shutdown.signal("SIGINT", PATIENCE, at(1)));
        assert!(shutdown.is_over(at(1)));
    }

    #[test]
    fn a_retiring_process_has_time_until_a_signal_hastens_it() {
        let mut shutdown = Shutdown::new(1);
        shutdown.retire(at(0));
        assert!(shutdown.has_begun());
        assert!(!shutdown.is_over(at(limits::RETIRE_SECS - 1)));
        assert!(shutdown.signal("SIGTERM", PATIENCE, at(100)));
        assert!(!shutdown.is_over(at(109)), "it is the first signal");
        assert!(shutdown.is_over(at(110)));
        assert!(!shutdown.signal("SIGTERM", PATIENCE, at(101)));
        assert!(shutdown.is_over(at(101)), "it is the second signal");
        let mut shutdown = Shutdown::new(1);
        shutdown.retire(at(0));
        shutdown.worker_done(WorkerId(0));
        assert!(shutdown.is_over(at(1)));
        assert_eq!(shutdown.exit_code(&worker_counters::counters(1)), 0);
    }

    #[test]
    fn a_failure_begins_a_stop_once_and_shows_in_the_exit_code() {
        let mut shutdown = Shutdown::new(2);
        shutdown.fail(PATIENCE, at(0));
        shutdown.fail(PATIENCE, at(9));
        assert_eq!(shutdown.deadline(), Some(at(10)));
        shutdown.worker_done(WorkerId(0));
        shutdown.worker_done(WorkerId(1));
        assert!(shutdown.is_over(at(1)));
        assert_eq!(shutdown.exit_code(&worker_counters::counters(2)), 1);
    }
}
