//! Backends that cannot be connected to: no request fails for them while another one is there, and they get none
//! until they can be connected to again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::h2::backend::Backend;
use crate::support::place::{black_hole, free_addr};
use crate::support::proxy::list;
use crate::support::{Origin, Proxy, eventually, get};

const ALGORITHMS: [&str; 5] = [
    "round_robin",
    "least_connections",
    "random_two",
    "peak_ewma",
    "consistent_hash",
];
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";

/// One pool with these backends, and nothing else that is set.
fn config(algorithm: &str, backends: &[SocketAddr], more: &str) -> String {
    format!(
        "workers = 2\n[[routes]]\nprefix = \"/\"\npool = \"p\"\n{more}\n[[pools]]\nname = \"p\"\n\
         backends = {}\nbalancing_algorithm = \"{algorithm}\"\n",
        list(backends)
    )
}

/// The answers that clients see that ask at the same time.
struct Seen {
    failures: usize,
    /// Requests that took longer than a connection may.
    slow: usize,
}

/// Has eight clients ask at the same time, these in turns, until `is_over`.
fn ask_meanwhile(
    proxy: &Proxy,
    requests: [&str; 2],
    longest: Duration,
    is_over: impl Fn(usize) -> bool + Sync,
) -> Seen {
    let (failures, slow) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let together = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.client();
                together.wait();
                for number in 0.. {
                    if is_over(number) {
                        return;
                    }
                    let began = Instant::now();
                    let status = client.ask(requests[number % 2]).status();
                    failures.fetch_add(usize::from(status != 200), SeqCst);
                    slow.fetch_add(usize::from(began.elapsed() >= longest), SeqCst);
                }
            });
        }
    });
    Seen {
        failures: failures.into_inner(),
        slow: slow.into_inner(),
    }
}

#[test]
fn backends_that_refuse_connections_cost_no_request() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let [a, b] = [origins[0].addr, origins[1].addr];
    for algorithm in ALGORITHMS {
        for backends in [
            vec![a, free_addr()],
            vec![free_addr(), a],
            vec![a, free_addr(), b],
            vec![free_addr(), a, free_addr()],
        ] {
            let proxy = Proxy::start(&config(algorithm, &backends, ""));
            let seen = ask_meanwhile(&proxy, [&get("/"), POST], Duration::MAX, |number| {
                number == 25
            });
            assert_eq!(
                seen.failures,
                0,
                "{algorithm} {backends:?}: {}",
                proxy.log()
            );
        }
    }
}

/// The backend speaks HTTP/2 to all others.
#[test]
fn the_same_over_http2() {
    let origin = Origin::start(|link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            backend.serve("a");
        }
    });
    for algorithm in ALGORITHMS {
        let config = config(algorithm, &[free_addr(), origin.addr], "") + "protocol = \"h2\"\n";
        let proxy = Proxy::start(&config);
        let seen = ask_meanwhile(&proxy, [&get("/"), POST], Duration::MAX, |number| {
            number == 25
        });
        assert_eq!(seen.failures, 0, "{algorithm}: {}", proxy.log());
    }
}

#[test]
fn a_backend_that_answers_no_connection_delays_only_the_first_requests() {
    let origin = Origin::saying("a");
    let silent = free_addr();
    let _hole = black_hole(silent);
    let connect = Duration::from_millis(3_000);
    for algorithm in ALGORITHMS {
        let more = "timeouts = { connect = 3 }";
        let proxy = Proxy::start(&config(algorithm, &[silent, origin.addr], more));
        let seen = ask_meanwhile(&proxy, [&get("/"), POST], connect, |number| number == 40);
        assert_eq!(seen.failures, 0, "{algorithm}: {}", proxy.log());
        // Each client may have been under way there once, and once more before its worker knew.
        assert!(seen.slow <= 16, "{algorithm}: {} of 320", seen.slow);
    }
}

#[test]
fn a_backend_that_comes_and_goes_costs_no_request() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let flapping = free_addr();
    let proxy = Proxy::start(&config(
        "round_robin",
        &[flapping, origins[0].addr, origins[1].addr],
        "",
    ));
    let is_over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let (over, count) = (is_over.clone(), served.clone());
    let comes_and_goes = thread::spawn(move || {
        for _ in 0..3 {
            let count = count.clone();
            let origin = Origin::start_at(flapping, move |link| {
                while link.request().is_some() {
                    count.fetch_add(1, SeqCst);
                    link.send(crate::support::origin::ok("flapping"));
                }
            });
            thread::sleep(Duration::from_millis(2_500));
            drop(origin);
            thread::sleep(Duration::from_millis(500));
        }
        over.store(true, SeqCst);
    });
    // When a socket that listens is closed, the kernel resets what waits in its queue, whatever was sent there
    // already: a request that could not be repeated would be lost with that.
    let gets = [&*get("/"), &*get("/")];
    let seen = ask_meanwhile(&proxy, gets, Duration::MAX, |_| is_over.load(SeqCst));
    comes_and_goes.join().unwrap();
    assert_eq!(seen.failures, 0, "{}", proxy.log());
    assert!(served.load(SeqCst) > 0, "{}", proxy.log());
}

