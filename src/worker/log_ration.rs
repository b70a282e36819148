//! Bounds on the lines that a worker logs and on its reports of refused requests: a flood of failures must not become a
//! flood of lines.

use std::cell::Cell;

use tracing::{info, warn};

use crate::base::ids::WorkerId;
use crate::base::limits;

/// The lines that may still be logged, and the reports that may still be made, in this second.
pub struct LogRation {
    failures: Cell<u32>,
    /// Failures that were not logged in this second.
    unlogged: Cell<u32>,
    /// Refusals of clients by their certificates that may still be logged in this second.
    clients: Cell<u32>,
    unlogged_clients: Cell<u32>,
    exhaustion: Cell<bool>,
    refused: Cell<u32>,
    /// Seconds until the next log line that says that clients wait at a bound.
    bound: Cell<u32>,
}

impl Default for LogRation {
    fn default() -> Self {
        LogRation {
            failures: Cell::new(limits::FAILURE_LINES_PER_SECOND),
            unlogged: Cell::default(),
            clients: Cell::new(limits::CLIENT_LINES_PER_SECOND),
            unlogged_clients: Cell::default(),
            exhaustion: Cell::new(true),
            refused: Cell::new(limits::REFUSED_PER_SECOND),
            bound: Cell::default(),
        }
    }
}

impl LogRation {
    /// Whether a failure may be logged now. A failure that may not be logged is counted.
    pub fn may_log_failure(&self) -> bool {
        let left = self.failures.get();
        if left == 0 {
            self.unlogged.set(self.unlogged.get() + 1);
            return false;
        }
        self.failures.set(left - 1);
        true
    }

    /// Whether the refusal of a client may be logged now. A refusal that may not is counted.
    pub fn may_log_client(&self) -> bool {
        let left = self.clients.get();
        self.clients.set(left.saturating_sub(1));
        let missed = u32::from(left == 0);
        self.unlogged_clients
            .set(self.unlogged_clients.get() + missed);
        left > 0
    }

    /// Whether a line may be logged now that says that accepting pauses: one line in a second.
    pub fn may_log_exhaustion(&self) -> bool {
        self.exhaustion.replace(false)
    }

    /// Whether a line that says that clients wait at a bound may be logged now.
    pub fn may_log_bound(&self) -> bool {
        let may = self.bound.get() == 0;
        if may {
            self.bound.set(limits::BOUND_TELL_SECS);
        }
        may
    }

    /// Whether the control thread may be told of a refused request now.
    pub fn may_tell_refused(&self) -> bool {
        let left = self.refused.get();
        self.refused.set(left.saturating_sub(1));
        left > 0
    }

    /// Begins another second, and logs the number of lines that were left out in the last second.
    pub fn renew(&self, worker: WorkerId) {
        self.failures.set(limits::FAILURE_LINES_PER_SECOND);
        self.clients.set(limits::CLIENT_LINES_PER_SECOND);
        self.exhaustion.set(true);
        self.refused.set(limits::REFUSED_PER_SECOND);
        self.bound.set(self.bound.get().saturating_sub(1));
        let clients = self.unlogged_clients.take();
        if clients > 0 {
            info!(
                worker = worker.0,
                "{clients} more clients were refused in the last second"
            );
        }
        let unlogged = self.unlogged.take();
        if unlogged > 0 {
            warn!(
                worker = worker.0,
                "{unlogged} more failed requests in the last second"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_then_none() {
        let ration = LogRation::default();
        for _ in 0..limits::FAILURE_LINES_PER_SECOND {
            assert!(ration.may_log_failure());
        }
        assert!(!ration.may_log_failure());
        assert_eq!(ration.unlogged.get(), 1);
        assert!(ration.may_log_exhaustion());
        assert!(!ration.may_log_exhaustion());
        for _ in 0..limits::REFUSED_PER_SECOND {
            assert!(ration.may_tell_refused());
        }
        assert!(!ration.may_tell_refused());
        for _ in 0..limits::CLIENT_LINES_PER_SECOND {
            assert!(ration.may_log_client());
        }
        assert!(!ration.may_log_client());
        assert_eq!(ration.unlogged_clients.get(), 1);
        assert!(ration.may_log_bound());
        ration.renew(WorkerId(0));
        assert!(ration.may_log_client());
        for _ in 1..limits::BOUND_TELL_SECS {
            assert!(!ration.may_log_bound());
            ration.renew(WorkerId(0));
        }
        assert!(ration.may_log_bound());
        assert!(ration.may_log_failure() && ration.may_log_exhaustion());
        assert!(ration.may_tell_refused());
        assert_eq!(ration.unlogged.get(), 0);
    }
}
