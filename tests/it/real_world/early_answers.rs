//! Answers that come before the request has been sent. Every client can read its answer, even a client that reads only
//! after it has written everything, as Python's http.client and many browsers do.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{flag, kind, post};
use crate::support::h2::{H2, word};
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Client, Origin, Proxy, eventually, metrics};

/// More bytes than all buffers between the client and the backend hold.
const BYTES: usize = 12 << 20;

fn upload(fields: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

fn length() -> String {
    upload(&format!("Content-Length: {BYTES}\r\n"))
}

/// Writes a whole upload, then reads the answer.
#[track_caller]
fn write_then_read<S: Read + Write>(client: &mut Client<S>, chunked: bool) -> (u16, String) {
    if chunked {
        client.send(upload("Transfer-Encoding: chunked\r\n"));
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        (0..BYTES / 0x10000).for_each(|_| client.send(&chunk));
        client.send("0\r\n\r\n");
    } else {
        client.send(length());
        client.send(vec![b'x'; BYTES]);
    }
    let answer = client.answer();
    assert!(answer.complete, "{answer:?}");
    assert_eq!(answer.field("connection"), Some("close"));
    client.ends();
    (answer.status(), answer.text())
}

/// A backend that answers as soon as it has the head, and hangs up.
fn hasty(answer: impl Into<String>) -> Origin {
    let answer = answer.into();
    Origin::start(move |link| {
        if link.head().is_some() {
            link.send(&answer);
            link.wait_until_come(); // A close with unread bytes may drop bytes to be sent.
            link.close();
        }
    })
}

#[test]
fn an_own_refusal_is_read_by_who_writes_first() {
    let origin = Origin::saying("never");
    let limits = "limits = { request_body_bytes = 1000 }\n";
    let config = "workers = 1\n".to_owned() + &route("/", &[origin.addr]) + limits;
    let front = Front::start("", &config);
    for chunked in [false, true] {
        let (status, _) = write_then_read(&mut front.proxy.client(), chunked);
        assert_eq!(status, 413, "in cleartext, chunked: {chunked}");
        let (status, _) = write_then_read(&mut front.client(), chunked);
        assert_eq!(status, 413, "over TLS, chunked: {chunked}");
    }
}

/// Every answer of palantir itself is read: for a missing backend or route, for a malformed request, for another
/// scheme.
#[test]
fn every_own_answer_is_read_by_who_writes_first() {
    let config = format!(
        "{}host = \"a.example\"\n[[listeners]]\naddr = \"{{redirect}}\"\nredirect_to_https = true\n",
        route("/", &[free_addr()])
    );
    let redirect = free_addr();
    let proxy = Proxy::start(&config.replace("{redirect}", &redirect.to_string()));
    for (target, expected) in [
        ("Host: a.example", 502),
        ("Host: other", 404),
        ("Host: a b", 400),
    ] {
        let mut client = proxy.client();
        let head = format!("POST / HTTP/1.1\r\n{target}\r\nContent-Length: {BYTES}\r\n\r\n");
        client.send(head);
        client.send(vec![b'x'; BYTES]);
        let answer = client.answer();
        assert_eq!(answer.status(), expected, "{answer:?}");
    }
    let (status, _) = write_then_read(&mut Client::connect(redirect), false);
    assert_eq!(status, 308);
}

#[test]
fn an_early_answer_of_a_backend_is_read_by_who_writes_first() {
    let small = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    let large = "y".repeat(300_000);
    let large = format!(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{large}",
        large.len()
    );
    for (answer, length) in [(small.to_owned(), 2), (large, 300_000)] {
        let origin = hasty(answer);
        let front = Front::to(&origin, "");
        for chunked in [false, true] {
            let (status, text) = write_then_read(&mut front.proxy.client(), chunked);
            assert_eq!((status, text.len()), (401, length));
            let (status, text) = write_then_read(&mut front.client(), chunked);
            assert_eq!((status, text.len()), (401, length));
        }
    }
}

/// A client that pauses between the pieces of its body for more than two seconds in all, and reads behind the last
/// piece.
#[test]
fn an_answer_waits_for_a_client_that_sends_slowly() {
    let origin = hasty("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(length());
    for _ in 0..5 {
        client.send(vec![b'x'; 100_000]);
        sleep(Duration::from_millis(900));
    }
    assert_eq!(client.answer().status(), 413);
}

/// A backend that answers before it reads gets the whole request, whatever its length.
#[test]
fn a_backend_that_answers_first_and_reads_on_gets_the_rest() {
    for size in [ok("early"), ok(&"z".repeat(100_000))] {
        let answer = size.clone();
        let origin = Origin::start(move |link| {
            while let Some(head) = link.head() {
                link.send(&answer);
                if link.body_of(head).is_none() {
                    return;
                }
            }
        });
        let front = Front::to(&origin, "");
        let mut client = front.proxy.client();
        assert_eq!(write_then_read(&mut client, false).0, 200);
        origin.wait_for_requests(1);
        assert_eq!(write_then_read(&mut front.client(), true).0, 200);
        origin.wait_for_requests(2);
        let mut client = front.proxy.h2();
        let answer = client.ask_with(&post("/", &[]), &vec![b'x'; BYTES]);
        assert!(answer.complete && answer.reset.is_none(), "{answer:?}");
        origin.wait_for_requests(3);
        for request in origin.requests() {
            assert_eq!(request.body.len(), BYTES);
        }
    }
}

/// A backend of HTTP/2 that answers before it reads gets the whole request, too.
#[test]
fn a_backend_of_http2_that_answers_first_gets_the_rest() {
    let origin = Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        let Some(stream) = backend.request() else {
            return;
        };
        backend.answer(stream, "early");
        let mut left = 1_000_000;
        while left > 0
            && let Some(frame) = backend.frame()
        {
            if frame.kind == kind::DATA {
                let bytes = frame.payload.len();
                left -= bytes;
                for id in [0, stream] {
                    backend.send(crate::support::h2::frame::window_update(id, bytes as u32));
                }
                assert_eq!(frame.has(flag::END_STREAM), left == 0);
            }
        }
        backend.answer(stream, "never");
    });
    let config = route("/", &[origin.addr]) + "protocol = \"h2\"\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 500_000]);
    assert_eq!(client.answer().text(), "early");
    client.send(vec![b'x'; 500_000]);
    origin.wait_for_ended(1);
}

