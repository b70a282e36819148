//! The operations that palantir itself wants done, besides those that it is asked for. An operation stays wanted until
//! it is done, or until the reason against it is final. Palantir tries it again every second, logs the reason from time
//! to time, and shows the operation in a metric.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::config_store::ProblemKind;

/// An operation that palantir may want. The discriminant is the index of the operation in every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingOperation {
    /// A reload on trial is to be taken back.
    Rollback,
    /// SIGHUP came.
    Reload,
    /// SIGUSR2 came.
    Upgrade,
    /// A backend has been drained, or has been down for too long.
    Removal,
    /// The addresses of a name have changed.
    Addresses,
    /// Files of TLS have changed.
    TlsFiles,
    /// A reload was confirmed, and the state file does not say so yet.
    StateFile,
}

/// All operations, and what metrics call them.
pub const PENDING_OPERATIONS: [(PendingOperation, &str); 7] = [
    (PendingOperation::Rollback, "rollback"),
    (PendingOperation::Reload, "reload"),
    (PendingOperation::Upgrade, "upgrade"),
    (PendingOperation::Removal, "removal"),
    (PendingOperation::Addresses, "addresses"),
    (PendingOperation::TlsFiles, "tls_files"),
    (PendingOperation::StateFile, "state_file"),
];

const _: () = {
    let mut at = 0;
    while at < PENDING_OPERATIONS.len() {
        assert!(
            PENDING_OPERATIONS[at].0 as usize == at,
            "an operation stands at its number"
        );
        at += 1;
    }
};
impl PendingOperation {
    /// Whether a refusal of this kind is final: the same attempt would be refused again.
    pub fn is_final(self, refusal: ProblemKind) -> bool {
        match self {
            // The file has mistakes, or is another one than the signal asked for.
            PendingOperation::Reload => {
                [ProblemKind::Invalid, ProblemKind::Changed].contains(&refusal)
            }
            // A program that fails to start is not started again.
            PendingOperation::Upgrade => refusal != ProblemKind::Unavailable,
            PendingOperation::Rollback | PendingOperation::Removal => {
                refusal == ProblemKind::Absent
            }
            PendingOperation::Addresses
            | PendingOperation::TlsFiles
            | PendingOperation::StateFile => false,
        }
    }
}

/// The operations that are wanted and not done, for metrics.
#[derive(Debug, Default)]
pub struct PendingOperations([AtomicBool; PENDING_OPERATIONS.len()]);

impl PendingOperations {
    /// Whether this operation is wanted and not done.
    pub fn is_wanted(&self, operation: PendingOperation) -> bool {
        self.0[operation as usize].load(Relaxed)
    }
}

/// The state of every operation.
#[derive(Debug, Default)]
pub struct Pending {
    rows: [Row; PENDING_OPERATIONS.len()],
    wanted: Arc<PendingOperations>,
    /// Whether the last thing that was begun was one of these operations, and not a request of the API.
    was_last: bool,
}

#[derive(Debug, Default)]
struct Row {
    /// When the operation is tried again, at the earliest.
    due: Micros,
    /// Whether the operation was asked for again since the last attempt.
    again: bool,
    /// The last reason that was logged, and when.
    told: Option<(String, Micros)>,
}

impl Pending {
    /// The wanted operations, for metrics.
    pub fn wanted(&self) -> Arc<PendingOperations> {
        self.wanted.clone()
    }

    /// Notes that the operation is wanted from now on.
    pub fn want(&self, operation: PendingOperation) {
        self.wanted.0[operation as usize].store(true, Relaxed);
    }

    /// Notes that a signal asks for the operation. A signal that comes during an attempt has the operation done once
    /// more.
    pub fn request(&mut self, operation: PendingOperation) {
        self.want(operation);
        self.rows[operation as usize].again = true;
    }

    /// Whether a signal has asked for the operation since the last attempt.
    pub fn is_asked_again(&self, operation: PendingOperation) -> bool {
        self.rows[operation as usize].again
    }

    /// Whether the operation is wanted and may be tried again.
    pub fn is_due(&self, operation: PendingOperation, now: Micros) -> bool {
        self.wanted.is_wanted(operation) && self.may_try(operation, now)
    }

