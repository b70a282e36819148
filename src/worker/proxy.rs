//! The way of a request: this file is the table of contents of the program.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::worker::admit::{Admitted, admit};
use crate::worker::downstream::{Client, Next, receive_rest_of_head};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::forward::forward;
use crate::worker::gather::gather;
use crate::worker::record::record;
use crate::worker::respond::respond;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::Interrupted;

/// Serves the request whose first bytes were received.
pub async fn serve(shard: &Rc<Shard>, client: &Client) -> Next {
    client.begin_request();
    let counted = shard.count_exchange();
    let exchange = shard.begin_exchange();
    let mut answering = pin!(async {
        if let Err(failure) = answer(shard, client, &exchange).await {
            respond(shard, client, &exchange, failure).await;
        }
    });
    let is_cut = poll_fn(|cx| match shard.is_cut() {
        true => Poll::Ready(true),
        false => answering.as_mut().poll(cx).map(|()| false),
    });
    if is_cut.await {
        if client.since_answer(shard).is_none() {
            exchange.failure.set(Some(Failure::CutByStop));
        }
        record(shard, client, &exchange);
        drop(counted);
        // The kernel may still work on operations of this request, so that they are never dropped: the process ends
        // with them.
        return pending().await;
    }
    record(shard, client, &exchange);
    client.next()
}

async fn answer(shard: &Rc<Shard>, client: &Client, exchange: &Exchange) -> Result<(), Failure> {
    let mut admitted = decide(shard, client, exchange).await?; // guard → route → cache → balance
    let _promise = match client.wire.stream {
        Stream::Socket(_) => {
            let watch = |cx: &mut Context<'_>| client.poll_gone(shard, cx);
            match shard.memory.begin(&client.timer, watch).await {
                Ok(promise) => Some(promise),
                Err(Interrupted::Watched(left)) => return Err(left),
                Err(Interrupted::Expired) => return Err(Failure::Exhausted),
            }
        }
        Stream::Multiplexed(_) => None, // It was promised some when it was opened.
    };
    gather(&shard.blocks, client, exchange, &mut admitted)?;
    let answered = forward(shard, client, exchange, &mut admitted).await; // upstream → respond → relay
    shard.blocks.give(admitted.request);
    answered
}

async fn decide(shard: &Shard, client: &Client, exchange: &Exchange) -> Result<Admitted, Failure> {
    loop {
        if let Some(admitted) = admit(shard, client, exchange)? {
            return Ok(admitted);
        }
        receive_rest_of_head(shard, client, exchange).await?;
    }
}
