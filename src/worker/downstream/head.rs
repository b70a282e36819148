//! Receiving a request head that did not come at once.

use crate::base::limits;
use crate::http::h1::may_end_head;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::wire::{Interrupted, nothing};

/// Receives until the head may be complete or is longer than it may be, so that parsing again makes sense. Looking for
/// the head's end among the new bytes only keeps the work proportional to the head, however small its pieces are.
pub async fn receive_rest_of_head(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<(), Failure> {
    let plan = &exchange.plan;
    let bounds = &plan.snapshot().client;
    client.timer.set(bounds.header_timeout);
    loop {
        let seen = client.wire.with(|block| block.len());
        let more = client.wire.more(
            &shard.blocks,
            limits::BLOCK_BYTES,
            usize::MAX,
            &client.timer,
            nothing,
        );
        match more.await {
            Ok(Ok(0) | Err(_)) => return Err(Failure::ClientLeft),
            Ok(Ok(_)) => {}
            Err(Interrupted::Expired) => return Err(Failure::HeadTimeout),
            Err(Interrupted::Watched(never)) => match never {},
        }
        let worth_parsing = client.wire.with(|block| {
            may_end_head(block.filled(), seen) || block.len() > bounds.head.head_bytes as usize
        });
        if worth_parsing {
            return Ok(());
        }
    }
}
