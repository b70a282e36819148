//! WebSockets and other protocols through a pool that speaks HTTP/2: by extended CONNECT (RFC 8441) where the backend
//! offers it, else by HTTP/1.1.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use palantir::base::time::Micros;
use palantir::http::h2::{ErrorCode, Field, H2Connection, H2Event, LocalSettings, Role};

use crate::support::h2::H2;
use crate::support::h2::frame::{self, code, get as h2_get};
use crate::support::proxy::route;
use crate::support::tls::{Authority, Server};
use crate::support::{Client, Link, Origin, Proxy, get};

pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {}\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\nVia: one\r\n\r\n";

/// The heads that a backend has seen, with a line for each field.
pub(super) type Seen = Arc<Mutex<Vec<String>>>;

/// A backend that speaks both versions, and echoes the bytes that come in a tunnel.
#[derive(Clone, Copy)]
pub(super) struct Backend {
    /// The status with which an extended CONNECT is answered; `None`: the backend takes none.
    pub(super) extended: Option<u16>,
    pub(super) http1: bool,
}

pub(super) const BOTH: Backend = Backend {
    extended: Some(200),
    http1: true,
};

impl Backend {
    pub(super) fn start(self) -> (Origin, Seen) {
        let seen = Seen::default();
        let told = seen.clone();
        (Origin::start(move |link| self.serve(link, &told)), seen)
    }

    /// Serves a connection of which `PRI` has been read.
    pub(super) fn serve_http2<S: Read + Write>(self, link: &mut Link<S>, seen: &Seen) {
        Http2::new(self, link, seen).serve();
    }

    pub(super) fn serve<S: Read + Write>(self, link: &mut Link<S>, seen: &Seen) {
        match link.bytes(3).as_deref() {
            Some(b"PRI") => self.serve_http2(link, seen),
            Some(_) if self.http1 => serve_http1(link, seen),
            _ => {}
        }
    }
}

/// Accepts every offer.
fn serve_http1<S: Read + Write>(link: &mut Link<S>, seen: &Seen) {
    let Some(head) = link.head() else { return };
    seen.lock().unwrap().push(head.text.clone());
    let protocol = head.field("upgrade").map(str::to_owned);
    let keys = head.all("sec-websocket-key");
    let key = keys.first().copied().unwrap_or_default().to_owned();
    if link.body_of(head).is_none() {
        return;
    }
    let Some(protocol) = protocol else {
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nversion1");
        return;
    };
    let accept = palantir::http::websocket::accept(key.as_bytes());
    let accept = String::from_utf8(accept.to_vec()).unwrap();
    link.send(
        SWITCHING
            .replace("{}", &protocol)
            .replace("{accept}", &accept),
    );
    loop {
        let bytes = link.some();
        if bytes.is_empty() || !link.try_send(bytes) {
            return;
        }
    }
}

struct Http2<'a, S> {
    kind: Backend,
    link: &'a mut Link<S>,
    seen: &'a Seen,
    protocol: H2Connection,
    /// Bytes for the tunnel of a stream that wait for its window, and whether the tunnel ends with them.
    waiting: BTreeMap<u32, (Vec<u8>, bool)>,
}