    /// Whether the operation may be tried, wanted or not.
    pub fn may_try(&self, operation: PendingOperation, now: Micros) -> bool {
        self.rows[operation as usize].due <= now
    }

    /// Whether a request of the API comes before the wanted operations. However many operations are wanted, and however
    /// long an attempt takes, each attempt is followed by one request that somebody waits for.
    pub fn must_yield(&self, somebody_waits: bool) -> bool {
        self.was_last && somebody_waits
    }

    /// Notes that a request of the API is begun.
    pub fn note_other(&mut self) {
        self.was_last = false;
    }

    /// Whether the last attempt was refused.
    pub fn was_refused(&self, operation: PendingOperation) -> bool {
        self.rows[operation as usize].told.is_some()
    }

    /// Notes that an attempt begins.
    pub fn note_try(&mut self, operation: PendingOperation, now: Micros) {
        self.want(operation);
        self.was_last = true;
        let pause = Duration::from_secs(limits::OWN_RETRY_SECS);
        let row = &mut self.rows[operation as usize];
        (row.due, row.again) = (now.after(pause), false);
    }

    /// Notes that the operation is done or no longer wanted, unless it was asked for again meanwhile.
    pub fn settle(&mut self, operation: PendingOperation) {
        let row = std::mem::take(&mut self.rows[operation as usize]);
        self.wanted.0[operation as usize].store(row.again, Relaxed);
    }

    /// Notes that the operation is no longer wanted, however often it was asked for. Returns whether it was wanted.
    pub fn forget(&mut self, operation: PendingOperation) -> bool {
        self.rows[operation as usize] = Row::default();
        self.wanted.0[operation as usize].swap(false, Relaxed)
    }

    /// Notes that the operation could not be done and stays wanted. Returns whether to log the reason: a new reason at
    /// once, the same one once a minute.
    pub fn note_refusal(&mut self, operation: PendingOperation, reason: &str, now: Micros) -> bool {
        self.want(operation);
        let row = &mut self.rows[operation as usize];
        // Counted from the end of the attempt, which may have taken long: other work needs its turn.
        row.due = now.after(Duration::from_secs(limits::OWN_RETRY_SECS));
        let pause = Duration::from_secs(limits::OWN_TELL_SECS);
        let was_told = row
            .told
            .as_ref()
            .is_some_and(|(told, at)| told == reason && now < at.after(pause));
        if !was_told {
            row.told = Some((reason.to_owned(), now));
        }
        !was_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Micros {
        Micros(secs * 1_000_000)
    }

    #[test]
    fn what_is_refused_stays_wanted_and_is_tried_again_every_second() {
        let mut pending = Pending::default();
        let removal = PendingOperation::Removal;
        assert!(!pending.is_due(removal, at(0)));
        pending.want(removal);
        assert!(pending.is_due(removal, at(10)));
        pending.note_try(removal, at(10));
        assert!(!pending.is_due(removal, at(10)));
        let rows = [
            (10, "full disk", true),
            (11, "full disk", false),
            (69, "full disk", false),
            (70, "full disk", true),
            (71, "port taken", true),
        ];
        for (secs, reason, told) in rows {
            assert_eq!(
                pending.note_refusal(removal, reason, at(secs)),
                told,
                "{secs}"
            );
        }
        assert!(!pending.is_due(removal, at(71)));
        assert!(pending.is_due(removal, at(72)));
        assert!(pending.wanted().is_wanted(removal));
        pending.request(removal);
        pending.settle(removal);
        assert!(pending.is_due(removal, at(72)), "asked for once more");
        pending.note_try(removal, at(11));
        pending.settle(removal);
        assert!(!pending.is_due(removal, at(99)));
        assert!(!pending.wanted().is_wanted(removal));
    }

    #[test]
    fn one_thing_that_somebody_waits_for_comes_between_two_attempts() {
        let mut pending = Pending::default();
        assert!(!pending.must_yield(true));
        pending.note_try(PendingOperation::Removal, at(1));
        pending.settle(PendingOperation::Removal);
        assert!(pending.must_yield(true), "also when it was done");
        assert!(!pending.must_yield(false));
        pending.note_other();
        assert!(!pending.must_yield(true));
    }

    #[test]
    fn operations_stand_at_their_places() {
        for (index, (operation, _)) in PENDING_OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, index);
        }
    }
}
