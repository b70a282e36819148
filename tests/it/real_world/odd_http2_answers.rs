//! Answers of backends that speak HTTP/2 with the habits of HTTP/1.1: what has one reading is served in its proper
//! form.

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, get as h2_get};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, get};

type Fields = Vec<(&'static str, &'static str)>;

/// A backend that answers every request with this head, `ok` if it has a body, and trailers if it has some.
fn answering(head: Fields, has_body: bool, trailers: Fields) -> Origin {
    Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(stream) = backend.request() {
            let flags = flag::END_HEADERS | if has_body { 0 } else { flag::END_STREAM };
            backend.send(frame::headers(flags, stream, frame::section(&head)));
            if has_body {
                let ends = if trailers.is_empty() {
                    flag::END_STREAM
                } else {
                    0
                };
                backend.send(frame::data(ends, stream, "ok"));
            }
            if !trailers.is_empty() {
                let flags = flag::END_HEADERS | flag::END_STREAM;
                backend.send(frame::headers(flags, stream, frame::section(&trailers)));
            }
        }
    })
}

fn proxy(origin: &Origin, more: &str) -> Proxy {
    let route = route("/", &[origin.addr]);
    Proxy::start(&format!("{route}protocol = \"h2\"\nretries = 0\n{more}"))
}

#[test]
fn what_has_one_reading_is_written_properly() {
    let rows: [&[(&str, &str)]; 6] = [
        &[("X-Kept", "a")],
        &[("x-kept", " a\t")],
        &[
            ("x-kept", "a"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
        ],
        &[
            ("x-kept", "a"),
            ("connection", "close, x-named"),
            ("x-named", "b"),
        ],
        &[
            ("x-kept", "a"),
            ("Upgrade", "h2,h2c"),
            ("proxy-connection", "x"),
        ],
        &[("Content-Length", "2"), ("X-Kept", "a"), ("te", "gzip")],
    ];
    for fields in rows {
        let head = [&[(":status", "200")], fields].concat();
        let origin = answering(head, true, Vec::new());
        let lenient = proxy(&origin, "");
        let mut client = lenient.client();
        for _ in 0..2 {
            let answer = client.ask(get("/"));
            assert_eq!(
                (answer.status(), answer.text().as_str()),
                (200, "ok"),
                "{fields:?}"
            );
            assert_eq!(answer.field("x-kept"), Some("a"), "{fields:?}");
            for name in [
                "connection",
                "keep-alive",
                "upgrade",
                "x-named",
                "proxy-connection",
                "te",
            ] {
                assert_eq!(answer.field(name), None, "{fields:?}");
            }
        }
        let answer = lenient.h2().ask(&h2_get("/", &[]));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "ok"),
            "{fields:?}"
        );
        assert_eq!(answer.field("x-kept"), Some("a"), "{fields:?}");
        assert!(answer.field("connection").is_none() && answer.field("upgrade").is_none());
        let strict = proxy(&origin, "strict_responses = true\n");
        assert_eq!(strict.ask(get("/")).status(), 502, "{fields:?}");
    }
}