impl<'a, S: Read + Write> Http2<'a, S> {
    fn new(kind: Backend, link: &'a mut Link<S>, seen: &'a Seen) -> Http2<'a, S> {
        let settings = LocalSettings {
            extended_connect: kind.extended.is_some(),
            control_bytes: true,
            ..LocalSettings::default()
        };
        Http2 {
            kind,
            link,
            seen,
            protocol: H2Connection::new(Role::Server, settings, Micros::now()),
            waiting: BTreeMap::new(),
        }
    }

    fn serve(mut self) {
        let mut received = b"PRI".to_vec();
        loop {
            let mut rest = &received[..];
            while !rest.is_empty() {
                match self.take(rest) {
                    Some(used) => rest = &rest[used..],
                    None => return,
                }
            }
            self.echo();
            let out = self.protocol.take_output(Vec::new());
            if !self.link.try_send(out) {
                return;
            }
            received = self.link.some();
            if received.is_empty() {
                return;
            }
        }
    }

    fn echo(&mut self) {
        let protocol = &mut self.protocol;
        self.waiting.retain(|&stream, (bytes, end)| {
            let sent = protocol.send_body(stream, bytes, *end, Micros::now());
            let sent = sent.unwrap_or(bytes.len());
            bytes.drain(..sent);
            !bytes.is_empty()
        });
    }

    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let now = Micros::now();
        let (used, event) = self.protocol.receive(bytes, now).ok()?;
        match event {
            Some(H2Event::Head { stream, head, .. }) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let protocol = head.protocol().map(text).unwrap_or_default();
                let mut lines = format!(
                    "{} {} {protocol} {}\r\n",
                    text(head.method()),
                    text(head.target()),
                    text(head.authority())
                );
                for field in head.fields() {
                    lines += &format!("{}: {}\r\n", text(field.name), text(field.value));
                }
                self.seen.lock().unwrap().push(lines);
                let status = if protocol.is_empty() {
                    200
                } else {
                    self.kind.extended.unwrap()
                };
                let is_tunnel = !protocol.is_empty() && (200..300).contains(&status);
                let fields = [
                    ("sec-websocket-protocol", "echo"),
                    ("sec-websocket-accept", "no"),
                    // The length of a tunnel means nothing (RFC 9110 section 9.3.6).
                    ("content-length", if is_tunnel { "5" } else { "8" }),
                ];
                let fields = fields.map(|(name, value)| Field {
                    name: name.as_bytes(),
                    value: value.as_bytes(),
                    sensitive: false,
                });
                self.protocol
                    .send_head(stream, status, fields, false)
                    .ok()?;
                if !is_tunnel {
                    self.protocol
                        .send_body(stream, b"version2", true, now)
                        .ok()?;
                }
            }
            Some(H2Event::Body { stream, bytes, end }) => {
                let length = bytes.len() as u32;
                if bytes == b"reset" {
                    self.protocol.reset(stream, ErrorCode::INTERNAL_ERROR);
                } else {
                    let waiting = self.waiting.entry(stream).or_default();
                    waiting.0.extend_from_slice(bytes);
                    waiting.1 = end;
                }
                self.protocol.release(stream, length);
            }
            _ => {}
        }
        Some(used)
    }
}

pub(super) fn h2_route(addr: SocketAddr) -> String {
    route("/", &[addr]) + "protocol = \"h2\"\n"
}

pub(super) fn upgrade(more: &str) -> String {
    format!(
        "GET /chat?a=b HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

pub(super) fn with_key() -> String {
    upgrade(&format!("Sec-WebSocket-Key: {KEY}\r\n"))
}

#[track_caller]
pub(super) fn is_echoed<S: Read + Write>(client: &mut Client<S>) {
    for message in ["hello", &"long ".repeat(30_000)] {
        client.send(message);
        assert!(
            client.bytes(message.len()) == message.as_bytes(),
            "it changed"
        );
    }
}

pub(super) fn connect(protocol: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/chat?a=b"),
        ("sec-websocket-version", "13"),
    ]
}

#[track_caller]
pub(super) fn is_echoed_on(client: &mut H2, stream: u32) {
    let answer = client.head(stream);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("sec-websocket-accept"), None);
    client.body(stream, b"hello", false);
    client.pump_until("the message comes back", |client| {
        client.answers[&stream].body == b"hello"
    });
}