/// A client that waits for permission and gets a final answer need not send the body (RFC 9110 section 10.1.1). The
/// client need not wait for the end of the answer, although only the end of the connection shows it.
#[test]
fn a_client_that_waits_for_permission_gets_an_answer_and_its_end() {
    let limits = "limits = { request_body_bytes = 1000 }\n";
    let origin = hasty("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\nno");
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + limits));
    for (bytes, version, status) in [(100, "1.1", 401), (5000, "1.1", 413)] {
        let mut client = proxy.client();
        client.send(format!(
            "PUT / HTTP/{version}\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.interim.len()), (status, 0));
        assert!(answer.complete);
        client.ends();
    }
}

/// A client that is silent after its answer, and does not close the connection, does not keep the connection for long.
#[test]
fn silence_behind_an_early_answer_ends_the_connection() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send(ok("early"));
            link.rest();
        }
    });
    let limits = "limits = { request_body_bytes = 1000 }\n";
    let admin = free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}{}{limits}",
        route("/", &[origin.addr]),
        route("/limited", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let begun = Instant::now();
    let clients = ["/", "/limited"].map(|path| {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\nxx"
        ));
        client.answer();
        client.ends();
        client
    });
    eventually("the connections are closed", || {
        metrics(admin)
            .lines()
            .filter(|line| line.starts_with("palantir_client_connections{"))
            .all(|line| line.ends_with(" 0"))
    });
    assert!(begun.elapsed() >= Duration::from_secs(5));
    drop(clients);
}

/// The client gets the whole answer, and then the reset that stops the upload. Other streams go on meanwhile and have
/// room.
#[test]
fn over_http2_the_answer_comes_whole_and_then_the_reset() {
    let refusing =
        hasty("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    let taking = Origin::start(|link| {
        while link.request().is_some() {
            link.send(ok("taken"));
        }
    });
    let limits = "limits = { request_body_bytes = 1000 }\n";
    let config = "workers = 1\n".to_owned()
        + &route("/", &[refusing.addr])
        + &route("/taken", &[taking.addr])
        + &route("/limited", &[taking.addr])
        + limits;
    let front = Front::start("", &config);
    check_resets(front.proxy.h2());
    check_resets(front.h2());
}

#[track_caller]
fn check_resets<S: Read + Write>(mut client: H2<S>) {
    let refused: Vec<u32> = (0..20)
        .map(|turn| {
            let path = if turn % 2 == 0 { "/" } else { "/limited" };
            let stream = client.begin(&post(path, &[]), false);
            let room = client.room(stream).min(64 << 10);
            client.body(stream, &vec![b'x'; room], false);
            stream
        })
        .collect();
    let answer = client.ask_with(&post("/taken", &[]), &vec![b'x'; 16 << 20]);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "taken"));
    for stream in refused {
        client.pump_until("the stream is reset", |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| answer.reset.is_some())
        });
        let answer = client.answers[&stream].clone();
        assert!(answer.complete, "whole before the reset: {answer:?}");
        assert!([401, 413].contains(&answer.status()), "{answer:?}");
        assert_eq!(word(answer.reset), "NO_ERROR");
    }
    client.is_alive();
}
