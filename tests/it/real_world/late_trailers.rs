//! Trailers that exceed their bounds, behind an answer that has begun: nobody takes the cut message for a whole one.

use std::sync::{Mutex, mpsc};

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, get as h2_get, kind, post as h2_post};
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Link, Origin, PATIENCE, Proxy, get};

/// The number of trailers and the length of each: too many trailers, and too many bytes.
const TOO_LARGE: [(usize, usize); 2] = [(65, 1), (3, 3_000)];

fn lines(count: usize, length: usize) -> String {
    format!("t: {}\r\n", "v".repeat(length)).repeat(count)
}

const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const POST: &str =
    "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n";

fn over_h2(addr: std::net::SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "workers = 1\n[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = [\"{addr}\"]\n\
         [[routes]]\npool = \"h2\"\n"
    ))
}

/// Sends requests whose trailers are too large after their answers have begun, over both versions.
fn send_late_trailers(proxy: &Proxy) {
    for (count, length) in TOO_LARGE {
        let mut client = proxy.client();
        client.send(POST);
        assert_eq!(client.begin_answer().status(), 200);
        assert_eq!(client.bytes(10), b"5\r\nhello\r\n");
        client.try_send("0\r\n".to_owned() + &lines(count, length) + "\r\n");
        let rest = client.rest();
        assert!(rest.is_empty(), "{count} of {length}: {rest:?}");

        let mut client = proxy.h2();
        let stream = client.begin(&h2_post("/", &[]), false);
        client.body(stream, b"body", false);
        client.pump_until("the answer has begun", |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| answer.text() == "hello")
        });
        let value = "v".repeat(length);
        client.trailers(stream, &vec![("t", &value[..]); count]);
        let answer = client.answer(stream);
        assert!(answer.reset.is_some(), "{count} of {length}: {answer:?}");
        assert_eq!(answer.text(), "hello");
        client.is_alive();
    }
}

/// A backend of HTTP/1.1 never gets the last chunk of such a request.
#[test]
fn of_a_request() {
    let (told, ends) = mpsc::channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |link| {
        if link.head().is_some() {
            link.send(BEGUN);
            told.lock().unwrap().send(link.rest()).unwrap();
        }
    });
    let proxy = Proxy::start(&route("/", &[origin.addr]));
    send_late_trailers(&proxy);
    for _ in 0..2 * TOO_LARGE.len() {
        let received = ends.recv_timeout(PATIENCE).unwrap();
        let text = String::from_utf8_lossy(&received);
        assert_eq!(text, "4\r\nbody\r\n");
    }
}

/// The stream to a backend of HTTP/2 is reset, and the connection goes on.
#[test]
fn of_a_request_to_a_backend_of_http2() {
    let (told, resets) = mpsc::channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(frame) = backend.frame() {
            let ends = frame.kind != kind::SETTINGS
                && frame.kind != kind::WINDOW_UPDATE
                && frame.has(flag::END_STREAM);
            assert!(!ends, "the request has no end: {frame:?}");
            match frame.kind {
                kind::HEADERS => {
                    backend.head(frame.stream, 0);
                    backend.send(frame::data(0, frame.stream, "hello"));
                }
                kind::RST_STREAM => told.lock().unwrap().send(frame.stream).unwrap(),
                _ => {}
            }
        }
    });
    let proxy = over_h2(origin.addr);
    send_late_trailers(&proxy);
    for _ in 0..2 * TOO_LARGE.len() {
        resets.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(origin.accepted(), 1);
}

/// Requests answers that end in such trailers, over both versions. `go` lets each answer go on once its client has the
/// beginning.
fn read_late_trailers(proxy: &Proxy, go: &mpsc::Sender<()>) {
    for _ in TOO_LARGE {
        let mut client = proxy.client();
        client.send(get("/large"));
        assert_eq!(client.begin_answer().status(), 200);
        assert_eq!(client.bytes(10), b"5\r\nhello\r\n");
        go.send(()).unwrap();
        let rest = client.rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    let mut client = proxy.h2();
    for _ in TOO_LARGE {
        let stream = client.begin(&h2_get("/large", &[("te", "trailers")]), true);
        client.pump_until("the answer has begun", |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| answer.text() == "hello")
        });
        go.send(()).unwrap();
        let answer = client.answer(stream);
        assert!(answer.reset.is_some(), "{answer:?}");
        assert_eq!(answer.trailers, None);
    }
    // The connection stays open.
    let answer = client.ask(&h2_get("/", &[]));
    assert_eq!((answer.reset, answer.text().as_str()), (None, "small"));
}

#[test]
fn of_an_answer() {
    let (go, wait) = mpsc::channel::<()>();
    let sizes = Mutex::new((wait, TOO_LARGE.iter().cycle()));
    let origin = Origin::start(move |link: &mut Link| {
        while let Some(request) = link.request() {
            if !request.head.first_line().contains("/large") {
                link.send(ok("small"));
                continue;
            }
            link.send(BEGUN);
            let mut sizes = sizes.lock().unwrap();
            let _ = sizes.0.recv_timeout(PATIENCE);
            let (count, length) = sizes.1.next().unwrap();
            link.try_send("0\r\n".to_owned() + &lines(*count, *length) + "\r\n");
        }
    });
    let proxy = Proxy::start(&route("/", &[origin.addr]));
    read_late_trailers(&proxy, &go);
}

#[test]
fn of_an_answer_of_a_backend_of_http2() {
    let (go, wait) = mpsc::channel::<()>();
    let sizes = Mutex::new((wait, TOO_LARGE.iter().cycle().take(2 * TOO_LARGE.len())));
    let origin = Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(stream) = backend.request() {
            let mut sizes = sizes.lock().unwrap();
            let Some((count, length)) = sizes.1.next() else {
                backend.answer(stream, "small");
                continue;
            };
            backend.head(stream, 0);
            backend.send(frame::data(0, stream, "hello"));
            let _ = sizes.0.recv_timeout(PATIENCE);
            let value = "v".repeat(*length);
            let section = frame::section(&vec![("t", &value[..]); *count]);
            backend.send(frame::headers(flag::WHOLE, stream, section));
        }
    });
    let proxy = over_h2(origin.addr);
    read_late_trailers(&proxy, &go);
    assert_eq!(origin.accepted(), 1);
}