#[test]
fn a_client_of_http1_is_carried_by_extended_connect() {
    let (origin, seen) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.client();
    client.send(with_key());
    let head = client.head();
    assert_eq!(head.first_line(), "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.field("connection"), Some("upgrade"));
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.field("sec-websocket-protocol"), Some("echo"));
    is_echoed(&mut client);
    // Other requests share the connection.
    assert_eq!(proxy.ask(get("/")).text(), "version2");
    client.finish_sending();
    client.ends();
    let seen = seen.lock().unwrap();
    let first = &seen[0];
    assert!(first.starts_with("CONNECT /chat?a=b websocket "), "{first}");
    assert!(first.contains("sec-websocket-version: 13\r\n"), "{first}");
    for name in ["sec-websocket-key", "upgrade", "connection"] {
        assert!(!first.contains(&format!("\n{name}:")), "{first}");
    }
}

#[test]
fn a_client_of_http2_is_carried_by_extended_connect() {
    let (origin, seen) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.h2();
    let streams = [(); 2].map(|()| client.begin(&connect("websocket"), false));
    for stream in streams {
        is_echoed_on(&mut client, stream);
    }
    // One tunnel ends as it should. The backend gives the other one up.
    client.body(streams[0], b"", true);
    assert!(client.answer(streams[0]).complete);
    client.body(streams[1], b"reset", false);
    assert!(client.answer(streams[1]).reset.is_some());
    assert_eq!(client.ask(&h2_get("/", &[])).text(), "version2");
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].starts_with("CONNECT /chat?a=b websocket "),
        "{seen:?}"
    );
    assert!(!seen[0].contains("sec-websocket-key"), "{seen:?}");
}

#[test]
fn a_backend_may_decline_the_tunnel() {
    let kind = Backend {
        extended: Some(403),
        ..BOTH
    };
    let (origin, _) = kind.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.client();
    let answer = client.ask(with_key());
    assert_eq!((answer.status(), answer.text().as_str()), (403, "version2"));
    assert_eq!(client.ask(get("/")).text(), "version2");
    let mut client = proxy.h2();
    let answer = client.ask(&connect("websocket"));
    assert_eq!((answer.status(), answer.text().as_str()), (403, "version2"));
}

#[test]
fn any_success_is_a_tunnel() {
    let kind = Backend {
        extended: Some(201),
        ..BOTH
    };
    let (origin, _) = kind.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.client();
    client.send(with_key());
    assert_eq!(client.head().status(), 101);
    is_echoed(&mut client);
    let mut client = proxy.h2();
    let stream = client.begin(&connect("websocket"), false);
    is_echoed_on(&mut client, stream);
}

/// A stream that the backend gives up ends its client's connection, and no other stream.
#[test]
fn a_tunnel_that_the_backend_gives_up_ends_alone() {
    let (origin, _) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let [mut one, mut other] = [(); 2].map(|()| {
        let mut client = proxy.client();
        client.send(with_key());
        assert_eq!(client.head().status(), 101);
        client
    });
    one.send("reset");
    one.ends();
    is_echoed(&mut other);
}

/// Without extended CONNECT, and for other protocols, the request goes to the same backend over HTTP/1.1.
#[test]
fn without_extended_connect_the_backend_is_asked_over_http1() {
    let kind = Backend {
        extended: None,
        ..BOTH
    };
    let (origin, seen) = kind.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.client();
    client.send(with_key());
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT));
    is_echoed(&mut client);
    let mut client = proxy.h2();
    let stream = client.begin(&connect("websocket"), false);
    is_echoed_on(&mut client, stream);
    // All other requests still go over HTTP/2.
    assert_eq!(client.ask(&h2_get("/", &[])).text(), "version2");
    assert_eq!(proxy.ask(get("/")).text(), "version2");
    let seen = seen.lock().unwrap();
    let upgrades = seen.iter().filter(|head| head.contains("pgrade: "));
    assert_eq!(upgrades.count(), 2, "{seen:?}");
}

#[test]
fn other_offers_go_over_http1() {
    let (origin, seen) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let requests = [
        "POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}"
            .to_owned(),
        "POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\n{}\r\n0\r\n\r\n"
            .to_owned(),
        with_key().replace("GET", "PUT"),
        upgrade(""),
        upgrade("Sec-WebSocket-Key: short\r\n"),
        upgrade(&format!("{key}{key}")),
    ];
    for request in requests {
        let mut client = proxy.client();
        client.send(&request);
        let head = client.head();
        assert_eq!(head.status(), 101, "{request}{}", head.text);
        is_echoed(&mut client);
        let head = seen.lock().unwrap().pop().unwrap();
        assert!(head.contains("HTTP/1.1"), "{head}");
    }
}

