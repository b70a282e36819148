//! Descriptors are few, and clients many: every listener, the management API and those who ask for little are served
//! all the same, and who waits without asking for anything makes room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use crate::support::h2::H2;
use crate::support::h2::frame::get as get_h2;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::{command, descriptors, route};
use crate::support::{Client, Origin, Proxy, eventually, get, metrics};

/// Answers `/held` when it is told to, and everything else at once.
struct Patient {
    origin: Origin,
    may_answer: Arc<AtomicBool>,
}

impl Patient {
    fn start() -> Patient {
        let may_answer = Arc::new(AtomicBool::new(false));
        let told = may_answer.clone();
        let origin = Origin::start(move |link| {
            while let Some(request) = link.request() {
                while request.head.text.contains("/held") && !told.load(SeqCst) {
                    sleep(Duration::from_millis(5));
                }
                if !link.try_send(ok("served")) {
                    return;
                }
            }
        });
        Patient { origin, may_answer }
    }

    fn held(&self) -> usize {
        let requests = self.origin.requests();
        let held = requests.iter().filter(|it| it.head.text.contains("/held"));
        held.count()
    }

    fn answer(&self) {
        self.may_answer.store(true, SeqCst);
    }
}

/// The numbers of the metrics that begin with this.
fn sum(admin: SocketAddr, name: &str) -> f64 {
    let text = metrics(admin);
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

/// No client but those of the test.
fn wait_for_calm(admin: SocketAddr) {
    eventually("no client is connected", || {
        sum(admin, "palantir_client_connections{") == 0.0
    });
}

#[test]
fn few_connections_of_http2_leave_everybody_else_what_they_need() {
    let patient = Patient::start();
    let (second, admin) = (free_addr(), free_addr());
    let mut command = command();
    descriptors(&mut command, 300);
    let proxy = Proxy::start_as(
        command,
        &format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{second}\"\n\
             [timeouts]\nconnect = 1\n{}",
            route("/", &[patient.origin.addr])
        ),
    );
    let mut established = proxy.client();
    assert_eq!(established.ask(get("/")).status(), 200);
    let mut greedy: Vec<_> = (0..4).map(|_| H2::start(proxy.addr, &[])).collect();
    for client in &mut greedy {
        for _ in 0..100 {
            client.begin(&get_h2("/held", &[]), true);
        }
    }
    // Those that get no connection in its time are refused in words; the others wait.
    for client in &mut greedy {
        client.pump_until("some are refused", |client| {
            client.answers.values().any(|answer| answer.has_ended())
        });
        let refused = client.answers.values().find(|answer| answer.has_ended());
        let refused = refused.unwrap();
        assert_eq!(
            (refused.status(), refused.reason()),
            (503, "proxy_internal_error")
        );
    }
    let held = patient.held();
    assert!((20..200).contains(&held), "{held} requests at the backend");
    for addr in [proxy.addr, second] {
        let mut newcomers: Vec<_> = (0..10).map(|_| Client::connect(addr)).collect();
        for client in &mut newcomers {
            assert_eq!(client.ask(get("/")).status(), 200);
        }
    }
    assert_eq!(established.ask(get("/")).status(), 200);
    assert!(metrics(admin).contains("reason=\"exhausted\""));
    // The management API has descriptors of its own.
    let mut askers: Vec<_> = (0..8).map(|_| Client::connect(admin)).collect();
    for client in &mut askers {
        let request = format!("GET /health HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        assert_eq!(client.ask(request).status(), 200);
    }
    patient.answer();
    let mut late = H2::start(second, &[]);
    for _ in 0..100 {
        late.begin(&get_h2("/", &[]), true);
    }
    late.pump_until("all are answered", |client| {
        client.answers.len() == 100 && client.answers.values().all(|it| it.has_ended())
    });
    assert!(late.answers.values().all(|it| it.status() == 200));
    assert!(!proxy.log().contains("accepting pauses"), "{}", proxy.log());
}

/// Clients that send half a request, to one listener, until there is no place for them.
#[test]
fn a_flood_at_one_listener_leaves_the_others_their_share() {
    let patient = Patient::start();
    let (second, admin) = (free_addr(), free_addr());
    let mut command = command();
    descriptors(&mut command, 300);
    let proxy = Proxy::start_as(
        command,
        &format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{second}\"\n\
             [timeouts]\nclient_header = 600\n{}",
            route("/", &[patient.origin.addr])
        ),
    );
    let mut flood: Vec<_> = (0..250).map(|_| proxy.client()).collect();
    for client in &mut flood {
        client.send("GET / HT");
    }
    eventually("the listener is full", || {
        let text = metrics(admin);
        text.contains("palantir_client_connections")
            && sum(admin, "palantir_client_connections{") >= 50.0
    });
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(second)).collect();
    for client in &mut clients {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    assert!(!proxy.log().contains("accepting pauses"), "{}", proxy.log());
    drop(flood);
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 200);
}

