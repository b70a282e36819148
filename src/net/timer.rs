//! Deadlines. A core has one coarse tick (`limits::TICK_MILLIS`) that turns one wheel; setting a deadline later is a
//! store, and nothing is allocated or cancelled for it. (Hashed timing wheel: Varghese and Lauck, 1987, scheme 6,
//! with entries that are moved on when their bucket comes up rather than when the deadline is moved to a later time.)
//! A bucket is a linked list through the entries themselves, so that a timer that is dropped leaves nothing behind: a
//! core makes and drops a timer for each stream of HTTP/2, most of them long before their deadlines.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;

const NEVER: u64 = u64::MAX;
/// The end of a bucket's list.
const NOBODY: u32 = u32::MAX;

/// A deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

/// The reason for which a wait ended without what was waited for.
#[derive(Debug)]
pub enum Interrupted<F> {
    /// The deadline has passed.
    Expired,
    /// An event happened that was watched meanwhile.
    Watched(F),
}

#[derive(Debug)]
struct Entry {
    /// The tick at which it expires.
    due: u64,
    /// The tick of the bucket that will look at it next: never later than `due`.
    queued: u64,
    /// The entries beside it in the bucket of that tick.
    before: u32,
    after: u32,
    expired: bool,
    waker: Option<Waker>,
}

/// The wheel itself: plain data, the tick is an argument.
#[derive(Debug)]
pub struct Wheel {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The first entry of each bucket.
    buckets: Box<[u32]>,
    now: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            entries: Vec::new(),
            free: Vec::new(),
            buckets: vec![NOBODY; limits::WHEEL_BUCKETS].into(),
            now: 0,
        }
    }
}

