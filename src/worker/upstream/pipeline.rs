//! Requests that are ready in the same turn of the loop and go to the same backend share one send on one connection
//! (HTTP/1.1 pipelining, RFC 9112 section 9.3.2). Their answers come in the order of the requests: the connection passes
//! from one exchange to the next, and each has it to itself from the first byte of its answer to the last.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::net::{Block, Blocks};
use crate::worker::upstream::Upstream;

/// Those that share a connection: what they have to send, and who waits for it.
#[derive(Default)]
pub struct Pipeline {
    /// Whether the requests are still being gathered.
    is_open: Cell<bool>,
    requests: RefCell<Block>,
    /// All but the one that has the connection.
    waiting: RefCell<VecDeque<Rc<Spot>>>,
}

#[derive(Default)]
struct Spot {
    /// The connection, when its turn has come.
    passed: RefCell<Option<Upstream>>,
    /// Whether the connection was lost on the way, or nobody waits here any more.
    is_void: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place in a pipeline. Who leaves it loses the connection for those behind, because an answer nobody takes comes first.
pub struct Place(Rc<Spot>);

impl Pipeline {
    /// Opens the pipeline with the request of the exchange that has the connection.
    pub fn open(&self, request: &[u8], blocks: &Blocks) {
        let mut requests = self.requests.borrow_mut();
        if requests.capacity() == 0 {
            *requests = blocks.take();
        }
        requests.extend(request);
        self.is_open.set(true);
    }

    /// A place for a request, unless it is too late, or `most` requests are in it.
    pub fn join(&self, request: &[u8], most: u32) -> Option<Place> {
        let mut requests = self.requests.borrow_mut();
        let mut waiting = self.waiting.borrow_mut();
        let is_full = waiting.len() + 1 >= most as usize || requests.room() < request.len();
        if !self.is_open.get() || is_full {
            return None;
        }
        requests.extend(request);
        let spot = Rc::<Spot>::default();
        waiting.push_back(spot.clone());
        Some(Place(spot))
    }

    /// Takes the next out that waits.
    fn next(&self) -> Option<Rc<Spot>> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Whether the connection is waited for.
    fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Lets nobody in any more, and gives what is to be sent.
    pub fn close(&self) -> Block {
        self.is_open.set(false);
        self.requests.take()
    }

    /// Ends the pipeline: the connection is lost for all that wait.
    fn lose(&self) {
        self.is_open.set(false);
        self.requests.take();
        for spot in self.waiting.take() {
            spot.is_void.set(true);
            spot.wake();
        }
    }
}

impl Spot {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Place {
    /// Ready when all answers before this one were received: with the connection, or `None` if it was lost.
    pub fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<Option<Upstream>> {
        let passed = self.0.passed.borrow_mut().take();
        if passed.is_some() || self.0.is_void.get() {
            return Poll::Ready(passed);
        }
        self.0.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.is_void.set(true);
        self.0.passed.take();
    }
}

impl Upstream {
    /// The pipeline, if requests are being gathered for it.
    pub fn open_pipeline(&self) -> Option<&Pipeline> {
        self.pipeline
            .as_deref()
            .filter(|pipeline| pipeline.is_open.get())
    }

    /// Whether another exchange waits for the connection.
    pub fn is_waited_for(&self) -> bool {
        self.pipeline
            .as_ref()
            .is_some_and(|pipeline| pipeline.has_waiting())
    }

    /// Passes the connection on to the next in its pipeline, if there is one; else gives it back. It ends if the next one
    /// has left.
    pub fn pass_on(self) -> Option<Upstream> {
        let Some(spot) = self.pipeline.as_ref().and_then(|pipeline| pipeline.next()) else {
            return Some(self);
        };
        if !spot.is_void.get() {
            spot.passed.replace(Some(self));
            spot.wake();
        }
        None
    }

    /// Those that wait for the connection wait in vain.
    pub(super) fn lose_waiting(&self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.lose();
        }
    }
}