#[test]
fn a_listener_has_a_bound_of_its_own() {
    let patient = Patient::start();
    let (second, admin) = (free_addr(), free_addr());
    let proxy = Proxy::start(&format!(
        "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n\
         [[listeners]]\naddr = \"{second}\"\nconnections = 2\n{}",
        route("/", &[patient.origin.addr])
    ));
    wait_for_calm(admin);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(second)).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/held")));
    patient.origin.wait_for_requests(2);
    let mut elsewhere = proxy.client();
    assert_eq!(elsewhere.ask(get("/")).status(), 200);
    assert_eq!(patient.held(), 2);
    patient.answer();
    // The third one gets the place of one that has nothing to ask any more.
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
}

/// The kernel spreads clients over the workers as it likes: each is served where there is any place.
#[test]
fn a_place_is_for_whichever_worker_a_client_comes_to() {
    let patient = Patient::start();
    let admin = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 8\n[admin]\nlisten_addr = \"{admin}\"\n[limits]\nconnections = 16\n{}",
        route("/", &[patient.origin.addr])
    ));
    wait_for_calm(admin);
    let mut clients: Vec<_> = (0..16).map(|_| proxy.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/held")));
    patient.origin.wait_for_requests(16);
    let mut beyond: Vec<_> = (0..16).map(|_| proxy.client()).collect();
    beyond.iter_mut().for_each(|client| client.send(get("/")));
    assert_eq!(sum(admin, "palantir_client_connections{"), 16.0);
    patient.answer();
    drop(clients);
    for client in &mut beyond {
        assert_eq!(client.answer().status(), 200);
    }
}

/// Of three connections that ask for nothing, one makes room for each client that comes, whatever it speaks and
/// whichever worker it came to.
#[test]
fn idle_connections_make_room_for_others() {
    let patient = Patient::start();
    let admin = free_addr();
    for workers in [1, 3] {
        let proxy = Proxy::start(&format!(
            "workers = {workers}\n[admin]\nlisten_addr = \"{admin}\"\n\
             [limits]\nconnections = 3\n[timeouts]\nclient_header = 600\nclient_idle = 600\n{}",
            route("/", &[patient.origin.addr])
        ));
        wait_for_calm(admin);
        let mut asked = proxy.client();
        assert_eq!(asked.ask(get("/")).status(), 200);
        let mut silent = proxy.client();
        let mut h2 = proxy.h2();
        h2.ask(&get_h2("/", &[]));
        let mut newcomers: Vec<_> = (0..3).map(|_| proxy.client()).collect();
        for client in &mut newcomers {
            client.send(get("/held"));
        }
        patient.origin.wait_for_requests(3);
        asked.ends();
        silent.ends();
        assert_eq!(h2.end(), Some(0), "it is told that it ends");
        patient.answer();
        for client in &mut newcomers {
            assert_eq!(client.answer().status(), 200);
        }
        patient.may_answer.store(false, SeqCst);
    }
}

/// Clients that are at work keep their places.
#[test]
fn who_is_served_makes_no_room() {
    let patient = Patient::start();
    let admin = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[limits]\nconnections = 2\n{}",
        route("/", &[patient.origin.addr])
    ));
    wait_for_calm(admin);
    let mut held = proxy.client();
    held.send(get("/held"));
    let mut h2 = proxy.h2();
    let stream = h2.begin(&get_h2("/held", &[]), true);
    patient.origin.wait_for_requests(2);
    let mut waiting = proxy.client();
    waiting.send(get("/"));
    // Longer than it takes a connection to count as idle.
    sleep(Duration::from_millis(1_000));
    patient.answer();
    assert_eq!(held.answer().status(), 200);
    assert_eq!(h2.answer(stream).status(), 200);
    assert_eq!(waiting.answer().status(), 200);
}
