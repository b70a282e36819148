//! Bulk transfers take turns, so that a small request beside them need not wait for a block of each.
//!
//! All tasks that are ready run in one turn of a core's event loop, and events that come meanwhile wait for the next
//! turn. A turn in which a hundred downloads move 128 KiB each lasts as long as it takes to copy 12 MiB twice. So each
//! turn has a budget of bytes for bulk transfers. A transfer that finds the budget used up waits for a later turn; the
//! transfers are served in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::base::limits;
use crate::net::Turn;

/// The byte budget for bulk transfers in the present turn of a core, and the transfers that wait for a later turn.
pub struct BulkTurns {
    /// Bytes that may still be moved in this turn.
    room: Cell<usize>,
    waiting: RefCell<VecDeque<Bulk>>,
    /// Wakes the task that counts the turns, while that task sleeps.
    counter: RefCell<Option<Waker>>,
}

/// A transfer that waits until it may move so many bytes.
struct Bulk {
    bytes: usize,
    waiter: Rc<Waiter>,
}

/// A task that waits for a permission to go on.
#[derive(Default)]
pub struct Waiter {
    may_go: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Default for BulkTurns {
    fn default() -> BulkTurns {
        BulkTurns {
            room: Cell::new(limits::BULK_BYTES_PER_TURN),
            waiting: RefCell::default(),
            counter: RefCell::default(),
        }
    }
}

impl BulkTurns {
    /// Waits until so many bytes may be moved. `bytes` must not exceed the budget of one turn,
    /// `limits::BULK_BYTES_PER_TURN`.
    pub async fn admit(&self, bytes: usize) {
        debug_assert!(
            bytes <= limits::BULK_BYTES_PER_TURN,
            "a transfer that wants more than a turn has would wait for ever"
        );
        if self.waiting.borrow().is_empty() && self.take(bytes) {
            return;
        }
        let waiter = Rc::<Waiter>::default();
        self.waiting.borrow_mut().push_back(Bulk {
            bytes,
            waiter: waiter.clone(),
        });
        poll_fn(|cx| waiter.poll(cx)).await;
    }

    /// Returns an unused part of the budget, in the turn in which the part was taken.
    pub fn give_back(&self, bytes: usize) {
        let room = self.room.get() + bytes;
        self.room.set(room.min(limits::BULK_BYTES_PER_TURN));
        self.let_go();
    }

    /// Renews the budget at each turn. The function never returns.
    pub async fn run(&self, turn: &Turn) {
        loop {
            poll_fn(|cx| self.poll_used(cx)).await;
            turn.pass().await;
            self.begin_turn();
        }
    }

    /// Ready when a part of the turn's budget has been taken.
    fn poll_used(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.get() < limits::BULK_BYTES_PER_TURN {
            return Poll::Ready(());
        }
        self.counter.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn begin_turn(&self) {
        self.room.set(limits::BULK_BYTES_PER_TURN);
        self.let_go();
    }

    /// Gives permissions in the order of arrival, as far as the budget allows.
    fn let_go(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.front() {
            // The exchange of this waiter has ended meanwhile.
            let has_left = Rc::strong_count(&first.waiter) == 1;
            if !has_left && !self.take(first.bytes) {
                return;
            }
            if let Some(first) = waiting.pop_front() {
                first.waiter.go();
            }
        }
    }

    /// Takes a part of the turn's budget; false if too little is left.
    fn take(&self, bytes: usize) -> bool {
        debug_assert!(self.room.get() <= limits::BULK_BYTES_PER_TURN);
        let Some(left) = self.room.get().checked_sub(bytes) else {
            return false;
        };
        self.room.set(left);
        if let Some(counter) = self.counter.borrow_mut().take() {
            counter.wake();
        }
        true
    }
}

impl Waiter {
    /// Gives the permission and wakes the waiting task.
    pub fn go(&self) {
        self.may_go.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the permission was given.
    pub fn may_go(&self) -> bool {
        self.may_go.get()
    }

    /// Waits for [`Waiter::go`].
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.may_go.get() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};

    use super::*;

    const BLOCK: usize = limits::RELAY_BLOCK_BYTES;
    const PER_TURN: usize = limits::BULK_BYTES_PER_TURN / BLOCK;

    fn poll(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        future.poll(&mut cx).is_ready()
    }

    #[test]
    fn so_many_go_in_a_turn_and_the_others_in_the_next_ones() {
        let bulk_turns = BulkTurns::default();
        let count = 2 * PER_TURN + 1;
        let mut relays: Vec<_> = (0..count)
            .map(|_| Box::pin(bulk_turns.admit(BLOCK)))
            .collect();
        for turn in 0..3 {
            let before = relays.len();
            relays.retain_mut(|relay| !poll(relay.as_mut()));
            let went = before - relays.len();
            assert_eq!(went, before.min(PER_TURN), "turn {turn}");
            bulk_turns.begin_turn();
        }
        assert!(relays.is_empty());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(bulk_turns.poll_used(&mut cx).is_pending(), "nobody waits");
    }

    #[test]
    fn who_comes_later_does_not_overtake() {
        let bulk_turns = BulkTurns::default();
        for _ in 1..PER_TURN {
            assert!(poll(pin!(bulk_turns.admit(BLOCK))));
        }
        assert!(poll(pin!(bulk_turns.admit(1))));
        let mut first = Box::pin(bulk_turns.admit(BLOCK));
        assert!(!poll(first.as_mut()), "it needs more than is left");
        assert!(!poll(pin!(bulk_turns.admit(1))), "somebody waits");
        bulk_turns.begin_turn();
        assert!(poll(first.as_mut()));
    }

    #[test]
    fn room_that_was_not_needed_is_somebody_elses_in_the_same_turn() {
        let bulk_turns = BulkTurns::default();
        for _ in 0..PER_TURN {
            assert!(poll(pin!(bulk_turns.admit(BLOCK))));
        }
        let mut waiting = Box::pin(bulk_turns.admit(BLOCK));
        assert!(!poll(waiting.as_mut()));
        bulk_turns.give_back(BLOCK - 1);
        assert!(!poll(waiting.as_mut()));
        bulk_turns.give_back(1);
        assert!(poll(waiting.as_mut()));
        bulk_turns.begin_turn();
        bulk_turns.give_back(BLOCK);
        let room = limits::BULK_BYTES_PER_TURN;
        assert_eq!(
            bulk_turns.room.get(),
            room,
            "what is late counts for nothing"
        );
    }

    #[test]
    fn who_has_left_takes_no_room() {
        let bulk_turns = BulkTurns::default();
        for _ in 0..PER_TURN {
            assert!(poll(pin!(bulk_turns.admit(BLOCK))));
        }
        for _ in 0..PER_TURN {
            let mut leaves = Box::pin(bulk_turns.admit(BLOCK));
            assert!(!poll(leaves.as_mut()));
        }
        let mut stays = Box::pin(bulk_turns.admit(BLOCK));
        assert!(!poll(stays.as_mut()));
        bulk_turns.begin_turn();
        assert!(poll(stays.as_mut()));
    }
}
