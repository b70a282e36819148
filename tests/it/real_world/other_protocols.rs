//! Protocols other than WebSocket that a client of HTTP/2 asks for by extended CONNECT, with a backend of HTTP/1.1.

use super::websockets_to_h2::{BOTH, connect, h2_route, is_echoed_on};
use crate::support::h2::H2;
use crate::support::h2::frame::code;
use crate::support::proxy::route;
use crate::support::trusted::Trusted;
use crate::support::{Link, Origin, Proxy};

/// Switches to what was asked for, and sends back every byte that comes.
fn switching(link: &mut Link) {
    let Some(request) = link.request() else {
        return;
    };
    let protocol = request.head.field("upgrade").unwrap_or_default();
    link.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\ncapsule-protocol: ?1\r\n\r\n"
    ));
    while let Some(byte) = link.bytes(1) {
        link.send(byte);
    }
}

/// Asks for a tunnel of this protocol, and sends something there and back.
#[track_caller]
fn is_tunnel(client: &mut H2, protocol: &str) {
    let mut fields = connect(protocol);
    fields.push(("capsule-protocol", "?1"));
    let stream = client.begin(&fields, false);
    let answer = client.head(stream);
    assert_eq!((answer.reset, answer.status()), (None, 200), "{protocol}");
    assert_eq!(answer.field("capsule-protocol"), Some("?1"));
    assert_eq!(answer.field("upgrade"), None);
    is_echoed_on(client, stream);
}

#[test]
fn the_name_of_the_protocol_is_the_proof() {
    let origin = Origin::start(switching);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    for protocol in ["connect-udp", "connect-ip", "webtransport", "Tcp"] {
        is_tunnel(&mut client, protocol);
        let head = origin.requests().pop().unwrap().head;
        assert_eq!(head.first_line(), "GET /chat?a=b HTTP/1.1");
        assert_eq!(head.field("upgrade"), Some(protocol));
        assert_eq!(head.field("connection"), Some("upgrade"));
        assert_eq!(head.field("sec-websocket-key"), None);
        assert_eq!(head.field("capsule-protocol"), Some("?1"));
    }
    client.is_alive();
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[origin.addr]));
    is_tunnel(&mut trusted.h2(&proxy), "connect-udp");
}

/// A protocol for which HTTP/2 has no such form goes to the backend over HTTP/1.1.
#[test]
fn a_backend_of_both_versions_is_asked_over_http1() {
    let (origin, seen) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.h2();
    let stream = client.begin(&connect("connect-udp"), false);
    is_echoed_on(&mut client, stream);
    let head = seen.lock().unwrap().pop().unwrap();
    assert!(head.contains("Upgrade: connect-udp"), "{head}");
    assert!(!head.to_lowercase().contains("sec-websocket-key"), "{head}");
}

#[test]
fn nothing_else_is_taken_for_the_tunnel() {
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 502),
        ("HTTP/1.1 204 No Content\r\n\r\n", 502),
        (
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            502,
        ),
        (
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: connect-udp, tcp\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 x\r\nUpgrade: connect-udp\r\n\r\n", 502),
        ("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", 502),
        ("HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno", 403),
        (
            "HTTP/1.1 426 x\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 2\r\n\r\nno",
            426,
        ),
    ];
    for (text, status) in rows {
        let origin = Origin::answering(text);
        let proxy = Proxy::start(&(route("/", &[origin.addr]) + "retries = 0\n"));
        let mut client = proxy.h2();
        let stream = client.begin(&connect("connect-udp"), false);
        let answer = client.head(stream);
        assert_eq!((answer.reset, answer.status()), (None, status), "{text}");
        client.is_alive();
    }
}

/// In a tunnel of HTTP itself a client could ask for anything unseen.
#[test]
fn http_is_no_other_protocol() {
    let origin = Origin::start(switching);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    for protocol in ["http", "HTTP", "h2", "h2c"] {
        let stream = client.begin(&connect(protocol), false);
        let reset = client.answer(stream).reset;
        assert_eq!(reset, Some(code::PROTOCOL_ERROR), "{protocol}");
    }
    client.is_alive();
    assert_eq!(origin.count(), 0);
}
