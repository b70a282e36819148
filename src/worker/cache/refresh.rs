//! Refreshes a stored response while it answers: a request to a backend that has no client.

use std::pin::pin;
use std::rc::Rc;

use crate::base::memory;
use crate::net::spawn;
use crate::worker::contain::contain;
use crate::worker::downstream::{Arrival, Client};
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::forward::forward;
use crate::worker::record::record_refresh;
use crate::worker::shard::Shard;

/// Sends a request of the cache's own, on behalf of an exchange that is being answered from the store. Nothing is sent
/// while memory is short: the stored response may answer for some time still.
pub fn refresh(
    shard: &Rc<Shard>,
    arrival: &Arrival,
    exchange: &Exchange,
    request: Box<PreparedRequest>,
) {
    if memory::may_begin() && !shard.is_ending() {
        fetch_for(shard, arrival, exchange, request);
    }
}

/// Sends a request of the cache's own, as [`refresh`] does, without which the answer to the client cannot go on.
pub fn fetch_for(
    shard: &Rc<Shard>,
    arrival: &Arrival,
    exchange: &Exchange,
    request: Box<PreparedRequest>,
) {
    let mut own = shard.begin_exchange();
    own.config = exchange.config.clone();
    own.take_route(exchange.route_id());
    let client = Client::absent(arrival.clone(), shard);
    let shard = shard.clone();
    let promise = memory::promise();
    spawn(async move {
        contain(&shard, pin!(run(&shard, client, own, request))).await;
        drop(promise);
    });
}

async fn run(
    shard: &Rc<Shard>,
    client: Client,
    mut exchange: Exchange,
    mut request: Box<PreparedRequest>,
) {
    let counted = shard.count_exchange();
    client.begin_request();
    client.note(|persistence| persistence.head_received(false, false));
    let forwarded = forward(shard, &client, &mut exchange, &mut request).await;
    exchange.progress.failure = forwarded.err();
    record_refresh(shard, &exchange);
    shard.blocks.give(std::mem::take(&mut request.bytes));
    drop(counted);
}
