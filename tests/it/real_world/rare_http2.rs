//! Rare but allowed frames, settings and pings on connections that are used for long, and prefaces that are malformed.

use std::thread::sleep;
use std::time::Duration;

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, PREFACE, code, get, kind, post, setting};
use crate::support::h2::{H2, word};
use crate::support::origin::ok;
use crate::support::tls::Front;
use crate::support::{Origin, Proxy};

/// Frames that clients send to test servers: an unknown frame, an unknown setting, and a PING.
fn grease() -> Vec<u8> {
    [
        frame::frame(kind::UNKNOWN, 0xff, 0, "whatever"),
        frame::settings(&[(setting::UNKNOWN, 7)]),
        frame::ping(b"12345678"),
    ]
    .concat()
}

#[test]
fn a_client_may_sprinkle_it_over_many_requests() {
    let origin = Origin::saying("hello");
    let front = Front::to(&origin, "");
    for _ in 0..2 {
        let mut client = front.h2();
        for _ in 0..400 {
            client.send(grease());
            let stream = client.begin(&get("/", &[]), true);
            client.send(frame::frame(kind::UNKNOWN, 0, stream, ""));
            client.send(frame::priority(stream, 0, 16));
            client.send(grease());
            assert_eq!(client.answer(stream).text(), "hello");
        }
        assert_eq!(client.goaways, []);
    }
}

#[test]
fn a_client_may_sprinkle_it_over_a_long_body() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            link.send(ok(&request.body.len().to_string()));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&post("/", &[]), false);
    for _ in 0..1000 {
        client.body(stream, b"x", false);
        client.send(frame::frame(kind::UNKNOWN, 0, stream, "x"));
        client.send(frame::data(0, stream, ""));
        client.send(frame::ping(b"12345678"));
    }
    client.body(stream, b"", true);
    assert_eq!(client.answer(stream).text(), "1000");
    assert_eq!(client.goaways, []);
}

/// The client answers each piece of the body with a PING, an unknown frame and updates, as clients do that measure a
/// line.
#[test]
fn a_client_may_sprinkle_it_over_a_long_answer() {
    const PIECES: usize = 600;
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {PIECES}\r\n\r\n"
            ));
            for _ in 0..PIECES {
                link.send("x");
                sleep(Duration::from_millis(2));
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&get("/", &[]), true);
    let mut seen = 0;
    while seen < PIECES {
        assert!(client.pump(), "{:?}", client.goaways);
        let come = client.answers.get(&stream).map_or(0, |it| it.body.len());
        if come > seen {
            seen = come;
            client.send(frame::frame(kind::UNKNOWN, 0, 0, "x"));
            client.send(frame::ping(b"12345678"));
        }
    }
    assert_eq!(client.goaways, []);
}

#[test]
fn a_backend_may_sprinkle_it_over_many_answers() {
    let origin = Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(stream) = backend.request() {
            backend.send(grease());
            backend.head(stream, 0);
            backend.send(grease());
            backend.send(frame::data(frame::flag::END_STREAM, stream, "hello"));
        }
    });
    let config = crate::support::proxy::route("/", &[origin.addr]) + "protocol = \"h2\"\n";
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
    let mut client = proxy.client();
    for turn in 0..400 {
        let answer = client.ask(crate::support::get("/"));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "hello"),
            "{turn}"
        );
    }
    assert_eq!(origin.accepted(), 1);
}

/// Bytes that are no preface get a last message that their sender understands, or none.
#[test]
fn a_preface_that_is_none_gets_no_answer_of_http1() {
    let origin = Origin::saying("never");
    let front = Front::to(&origin, "");
    let named = [
        &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\n\nSM\n\n",
    ];
    for bytes in named {
        let mut client = H2::connect(front.proxy.addr);
        client.send(bytes);
        assert_eq!(
            word(client.end()),
            "PROTOCOL_ERROR",
            "{}",
            bytes.escape_ascii()
        );
    }
    let mut client = front.proxy.client();
    client.send("INVALID CONNECTION PREFACE\r\n\r\n");
    client.ends();
    // Over TLS, ALPN leaves no doubt about the version.
    for bytes in [
        &b"INVALID CONNECTION PREFACE\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let stream = front.dialer().offering(&["h2"]).connect(front.addr, "test");
        let mut client = H2::over(stream.unwrap());
        client.send(bytes);
        assert_eq!(client.end(), Some(code::PROTOCOL_ERROR));
    }
    // A correct preface is recognised even if it comes byte by byte.
    let mut client = H2::connect(front.proxy.addr);
    for byte in PREFACE {
        client.send([*byte]);
        sleep(Duration::from_millis(2));
    }
    client.announce(&[]);
    assert_eq!(origin.count(), 0);
    client.is_alive();
}
