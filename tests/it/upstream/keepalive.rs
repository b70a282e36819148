//! Connections to backends are kept, and given up before the backend does.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, PATIENCE, Proxy, eventually, get};

#[test]
fn connections_to_backends_are_used_again() {
    let origin = Origin::saying("");
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    for _ in 0..20 {
        assert_eq!(proxy.ask(get("/")).status(), 200);
    }
    assert_eq!(origin.accepted(), 1);
}

/// Has each client ask before any is answered.
#[track_caller]
fn ask_together(clients: &mut [Client]) {
    for client in &mut *clients {
        client.send(get("/together"));
    }
    for client in clients {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn idle_connections_are_bounded() {
    let together = Arc::new(Barrier::new(6));
    let barrier = together.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /together") {
                barrier.wait();
            }
            link.send(ok(""));
        }
    });
    let settings = "idle_connections = 2\n";
    let proxy =
        Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr]) + settings));
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    ask_together(&mut clients);
    assert_eq!(origin.accepted(), 6);
    origin.wait_for_ended(4);
}

/// As many are kept as were in use at the same time.
#[test]
fn the_idle_connections_follow_the_load() {
    let count = 128;
    let together = Arc::new(Barrier::new(count));
    let barrier = together.clone();
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            barrier.wait();
            link.send(ok(""));
        }
    });
    let first = "workers = 1\ntimeouts = { client_header = 600 }\n";
    let proxy = Proxy::start(&(first.to_owned() + &route("/", &[origin.addr])));
    let mut clients: Vec<_> = (0..count).map(|_| proxy.client()).collect();
    for _ in 0..6 {
        ask_together(&mut clients);
        // Some ticks, at which nothing is to be closed.
        thread::sleep(Duration::from_millis(300));
    }
    let accepted = origin.accepted();
    assert!(accepted <= count + 8, "{accepted} connections for {count}");
}

#[test]
fn idle_connections_end_after_their_time() {
    let origin = Origin::saying("");
    let timeouts = "[timeouts]\nupstream_keepalive = 0.3\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    assert_eq!(proxy.ask(get("/")).status(), 200);
    origin.wait_for_ended(1);
}

/// Serves until no further request comes for so long, then closes without a word. A request that comes in the same
/// moment is lost: whoever sends it can know nothing of the close yet.
fn closing_after(idle: Duration) -> impl Fn(&mut Link) + Send + Sync {
    move |link| {
        // The first one may take long on a busy machine, and a new connection that ends is a failure.
        while link.request().is_some() {
            link.send(ok("alive"));
            if !link.request_within(idle) {
                return;
            }
        }
    }
}

/// Sends requests that may be repeated at intervals around the backend's time-out; gives the number of failures.
fn failures_at_intervals(proxy: &Proxy, around: Duration, clients: u32, requests: u32) -> usize {
    let failures = Arc::new(AtomicUsize::new(0));
    let asking: Vec<_> = (0..clients)
        .map(|number| {
            let mut client = proxy.client();
            let failures = failures.clone();
            thread::spawn(move || {
                for turn in 0..requests {
                    // Spread evenly from four fifths to six fifths of the time-out.
                    let part = (number * 7 + turn * 5) % 40;
                    thread::sleep(around * (80 + part) / 100);
                    if client.ask(get("/")).status() != 200 {
                        failures.fetch_add(1, SeqCst);
                    }
                }
            })
        })
        .collect();
    asking.into_iter().for_each(|thread| thread.join().unwrap());
    failures.load(SeqCst)
}

#[test]
fn a_backend_that_closes_early_causes_no_failure() {
    let idle = Duration::from_millis(300);
    let origin = Origin::start(closing_after(idle));
    let proxy = Proxy::to(&[origin.addr]);
    assert_eq!(failures_at_intervals(&proxy, idle, 8, 20), 0);
}

/// A connection whose end has come is not used for a request that could not be sent again.
#[test]
fn a_connection_that_has_ended_costs_no_post() {
    // One request on each connection, which is idle for a moment before it is closed without a word.
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(ok("alive"));
            thread::sleep(Duration::from_millis(20));
            link.close();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for turn in 1..=30 {
        let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(client.ask(post).status(), 200, "request {turn}");
        origin.wait_for_ended(turn);
    }
}

/// Once it is known how long a backend keeps an idle connection, palantir closes it before.
#[test]
fn a_backends_time_out_is_learnt() {
    // The clock of a worker that gets no time to run is slow, and ages below a second teach nothing. So palantir may
    // learn only when the machine is less busy.
    let idle = Duration::from_secs(3);
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = ends.clone();
    let origin = Origin::start(move |link| {
        let mut since = Instant::now();
        while link.request().is_some() {
            link.send(ok("alive"));
            since = Instant::now();
            if !link.request_within(idle) {
                break;
            }
        }
        let is_early = since.elapsed() < idle;
        let closer = if is_early { "palantir" } else { "backend" };
        seen.lock().unwrap().push(closer);
    });
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    // The first closes teach; nobody asks meanwhile.
    let begun = Instant::now();
    for turn in 1.. {
        assert_eq!(client.ask(get("/")).status(), 200);
        origin.wait_for_ended(turn);
        if ends.lock().unwrap().ends_with(&["palantir"]) {
            break;
        }
        assert!(
            begun.elapsed() < 3 * PATIENCE,
            "{turn} turns taught nothing"
        );
    }
}

#[test]
fn a_backend_that_says_its_time_out_is_believed() {
    // The backend says four seconds, and remembers how long each connection had been idle when the proxy closed it.
    let idle = Arc::new(Mutex::new(Vec::new()));
    let seen = idle.clone();
    let origin = Origin::start(move |link| {
        let mut since = Instant::now();
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=4\r\nContent-Length: 0\r\n\r\n");
            since = Instant::now();
        }
        seen.lock().unwrap().push(since.elapsed());
    });
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    // A machine that lets the backend stand still makes an end look late, but hardly four times.
    for turn in 1.. {
        assert_eq!(client.ask(get("/")).status(), 200);
        origin.wait_for_ended(turn);
        let idle = idle.lock().unwrap();
        if idle.last().is_some_and(|idle| idle.as_secs() < 4) {
            break;
        }
        assert!(turn < 4, "{idle:?}");
    }
    // Two requests that follow each other soon share a connection.
    eventually("a connection is used again", || {
        let began = Instant::now();
        let before = origin.accepted();
        assert_eq!(client.ask(get("/")).status(), 200);
        assert_eq!(client.ask(get("/")).status(), 200);
        let is_soon = began.elapsed() < Duration::from_secs(1);
        let opened = origin.accepted() - before;
        assert!(opened <= 1 || !is_soon, "{opened} connections");
        opened <= 1
    });
}
