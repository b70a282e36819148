//! Descriptors are few, and clients many: every listener, the management API and those who ask for little are served
//! all the same, and who waits without asking for anything makes room.

mod room;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use crate::support::h2::H2;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::get as get_h2;
use crate::support::origin::ok;
use crate::support::place::{Directory, black_hole, free_addr};
use crate::support::proxy::{command, descriptors, route};
use crate::support::tls::{Authority, BOTH, Dialer, NAMES};
use crate::support::{Client, Origin, Proxy, eventually, get, metrics, when_still};

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

    /// A proxy before it, with these settings behind those of its management API, and without any client.
    fn proxy(&self, workers: usize, admin: SocketAddr, settings: &str) -> Proxy {
        let proxy = Proxy::start(&self.config(workers, admin, settings));
        wait_for_calm(admin);
        proxy
    }

    /// A proxy before this backend that may have 300 descriptors.
    fn proxy_of_few(&self, workers: usize, admin: SocketAddr, settings: &str) -> Proxy {
        let mut command = command();
        descriptors(&mut command, 300);
        Proxy::start_as(command, &self.config(workers, admin, settings))
    }

    fn config(&self, workers: usize, admin: SocketAddr, settings: &str) -> String {
        format!(
            "workers = {workers}\n[admin]\nlisten_addr = \"{admin}\"\n{settings}{}",
            route("/", &[self.origin.addr])
        )
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

/// Clients that ask as soon as they have connected: who takes longer counts as idle, and may make room for another.
#[track_caller]
fn asking(addr: SocketAddr, count: usize, request: &str) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(addr);
        client.send(request);
        client
    };
    (0..count).map(ask).collect()
}