#[test]
fn a_426_says_what_is_required() {
    let head = vec![
        (":status", "426"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    let origin = answering(head, true, Vec::new());
    let proxy = proxy(&origin, "");
    let answer = proxy.ask(get("/"));
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(answer.field("connection"), Some("upgrade"));
    let answer = proxy.h2().ask(&h2_get("/", &[]));
    assert_eq!((answer.status(), answer.field("upgrade")), (426, None));
}

/// A body may have been coded as its head says, or not: nobody knows.
#[test]
fn a_transfer_coding_counts_where_there_may_be_a_body() {
    for (coding, status, has_body, expected) in [
        ("chunked", "200", true, 502),
        ("chunked", "200", false, 200),
        ("chunked", "204", false, 204),
        ("chunked", "304", false, 304),
        ("identity", "200", true, 200),
    ] {
        let head = vec![(":status", status), ("transfer-encoding", coding)];
        let origin = answering(head, has_body, Vec::new());
        let proxy = proxy(&origin, "");
        let mut client = proxy.client();
        let answer = client.ask(get("/"));
        assert_eq!(answer.status(), expected);
        // The body without a length is sent to the client in chunks.
        let own = (coding == "identity").then_some("chunked");
        assert_eq!(answer.field("transfer-encoding"), own);
        let answer = proxy.h2().ask(&h2_get("/", &[]));
        assert_eq!((answer.reset, answer.status()), (None, expected));
    }
}

#[test]
fn what_has_no_reading_is_refused() {
    let rows: [&[(&str, &str)]; 5] = [
        &[("x y", "a")],
        &[("X", "a\rb")],
        &[("content-length", "2"), ("Content-Length", "3")],
        &[(":Other", "a")],
        &[("", "a")],
    ];
    for fields in rows {
        let head = [&[(":status", "200")], fields].concat();
        let origin = answering(head, true, Vec::new());
        assert_eq!(proxy(&origin, "").ask(get("/")).status(), 502, "{fields:?}");
    }
}

#[test]
fn trailers_are_written_properly_too() {
    let trailers = vec![
        ("X-Sum", " 1 "),
        ("Connection", "close"),
        ("Grpc-Status", "0"),
    ];
    let origin = answering(vec![(":status", "200")], true, trailers);
    let proxy = proxy(&origin, "");
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n");
    assert!(answer.complete && answer.status() == 200);
    assert_eq!(answer.trailers, "x-sum: 1\r\ngrpc-status: 0\r\n");
    let answer = proxy.h2().ask(&h2_get("/", &[("te", "trailers")]));
    assert!(answer.complete, "{answer:?}");
    let named = |name: &str| (name.to_owned(), "1".to_owned());
    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers.len(), &trailers[0]), (2, &named("x-sum")));
}

#[test]
fn a_pool_may_hold_trailers_to_the_letter() {
    let rows: [&[(&str, &str)]; 3] = [
        &[("X-Sum", "1")],
        &[("x-sum", " 1")],
        &[("connection", "close"), ("x-sum", "1")],
    ];
    for trailers in rows {
        let origin = answering(vec![(":status", "200")], true, trailers.to_vec());
        let strict = proxy(&origin, "strict_responses = true\n");
        let answer = strict.ask(get("/"));
        let is_cut = answer.status() == 502 || !answer.complete;
        assert!(is_cut, "{trailers:?}: {answer:?}");
    }
}

/// A length that nobody can read matters only if a body follows, whichever version the backend speaks.
#[test]
fn a_bad_length_matters_where_there_may_be_a_body() {
    let lengths: [&[&str]; 4] = [&["abc"], &["5", "6"], &[""], &["-1"]];
    for (lengths, (method, status, expected)) in lengths.into_iter().flat_map(|lengths| {
        let rows = [
            ("GET", "200", 502),
            ("HEAD", "200", 200),
            ("GET", "204", 204),
            ("GET", "304", 304),
        ];
        rows.map(|row| (lengths, row))
    }) {
        let has_body = (method, status) == ("GET", "200");
        let named = lengths.iter().map(|length| ("content-length", *length));
        let head = [(":status", status)].into_iter().chain(named).collect();
        let framed = answering(head, has_body, Vec::new());
        let lines: String = lengths
            .iter()
            .map(|length| format!("Content-Length: {length}\r\n"))
            .collect();
        let written = Origin::answering(format!("HTTP/1.1 {status} x\r\n{lines}\r\n"));
        for proxy in [proxy(&framed, ""), Proxy::to(&[written.addr])] {
            let answer = proxy.ask(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
            let name = format!("{method} {status} {lengths:?}");
            assert_eq!(answer.status(), expected, "{name}");
            if expected != 502 {
                assert_eq!(answer.field("content-length"), None, "{name}");
            }
        }
    }
}
