//! Requests that wait for the disk: for the entries of their keys, or for the journal to have their purges.

use std::task::{Context, Poll};
use std::time::Duration;

use tracing::warn;

use crate::base::limits;
use crate::shared::cache::{Follower, Outcome};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::reply::Reply;
use crate::worker::shard::Shard;

/// Waits until whatever the disk has of a key is in memory, or until the time for that is over. Errors: the client has
/// left.
pub async fn await_recall(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    recall: &Follower,
) -> Result<(), Failure> {
    exchange.progress.collapsed.has_recalled = true;
    let time = exchange.bounded(Duration::from_millis(limits::RECALL_MILLIS));
    await_signal(shard, client, recall, time).await
}

/// Waits until the purges of a request, if there are some, outlast the process. The reply says so if that takes too
/// long. Errors: the client has left.
pub async fn await_purge(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    reply: Box<Reply>,
) -> Result<Box<Reply>, Failure> {
    let Some(sync) = exchange.progress.purge_sync.take() else {
        return Ok(reply);
    };
    let time = exchange.bounded(Duration::from_millis(limits::PURGE_SYNC_MILLIS));
    await_signal(shard, client, sync.fill(), time).await?;
    if sync.is_done() {
        return Ok(reply);
    }
    warn!(
        "a purge is in force, but the disk of the cache does not answer: the purge may end with the process"
    );
    Ok(Box::new(Reply::purge_not_on_disk()))
}

/// Waits for the decision about a fill, or until the time is over. Errors: the client has left.
async fn await_signal(
    shard: &Shard,
    client: &Client,
    fill: &Follower,
    time: Duration,
) -> Result<(), Failure> {
    let wait = shard.wait_for_fill(fill.number());
    client.watch();
    client.timer.set(time);
    let decided = client.timer.bound(|cx: &mut Context<'_>| {
        wait.set(cx);
        fill.wait(shard.worker.index());
        match fill.outcome() {
            Outcome::Undecided => client.poll_gone(shard, cx).map(Err),
            _ => Poll::Ready(Ok(())),
        }
    });
    decided.await.unwrap_or(Ok(()))
}