#[test]
fn few_connections_of_http2_leave_everybody_else_what_they_need() {
    let patient = Patient::start();
    let (second, admin) = (free_addr(), free_addr());
    let settings = format!("[[listeners]]\naddr = \"{second}\"\n[timeouts]\nconnect = 8\n");
    let proxy = patient.proxy_of_few(2, admin, &settings);
    let mut established = proxy.client();
    assert_eq!(established.ask(get("/")).status(), 200);
    let mut greedy: Vec<_> = (0..4).map(|_| H2::start(proxy.addr, &[])).collect();
    for client in &mut greedy {
        for _ in 0..100 {
            client.begin(&get_h2("/held", &[]), true);
        }
    }
    // Clients that get no connection in its time are refused in words; the others wait.
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
    eventually("each has its share", || patient.held() >= 20);
    assert!(
        patient.held() < 200,
        "{} requests at the backend",
        patient.held()
    );
    for addr in [proxy.addr, second] {
        for client in &mut asking(addr, 10, &get("/")) {
            assert_eq!(client.answer().status(), 200);
        }
    }
    assert_eq!(established.ask(get("/")).status(), 200);
    eventually("what was refused is counted", || {
        metrics(admin).contains("reason=\"exhausted\"")
    });
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
    let settings = format!("[[listeners]]\naddr = \"{second}\"\n[timeouts]\nclient_header = 600\n");
    let proxy = patient.proxy_of_few(2, admin, &settings);
    let begin = |_| {
        let mut client = proxy.client();
        client.try_send("GET / HT"); // The proxy may have closed the connection already to make room.
        client
    };
    let flood: Vec<_> = (0..250).map(begin).collect();
    eventually("the listener is full", || {
        let text = metrics(admin);
        text.contains("palantir_client_connections")
            && sum(admin, "palantir_client_connections{") >= 50.0
    });
    for client in &mut asking(second, 10, &get("/")) {
        assert_eq!(client.answer().status(), 200);
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
    let proxy = patient.proxy(
        2,
        admin,
        &format!("[[listeners]]\naddr = \"{second}\"\nconnections = 2\n"),
    );
    let mut clients = asking(second, 3, &get("/held"));
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
    let proxy = patient.proxy(8, admin, "[limits]\nconnections = 16\n");
    let clients = asking(proxy.addr, 16, &get("/held"));
    patient.origin.wait_for_requests(16);
    let mut beyond = asking(proxy.addr, 16, &get("/"));
    eventually("there are as many as may be", || {
        sum(admin, "palantir_client_connections{") == 16.0
    });
    patient.answer();
    drop(clients);
    for client in &mut beyond {
        assert_eq!(client.answer().status(), 200);
    }
}

/// More clients come than there are descriptors for those of them that wait at each of many listeners, and all leave.
#[test]
fn clients_that_have_left_keep_nobody_waiting() {
    let patient = Patient::start();
    let listeners: Vec<_> = (0..16).map(|_| free_addr()).collect();
    let mut command = command();
    descriptors(&mut command, 512);
    let long: String = listeners
        .iter()
        .map(|addr| format!("[[listeners]]\naddr = \"{addr}\"\n"))
        .collect();
    let proxy = Proxy::start_as(
        command,
        &format!(
            "workers = 8\n[timeouts]\nconnect = 50\n{long}{}",
            route("/", &[patient.origin.addr])
        ),
    );
    let mut crowd = Vec::new();
    for addr in &listeners {
        let mut clients: Vec<_> = (0..40).map(|_| Client::connect(*addr)).collect();
        clients.iter_mut().for_each(|client| {
            client.try_send(get("/held"));
        });
        crowd.append(&mut clients);
    }
    eventually("some are served", || patient.held() > 4);
    drop(crowd);
    patient.answer();
    for addr in listeners {
        assert_eq!(Client::connect(addr).ask(get("/")).status(), 200, "{addr}");
    }
    drop(proxy);
}

/// Connections that are being made take up descriptors, too.
#[test]
fn a_backend_that_answers_no_connection_takes_no_more_than_its_share() {
    let patient = Patient::start();
    let (silent, admin) = (free_addr(), free_addr());
    let _hole = black_hole(silent);
    let mut command = command();
    descriptors(&mut command, 300);
    let proxy = Proxy::start_as(
        command,
        &format!(
            "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nconnect = 60\n{}{}",
            route("/silent", &[silent]),
            route("/", &[patient.origin.addr])
        ),
    );
    let mut greedy: Vec<_> = (0..8).map(|_| proxy.h2()).collect();
    for client in &mut greedy {
        for _ in 0..100 {
            client.begin(&get_h2("/silent", &[]), true);
        }
        client.is_alive(); // The requests of the client were received.
    }
    assert_eq!(proxy.ask(get("/")).status(), 200);
    assert!(metrics(admin).contains("palantir_client_connections"));
    drop(greedy);
}

/// Connections that a small listener cannot use are there for the other listeners.
#[test]
fn bounds_of_listeners_are_reached_one_beside_the_other() {
    let patient = Patient::start();
    let (small, tiny, admin) = (free_addr(), free_addr(), free_addr());
    let listener = |addr| format!("[[listeners]]\naddr = \"{addr}\"\nconnections = 1\n");
    let settings = format!(
        "[limits]\nconnections = 40\n{}{}",
        listener(small),
        listener(tiny)
    );
    let proxy = patient.proxy(2, admin, &settings);
    let _clients = asking(proxy.addr, 40, &get("/held"));
    patient.origin.wait_for_requests(40);
    for addr in [small, tiny] {
        assert_eq!(Client::connect(addr).ask(get("/")).status(), 200);
    }
    patient.answer();
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody")
}

/// Requests to a pool of HTTP/2 wait for a descriptor as those to others do.
#[test]
fn a_pool_of_http2_waits_for_a_descriptor() {
    let patient = Patient::start();
    let shared = Origin::start(|link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            backend.serve("shared");
        }
    });
    let mut command = command();
    descriptors(&mut command, 110);
    let proxy = Proxy::start_as(
        command,
        &format!(
            "workers = 1\n[limits]\nconnections = 5000\n[timeouts]\nconnect = 60\n{}\
             [[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = [\"{}\"]\n\
             [[routes]]\nprefix = \"/shared\"\npool = \"h2\"\n",
            route("/", &[patient.origin.addr]),
            shared.addr
        ),
    );
    // The busy clients take up all descriptors: half of them for the clients, half for their backend.
    let mut busy = asking(proxy.addr, 40, &get("/held"));
    when_still(|| patient.held() as u64);
    let mut waiting = asking(proxy.addr, 2, &get("/shared"));
    patient.answer();
    for client in &mut busy {
        assert_eq!(client.answer().status(), 200);
    }
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "shared");
    }
}
