//! Exchanges in which both sides send: silence is measured for both directions together once the answer has begun.

use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::h2::frame::post;
use crate::support::head::Head;
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Link, Origin, Proxy};

const PIECES: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn upload(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// Sends the head of its answer at once, and the length of the request when it has read the request.
fn counting(link: &mut Link) {
    while let Some(head) = link.head() {
        link.send(CHUNKED);
        let Some(request) = link.body_of(head) else {
            return;
        };
        let text = request.body.len().to_string();
        link.send(format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len()));
    }
}

/// Answers piece by piece although the request does not end.
fn telling(link: &mut Link) {
    if link.head().is_some() {
        link.send(CHUNKED);
        for _ in 0..PIECES {
            sleep(PAUSE);
            link.send("1\r\nx\r\n");
        }
        link.send("0\r\n\r\n");
        link.rest();
    }
}

fn front(timeouts: &str) -> (Front, [Origin; 2]) {
    let origins = [Origin::start(counting), Origin::start(telling)];
    let config = format!(
        "workers = 1\n[timeouts]\n{timeouts}\n{}{}",
        route("/", &[origins[0].addr]),
        route("/telling", &[origins[1].addr])
    );
    (Front::start("", &config), origins)
}

#[test]
fn an_answer_may_wait_for_a_request_that_goes_on() {
    let (front, _origins) = front("upstream_idle = 1\nclient_body = 60");
    let mut plain = front.proxy.client();
    let mut secure = front.client();
    let mut h2 = front.h2();
    plain.send(upload("/"));
    secure.send(upload("/"));
    let stream = h2.begin(&post("/", &[]), false);
    for _ in 0..PIECES {
        sleep(PAUSE);
        plain.send("1\r\nx\r\n");
        secure.send("1\r\nx\r\n");
        h2.body(stream, b"x", false);
    }
    plain.send("0\r\n\r\n");
    secure.send("0\r\n\r\n");
    h2.body(stream, b"", true);
    let count = PIECES.to_string();
    assert_eq!(plain.answer().text(), count);
    assert_eq!(secure.answer().text(), count);
    let answer = h2.answer(stream);
    assert!(answer.complete && answer.text() == count, "{answer:?}");
}

#[test]
fn a_request_may_wait_for_an_answer_that_goes_on() {
    let (front, _origins) = front("upstream_idle = 1\nclient_body = 1");
    let mut plain = front.proxy.client();
    let mut h2 = front.h2();
    plain.send(upload("/telling") + "1\r\nx\r\n");
    let stream = h2.begin(&post("/telling", &[]), false);
    h2.body(stream, b"x", false);
    assert_eq!(plain.answer().text(), "x".repeat(PIECES));
    let answer = h2.answer(stream);
    assert!(answer.complete && answer.text().len() == PIECES);
}

#[test]
fn silence_in_both_directions_ends_the_exchange() {
    let (front, _origins) = front("upstream_idle = 1\nclient_body = 60");
    let begun = Instant::now();
    let mut client = front.proxy.client();
    client.send(upload("/") + "1\r\nx\r\n");
    let answer = client.answer();
    assert!(!answer.complete, "{answer:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

/// A client that sends is alive, even if it reads only after it has sent everything.
#[test]
fn a_client_that_sends_need_not_read_meanwhile() {
    const BYTES: usize = 32 << 20;
    let origin = Origin::start(|link| {
        if let Some(head) = link.head() {
            let mut answer = link.layered(link.stream.try_clone().unwrap());
            std::thread::spawn(move || answer.send(ok(&"x".repeat(BYTES))));
            link.body_of(head);
        }
    });
    let config = format!(
        "[timeouts]\nclient_idle = 1\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send(upload("/"));
    for _ in 0..PIECES {
        sleep(PAUSE);
        client.send("1\r\nx\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().body.len(), BYTES);
}

/// While a backend takes nothing, palantir does not read from the client. That is no silence of the client.
#[test]
fn a_client_that_is_not_read_is_not_silent() {
    const BYTES: usize = 32 << 20;
    let origin = Origin::start(|link| {
        if let Some(head) = link.head() {
            sleep(Duration::from_secs(2));
            let text = link.body_of(head).map_or(0, |request| request.body.len());
            link.send(ok(&text.to_string()));
        }
    });
    let timeouts = "client_body = 1\nclient_idle = 1\nupstream_idle = 1\n";
    let config = format!("[timeouts]\n{timeouts}{}", route("/", &[origin.addr]));
    let proxy = Proxy::start(&config);
    let body = vec![b'x'; BYTES];
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    client.send(&body);
    assert_eq!(client.answer().text(), BYTES.to_string());
    let mut client = proxy.h2();
    let answer = client.ask_with(&post("/", &[]), &body);
    assert_eq!(answer.text(), BYTES.to_string());
}

/// Grants the change of protocols that this head asks for.
pub(super) fn switched(head: &Head) -> String {
    let protocol = head.field("upgrade").unwrap_or_default();
    let key = head.field("sec-websocket-key").unwrap_or_default();
    let proof = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, proof.as_bytes()));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Echoes the bytes that come over a protocol of its own, behind a 101.
fn switching(link: &mut Link) {
    if let Some(head) = link.head() {
        link.send(switched(&head));
        while let Some(byte) = link.bytes(1) {
            link.send(&byte);
        }
    }
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn tunnels_have_their_own_silence() {
    let origin = Origin::start(switching);
    let short = "timeouts = { tunnel_idle = 1 }\n";
    let config = format!(
        "workers = 1\n[timeouts]\nupstream_idle = 1\nclient_body = 1\nclient_idle = 1\n{}{}{short}",
        route("/", &[origin.addr]),
        route("/short", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let (mut plain, mut h2) = (proxy.client(), proxy.h2());
    plain.send(UPGRADE);
    assert_eq!(plain.head().status(), 101);
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    let stream = h2.begin(&connect, false);
    assert_eq!(h2.head(stream).status(), 200);
    let begun = Instant::now();
    let mut short = proxy.client();
    short.send(UPGRADE.replace("GET / ", "GET /short "));
    assert_eq!(short.head().status(), 101);
    short.ends();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
    plain.send("y");
    assert_eq!(plain.bytes(1), b"y");
    h2.body(stream, b"z", false);
    h2.pump_until("the echo comes", |client| {
        client.answers[&stream].body == b"z"
    });
}
