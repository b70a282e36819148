//! Upgrades (WebSocket) become a tunnel of bytes.

use std::net::Shutdown;

use crate::support::{Link, Origin, Proxy, get};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches, greets, and sends back every byte that comes.
fn echoing(link: &mut Link) {
    if link.request().is_none() {
        return;
    }
    link.send(format!("{SWITCHING}welcome"));
    while let Some(byte) = link.bytes(1) {
        link.send(byte);
    }
}

#[test]
fn bytes_flow_both_ways_after_101() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(UPGRADE);
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(
        head.field("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        head.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(client.bytes(7), b"welcome");
    for message in [
        &b"\x81\x05hello"[..],
        b"\x00\r\n\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        client.send(message);
        assert_eq!(client.bytes(message.len()), message);
    }
    let received = origin.request().head;
    assert_eq!(received.field("upgrade"), Some("websocket"));
    assert_eq!(
        received
            .field("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        received.field("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.ends();
    origin.wait_for_ended(1);
}

#[test]
fn large_messages_arrive_whole() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(SWITCHING);
            let Some(message) = link.bytes(3_000_000) else {
                return;
            };
            link.send(message);
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    let message: Vec<u8> = (0..3_000_000u32).map(|n| (n % 253) as u8).collect();
    client.send(&message);
    assert!(client.bytes(message.len()) == message);
}

#[test]
fn when_the_backend_ends_the_tunnel_the_client_sees_the_end() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(format!("{SWITCHING}bye"));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.rest(), b"bye");
}

#[test]
fn when_the_client_vanishes_the_backend_sees_the_end() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    drop(client);
    origin.wait_for_ended(1);
}

#[test]
fn bytes_sent_before_101_are_refused() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(format!("{UPGRADE}early"));
    let answer = client.answer();
    assert_eq!(answer.status(), 400);
    client.ends();
    for request in origin.requests() {
        assert!(!request.head.text.contains("early"));
    }
}

#[test]
fn a_backend_may_decline_to_upgrade() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    assert_eq!(client.ask(UPGRADE).text(), "plain");
    assert_eq!(client.ask(get("/")).text(), "plain");
}

#[test]
fn an_upgrade_that_connection_does_not_name_is_not_forwarded() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(answer.text(), "plain");
    assert_eq!(origin.request().head.field("upgrade"), None);
}

#[test]
fn an_upgrade_from_http_1_0_is_not_forwarded() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask(UPGRADE.replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(answer.text(), "plain");
    assert_eq!(origin.request().head.field("upgrade"), None);
}
