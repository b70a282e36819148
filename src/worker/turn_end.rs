//! The end of a turn of the loop: when all that was ready at the same time has run.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Lets tasks wait for it, so that they can do at once what others have prepared meanwhile.
#[derive(Default)]
pub struct TurnEnd {
    waiting: RefCell<Vec<Waker>>,
    runner: RefCell<Option<Waker>>,
}

impl TurnEnd {
    /// Waits until the tasks that are ready now have run. It may be ready too early, when something else wakes the task.
    pub async fn reached(&self) {
        let mut is_first = true;
        poll_fn(|cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            if let Some(runner) = &*self.runner.borrow() {
                runner.wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    /// Wakes those that wait, for ever. It has to be a task of its own: one that wakes itself comes first again, one
    /// that another wakes comes last.
    pub async fn run(&self) {
        poll_fn(|cx| {
            if self.runner.borrow().is_none() {
                self.runner.replace(Some(cx.waker().clone()));
            }
            self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
            Poll::Pending
        })
        .await
    }
}
