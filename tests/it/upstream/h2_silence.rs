//! Connections to HTTP/2 backends that go silent: they are asked for a sign of life, left, and given up if none comes.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, get};
use crate::support::{Origin, PATIENCE, Proxy, eventually};

/// A backend whose first connection is served by `first`, and all others with `alive`.
fn origin(first: impl Fn(&mut Backend) + Send + Sync + 'static) -> Origin {
    let connections = AtomicUsize::new(0);
    Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        match connections.fetch_add(1, SeqCst) {
            0 => first(&mut backend),
            _ => backend.serve("alive"),
        }
    })
}

fn proxy(origin: &Origin, timeouts: &str, route: &str) -> Proxy {
    Proxy::start(&format!(
        "workers = 1\n[timeouts]\n{timeouts}\n\
         [[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = [\"{}\"]\n[[routes]]\npool = \"h2\"\n{route}\n",
        origin.addr
    ))
}

/// Takes all that comes and says nothing to it.
fn fall_silent(backend: &mut Backend) {
    backend.answers_pings = false;
    while backend.frame().is_some() {}
}

#[test]
fn after_a_time_out_the_retry_goes_elsewhere() {
    let origin = origin(fall_silent);
    let proxy = proxy(&origin, "upstream_response = 6", "retries = 1");
    for _ in 0..5 {
        let answer = proxy.h2().ask(&get("/", &[]));
        assert_eq!(answer.text(), "alive");
    }
    assert_eq!(origin.accepted(), 2);
    origin.wait_for_ended(1);
}

/// Before a head, and in the middle of a body.
#[test]
fn silence_is_noticed_without_a_time_out() {
    let origin = origin(|backend| {
        for _ in 0..2 {
            let Some(stream) = backend.request() else {
                return;
            };
            if stream == 1 {
                backend.head(stream, 0);
                backend.send(frame::data(0, stream, b"some"));
            }
        }
        fall_silent(backend);
    });
    let timeouts = "upstream_response = 600\nupstream_idle = 600\nclient_idle = 600";
    let proxy = proxy(&origin, timeouts, "retries = 1");
    let mut client = proxy.h2();
    let halfway = client.begin(&get("/", &[]), true);
    client.head(halfway);
    let waiting = client.begin(&get("/", &[]), true);
    let cut = client.answer(halfway);
    assert_eq!(cut.text(), "some");
    assert!(cut.reset.is_some());
    // The request may be sent again, and was.
    assert_eq!(client.answer(waiting).text(), "alive");
    assert_eq!(origin.accepted(), 2);
}

/// A backend that takes its time shows by PING that it lives. It is not asked again and again: some count that.
#[test]
fn a_slow_backend_is_not_lost() {
    let (say, heard) = mpsc::channel();
    let origin = origin(move |backend| {
        let Some(stream) = backend.request() else {
            return;
        };
        thread::scope(|scope| {
            let (answer, wait) = mpsc::channel::<()>();
            scope.spawn(move || {
                thread::sleep(Duration::from_secs(25));
                drop(answer);
            });
            backend.set_patience(Duration::from_millis(200));
            while wait.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                backend.pump();
            }
        });
        say.send(backend.pings).unwrap();
        backend.set_patience(4 * PATIENCE);
        backend.answer(stream, "slow");
        backend.serve("first");
    });
    let proxy = proxy(&origin, "upstream_response = 600", "retries = 1");
    let mut client = proxy.h2();
    assert_eq!(client.ask(&get("/", &[])).text(), "slow");
    assert_eq!(heard.recv().unwrap(), 1, "PINGs");
    assert_eq!(client.ask(&get("/", &[])).text(), "first");
    assert_eq!(origin.accepted(), 1);
}

/// A time-out alone is no proof: a connection that answers the PING is used again.
#[test]
fn a_suspect_that_answers_is_used_again() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let origin = origin(move |backend| {
        backend.request();
        while let Some(stream) = backend.request() {
            count.fetch_add(1, SeqCst);
            backend.answer(stream, "alive");
        }
    });
    let proxy = proxy(&origin, "upstream_response = 6", "retries = 0");
    let mut client = proxy.h2();
    assert_eq!(client.ask(&get("/", &[])).status(), 504);
    eventually("the first connection serves again", || {
        assert_eq!(client.ask(&get("/", &[])).text(), "alive");
        served.load(SeqCst) > 0
    });
    assert!(origin.accepted() <= 2, "{} connections", origin.accepted());
}
