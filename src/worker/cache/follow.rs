//! A request that waits for the answer to another one for the same key (RFC 9211 calls it collapsed).

use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::time::Micros;
use crate::net::Expired;
use crate::shared::cache::{Follower, Outcome};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;

/// Waits until it is known whether the answer to the other request can be used, or until the time for that is over.
/// Errors: the client has left.
pub async fn await_decision(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    fill: &Follower,
) -> Result<(), Failure> {
    let policy = exchange.route().cache.as_ref();
    let most = policy.map_or(Duration::ZERO, |policy| policy.collapse_timeout);
    await_decision_within(shard, client, exchange, fill, most).await
}

/// As [`await_decision`], with this time since the request began.
pub async fn await_decision_within(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    fill: &Follower,
    most: Duration,
) -> Result<(), Failure> {
    let collapsed = &mut exchange.progress.collapsed;
    collapsed.waits = collapsed.waits.saturating_add(1);
    let due = exchange.began.after(most);
    let patience = exchange.progress.stale_after.take();
    let time = patience.map_or(due.until(), |patience| patience.min(due.until()));
    let wait = shard.wait_for_fill(fill.number());
    client.watch();
    client.timer.set(exchange.bounded(time));
    let decided = client.timer.bound(|cx: &mut Context<'_>| {
        wait.set(cx);
        fill.wait(shard.worker.index());
        match fill.outcome() {
            Outcome::Undecided => client.poll_gone(shard, cx).map(Err),
            _ => Poll::Ready(Ok(())),
        }
    });
    match decided.await {
        Ok(outcome) => outcome?,
        Err(Expired) if patience.is_some() => exchange.progress.collapsed.is_stale_due = true,
        Err(Expired) => exchange.progress.collapsed.is_over = true,
    }
    if due <= Micros::now() {
        exchange.progress.collapsed.is_over = true;
    }
    Ok(())
}
