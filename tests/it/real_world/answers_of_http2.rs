//! Odd answers of backends that speak HTTP/2, and statuses that nobody knows.

use std::sync::{Mutex, mpsc};

use super::backend_answers::config;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, kind};
use crate::support::place::free_addr;
use crate::support::{Client, Origin, PATIENCE, Proxy, eventually, get, metrics};

/// The end of a stream may come behind a head that says that there is no body. A reset would tell the backend that its
/// answer was not wanted.
#[test]
fn a_stream_that_ends_behind_its_answer_is_not_reset() {
    const REQUESTS: usize = 5;
    let (seen, resets) = mpsc::channel();
    let seen = Mutex::new(seen);
    let origin = Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        let (mut last, mut count, mut resets) = (None, 0, 0);
        while let Some(frame) = backend.frame() {
            resets += usize::from(frame.kind == kind::RST_STREAM);
            if frame.kind != kind::HEADERS {
                continue;
            }
            // The client has the answer on the last stream, or would not ask again.
            if let Some(last) = last.replace(frame.stream) {
                backend.send(frame::data(flag::END_STREAM, last, ""));
            }
            count += 1;
            if count == REQUESTS {
                let _ = seen.lock().unwrap().send(resets);
            }
            let section = frame::section(&[(":status", "200"), ("content-length", "0")]);
            backend.send(frame::headers(flag::END_HEADERS, frame.stream, section));
        }
    });
    let proxy = Proxy::start(&config(&origin, "protocol = \"h2\""));
    let mut client = proxy.client();
    for _ in 0..REQUESTS {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    assert_eq!(resets.recv_timeout(PATIENCE).unwrap(), 0);
}

/// Answers of HTTP/2 backends are read as answers of HTTP/1.1 backends are.
#[test]
fn backends_of_http2_are_read_alike() {
    let origin = Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        let mut count = 0;
        while let Some(stream) = backend.request() {
            let (fields, end): (&[(&str, &str)], bool) = match count {
                0 => (&[(":status", "204"), ("content-length", "5")], true),
                1 => (&[(":status", "204"), ("content-length", "5")], false),
                2 => (&[(":status", "700"), ("content-length", "0")], true),
                3 => (
                    &[
                        (":status", "200"),
                        ("content-length", "2"),
                        ("content-length", "02, 2"),
                    ],
                    false,
                ),
                4 => (&[(":status", "304"), ("content-length", "5")], true),
                5 => (
                    &[
                        (":status", "200"),
                        ("content-length", "2"),
                        ("content-length", "3"),
                    ],
                    false,
                ),
                _ => (&[(":status", "200"), ("x_forwarded_for", "a")], false),
            };
            if count == 4 {
                for _ in 0..100 {
                    let section = frame::section(&[(":status", "103"), ("content-length", "5")]);
                    backend.send(frame::headers(flag::END_HEADERS, stream, section));
                }
            }
            let last = if end { flag::END_STREAM } else { 0 };
            backend.send(frame::headers(
                flag::END_HEADERS | last,
                stream,
                frame::section(fields),
            ));
            if !end {
                backend.send(frame::data(flag::END_STREAM, stream, "ok"));
            }
            count += 1;
        }
    });
    let proxy = Proxy::start(&config(&origin, "protocol = \"h2\""));
    let mut client = proxy.client();
    let rows = [
        (204, None, ""),
        (204, None, ""),
        (700, Some("0"), ""),
        (200, Some("2"), "ok"),
        (304, Some("5"), ""),
        (502, Some("any"), "any"),
        (200, None, "ok"),
    ];
    for (status, length, body) in rows {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status(), status, "{}", answer.head.text);
        if status != 502 {
            assert_eq!(
                (answer.field("content-length"), answer.text().as_str()),
                (length, body)
            );
        }
    }
}

/// A status that nobody knows counts as a failure of its backend.
#[test]
fn unknown_statuses_count_as_failures() {
    let origin = Origin::answering("HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n");
    let admin = free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        config(&origin, "")
    )
    .replace("workers = 1\n", "");
    let proxy = Proxy::start(&format!("workers = 1\n{config}"));
    let mut client: Client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 799);
    eventually("the answer is counted as a 5xx", || {
        let metrics = metrics(admin);
        metrics.contains("palantir_requests_total{worker=\"0\",code=\"5xx\"} 1\n")
    });
}
