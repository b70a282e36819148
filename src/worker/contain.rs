//! A panic of a task ends the work of that task alone.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::worker::record;
use crate::worker::shard::Shard;

/// Polls `serving` until it ends or panics.
pub async fn contain<T>(shard: &Shard, mut serving: Pin<&mut impl Future<Output = T>>) {
    let outcome =
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            },
        )
        .await;
    if outcome.is_err() {
        record::report_panic(shard);
    }
}
