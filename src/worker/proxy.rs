//! The way of a request: this file is the table of contents of the program.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::worker::buffer_body::buffer_body;
use crate::worker::decide::{Decision, decide, wait_for_memory};
use crate::worker::downstream::{Client, Next, receive_rest_of_head};
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
    let mut exchange = shard.begin_exchange();
    let is_cut = {
        let mut answering = pin!(answer_or_fail(shard, client, &mut exchange));
        let is_cut = poll_fn(|cx| {
            if shard.is_cut() {
                Poll::Ready(true)
            } else {
                answering.as_mut().poll(cx).map(|()| false)
            }
        });
        is_cut.await
    };
    if is_cut && client.since_answer(shard).is_none() {
        exchange.progress.failure = Some(Failure::CutByStop);
        // Where the end of the connection is the end of the answer, the client must not take a part for the whole.
        client.cut();
    }
    record(shard, client, &mut exchange);
    drop(counted);
    if is_cut {
        // The client's connection is never dropped, but ends with the process: nothing that is due at a close is sent
        // behind a part of an answer, on which the kernel may still work.
        return pending().await;
    }
    client.next()
}

async fn answer_or_fail(shard: &Rc<Shard>, client: &Client, exchange: &mut Exchange) {
    if let Err(failure) = answer(shard, client, exchange).await {
        reply::fail(shard, client, exchange, failure).await;
    }
}

/// Has a request decided on, and does what the decision says.
async fn answer(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let (mut request, promise) = loop {
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
    buffer_body(&shard.blocks, client, exchange, &mut request)?;
    let answered = forward(shard, client, exchange, &mut request).await;
    shard.blocks.give(request.bytes);
    drop(promise);
    answered
}

#[cfg(test)]
mod tests;