/// With TLS, ALPN settles the version of each connection anew.
#[test]
fn over_tls_both_ways_are_there() {
    let authority = Authority::new();
    let pair = authority.issue(&["backend.example"]);
    let directory = crate::support::place::Directory::new();
    let ca = directory.write("ca.crt", &authority.pem());
    for extended in [Some(200), None] {
        let kind = Backend { extended, ..BOTH };
        let seen = Seen::default();
        let told = seen.clone();
        let server = Server::new(&pair).choosing(&["h2", "http/1.1"]);
        let origin = server.start(move |link| kind.serve(link, &told));
        let tls = format!("tls = {{ ca = {ca:?}, server_name = \"backend.example\" }}\n");
        let proxy = Proxy::start(&(h2_route(origin.addr) + &tls));
        let mut client = proxy.client();
        client.send(with_key());
        let head = client.head();
        assert_eq!(head.status(), 101, "{extended:?}");
        assert_eq!(head.field("sec-websocket-accept"), Some(ACCEPT));
        client.send("hello");
        assert_eq!(client.bytes(5), b"hello");
        let seen = seen.lock().unwrap();
        let is_extended = seen[0].starts_with("CONNECT /chat?a=b websocket ");
        assert_eq!(is_extended, extended.is_some(), "{seen:?}");
    }
}

/// A client that offers a protocol which the backend does not speak gets a failure that does not count against the
/// backend: the backend gets the requests of other clients as before.
#[test]
fn a_backend_without_http1_stays_in_use() {
    let kind = Backend {
        extended: None,
        http1: false,
    };
    let (origin, _) = kind.start();
    let (other, _) = kind.start();
    let config = format!(
        "workers = 1\n{}protocol = \"h2\"\noutlier = {{ consecutive_failures = 1, eject_secs = 600, max_ejected_percent = 100 }}\n\
         retries = 0\n",
        route("/", &[origin.addr, other.addr])
    );
    let proxy = Proxy::start(&config);
    for _ in 0..4 {
        assert_eq!(proxy.ask(with_key()).status(), 502);
    }
    let before = (origin.accepted(), other.accepted());
    for _ in 0..8 {
        assert_eq!(proxy.ask(get("/")).text(), "version2");
    }
    assert!(!proxy.log().contains("rests"), "{}", proxy.log());
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
}

/// The first SETTINGS tell what a backend takes, and may come late.
#[test]
fn the_backends_settings_are_waited_for() {
    let seen = Seen::default();
    let told = seen.clone();
    let origin = Origin::start(move |link| {
        thread::sleep(Duration::from_millis(300));
        BOTH.serve(link, &told);
    });
    let proxy = Proxy::start(&(h2_route(origin.addr) + "timeouts = { connect = 30 }\n"));
    let mut client = proxy.client();
    client.send(with_key());
    assert_eq!(client.head().status(), 101);
    is_echoed(&mut client);
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("CONNECT "), "{seen:?}");
}

/// A request waits for the SETTINGS within a bound, and a client that leaves ends the wait.
#[test]
fn a_backend_that_says_nothing_is_given_up() {
    let origin = Origin::start(|link| drop(link.rest()));
    let proxy = Proxy::start(&(h2_route(origin.addr) + "timeouts = { connect = 1 }\n"));
    let mut client = proxy.h2();
    let stream = client.begin(&connect("websocket"), false);
    client.send(frame::reset(stream, code::CANCEL));
    client.is_alive();
    let answer = client.ask(&connect("websocket"));
    assert_eq!(answer.status(), 504);
    assert_eq!(proxy.ask(with_key()).status(), 504);
}
