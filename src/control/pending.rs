//! What palantir itself wants done, besides what it is asked for: it stays wanted until it is done, or until the reason
//! why it cannot be is final. It is tried again every second, told loudly but not all the time, and shown as a metric.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::desk::ProblemKind;

/// What may be wanted. The discriminant is the index in every table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A reload on trial is to be taken back.
    Rollback,
    /// SIGHUP came.
    Reload,
    /// SIGUSR2 came.
    Upgrade,
    /// A backend has been drained, or has been down for too long.
    Removal,
    /// A name has other addresses.
    Addresses,
    /// Files of TLS have changed.
    TlsFiles,
    /// A reload was confirmed, and the state file does not say so yet.
    StateFile,
}

/// All operations, and what metrics call them.
pub const OPERATIONS: [(Operation, &str); 7] = [
    (Operation::Rollback, "rollback"),
    (Operation::Reload, "reload"),
    (Operation::Upgrade, "upgrade"),
    (Operation::Removal, "removal"),
    (Operation::Addresses, "addresses"),
    (Operation::TlsFiles, "tls_files"),
    (Operation::StateFile, "state_file"),
];

impl Operation {
    /// Whether there is no use in trying again after such a refusal: what is refused for is not going to change.
    pub fn is_final(self, refusal: ProblemKind) -> bool {
        match self {
            // A file with mistakes, or another one than was asked for.
            Operation::Reload => [ProblemKind::Invalid, ProblemKind::Changed].contains(&refusal),
            // A program that cannot start now is not started again and again.
            Operation::Upgrade => refusal != ProblemKind::Unavailable,
            Operation::Rollback | Operation::Removal => refusal == ProblemKind::Absent,
            Operation::Addresses | Operation::TlsFiles | Operation::StateFile => false,
        }
    }
}

/// Which operations are wanted and not done, for metrics.
#[derive(Debug, Default)]
pub struct Wanted([AtomicBool; OPERATIONS.len()]);

impl Wanted {
    /// Whether this one is.
    pub fn is_wanted(&self, operation: Operation) -> bool {
        self.0[operation as usize].load(Relaxed)
    }
}

/// What is known of each operation.
#[derive(Debug, Default)]
pub struct Pending {
    rows: [Row; OPERATIONS.len()],
    wanted: Arc<Wanted>,
    /// The last thing that was begun was one of these, and none that somebody asked for.
    was_last: bool,
}

#[derive(Debug, Default)]
struct Row {
    /// When at the earliest it is tried again.
    due: Micros,
    /// It was asked for once more since it was last tried.
    again: bool,
    /// The last reason that was told, and when.
    told: Option<(String, Micros)>,
}

impl Pending {
    /// For metrics.
    pub fn wanted(&self) -> Arc<Wanted> {
        self.wanted.clone()
    }

    /// It is wanted from now on.
    pub fn want(&self, operation: Operation) {
        self.wanted.0[operation as usize].store(true, Relaxed);
    }

    /// A signal asks for it; it is done once more if that comes while it is being done.
    pub fn ask(&mut self, operation: Operation) {
        self.want(operation);
        self.rows[operation as usize].again = true;
    }

    /// Whether a signal has asked for it since it was last tried.
    pub fn is_asked_again(&self, operation: Operation) -> bool {
        self.rows[operation as usize].again
    }

    /// Whether it is wanted and may be tried again.
    pub fn is_due(&self, operation: Operation, now: Micros) -> bool {
        self.wanted.is_wanted(operation) && self.may_try(operation, now)
    }

    /// Whether it may be tried, wanted or not.
    pub fn may_try(&self, operation: Operation, now: Micros) -> bool {
        self.rows[operation as usize].due <= now
    }

    /// Whether what somebody has asked for is done first: however many operations are wanted, and however long an
    /// attempt takes, each attempt is followed by one thing that somebody waits for.
    pub fn must_yield(&self, somebody_waits: bool) -> bool {
        self.was_last && somebody_waits
    }

    /// Something is done that somebody has asked for.
    pub fn note_other(&mut self) {
        self.was_last = false;
    }

    /// Whether an attempt was refused since it was last done.
    pub fn was_refused(&self, operation: Operation) -> bool {
        self.rows[operation as usize].told.is_some()
    }

    /// It is tried now.
    pub fn note_try(&mut self, operation: Operation, now: Micros) {
        self.want(operation);
        self.was_last = true;
        let pause = Duration::from_secs(limits::OWN_RETRY_SECS);
        let row = &mut self.rows[operation as usize];
        (row.due, row.again) = (now.after(pause), false);
    }

    /// It is done, or not wanted any more, unless it was asked for once more.
    pub fn settle(&mut self, operation: Operation) {
        let row = std::mem::take(&mut self.rows[operation as usize]);
        self.wanted.0[operation as usize].store(row.again, Relaxed);
    }

    /// It is not wanted any more, however often it was asked for; whether it was.
    pub fn forget(&mut self, operation: Operation) -> bool {
        self.rows[operation as usize] = Row::default();
        self.wanted.0[operation as usize].swap(false, Relaxed)
    }

    /// It could not be done, and stays wanted; whether that is to be told: a new reason at once, the same one once a
    /// minute.
    pub fn note_refusal(&mut self, operation: Operation, reason: &str, now: Micros) -> bool {
        self.want(operation);
        let row = &mut self.rows[operation as usize];
        // Counted from the end of the attempt, which may have taken long: others want something, too.
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
        let removal = Operation::Removal;
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
        pending.ask(removal);
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
        pending.note_try(Operation::Removal, at(1));
        pending.settle(Operation::Removal);
        assert!(pending.must_yield(true), "also when it was done");
        assert!(!pending.must_yield(false));
        pending.note_other();
        assert!(!pending.must_yield(true));
    }

    #[test]
    fn operations_stand_at_their_places() {
        for (index, (operation, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(*operation as usize, index);
        }
    }
}
