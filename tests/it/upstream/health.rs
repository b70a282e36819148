//! Backends that fail are left alone, and used again when they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Link, Origin, Proxy, eventually, get};

/// A backend whose `/health` and whose answers can be spoilt.
struct Patient {
    origin: Origin,
    well: Arc<AtomicBool>,
    /// Requests other than probes.
    served: Arc<AtomicUsize>,
}

impl Patient {
    fn start(name: &'static str) -> Patient {
        let well = Arc::new(AtomicBool::new(true));
        let served = Arc::new(AtomicUsize::new(0));
        let (is_well, count) = (well.clone(), served.clone());
        let origin = Origin::start(move |link: &mut Link| {
            while let Some(request) = link.request() {
                let probe = request.head.first_line().starts_with("GET /health ");
                if !probe {
                    count.fetch_add(1, SeqCst);
                }
                let sent = if is_well.load(SeqCst) {
                    link.try_send(ok(name))
                } else {
                    link.try_send("HTTP/1.1 500 Ill\r\nContent-Length: 3\r\n\r\nill")
                };
                if !sent {
                    return;
                }
            }
        });
        Patient {
            origin,
            well,
            served,
        }
    }

    fn set_well(&self, well: bool) {
        self.well.store(well, SeqCst);
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

/// A slow machine fails no probe.
const CHECK: &str = "health_check = { path = \"/health\", interval_secs = 0.2, timeout_secs = 50, \
                     unhealthy_after = 2, healthy_after = 2 }\n";

#[test]
fn a_backend_that_fails_its_checks_gets_no_requests_until_it_passes_them() {
    let patient = Patient::start("patient");
    let other = Patient::start("other");
    let proxy = Proxy::start(&(route("/", &[patient.origin.addr, other.origin.addr]) + CHECK));
    let addr = patient.origin.addr.to_string();
    let names = |count| {
        (0..count)
            .map(|_| proxy.ask(get("/")).text())
            .collect::<Vec<_>>()
    };
    assert!(
        names(20).contains(&"patient".to_owned()),
        "a backend starts healthy"
    );

    patient.set_well(false);
    proxy.wait_for_log(&[&addr, "unhealthy"]);
    // The workers hear of it in a moment.
    eventually("no request goes there", || {
        let before = patient.served();
        names(20);
        patient.served() == before
    });
    let before = patient.served();
    assert!(names(40).iter().all(|name| name == "other"));
    assert_eq!(patient.served(), before);

    patient.set_well(true);
    eventually("requests go there again", || {
        names(4).contains(&"patient".to_owned())
    });
    proxy.wait_for_log_times(&[&addr, "healthy"], 2);
    let log = proxy.log();
    let changes = log
        .lines()
        .filter(|line| line.contains(&addr) && line.contains("healthy"))
        .count();
    assert_eq!(changes, 2, "one line per change:\n{log}");
}

#[test]
fn a_drained_backend_gets_probes_and_no_requests() {
    let drained = Patient::start("drained");
    let other = Patient::start("other");
    let (first, second) = (drained.origin.addr, other.origin.addr);
    let proxy = Proxy::start(&format!(
        "[[routes]]\nbackend_addrs = [{{ addr = \"{first}\", drain = true }}, \"{second}\"]\n{CHECK}"
    ));
    let names: Vec<_> = (0..20).map(|_| proxy.ask(get("/")).text()).collect();
    assert!(names.iter().all(|name| name == "other"), "{names:?}");
    drained.origin.wait_for_requests(2);
    assert_eq!(drained.served(), 0);
}

#[test]
fn each_backend_is_probed_by_its_own_check() {
    let own = Patient::start("own");
    let other = Patient::start("other");
    let (first, second) = (own.origin.addr, other.origin.addr);
    let proxy = Proxy::start(&format!(
        "[[routes]]\nbackend_addrs = [\"{first}\", {{ addr = \"{second}\", health_check = {{ path = \"/health\", expect = \"500\", interval_secs = 0.2, unhealthy_after = 2 }} }}]\n{CHECK}"
    ));
    proxy.wait_for_log(&[&second.to_string(), "unhealthy"]);
    // The workers hear of it in a moment.
    eventually("all requests go to the other one", || {
        (0..20).all(|_| proxy.ask(get("/")).text() == "own")
    });
}

#[test]
fn a_backend_that_does_not_listen_is_down_until_it_does() {
    let addr = free_addr();
    let config = route("/", &[addr])
        + "health_check = { tcp = true, interval_secs = 0.2, unhealthy_after = 1, healthy_after = 1 }\n";
    let proxy = Proxy::start(&config);
    eventually("the backend is down", || {
        proxy.ask(get("/")).status() == 503
    });
    let _origin = Origin::start_at(addr, |link| {
        while link.request().is_some() && link.try_send(ok("up")) {}
    });
    eventually("the backend is up", || proxy.ask(get("/")).text() == "up");
}

#[test]
fn a_check_may_expect_another_status() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /ready?deep=1 ") {
                link.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            } else {
                link.send(ok(""))
            }
        }
    });
    for (expect, healthy) in [
        ("404", true),
        ("200-404", true),
        ("2xx, 404", true),
        ("2xx", false),
    ] {
        let check = format!(
            "health_check = {{ path = \"/ready?deep=1\", interval_secs = 0.1, timeout_secs = 50, \
             unhealthy_after = 1, expect = \"{expect}\" }}\n"
        );
        let proxy = Proxy::start(&(route("/", &[origin.addr]) + &check));
        if healthy {
            let before = origin.count();
            origin.wait_for_requests(before + 3);
            assert_eq!(proxy.ask(get("/")).status(), 200, "{expect}");
            assert!(!proxy.log().contains("unhealthy"), "{expect}");
        } else {
            eventually("the backend is down", || {
                proxy.ask(get("/")).status() == 503
            });
        }
    }
}

