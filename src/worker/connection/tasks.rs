//! The tasks that serve the streams of one connection. A task serves one stream after the other, because a task is
//! large, and making a task costs more than parsing the head of a small request.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::base::memory::{self, Promise};
use crate::net::spawn;
use crate::worker::contain::contain;
use crate::worker::downstream::{Arrival, Client};
use crate::worker::multiplex::MultiplexStream;
use crate::worker::proxy;
use crate::worker::shard::Shard;

/// The tasks of a connection.
pub struct Tasks {
    shard: Rc<Shard>,
    arrival: Arrival,
    /// Tasks that serve no stream at present.
    idle: RefCell<Vec<Rc<Task>>>,
    is_over: Cell<bool>,
}

#[derive(Default)]
struct Task {
    /// The stream that the task is to serve next, and the memory promised to the stream.
    stream: RefCell<Option<(MultiplexStream, Promise)>>,
    /// Whether the task is to end.
    ends: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Tasks {
    /// An empty set of tasks for the streams of a client with this arrival.
    pub fn new(shard: &Rc<Shard>, arrival: &Arrival) -> Rc<Tasks> {
        Rc::new(Tasks {
            shard: shard.clone(),
            arrival: arrival.clone(),
            idle: RefCell::default(),
            is_over: Cell::default(),
        })
    }

    /// Serves a stream, by an idle task if there is one.
    pub fn begin(self: &Rc<Self>, stream: MultiplexStream) {
        let idle = self.idle.borrow_mut().pop();
        let is_new = idle.is_none();
        let task = idle.unwrap_or_default();
        debug_assert!(
            !task.ends.get() && task.stream.borrow().is_none(),
            "a task that waits has no stream"
        );
        task.stream.replace(Some((stream, memory::promise())));
        if is_new {
            spawn(run(self.clone(), task))
        } else {
            task.wake()
        }
    }

    /// Ends the idle tasks.
    pub fn rest(&self) {
        for task in self.idle.take() {
            task.ends.set(true);
            task.wake();
        }
    }

    /// Ends all tasks; a task that serves a stream ends after the stream.
    pub fn end(&self) {
        self.is_over.set(true);
        self.rest();
    }
}

impl Task {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<(MultiplexStream, Promise)>> {
        if let Some(stream) = self.stream.take() {
            return Poll::Ready(Some(stream));
        }
        if self.ends.get() {
            return Poll::Ready(None);
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Serves one stream after the other. A panic ends this task only.
async fn run(tasks: Rc<Tasks>, task: Rc<Task>) {
    while let Some((stream, promise)) = poll_fn(|cx| task.poll_next(cx)).await {
        let client = Client::multiplexed(stream, tasks.arrival.clone(), &tasks.shard);
        contain(&tasks.shard, pin!(proxy::serve(&tasks.shard, &client))).await;
        drop((client, promise));
        if tasks.is_over.get() {
            return;
        }
        tasks.idle.borrow_mut().push(task.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_is_to_end_ends_when_it_has_nothing_to_do() {
        let task = Task::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(task.poll_next(&mut cx).is_pending());
        assert!(
            task.waker.borrow().is_some(),
            "the next stream wakes the task"
        );
        task.wake();
        assert!(task.waker.borrow().is_none());
        task.ends.set(true);
        assert!(matches!(task.poll_next(&mut cx), Poll::Ready(None)));
    }
}
