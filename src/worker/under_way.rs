//! The attempts of a core that are under way at backends. Attempts at a backend that becomes unhealthy are woken, and a
//! backend that leaves requests without an answer is reported for an early probe.

use std::cell::RefCell;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::net::{Timer, Timers};

/// All attempts under way. An attempt keeps its number from its beginning to its end; numbers are used again.
#[derive(Default)]
pub struct UnderWay {
    attempts: RefCell<Vec<Option<Attempt>>>,
    free: RefCell<Vec<usize>>,
    /// The core's millisecond in which the last answer of each backend began, by the backend's row in the tables.
    heads: RefCell<Vec<u64>>,
}

struct Attempt {
    backend: BackendId,
    /// The number of a timer of the attempt's task.
    timer: u32,
    /// The core's millisecond in which the attempt began.
    since: u64,
    /// Whether the backend fails its probes.
    is_down: bool,
    /// Whether the answer has not begun, and the health thread has not been told of the wait.
    is_awaited: bool,
}

/// An attempt that is under way until this value is dropped.
pub struct CountedAttempt<'a> {
    all: &'a UnderWay,
    number: usize,
}

impl CountedAttempt<'_> {
    /// The number of the attempt.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Drop for CountedAttempt<'_> {
    fn drop(&mut self) {
        debug_assert!(
            self.all.attempts.borrow()[self.number].is_some(),
            "an attempt ends once"
        );
        self.all.attempts.borrow_mut()[self.number] = None;
        self.all.free.borrow_mut().push(self.number);
    }
}

impl UnderWay {
    /// Lists an attempt at a backend, made by a task that this timer wakes. A backend that fails its probes (`is_down`)
    /// gets requests only while its pool panics.
    #[inline]
    pub fn begin(&self, backend: BackendId, is_down: bool, timer: &Timer) -> CountedAttempt<'_> {
        let attempt = Some(Attempt {
            backend,
            timer: timer.number(),
            since: timer.timers().millis(),
            is_down,
            is_awaited: true,
        });
        let mut attempts = self.attempts.borrow_mut();
        let number = match self.free.borrow_mut().pop() {
            Some(number) => {
                debug_assert!(attempts[number].is_none(), "a free number has no attempt");
                attempts[number] = attempt;
                number
            }
            None => {
                attempts.push(attempt);
                attempts.len() - 1
            }
        };
        CountedAttempt { all: self, number }
    }

    /// Notes that an attempt goes to another address of the backend name that was picked.
    pub fn note_backend(&self, number: usize, backend: BackendId, is_down: bool) {
        self.with(number, |attempt| {
            (attempt.backend, attempt.is_down) = (backend, is_down);
        });
    }

    /// Notes that the answer of an attempt has begun. `now`: the core's millisecond.
    #[inline]
    pub fn note_head(&self, number: usize, backend: BackendId, now: u64) {
        self.with(number, |attempt| attempt.is_awaited = false);
        let mut heads = self.heads.borrow_mut();
        if heads.len() <= backend.index() {
            heads.resize(backend.index() + 1, 0);
        }
        heads[backend.index()] = now;
    }

    /// Whether the backend of an attempt fails its probes.
    pub fn is_down(&self, number: usize) -> bool {
        let attempts = self.attempts.borrow();
        attempts
            .get(number)
            .and_then(Option::as_ref)
            .is_some_and(|attempt| attempt.is_down)
    }

    fn with(&self, number: usize, change: impl FnOnce(&mut Attempt)) {
        let mut attempts = self.attempts.borrow_mut();
        if let Some(attempt) = attempts.get_mut(number).and_then(Option::as_mut) {
            change(attempt);
        }
    }

    /// Stores whether a backend fails its probes, and wakes all attempts at backends that fail theirs: another backend
    /// may take their requests now, or their pool may have ceased to panic.
    pub fn set_down(&self, backend: BackendId, is_down: bool, timers: &Timers) {
        for attempt in self.attempts.borrow_mut().iter_mut().flatten() {
            if attempt.backend == backend {
                attempt.is_down = is_down;
            }
            if attempt.is_down {
                timers.wake(attempt.timer);
            }
        }
    }

    /// The backends that left a request without an answer for too long while no other answer of theirs began. `now`:
    /// the core's millisecond. Each request counts once.
    pub fn silent(&self, now: u64) -> Vec<BackendId> {
        let heads = self.heads.borrow();
        let is_long_ago = |at: u64| at + limits::SUSPECT_MILLIS <= now;
        let is_silent = |id: BackendId| {
            let last = heads.get(id.index());
            last.is_none_or(|&last| last == 0 || is_long_ago(last))
        };
        let mut silent = Vec::new();
        for attempt in self.attempts.borrow_mut().iter_mut().flatten() {
            if attempt.is_awaited && is_long_ago(attempt.since) && is_silent(attempt.backend) {
                attempt.is_awaited = false;
                silent.push(attempt.backend);
            }
        }
        silent.sort_unstable();
        silent.dedup();
        silent
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const A: BackendId = BackendId(1);
    const B: BackendId = BackendId(2);

    #[test]
    fn only_attempts_at_the_backend_that_fell_are_told() {
        let (all, timers) = (UnderWay::default(), Rc::<Timers>::default());
        let timer = Timer::new(&timers);
        let [first, second] = [A, B].map(|id| all.begin(id, false, &timer));
        all.set_down(A, true, &timers);
        let later = all.begin(A, true, &timer);
        let numbers = [first.number(), second.number(), later.number()];
        assert_eq!(
            numbers.map(|number| all.is_down(number)),
            [true, false, true]
        );
        all.set_down(A, false, &timers);
        assert!(!all.is_down(first.number()), "it is well again");
        all.note_backend(first.number(), B, true);
        assert!(all.is_down(first.number()));
        all.note_backend(first.number(), B, false);
        all.set_down(B, true, &timers);
        assert!(all.is_down(first.number()));
        let number = first.number();
        drop(first);
        assert!(!all.is_down(number));
        assert_eq!(
            all.begin(A, false, &timer).number(),
            number,
            "places are used again"
        );
    }

    #[test]
    fn a_backend_is_silent_when_a_request_waits_and_no_other_is_answered() {
        let (all, timers) = (UnderWay::default(), Rc::<Timers>::default());
        let timer = Timer::new(&timers);
        let pass =
            || (0..limits::SUSPECT_MILLIS / limits::TICK_MILLIS).for_each(|_| timers.advance());
        let slow = all.begin(A, false, &timer);
        assert!(all.silent(timers.millis()).is_empty(), "it has just begun");
        pass();
        let quick = all.begin(A, false, &timer);
        all.note_head(quick.number(), A, timers.millis());
        assert!(all.silent(timers.millis()).is_empty(), "others are served");
        pass();
        assert_eq!(all.silent(timers.millis()), [A]);
        assert!(all.silent(timers.millis()).is_empty(), "said already");
        drop((slow, quick));
        let [first, second] = [(); 2].map(|()| all.begin(B, false, &timer));
        pass();
        assert_eq!(all.silent(timers.millis()), [B], "once for all");
        drop((first, second));
    }
}
