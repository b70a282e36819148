//! A client's connection from accept to close: which protocol it speaks, and the end of it.

pub mod failure;
mod h1;
mod h2;
mod opening;
mod tasks;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::worker::connection::failure::{ConnectionFailure, report};
use crate::worker::downstream::{Accepted, Client, Woken, speaks_http2};
use crate::worker::record;
use crate::worker::shard::{CountedConnection, Shard};

/// Serves a connection to its end. A panic ends this connection and nothing else.
pub async fn run(shard: Rc<Shard>, counted: CountedConnection, accepted: Accepted) {
    contain(&shard, pin!(serve_all(&shard, accepted))).await;
    drop(counted);
}

/// Runs `serving`, and no further if it panics.
async fn contain<T>(shard: &Shard, mut serving: Pin<&mut impl Future<Output = T>>) {
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

async fn serve_all(shard: &Rc<Shard>, accepted: Accepted) {
    let listener = accepted.arrival.listener.clone();
    let mut accepted = accepted;
    if listener.proxy_protocol {
        match Box::pin(opening::take_proxy_header(shard, accepted)).await {
            Some(introduced) => accepted = introduced,
            None => return,
        }
    }
    if let Some(tls) = &listener.tls {
        // Boxed, so that the connection's task has no room for it afterwards.
        match Box::pin(opening::secure(shard, accepted, tls)).await {
            Some(secured) => accepted = secured,
            None => return,
        }
    }
    let alpn = accepted.socket.alpn().map(|protocol| protocol == b"h2");
    let client = Client::new(accepted, shard);
    let wait = shard.plan().snapshot().client.header_timeout; // The first request is due at once.
    if client.wait_for_request(shard, wait).await != Woken::Bytes {
        return;
    }
    let is_secured = client.arrival.secured.is_some();
    if !is_secured
        && client
            .wire
            .with(|block| opening::begins_tls(block.filled()))
    {
        return report(
            shard,
            client.arrival.peer,
            &ConnectionFailure::UnexpectedTls,
        );
    }
    let is_http2 = match alpn {
        Some(is_http2) => is_http2,
        None => listener.http2 && !is_secured && speaks_http2(shard, &client).await,
    };
    match is_http2 {
        true => h2::serve(shard, client).await,
        false => h1::serve(shard, &client).await,
    }
}