#[test]
fn a_probe_that_gets_no_answer_fails_in_time() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /health ") {
                link.rest();
                return;
            }
            link.send(ok(""));
        }
    });
    let check = "health_check = { path = \"/health\", interval_secs = 0.2, timeout_secs = 0.2, unhealthy_after = 1 }\n";
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + check));
    eventually("the backend is down", || {
        proxy.ask(get("/")).status() == 503
    });
}

#[test]
fn a_backend_that_keeps_failing_is_ejected_for_a_while() {
    let patient = Patient::start("patient");
    let other = Patient::start("other");
    let outlier =
        "outlier = { consecutive_failures = 3, eject_secs = 1, max_ejected_percent = 50 }\n";
    let config = route("/", &[patient.origin.addr, other.origin.addr]) + outlier;
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
    let addr = patient.origin.addr.to_string();
    let mut client = proxy.client();
    patient.set_well(false);
    eventually("it is ejected", || {
        client.ask(get("/"));
        proxy
            .log()
            .lines()
            .any(|line| line.contains(&addr) && line.contains("ejected"))
    });
    patient.set_well(true);
    let before = patient.served();
    eventually("it is used again", || {
        client.ask(get("/"));
        patient.served() > before
    });
}

#[test]
fn not_all_backends_are_ejected_at_once() {
    let patients = [
        Patient::start("a"),
        Patient::start("b"),
        Patient::start("c"),
        Patient::start("d"),
    ];
    let addrs: Vec<_> = patients.iter().map(|patient| patient.origin.addr).collect();
    let outlier =
        "outlier = { consecutive_failures = 2, eject_secs = 600, max_ejected_percent = 50 }\n";
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &addrs) + outlier));
    patients.iter().for_each(|patient| patient.set_well(false));
    let mut client = proxy.client();
    let ejected = || {
        let log = proxy.log();
        addrs
            .iter()
            .filter(|addr| {
                log.lines()
                    .any(|line| line.contains(&addr.to_string()) && line.contains("ejected"))
            })
            .count()
    };
    eventually("two are ejected", || {
        assert_eq!(client.ask(get("/")).status(), 500, "some backend is asked");
        ejected() >= 2
    });
    for _ in 0..100 {
        assert_eq!(client.ask(get("/")).status(), 500, "some backend is asked");
    }
    assert_eq!(ejected(), 2);
}

/// A row of failures is one whatever workers saw it: what one worker sees fail is no row if others see successes
/// between.
#[test]
fn failures_in_a_row_are_counted_over_all_workers() {
    let count = AtomicUsize::new(0);
    let failing = Origin::start(move |link| {
        while link.request().is_some() {
            let number = count.fetch_add(1, SeqCst);
            match number % 3 {
                2 => link.send(ok("")),
                _ => link.send("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"),
            }
        }
    });
    let other = Origin::saying("other");
    let outlier = "outlier = { consecutive_failures = 3, eject_secs = 600 }\nretries = 0\n";
    let config = route("/", &[failing.addr, other.addr]) + outlier;
    let proxy = Proxy::start(&("workers = 4\n".to_owned() + &config));
    let mut clients: Vec<_> = (0..16).map(|_| proxy.client()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            client.ask(get("/"));
        }
    }
    assert!(failing.count() > 100, "{}", failing.count());
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
}

/// However many of its answers are failures: no other backend could give better ones.
#[test]
fn the_last_backend_is_never_ejected() {
    for backends in 1..=2 {
        let patients: Vec<_> = (0..backends).map(|_| Patient::start("patient")).collect();
        patients.iter().for_each(|patient| patient.set_well(false));
        let addrs: Vec<_> = patients.iter().map(|patient| patient.origin.addr).collect();
        let outlier =
            "outlier = { consecutive_failures = 1, eject_secs = 600, max_ejected_percent = 100 }\n";
        let proxy = Proxy::start(&("workers = 2\n".to_owned() + &route("/", &addrs) + outlier));
        let mut client = proxy.client();
        for _ in 0..100 {
            assert_eq!(client.ask(get("/")).status(), 500);
        }
        let log = proxy.log();
        let ejections = log
            .lines()
            .filter(|line| line.contains("consecutive failures"))
            .count();
        assert!(ejections < backends, "{log}");
    }
}

#[test]
fn refused_connections_count_as_failures() {
    let dead = free_addr();
    let alive = Origin::saying("alive");
    let outlier = "outlier = { consecutive_failures = 1, eject_secs = 600 }\nretries = 0\n";
    let proxy =
        Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[dead, alive.addr]) + outlier));
    eventually("it is ejected", || {
        proxy.ask(get("/"));
        let log = proxy.log();
        log.lines()
            .any(|line| line.contains(&dead.to_string()) && line.contains("ejected"))
    });
    eventually("all requests go to the other", || {
        (0..20).all(|_| proxy.ask(get("/")).status() == 200)
    });
}
