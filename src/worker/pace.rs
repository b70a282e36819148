//! Bulk transfers take turns, so that the small request which comes beside them need not wait for a block of each.
//!
//! Whatever is ready runs in one turn of a core's loop, and what came meanwhile has to wait for the next. A turn in
//! which a hundred downloads move 128 KiB each lasts as long as it takes to copy 12 MiB twice. So only some of them
//! move a block in a turn, and the others wait for one of the next, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::base::limits;
use crate::net::Turn;

/// Whose turn it is on this core.
#[derive(Default)]
pub struct Pace {
    /// Blocks that were let go in this turn.
    moved: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// Wakes the task that counts the turns, while it sleeps.
    counter: RefCell<Option<Waker>>,
}

/// Somebody who waits to be let go.
#[derive(Default)]
pub struct Waiter {
    may_go: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pace {
    /// Waits until another block may be moved.
    pub async fn admit(&self) {
        if self.moved.get() < limits::RELAYS_PER_TURN && self.waiting.borrow().is_empty() {
            self.moved.set(self.moved.get() + 1);
            if let Some(counter) = self.counter.borrow_mut().take() {
                counter.wake();
            }
            return;
        }
        let waiter = Rc::<Waiter>::default();
        self.waiting.borrow_mut().push_back(waiter.clone());
        poll_fn(|cx| waiter.poll(cx)).await;
    }

    /// Counts the turns, for ever.
    pub async fn run(&self, turn: &Turn) {
        loop {
            poll_fn(|cx| self.poll_moved(cx)).await;
            turn.pass().await;
            self.begin_turn();
        }
    }

    /// Ready when some block has been let go.
    fn poll_moved(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved.get() > 0 {
            return Poll::Ready(());
        }
        self.counter.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn begin_turn(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(limits::RELAYS_PER_TURN);
        self.moved.set(count);
        waiting.drain(..count).for_each(|waiter| waiter.go());
    }
}

impl Waiter {
    /// Lets whoever waits go on.
    pub fn go(&self) {
        self.may_go.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it was let go.
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

    fn poll(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        future.poll(&mut cx).is_ready()
    }

    #[test]
    fn so_many_go_in_a_turn_and_the_others_in_the_next_ones() {
        let pace = Pace::default();
        let count = 2 * limits::RELAYS_PER_TURN + 1;
        let mut relays: Vec<_> = (0..count).map(|_| Box::pin(pace.admit())).collect();
        let mut gone = Vec::new();
        for turn in 0..3 {
            let went: Vec<_> = relays
                .iter_mut()
                .map(|relay| poll(relay.as_mut()))
                .collect();
            let went: Vec<usize> = (0..)
                .zip(went)
                .filter(|(_, went)| *went)
                .map(|(at, _)| at)
                .collect();
            assert_eq!(
                went.len(),
                limits::RELAYS_PER_TURN.min(count - gone.len()),
                "turn {turn}"
            );
            for at in went.into_iter().rev() {
                drop(relays.remove(at));
                gone.push(at);
            }
            pace.begin_turn();
        }
        assert!(relays.is_empty());
        assert_eq!(
            pace.moved.get(),
            0,
            "nobody waits, so that nothing is to be counted"
        );
    }

    #[test]
    fn who_comes_later_does_not_overtake() {
        let pace = Pace::default();
        for _ in 0..limits::RELAYS_PER_TURN {
            assert!(poll(pin!(pace.admit())));
        }
        let mut first = Box::pin(pace.admit());
        assert!(!poll(first.as_mut()));
        pace.moved.set(0);
        assert!(!poll(pin!(pace.admit())), "somebody waits");
        pace.begin_turn();
        assert!(poll(first.as_mut()));
    }
}