/// A pool whose only backend is away for a moment serves again at once when it is back.
#[test]
fn the_only_backend_does_not_rest() {
    let addr = free_addr();
    let proxy = Proxy::to(&[addr]);
    for _ in 0..20 {
        assert_eq!(proxy.ask(get("/")).status(), 502);
    }
    let _origin = Origin::start_at(addr, |link| {
        while link.request().is_some() {
            link.send(crate::support::origin::ok("back"));
        }
    });
    assert_eq!(proxy.ask(get("/")).text(), "back");
}

/// A resting backend is connected to without any request, and gets requests again when the connection succeeds.
#[test]
fn a_backend_that_is_back_is_used_again() {
    let addr = free_addr();
    let other = Origin::saying("other");
    let proxy = Proxy::to(&[addr, other.addr]);
    for _ in 0..20 {
        assert_eq!(proxy.ask(get("/")).text(), "other");
    }
    proxy.wait_for_log(&[&addr.to_string(), "rests"]);
    let origin = Origin::start_at(addr, |link| {
        while link.request().is_some() {
            link.send(crate::support::origin::ok("back"));
        }
    });
    eventually("it is tried without a request", || origin.accepted() > 0);
    eventually("it is used again", || proxy.ask(get("/")).text() == "back");
}

/// A reload that changes how a backend is connected to forgets that it could not be.
#[test]
fn a_reload_that_changes_how_a_backend_is_connected_to_ends_its_rest() {
    let (addr, admin) = (free_addr(), free_addr());
    let other = Origin::saying("other");
    let config = |version: &str| {
        format!(
            "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[[routes]]\npool = \"p\"\n\
             [[pools]]\nname = \"p\"\nproxy_protocol = \"{version}\"\nbackends = {}\n",
            list(&[addr, other.addr])
        )
    };
    // Each connection begins with a line that is not the request's.
    let proxy = Proxy::start(&config("v1"));
    for _ in 0..20 {
        proxy.ask(get("/"));
    }
    proxy.wait_for_log(&[&addr.to_string(), "rests"]);
    let origin = Origin::start_at(addr, |link| {
        link.head();
    });
    proxy.reload_everywhere(admin, &config("v2"));
    let before = origin.accepted();
    eventually("it gets requests", || {
        proxy.ask(get("/"));
        origin.accepted() > before + 3
    });
}

/// A backend that was put aside for its answers is better than one that cannot be connected to.
#[test]
fn the_last_backend_that_answers_is_used_although_it_is_ejected() {
    let failures = AtomicUsize::new(0);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let answer = match failures.fetch_add(1, SeqCst) {
                0..5 => "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => crate::support::origin::ok("well"),
            };
            link.send(answer);
        }
    });
    let config = config("round_robin", &[origin.addr, free_addr()], "retries = 1")
        + "outlier = { consecutive_failures = 5, eject_secs = 600 }\n";
    let proxy = Proxy::start(&config.replace("workers = 2", "workers = 1"));
    for _ in 0..5 {
        assert_eq!(proxy.ask(get("/")).status(), 500);
    }
    proxy.wait_for_log(&["ejected"]);
    for _ in 0..20 {
        assert_eq!(proxy.ask(get("/")).text(), "well", "{}", proxy.log());
    }
}

/// Requests that wait for a connection to a pool are not sent to the backend that has just begun to refuse.
#[test]
fn who_waits_at_the_bound_is_not_sent_to_a_backend_that_rests() {
    let slow = |link: &mut crate::support::Link| {
        while link.request().is_some() {
            thread::sleep(Duration::from_millis(20));
            link.send(crate::support::origin::ok("slow"));
        }
    };
    let origin = Origin::start(slow);
    let dead = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\n[timeouts]\nconnect = 60\n[[routes]]\npool = \"p\"\n[[pools]]\nname = \"p\"\n\
         backends = [{{ addr = \"{dead}\", max_connections = 1 }}, {{ addr = \"{}\", max_connections = 1 }}]\n",
        origin.addr
    ));
    let together = Barrier::new(24);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut client = proxy.client();
                together.wait();
                for _ in 0..5 {
                    assert_eq!(client.ask(get("/")).status(), 200, "{}", proxy.log());
                }
            });
        }
    });
}