impl Wheel {
    /// A new entry without a deadline.
    pub fn insert(&mut self) -> u32 {
        let entry = Entry {
            due: NEVER,
            queued: NEVER,
            before: NOBODY,
            after: NOBODY,
            expired: false,
            waker: None,
        };
        match self.free.pop() {
            Some(index) => {
                let before = &self.entries[index as usize];
                debug_assert!(before.queued == NEVER, "a free entry is in no bucket");
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, index: u32) {
        self.unqueue(index);
        let entry = &mut self.entries[index as usize];
        entry.due = NEVER;
        entry.waker = None;
        self.free.push(index);
    }

    /// Sets the entry's deadline `ticks` from now, at least one.
    pub fn set(&mut self, index: u32, ticks: u64) {
        let due = self.now + ticks.max(1);
        let entry = &mut self.entries[index as usize];
        entry.due = due;
        entry.expired = false;
        if due < entry.queued {
            self.unqueue(index);
            self.queue(index, due);
        }
    }

    /// Takes the entry's deadline away.
    pub fn clear(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.due = NEVER;
        entry.expired = false;
    }

    /// Whether the deadline passed since it was set.
    pub fn expired(&self, index: u32) -> bool {
        self.entries[index as usize].expired
    }

    /// Whom to wake when the deadline passes.
    pub fn watch(&mut self, index: u32, waker: &Waker) {
        let entry = &mut self.entries[index as usize];
        match &entry.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => entry.waker = Some(waker.clone()),
        }
    }

    /// Has the entry's deadline pass now.
    pub fn expire(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.due = NEVER;
        entry.expired = true;
        if let Some(waker) = &entry.waker {
            waker.wake_by_ref();
        }
    }

    /// Wakes the task of the entry and leaves its deadline as it is.
    pub fn wake(&self, index: u32) {
        if let Some(waker) = &self.entries[index as usize].waker {
            waker.wake_by_ref();
        }
    }

    /// Goes one tick on and wakes everybody whose deadline it is.
    pub fn advance(&mut self) {
        self.now += 1;
        let now = self.now;
        let mut next = std::mem::replace(&mut self.buckets[bucket_of(now)], NOBODY);
        while next != NOBODY {
            let index = next;
            let entry = &mut self.entries[index as usize];
            debug_assert_eq!(entry.queued, now, "a bucket has the entries of its tick");
            next = entry.after;
            entry.queued = NEVER;
            if entry.due <= now {
                self.expire(index);
            } else if entry.due != NEVER {
                let due = entry.due;
                self.queue(index, due); // Into another bucket than this one.
            }
        }
    }

    /// Wakes everybody, expired or not.
    pub fn wake_all(&self) {
        for waker in self.entries.iter().filter_map(|entry| entry.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Puts an entry that is in no bucket into that of its deadline, or into the furthest one.
    fn queue(&mut self, index: u32, due: u64) {
        let furthest = self.now + limits::WHEEL_BUCKETS as u64 - 1;
        let queued = due.min(furthest);
        debug_assert!(
            queued > self.now,
            "the bucket of this tick has been looked at"
        );
        debug_assert_eq!(
            self.entries[index as usize].queued, NEVER,
            "an entry is in one bucket"
        );
        let first = std::mem::replace(&mut self.buckets[bucket_of(queued)], index);
        let entry = &mut self.entries[index as usize];
        entry.queued = queued;
        entry.before = NOBODY;
        entry.after = first;
        if first != NOBODY {
            self.entries[first as usize].before = index;
        }
    }

    /// Takes an entry out of its bucket, if it is in one.
    fn unqueue(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let queued = std::mem::replace(&mut entry.queued, NEVER);
        if queued == NEVER {
            return;
        }
        let (before, after) = (entry.before, entry.after);
        if after != NOBODY {
            self.entries[after as usize].before = before;
        }
        match before {
            NOBODY => self.buckets[bucket_of(queued)] = after,
            before => self.entries[before as usize].after = after,
        }
    }
}

fn bucket_of(tick: u64) -> usize {
    (tick % limits::WHEEL_BUCKETS as u64) as usize
}

/// A core's wheel.
#[derive(Debug, Default)]
pub struct Timers {
    wheel: RefCell<Wheel>,
    millis: Cell<u64>,
}

impl Timers {
    /// Goes one tick on.
    pub fn advance(&self) {
        self.millis.set(self.millis.get() + limits::TICK_MILLIS);
        self.wheel.borrow_mut().advance();
    }

    /// Milliseconds that the ticks have counted: the core's coarse clock.
    pub fn millis(&self) -> u64 {
        self.millis.get()
    }

    /// Has the deadline of the timer with this number pass now.
    pub fn expire(&self, number: u32) {
        self.wheel.borrow_mut().expire(number);
    }

    /// Wakes the task that waits under the deadline of the timer with this number, before that deadline.
    pub fn wake(&self, number: u32) {
        self.wheel.borrow().wake(number);
    }

    /// Wakes every task that waits under a deadline, so that it looks around (at a drain).
    pub fn wake_all(&self) {
        self.wheel.borrow().wake_all();
    }
}

/// One deadline of one task.
#[derive(Debug)]
pub struct Timer {
    timers: Rc<Timers>,
    index: u32,
}

impl Timer {
    /// A timer without a deadline.
    pub fn new(timers: &Rc<Timers>) -> Timer {
        let index = timers.wheel.borrow_mut().insert();
        Timer {
            timers: timers.clone(),
            index,
        }
    }

    /// Sets the deadline `wait` from now. It is never early and at most two ticks late.
    pub fn set(&self, wait: Duration) {
        let ticks = (wait.as_millis() as u64).div_ceil(limits::TICK_MILLIS) + 1;
        self.timers.wheel.borrow_mut().set(self.index, ticks);
    }

    /// Sets the deadline to an instant.
    pub fn set_until(&self, due: Micros) {
        self.set(due.until());
    }

    /// The timers that it belongs to.
    pub fn timers(&self) -> &Rc<Timers> {
        &self.timers
    }

    /// The number of the timer, which no other timer has while this one lives.
    pub fn number(&self) -> u32 {
        self.index
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.timers.wheel.borrow_mut().clear(self.index);
    }

    /// Whether the deadline passed.
    pub fn expired(&self) -> bool {
        self.timers.wheel.borrow().expired(self.index)
    }

    /// [`Poll::Ready`] when the deadline has passed; otherwise the task is woken then.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Expired> {
        let mut wheel = self.timers.wheel.borrow_mut();
        if wheel.expired(self.index) {
            return Poll::Ready(Expired);
        }
        wheel.watch(self.index, cx.waker());
        Poll::Pending
    }

    /// Whether the deadline has passed, which is then `wait` from now; otherwise the task is woken when it does. For
    /// what has to be looked at every now and then.
    pub fn is_due_again(&self, wait: Duration, cx: &mut Context<'_>) -> bool {
        let is_due = self.poll(cx).is_ready();
        if is_due {
            self.set(wait);
            let _ = self.poll(cx); // Registers the task for it.
        }
        is_due
    }

    /// Waits for `poll`, at most until the deadline.
    pub async fn bound<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Expired> {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.timers.wheel.borrow_mut().remove(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_deadline_replaces_an_earlier_one_without_expiring() {
        let mut wheel = Wheel::default();
        let index = wheel.insert();
        wheel.set(index, 3);
        wheel.advance();
        wheel.set(index, 5);
        for _ in 0..4 {
            wheel.advance();
            assert!(!wheel.expired(index));
        }
        wheel.advance();
        assert!(wheel.expired(index));
    }

    #[test]
    fn an_earlier_deadline_counts_at_once() {
        let mut wheel = Wheel::default();
        let index = wheel.insert();
        wheel.set(index, 100);
        wheel.set(index, 2);
        wheel.advance();
        assert!(!wheel.expired(index));
        wheel.advance();
        assert!(wheel.expired(index));
    }

    #[test]
    fn a_deadline_can_be_made_to_pass() {
        let mut wheel = Wheel::default();
        let index = wheel.insert();
        wheel.set(index, 100);
        wheel.expire(index);
        assert!(wheel.expired(index));
        wheel.set(index, 2);
        assert!(!wheel.expired(index), "it is set anew");
        wheel.advance();
        wheel.advance();
        assert!(wheel.expired(index));
    }

    #[test]
    fn a_cleared_or_removed_deadline_never_expires() {
        let mut wheel = Wheel::default();
        let (cleared, removed) = (wheel.insert(), wheel.insert());
        wheel.set(cleared, 2);
        wheel.set(removed, 2);
        wheel.clear(cleared);
        wheel.remove(removed);
        let reused = wheel.insert();
        assert_eq!(reused, removed);
        for _ in 0..5 {
            wheel.advance();
        }
        assert!(!wheel.expired(cleared) && !wheel.expired(reused));
    }

    /// Timers that come and go, as those of HTTP/2 streams do, take up the places of those that there are at the same
    /// time.
    #[test]
    fn timers_that_are_dropped_leave_nothing_behind() {
        let mut wheel = Wheel::default();
        let stays = wheel.insert();
        wheel.set(stays, 700);
        for _ in 0..10_000 {
            let index = wheel.insert();
            wheel.set(index, 600);
            wheel.set(index, 50);
            wheel.remove(index);
        }
        assert_eq!(wheel.entries.len(), 2);
        let queued = |bucket: &u32| *bucket != NOBODY;
        assert_eq!(
            wheel.buckets.iter().filter(|bucket| queued(bucket)).count(),
            1
        );
        assert_eq!(wheel.entries[stays as usize].after, NOBODY);
    }

    proptest! {
        #[test]
        fn every_deadline_expires_exactly_at_its_tick(
            deadlines in prop::collection::vec(1u64..3 * limits::WHEEL_BUCKETS as u64, 1..40),
            offset in 0u64..2000,
        ) {
            let mut wheel = Wheel::default();
            (0..offset).for_each(|_| wheel.advance());
            let indices: Vec<_> = deadlines.iter().map(|ticks| {
                let index = wheel.insert();
                wheel.set(index, *ticks);
                index
            }).collect();
            for tick in 1..=3 * limits::WHEEL_BUCKETS as u64 {
                wheel.advance();
                for (index, ticks) in indices.iter().zip(&deadlines) {
                    prop_assert_eq!(wheel.expired(*index), tick >= *ticks);
                }
            }
        }

        /// After any changes of timers in any order, each timer expires at its own deadline, the one that was set last.
        #[test]
        fn the_last_deadline_counts_whatever_was_done_before(
            steps in prop::collection::vec((0usize..8, 0u8..4, 1u64..1500), 1..200),
        ) {
            let mut wheel = Wheel::default();
            let mut timers = [const { None }; 8]; // Index, and the tick at which it is due.
            let mut now = 0;
            for (at, what, ticks) in steps {
                match (what, timers[at]) {
                    (_, None) => timers[at] = Some((wheel.insert(), NEVER)),
                    (0, Some((index, _))) => {
                        wheel.remove(index);
                        timers[at] = None;
                    }
                    (1, Some((index, _))) => {
                        wheel.clear(index);
                        timers[at] = Some((index, NEVER));
                    }
                    (2, Some((index, _))) => {
                        wheel.set(index, ticks);
                        timers[at] = Some((index, now + ticks));
                    }
                    _ => for _ in 0..ticks {
                        wheel.advance();
                        now += 1;
                    },
                }
                for (index, due) in timers.iter().flatten() {
                    prop_assert_eq!(wheel.expired(*index), now >= *due);
                }
            }
        }
    }
}
