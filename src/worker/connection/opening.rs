//! From an accepted connection to the first byte of HTTP: a PROXY header and TLS, if the listener demands them.

use std::rc::Rc;

use super::failure::{ConnectionFailure, report};
use crate::http::proxy_protocol::{self, ProxiedAddrs};
use crate::net::{Block, RemoteAddr, Socket, Timer, TlsFailure};
use crate::shared::connection_failure::ConnectionReason;
use crate::snapshot::ServerTls;
use crate::tls::ACME_TLS;
use crate::worker::downstream::{AcceptedClient, Secured, linger_after_last_message, receive_some};
use crate::worker::shard::Shard;

/// Tells a client in cleartext that the listener speaks TLS only. The reader is a person or a program that speaks
/// HTTP/1.
const TLS_WANTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\nThis port speaks HTTPS: use https:// in the URL.";

/// Takes the PROXY header, which names the client. `None`: the header is missing, or the peer may not send one; the
/// failure has been counted.
pub async fn take_proxy_header(
    shard: &Shard,
    accepted: &mut AcceptedClient,
    timer: &Timer,
) -> Option<()> {
    let arrival = &accepted.arrival;
    let sender = arrival.connection_peer;
    if !arrival.listener.takes_proxy_header_of(sender.ip()) {
        report(
            shard,
            sender,
            &ConnectionFailure::Reason(ConnectionReason::ProxySender),
        );
        return None;
    }
    let mut received = shard.blocks.take();
    let header = loop {
        match proxy_protocol::parse(received.filled()) {
            Ok(Some(header)) => break header,
            Ok(None) if receive_some(&accepted.socket, &mut received, timer).await => {}
            _ => {
                shard.blocks.give(received);
                report(
                    shard,
                    accepted.arrival.peer,
                    &ConnectionFailure::Reason(ConnectionReason::ProxyHeader),
                );
                return None;
            }
        }
    };
    received.consume(header.bytes);
    if let ProxiedAddrs::Tcp { client, server } = header.addrs {
        accepted.arrival.peer = RemoteAddr::Tcp(client);
        accepted.arrival.reached = Some(server);
    }
    accepted.received = received;
    Some(())
}

/// Makes the TLS handshake. `None`: the connection ends here; a handshake that failed has been counted.
pub async fn secure(
    shard: &Shard,
    accepted: AcceptedClient,
    tls: &ServerTls,
    timer: &Timer,
) -> Option<AcceptedClient> {
    let AcceptedClient {
        socket,
        mut arrival,
        received,
    } = accepted;
    let handshake = socket.accept_tls(tls.config.clone(), received, &shard.blocks, timer);
    let failure = match handshake.await {
        Ok(socket) if socket.alpn() == Some(ACME_TLS) => {
            // The authority has seen the certificate that it asked for, and sends no request (RFC 8737 section 3).
            linger_after_last_message(shard, &socket, timer).await;
            return None;
        }
        Ok(socket) => {
            arrival.secured = Some(Rc::new(Secured::of(&socket, tls)));
            return Some(AcceptedClient {
                socket,
                arrival,
                received: Block::default(),
            });
        }
        Err(TlsFailure::PlainHttp { socket, received }) => {
            shard.blocks.give(received);
            answer_in_cleartext(shard, &socket, timer).await;
            TlsFailure::PlainHttp {
                socket,
                received: Block::default(),
            }
        }
        Err(TlsFailure::Refused(error, Some(socket))) => {
            let failure = TlsFailure::Refused(error, None);
            report(shard, arrival.peer, &ConnectionFailure::Tls(failure));
            // With TLS 1.3 a client may send requests before it reads the refusal. To close the connection while such
            // bytes are unread would reset it, and the client would not learn the reason.
            linger_after_last_message(shard, &socket, timer).await;
            return None;
        }
        Err(failure) => failure,
    };
    report(shard, arrival.peer, &ConnectionFailure::Tls(failure));
    None
}

async fn answer_in_cleartext(shard: &Shard, socket: &Socket, timer: &Timer) {
    let mut answer = shard.blocks.take();
    answer.extend(TLS_WANTED);
    let sent = socket.send_all(&mut answer, timer).await;
    shard.blocks.give(answer);
    if matches!(sent, Ok(Ok(()))) {
        linger_after_last_message(shard, socket, timer).await;
    }
}

/// Whether the first bytes, perhaps a single byte, are a TLS handshake (RFC 8446 section 5.1). No request begins with
/// these bytes.
pub fn begins_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [22] | [22, 3, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{Asked, FieldSlots, ResponseBody, parse_response};

    #[test]
    fn what_is_said_without_tls_is_an_answer_of_its_length() {
        let mut slots = FieldSlots::new();
        let parsed = parse_response(TLS_WANTED, &mut slots, Asked::default(), 1_000);
        let head = parsed.unwrap().unwrap();
        let length = TLS_WANTED.len() - head.head_bytes;
        assert_eq!(head.body, ResponseBody::Length(length as u64));
    }
}
