//! A client's connection from accept to close: its protocol, and its end.

pub mod failure;
mod h1;
mod h2;
mod opening;
mod tasks;

use std::pin::pin;
use std::rc::Rc;

use crate::base::time::Micros;
use crate::http::h2::{ConnectionError, is_of_another_protocol, is_part_of_preface};
use crate::net::Timer;
use crate::shared::connection_failure::ConnectionReason;
use crate::snapshot::Protocol;
use crate::worker::client_room::CountedConnection;
use crate::worker::client_room::wait::await_client;
use crate::worker::connection::failure::{ConnectionFailure, report};
use crate::worker::connection::opening::begins_tls;
use crate::worker::contain::contain;
use crate::worker::downstream::{AcceptedClient, Client, Woken, speaks_http2};
use crate::worker::shard::Shard;

/// Serves a connection to its end. A panic ends this connection only.
pub async fn run(shard: Rc<Shard>, counted: CountedConnection, accepted: Box<AcceptedClient>) {
    contain(&shard, pin!(serve_all(&shard, accepted))).await;
    drop(counted);
}

/// Serves a connection by its protocol. Futures that only some connections need, or that run only once, are boxed, so
/// that the task of an idle connection reserves no memory for them.
async fn serve_all(shard: &Rc<Shard>, accepted: Box<AcceptedClient>) {
    match Box::pin(greet(shard, accepted)).await {
        None => {}
        Some((client, Protocol::Http2)) => Box::pin(h2::serve(shard, client)).await,
        Some((client, Protocol::Http1)) => h1::serve(shard, &client).await,
    }
}

/// Receives the first bytes of a connection's first request, and finds out the protocol. `None`: the connection has
/// ended.
async fn greet(shard: &Rc<Shard>, mut accepted: Box<AcceptedClient>) -> Option<(Client, Protocol)> {
    let listener = accepted.arrival.listener.clone();
    // One deadline bounds all steps together: a client that is slow at one step has less time for the next.
    let due = Micros::now().after(shard.config().snapshot().client.header_timeout);
    let timer = Timer::new(&shard.timers);
    timer.set_until(due);
    let queue = accepted.socket.receive_queue();
    if listener.proxy_protocol {
        let taking = opening::take_proxy_header(shard, &mut accepted, &timer);
        await_client(shard, &listener.clients, queue.clone(), taking).await??;
    }
    if let Some(tls) = &listener.tls {
        let securing = opening::secure(shard, *accepted, tls, &timer);
        *accepted = await_client(shard, &listener.clients, queue.clone(), securing).await??;
    }
    let alpn = accepted.socket.alpn().map(|protocol| protocol == b"h2");
    let client = Client::new(*accepted, shard);
    client.first_due.set(due);
    let waiting = client.wait_for_request(shard, due.until());
    if await_client(shard, &listener.clients, queue.clone(), waiting).await? != Woken::Bytes {
        return None;
    }
    let is_secured = client.arrival.secured.is_some();
    if !is_secured && client.wire.with(|block| begins_tls(block.filled())) {
        let peer = client.arrival.peer;
        report(
            shard,
            peer,
            &ConnectionFailure::Reason(ConnectionReason::UnexpectedTls),
        );
        return None;
    }
    let is_http2 = match alpn {
        Some(is_http2) => is_http2,
        None => {
            let speaking = speaks_http2(shard, &client);
            listener.http2
                && !is_secured
                && await_client(shard, &listener.clients, queue, speaking).await?
        }
    };
    // A client whose HTTP/2 preface breaks off understands no answer of HTTP/1 either.
    let is_neither = |bytes: &[u8]| is_neither(bytes, is_secured);
    if listener.http2 && !is_http2 && client.wire.with(|block| is_neither(block.filled())) {
        let failure = ConnectionError::BadPreface.into();
        report(shard, client.arrival.peer, &failure);
        return None;
    }
    Some((
        client,
        if is_http2 {
            Protocol::Http2
        } else {
            Protocol::Http1
        },
    ))
}

/// Whether a client that does not speak HTTP/2 begins with bytes that are not HTTP/1 either. In cleartext, a part of
/// the preface of HTTP/2 counts as such bytes.
fn is_neither(bytes: &[u8], is_secured: bool) -> bool {
    is_of_another_protocol(bytes) || (!is_secured && is_part_of_preface(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_that_breaks_off_is_no_request() {
        let rows: [(&[u8], bool, bool); 6] = [
            (b"GET / HTTP/1.1\r\n\r\n", false, false),
            (b"GET", false, false),
            (b"PRI * HTTP/2.0\r\n", false, true),
            (b"PRI * HTTP/2.0\r\n", true, false),
            (b"PRI * HTTP/1.1\r\n", false, false),
            (b"hello you there\r\n\r\n", true, true),
        ];
        for (bytes, is_secured, expected) in rows {
            assert_eq!(
                is_neither(bytes, is_secured),
                expected,
                "{bytes:?} {is_secured}"
            );
        }
    }
}
