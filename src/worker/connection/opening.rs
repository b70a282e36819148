//! From an accepted connection to the first byte of HTTP: TLS, if the listener wants it.

use std::rc::Rc;

use super::failure::{ConnectionFailure, report};
use crate::net::{Block, Socket, Timer, TlsFailure};
use crate::snapshot::ServerTls;
use crate::worker::downstream::{Accepted, Secured, linger};
use crate::worker::shard::Shard;

/// Says, without TLS, that TLS is wanted. Whoever reads it is a person or speaks HTTP/1.
const TLS_WANTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 47\r\nConnection: close\r\n\r\nThis port speaks HTTPS: use https:// in the URL.";

/// Makes the TLS handshake. `None`: there is none to go on with, which has been counted.
pub async fn secure(shard: &Rc<Shard>, accepted: Accepted, tls: &ServerTls) -> Option<Accepted> {
    let Accepted {
        socket,
        mut arrival,
        received,
    } = accepted;
    let timer = Timer::new(&shard.timers);
    timer.set(shard.plan().snapshot().client.header_timeout);
    let handshake = socket.accept_tls(tls.config.clone(), received, &shard.blocks, &timer);
    let failure = match handshake.await {
        Ok(socket) => {
            arrival.secured = Some(Rc::new(Secured::of(&socket, tls)));
            return Some(Accepted {
                socket,
                arrival,
                received: Block::default(),
            });
        }
        Err(TlsFailure::PlainHttp { socket, received }) => {
            shard.blocks.give(received);
            say_what_is_wanted(shard, &socket, &timer).await;
            TlsFailure::PlainHttp {
                socket,
                received: Block::default(),
            }
        }
        Err(failure) => failure,
    };
    report(shard, arrival.peer, &ConnectionFailure::Tls(failure));
    None
}

async fn say_what_is_wanted(shard: &Shard, socket: &Socket, timer: &Timer) {
    let mut answer = shard.blocks.take();
    answer.extend(TLS_WANTED);
    let sent = socket.send_all(&mut answer, timer).await;
    shard.blocks.give(answer);
    if matches!(sent, Ok(Ok(()))) {
        linger(socket, &shard.blocks, timer).await;
    }
}

/// Whether these first bytes are a TLS handshake (RFC 8446 section 5.1), which no request begins with.
pub fn begins_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, ..])
}
