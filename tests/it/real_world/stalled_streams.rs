//! A stream of HTTP/2 that stalls does not affect the other streams of its connection.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::h2::H2;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, code, flag, get, kind, post, setting};
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Origin, Proxy};

/// An answer that is larger than the window of a stream.
fn large() -> Origin {
    Origin::saying(&"x".repeat(200_000))
}

/// A client whose connection has room for everything, and that takes no more of a stream than its first window.
fn with_paused_stream(proxy: &Proxy) -> (H2, u32) {
    let mut client = proxy.h2();
    client.gives_credit = false;
    client.credit(0, 1 << 24);
    let paused = client.begin(&get("/large", &[]), true);
    client.pump_until("the window is used up", |client| {
        let answer = client.answers.get(&paused);
        answer.is_some_and(|answer| answer.body.len() == 65_535)
    });
    (client, paused)
}

fn proxy(timeouts: &str, large: &Origin, small: &Origin) -> Proxy {
    let routes = route("/", &[small.addr]) + &route("/large", &[large.addr]);
    Proxy::start(&format!("workers = 1\n[timeouts]\n{timeouts}\n{routes}"))
}

/// A client pauses one stream like a video. Other requests go on for longer than any other bound, and then the video
/// goes on.
#[test]
fn a_reader_that_pauses_may_go_on_later() {
    let (large, small) = (large(), Origin::saying("small"));
    let proxy = proxy("client_idle = 1", &large, &small);
    let (mut client, paused) = with_paused_stream(&proxy);
    for _ in 0..15 {
        assert_eq!(client.ask(&get("/", &[])).text(), "small");
        sleep(Duration::from_millis(200));
    }
    assert_eq!(client.answers[&paused].reset, None);
    client.gives_credit = true;
    client.credit(paused, 1 << 20);
    let answer = client.answer(paused);
    assert!(answer.complete && answer.body.len() == 200_000);
    assert_eq!(client.goaways, []);
}

#[test]
fn the_stream_that_stalls_is_reset_alone() {
    let (large, small) = (large(), Origin::saying("small"));
    let proxy = proxy("client_stream_stall = 2", &large, &small);
    let (mut client, first) = with_paused_stream(&proxy);
    let begun = Instant::now();
    // There are more paused streams than the resets of streams that are allowed in a minute.
    let mut paused = vec![first];
    for _ in 0..9 {
        paused.push(client.begin(&get("/large", &[]), true));
    }
    while paused.iter().any(|stream| {
        client
            .answers
            .get(stream)
            .is_none_or(|it| it.reset.is_none())
    }) {
        assert_eq!(client.ask(&get("/", &[])).text(), "small");
        sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    client.is_alive();
    assert_eq!(client.goaways, []);
}

/// A connection on which nothing moves, and whose streams all wait for the client, is idle like every other.
#[test]
fn a_connection_whose_every_stream_stalls_is_idle() {
    let (large, small) = (large(), Origin::saying("small"));
    let proxy = proxy("client_idle = 2", &large, &small);
    let (mut client, _) = with_paused_stream(&proxy);
    let begun = Instant::now();
    assert_eq!(client.end(), Some(code::ENHANCE_YOUR_CALM));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

/// A client that reads nothing from its connection for a while keeps it while one of its streams waits for a backend,
/// or while the client sends.
#[test]
fn a_reader_of_everything_that_pauses_may_go_on_later() {
    const BYTES: usize = 32 << 20;
    let large = Origin::saying(&"x".repeat(BYTES));
    let (let_go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Origin::start(move |link| {
        while link.request().is_some() {
            let _ = wait.lock().unwrap().recv();
            link.send(ok("slow"));
        }
    });
    let proxy = proxy("client_idle = 3", &large, &slow);
    let windows = [(setting::INITIAL_WINDOW_SIZE, 1 << 30)];
    let mut client = H2::start(proxy.addr, &windows);
    client.credit(0, 1 << 30);
    let slow = client.begin(&get("/", &[]), true);
    let large = client.begin(&get("/large", &[]), true);
    sleep(Duration::from_secs(6));
    let_go.send(()).unwrap();
    assert_eq!(client.answer(slow).text(), "slow");
    assert_eq!(client.answer(large).body.len(), BYTES);
    let large = client.begin(&get("/large", &[]), true);
    for _ in 0..30 {
        client.send(frame::ping(b"12345678"));
        sleep(Duration::from_millis(200));
    }
    assert_eq!(client.answer(large).body.len(), BYTES);
    assert_eq!(client.goaways, []);
}

/// An upload that stops, a body without an end, a head that is too long, and malformed trailers each end only their own
/// stream.
#[test]
fn what_is_wrong_with_one_stream_ends_no_other() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            link.send(ok(&request.body.len().to_string()));
        }
    });
    let config = format!(
        "workers = 1\n[timeouts]\nclient_body = 1\n{}",
        route("/", &[origin.addr])
    );
    let front = Front::start("", &config);
    let mut client = front.h2();
    let living = client.begin(&post("/", &[]), false);
    let stopped = client.begin(&post("/", &[("content-length", "100")]), false);
    client.body(stopped, b"part", false);
    let wrong = client.begin(&post("/", &[]), false);
    client.body(wrong, b"part", false);
    client.trailers(wrong, &[("Bad Name", "x")]);
    for bytes in [40_000, 70_000, 150_000] {
        let large = "x".repeat(bytes);
        let large = client.begin(&get("/", &[("x-large", &large)]), true);
        assert_eq!(client.answer(large).status(), 431, "{bytes}");
    }
    let begun = Instant::now();
    let mut pieces = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        client.body(living, b"piece", false);
        pieces += 1;
        sleep(Duration::from_millis(100));
    }
    client.send(frame::data(flag::END_STREAM, living, ""));
    assert_eq!(client.answer(living).text(), (pieces * 5).to_string());
    assert_eq!(client.answer(stopped).status(), 408);
    assert!(client.answer(wrong).reset.is_some());
    assert_eq!(client.goaways, []);
}

/// A backend that reads nothing from a shared connection for a while loses none of its streams, however short an unused
/// connection is kept.
#[test]
fn a_backend_that_pauses_may_go_on_later() {
    const BYTES: usize = 16 << 20;
    let origin = Origin::start(|link| {
        let windows = [(setting::INITIAL_WINDOW_SIZE, 1 << 30)];
        let Some(mut backend) = Backend::greet(link, &windows) else {
            return;
        };
        backend.send(frame::window_update(0, 1 << 30));
        let mut bytes = 0;
        while let Some(frame) = backend.frame() {
            match frame.kind {
                kind::HEADERS => sleep(Duration::from_secs(2)),
                kind::DATA => bytes += frame.payload.len(),
                _ => continue,
            }
            if frame.kind == kind::DATA && frame.has(flag::END_STREAM) {
                backend.answer(frame.stream, &bytes.to_string());
            }
        }
    });
    let config = route("/", &[origin.addr]) + "protocol = \"h2\"\n";
    let timeouts = "workers = 1\n[timeouts]\nupstream_keepalive = 0.5\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &config));
    let mut client = proxy.h2();
    let answer = client.ask_with(&post("/", &[]), &vec![b'x'; BYTES]);
    assert_eq!(answer.text(), BYTES.to_string());
    assert_eq!(origin.accepted(), 1);
}
