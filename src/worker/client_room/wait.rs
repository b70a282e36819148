//! Waiting for bytes of a client: the connection counts as idle meanwhile, and may be closed for another client.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::base::limits;
use crate::net::{ReceiveQueue, Timer};
use crate::shared::client_count::SharedClientCount;
use crate::worker::shard::Shard;

/// Tells a waiting connection that it has to end.
#[derive(Default)]
struct Closing {
    is_asked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Closing {
    fn ask(&self) {
        self.is_asked.set(true);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// Waits for bytes that a client owes: the bytes before its first request, or the rest of a head. A connection that
/// waits for longer than `limits::DEMOTE_MILLIS` counts as idle from then on. `None`: the connection has to end for
/// another client.
pub async fn await_client<T>(
    shard: &Shard,
    listener: &SharedClientCount,
    queue: ReceiveQueue,
    coming: impl Future<Output = T>,
) -> Option<T> {
    let mut coming = pin!(coming);
    let soon = Timer::new(&shard.timers);
    soon.set(Duration::from_millis(limits::DEMOTE_MILLIS));
    let at_once = poll_fn(|cx| match coming.as_mut().poll(cx) {
        Poll::Ready(come) => Poll::Ready(Some(come)),
        Poll::Pending => soon.poll(cx).map(|_| None),
    });
    match at_once.await {
        Some(come) => Some(come),
        None => await_idle(shard, listener, queue, coming).await,
    }
}

/// Waits while the connection is idle. `None`: the connection has to end for another client, and no byte has come that
/// the end would lose.
pub async fn await_idle<T>(
    shard: &Shard,
    listener: &SharedClientCount,
    queue: ReceiveQueue,
    coming: impl Future<Output = T>,
) -> Option<T> {
    let mut coming = pin!(coming);
    let closing = Rc::<Closing>::default();
    let told = closing.clone();
    let _idle = shard.idle_clients.enter(listener, move || told.ask());
    poll_fn(|cx| {
        if let Poll::Ready(come) = coming.as_mut().poll(cx) {
            return Poll::Ready(Some(come));
        }
        if closing.is_asked.get() && queue.is_empty() {
            return Poll::Ready(None);
        }
        closing.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await
}
