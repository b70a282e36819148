//! WebSocket with a client and a server of others, and over HTTP/2 (RFC 8441) to a backend that speaks HTTP/1.1.

use std::net::SocketAddr;

use crate::support::h2::H2;
use crate::support::h2::frame::{self, code, get, setting};
use crate::support::peer::{self, Peer};
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::trusted::Trusted;
use crate::support::{Origin, Proxy};

/// A backend of others that sends back what it receives.
fn echoing() -> (Peer, SocketAddr) {
    let addr = free_addr();
    let (host, port) = (addr.ip().to_string(), addr.port().to_string());
    (Peer::start("ws_origin.py", &[&host, &port]), addr)
}

/// Starts a peer with a proxy before it.
fn start() -> (Peer, Proxy) {
    let (origin, addr) = echoing();
    (origin, Proxy::to(&[addr]))
}

#[test]
fn a_client_of_others_is_echoed() {
    let (_origin, proxy) = start();
    peer::run("ws_client.py", &[&proxy.addr.to_string()]);
}

#[test]
fn a_client_of_others_is_echoed_over_tls() {
    let (_origin, addr) = echoing();
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[addr]));
    peer::run("ws_client.py", &[&proxy.addr.to_string(), trusted.cert()]);
}

/// An extended CONNECT.
fn connect<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pseudo = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/chat"),
    ];
    [&pseudo[..], &[("sec-websocket-version", "13")], more].concat()
}

/// A text message as a client sends it: masked, with a mask of zeros.
fn message(text: &str) -> Vec<u8> {
    let length = text.len();
    let head = match length {
        0..126 => vec![0x81, 0x80 | length as u8],
        _ => [&[0x81, 0xfe][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], text.as_bytes()].concat()
}

/// The message as a server sends it.
fn reply(text: &str) -> Vec<u8> {
    let length = text.len();
    let head = match length {
        0..126 => vec![0x81, length as u8],
        _ => [&[0x81, 126][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&head[..], text.as_bytes()].concat()
}

#[track_caller]
fn echoed(client: &mut H2, stream: u32, text: &str) {
    let before = client.answers[&stream].body.len();
    client.body(stream, &message(text), false);
    let expected = reply(text);
    client.pump_until("the message comes back", |client| {
        client.answers[&stream].body.len() >= before + expected.len()
    });
    assert!(
        client.answers[&stream].body[before..] == expected,
        "it changed"
    );
}

#[test]
fn over_http_2() {
    let (_origin, proxy) = start();
    echoes_over_http_2(proxy.h2());
}

#[test]
fn over_http_2_and_tls() {
    let (_origin, addr) = echoing();
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[addr]));
    echoes_over_http_2(trusted.h2(&proxy));
}

#[track_caller]
fn echoes_over_http_2(mut client: H2) {
    assert_eq!(client.settings[&setting::ENABLE_CONNECT_PROTOCOL], 1);
    let fields = connect(&[("sec-websocket-protocol", "echo")]);
    let streams = [(); 3].map(|()| client.begin(&fields, false));
    for stream in streams {
        let answer = client.head(stream);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("sec-websocket-protocol"), Some("echo"));
        assert_eq!(answer.field("sec-websocket-accept"), None);
    }
    for text in ["hello", "", &"long ".repeat(10_000)] {
        for stream in streams {
            echoed(&mut client, stream, text);
        }
    }
    // Requests go on beside it.
    assert_eq!(client.ask(&get("/plain", &[])).status(), 426);
    // One is closed by the backend, one by us, one is reset.
    client.body(streams[0], &message("close"), false);
    let closed = client.answer(streams[0]);
    assert!(closed.complete, "{closed:?}");
    assert!(
        closed.body.ends_with(b"\x88\x0d\x0f\xa1as you wish"),
        "the close frame"
    );
    client.body(streams[1], b"\x88\x80\0\0\0\0", false);
    assert!(client.answer(streams[1]).complete);
    client.send(frame::reset(streams[2], code::CANCEL));
    client.is_alive();
}

#[test]
fn the_backend_sees_an_upgrade() {
    let origin = Origin::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&connect(&[("origin", "http://test")]), false);
    // The backend may decline.
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    client.is_alive();
    let head = origin.request().head;
    assert_eq!(head.first_line(), "GET /chat HTTP/1.1");
    let lower = |name| head.field(name).map(str::to_ascii_lowercase);
    assert_eq!(lower("upgrade").as_deref(), Some("websocket"));
    assert_eq!(lower("connection").as_deref(), Some("upgrade"));
    assert_eq!(head.field("sec-websocket-version"), Some("13"));
    assert_eq!(head.field("origin"), Some("http://test"));
    let key = head.field("sec-websocket-key").expect("a key");
    assert_eq!(key.len(), 24, "sixteen bytes in base64: {key}");
    assert_eq!(head.field("content-length"), None);
}

/// The backend proves that it knows the proxy's key; the client of HTTP/2 has none (RFC 8441 section 5).
#[test]
fn the_backend_sees_one_key() {
    let origin = Origin::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let own = "dGhlIHNhbXBsZSBub25jZQ==";
    let keys = [("sec-websocket-key", own), ("sec-websocket-key", own)];
    for count in 0..=2 {
        let stream = client.begin(&connect(&keys[..count]), false);
        assert_eq!(client.answer(stream).status(), 403);
        let head = origin.requests().pop().unwrap().head;
        let seen = head.all("sec-websocket-key");
        assert!(seen.len() == 1 && seen[0] != own, "{seen:?}");
    }
}

/// A backend must not be asked to go on in HTTP/2, nor be told what is no name of a protocol.
#[test]
fn a_stream_switches_to_one_protocol_that_is_not_http2() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    for protocol in [
        "h2c",
        "H2C",
        "web socket",
        "websocket, h2c",
        "websocket,h2c",
        "TLS/1.0",
        "caf\u{e9}",
    ] {
        let mut fields = connect(&[]);
        fields[1].1 = protocol;
        let stream = client.begin(&fields, false);
        assert_eq!(
            client.answer(stream).reset,
            Some(code::PROTOCOL_ERROR),
            "{protocol}"
        );
    }
    client.is_alive();
    assert_eq!(origin.count(), 0);
}

/// Over HTTP/2 any status of success means that the tunnel is there, so another answer must not have one.
#[test]
fn a_backend_that_does_not_switch_is_not_taken_for_a_tunnel() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ];
    for text in answers {
        let origin = Origin::answering(text);
        let proxy = Proxy::to(&[origin.addr]);
        let mut client = proxy.h2();
        let stream = client.begin(&connect(&[]), false);
        let answer = client.answer(stream);
        let is_refused = answer.fields.is_empty() || answer.status() >= 400;
        assert!(is_refused, "{answer:?}");
    }
}

/// The key is the proxy's own, so the proxy must see that the backend knew it (RFC 6455 section 4.1).
#[test]
fn a_backend_that_cannot_prove_to_have_switched_has_not() {
    let origin = Origin::start(|link| {
        link.request();
        link.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        link.rest();
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&connect(&[]), false);
    let answer = client.head(stream);
    let is_refused = answer.fields.is_empty() || answer.status() == 502;
    assert!(is_refused, "{answer:?}");
}
