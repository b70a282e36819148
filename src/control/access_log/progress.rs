//! The progress of the access log, for parts that only report it: `/health`, the metrics and the control thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;

/// Written by the thread that writes the access log.
#[derive(Debug)]
pub struct LogProgress {
    /// When the thread last showed that it works, in microseconds.
    moved: AtomicU64,
    /// Lines lost to writes that failed.
    lost: AtomicU64,
}

impl LogProgress {
    /// The progress of a thread that starts now.
    pub fn new(now: Micros) -> LogProgress {
        LogProgress {
            moved: AtomicU64::new(now.0),
            lost: AtomicU64::new(0),
        }
    }

    /// Notes that the thread works.
    pub fn note_moved(&self, now: Micros) {
        self.moved.store(now.0, Relaxed);
    }

    /// Counts lines that could not be written.
    pub fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Relaxed);
    }

    /// Lines lost to writes that failed since the process began.
    pub fn lost_lines(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Whether an operation on the file has lasted too long. Lines wait in the rings meanwhile, and are lost when the
    /// rings are full.
    pub fn is_stalled(&self, now: Micros) -> bool {
        let moved = Micros(self.moved.load(Relaxed));
        now > moved.after(Duration::from_millis(limits::LOG_STALL_MILLIS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_move_is_stalled_after_a_while() {
        let at = |millis| Micros(millis * 1_000);
        let progress = LogProgress::new(at(100));
        let rows = [
            (100, false),
            (limits::LOG_STALL_MILLIS + 100, false),
            (limits::LOG_STALL_MILLIS + 101, true),
        ];
        for (millis, stalled) in rows {
            assert_eq!(progress.is_stalled(at(millis)), stalled, "{millis}");
        }
        progress.note_moved(at(60_000));
        assert!(!progress.is_stalled(at(60_001)));
    }
}
