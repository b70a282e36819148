//! The way of a request: this file is the table of contents of the program.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::worker::buffer_body::buffer_body;
use crate::worker::decide::{Decision, decide, wait_for_memory};
use crate::worker::downstream::{Client, Next, receive_rest_of_head};
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::forward::forward;
use crate::worker::record::record;
use crate::worker::reply;
use crate::worker::shard::Shard;

/// Serves the request whose first bytes were received.
pub async fn serve(shard: &Rc<Shard>, client: &Client) -> Next {
    client.begin_request();
    let counted = shard.count_exchange();
    let exchange = shard.begin_exchange();
    let mut answering = pin!(async {
        if let Err(failure) = answer(shard, client, &exchange).await {
            reply::fail(shard, client, &exchange, failure).await;
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

/// Has a request decided on, and does what the decision says.
async fn answer(shard: &Rc<Shard>, client: &Client, exchange: &Exchange) -> Result<(), Failure> {
    let (request, promise) = loop {
        match decide(shard, client, exchange)? {
            Decision::NeedMore => receive_rest_of_head(shard, client, exchange).await?,
            Decision::Wait(request) => {
                break (request, Some(wait_for_memory(shard, client).await?));
            }
            Decision::Reply(reply) => {
                reply::send(shard, client, exchange, &reply).await;
                return Ok(());
            }
            Decision::Forward(request, promise) => break (request, promise),
        }
    };
    let answered = serve_from_backend(shard, client, exchange, request).await;
    drop(promise);
    answered
}

/// Forwards a request to a backend, and the response to the client.
async fn serve_from_backend(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    mut request: PreparedRequest,
) -> Result<(), Failure> {
    buffer_body(&shard.blocks, client, exchange, &mut request)?;
    let answered = forward(shard, client, exchange, &mut request).await;
    shard.blocks.give(request.bytes);
    answered
}
