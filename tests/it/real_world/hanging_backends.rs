//! A backend that hangs: it accepts connections and answers nothing. Requests that wait in it when it turns unhealthy
//! go to another backend if they may be repeated; the others go on or end, as `on_unhealthy` of the pool says.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::h2::answering::Answering;
use crate::support::h2::frame::{get as h2_get, post as h2_post};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, Served, Server, finish_sending};
use crate::support::{Client, Link, Origin, Proxy, eventually, get};

/// How a backend behaves, and the requests that it has seen.
#[derive(Default)]
pub struct State {
    /// Whether the backend answers its probes.
    pub is_well: AtomicBool,
    /// Whether the backend answers the waiting requests for `/wait`.
    pub is_released: AtomicBool,
    /// The number of requests for `/wait` that have come.
    pub waiting: AtomicUsize,
}

impl State {
    pub fn new(is_well: bool) -> Arc<State> {
        let state = State::default();
        state.is_well.store(is_well, SeqCst);
        Arc::new(state)
    }

    pub fn set_well(&self, is_well: bool) {
        self.is_well.store(is_well, SeqCst);
    }

    pub fn wait_for(&self, count: usize) {
        eventually("the requests are there", || {
            self.waiting.load(SeqCst) >= count
        });
    }

    /// Holds a request for `/wait` until the backend may answer it.
    pub fn hold(&self) {
        self.waiting.fetch_add(1, SeqCst);
        while !self.is_released.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Answers requests with `name`: requests for `/health` while the backend is well, and `/begun` with half of a
    /// body.
    pub fn serve<S: Read + Write>(&self, link: &mut Link<S>, name: &str) {
        while let Some(request) = link.request() {
            let path = request.head.first_line().split(' ').nth(1).unwrap_or("");
            match path {
                "/health" if !self.is_well.load(SeqCst) => drop(link.rest()),
                "/wait" => self.hold(),
                "/begun" => {
                    link.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.");
                    drop(link.rest());
                }
                _ => {}
            }
            if !link.try_send(ok(name)) {
                return;
            }
        }
    }

    pub fn start(self: &Arc<State>, name: &'static str) -> Origin {
        let state = self.clone();
        Origin::start(move |link| state.serve(link, name))
    }
}

/// A pool of two backends, of which only the first is well at the start. `more` are further settings of the pool.
pub fn pool(first: SocketAddr, second: SocketAddr, more: &str) -> String {
    // One missed probe makes the first backend unhealthy. The second one misses none on a slow machine.
    let check = "path = \"/health\", interval_secs = 0.1, unhealthy_after = 1, healthy_after = 1";
    format!(
        "workers = 2\n[[pools]]\nname = \"api\"\n{more}\nbackends = [\n\
         {{ addr = \"{first}\", health_check = {{ {check}, timeout_secs = 2 }} }},\n\
         {{ addr = \"{second}\", health_check = {{ {check}, timeout_secs = 50 }} }} ]\n\
         [[routes]]\npool = \"api\"\ntimeouts = {{ upstream_response = 3000, upstream_idle = 3000, connect = 2000 }}\n"
    )
}

/// A second backend that refuses connections at first, and is there after [`Second::comes`].
pub struct Second {
    pub addr: SocketAddr,
    pub state: Arc<State>,
}

impl Second {
    pub fn new() -> Second {
        let addr = free_addr();
        let state = State::new(true);
        Second { addr, state }
    }

    /// Waits until the proxy knows that only the first backend is there.
    pub fn is_away(&self, proxy: &Proxy) {
        proxy.wait_for_log(&[&self.addr.to_string(), "unhealthy"]);
        eventually("all goes to the first", || {
            (0..6).all(|_| proxy.ask(get("/")).text() == "first")
        });
    }

    pub fn comes(&self, proxy: &Proxy) -> Origin {
        let state = self.state.clone();
        state.is_released.store(true, SeqCst);
        let origin = Origin::start_at(self.addr, move |link| state.serve(link, "second"));
        proxy.wait_for_log(&[&self.addr.to_string(), "to=\"healthy\""]);
        origin
    }
}

const PUT: &str = "PUT /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
pub const POST: &str = "POST /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";

#[test]
fn requests_that_may_be_repeated_go_to_another_backend_and_the_others_stay() {
    let (state, second) = (State::new(true), Second::new());
    let first = state.start("first");
    let proxy = Proxy::start(&pool(first.addr, second.addr, ""));
    second.is_away(&proxy);

    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let request = [PUT.to_owned(), get("/wait")];
        client.send(&request[number % 2]);
    }
    let mut h2 = proxy.h2();
    let streams: Vec<u32> = (0..10)
        .map(|_| h2.begin(&h2_get("/wait", &[]), true))
        .collect();
    let (mut posting, mut uploading, mut asking) = (proxy.client(), proxy.client(), proxy.client());
    posting.send(POST);
    let h2_posted = h2.begin(&h2_post("/wait", &[]), true);
    // One of the bodies has begun to go out, the other one has not.
    uploading.send("PUT /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
    uploading.send(vec![b'a'; 200_000]);
    state.wait_for(43);
    asking.send(
        "PUT /wait HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );

    let _origin = second.comes(&proxy);
    state.set_well(false);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "second");
    }
    for stream in streams {
        assert_eq!(h2.answer(stream).text(), "second");
    }
    asking.send("body");
    assert_eq!(asking.answer().text(), "second");
    // The POST may have been executed, and the body that was passed on is not kept, so both requests wait for their
    // backend.
    state.is_released.store(true, SeqCst);
    assert_eq!(posting.answer().text(), "first");
    assert_eq!(uploading.answer().text(), "first");
    assert_eq!(h2.answer(h2_posted).text(), "first");
}

#[test]
fn what_cannot_go_elsewhere_is_cut_where_the_pool_says_so() {
    let (state, second) = (State::new(true), Second::new());
    let first = state.start("first");
    let proxy = Proxy::start(&pool(first.addr, second.addr, "on_unhealthy = \"cut\""));
    second.is_away(&proxy);

    let (mut posting, mut reading, mut getting) = (proxy.client(), proxy.client(), proxy.client());
    posting.send(POST);
    getting.send(get("/wait"));
    state.wait_for(2);
    reading.send(get("/begun"));
    assert_eq!(reading.head().status(), 200);
    assert_eq!(reading.bytes(5), b"half.");
    let mut h2 = proxy.h2();
    let begun = h2.begin(&h2_get("/begun", &[]), true);
    h2.pump_until("half of a body", |h2| {
        let answer = h2.answers.get(&begun);
        answer.is_some_and(|answer| answer.body.len() == 5)
    });
    let posted = h2.begin(&h2_post("/wait", &[]), true);
    state.wait_for(3);

    let _origin = second.comes(&proxy);
    state.set_well(false);
    let answer = posting.answer();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("backend_down"), "{answer:?}");
    assert_eq!(getting.answer().text(), "second");
    reading.ends();
    let answer = h2.answer(posted);
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("backend_down"), "{answer:?}");
    h2.pump_until("the stream is reset", |h2| {
        h2.answers[&begun].reset.is_some()
    });
    assert_eq!(h2.ask(&h2_get("/", &[])).text(), "second", "it goes on");
    proxy.wait_for_log(&["request failed", "backend_down"]);
}

#[test]
fn a_tunnel_ends_with_its_backend_where_the_pool_says_so() {
    for (setting, is_cut) in [("cut", true), ("finish", false)] {
        let state = State::new(true);
        let seen = state.clone();
        let first = Origin::start(move |link| {
            while let Some(request) = link.request() {
                if request.head.field("upgrade").is_some() {
                    link.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
                    while let Some(bytes) = link.bytes(2) {
                        link.send(bytes);
                    }
                    return;
                }
                // A request that comes before the workers know is answered.
                let is_probe = request.head.first_line().contains("/health");
                if is_probe && !seen.is_well.load(SeqCst) {
                    link.rest();
                    return;
                }
                link.send(ok("first"));
            }
        });
        let config = pool(
            first.addr,
            free_addr(),
            &format!("on_unhealthy = \"{setting}\""),
        );
        let proxy = Proxy::start(&config);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.head().status(), 101);
        client.send("ab");
        assert_eq!(client.bytes(2), b"ab");
        state.set_well(false);
        proxy.wait_for_log(&[&first.addr.to_string(), "to=\"unhealthy\""]);
        if is_cut {
            client.ends();
            continue;
        }
        eventually("the workers know", || proxy.ask(get("/")).status() == 503);
        client.send("cd");
        assert_eq!(client.bytes(2), b"cd");
    }
}

#[test]
fn streams_leave_a_connection_of_http2_that_hangs() {
    let (state, second) = (State::new(true), Second::new());
    let seen = state.clone();
    let first = Origin::start(move |link| {
        let mut held = Vec::new();
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while let Some((stream, path)) = backend.request() {
            match path.as_str() {
                "/health" if !seen.is_well.load(SeqCst) => {}
                "/wait" => {
                    seen.waiting.fetch_add(1, SeqCst);
                    held.push(stream);
                }
                _ => drop(backend.answer(stream, "first")),
            }
        }
    });
    let proxy = Proxy::start(&pool(first.addr, second.addr, "protocol = \"h2\""));
    second.is_away(&proxy);
    let mut clients: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    state.wait_for(10);
    let _origin = Origin::start_at(second.addr, |link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while let Some((stream, _)) = backend.request() {
            backend.answer(stream, "second");
        }
    });
    proxy.wait_for_log(&[&second.addr.to_string(), "to=\"healthy\""]);
    state.set_well(false);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "second");
    }
}

/// A backend that accepts connections and begins no TLS handshake cannot have executed any request.
#[test]
fn requests_leave_a_backend_that_hangs_in_the_handshake_whatever_their_method() {
    thread::scope(|scope| {
        for protocol in ["h1", "h2"] {
            scope.spawn(move || leave_a_handshake(protocol));
        }
    });
}

fn leave_a_handshake(protocol: &str) {
    let (state, second) = (State::new(true), Second::new());
    let authority = Authority::new();
    let server = Server::new(&authority.issue(&["a.example"])).choosing(&["h2", "http/1.1"]);
    let (seen, secured) = (state.clone(), server.clone());
    let first = Origin::start(move |link| {
        if !seen.is_well.load(SeqCst) {
            seen.waiting.fetch_add(1, SeqCst);
            link.rest();
        } else if let Some(mut link) = secured.accept(link) {
            // The connection ends after one answer, so that the next request needs a connection of its own.
            serve_secured(&mut link, "first", 1);
        }
    });
    let directory = Directory::new();
    let ca = directory.write("ca.pem", &authority.pem());
    let more =
        format!("protocol = \"{protocol}\"\ntls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let config =
        pool(first.addr, second.addr, &more).replace("timeout_secs = 2 ", "timeout_secs = 5 ");
    let proxy = Proxy::start(&config);
    second.is_away(&proxy);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    state.set_well(false);
    clients.iter_mut().for_each(|client| client.send(POST));
    proxy.wait_for_log(&[&first.addr.to_string(), "to=\"unhealthy\""]);
    let _origin = Origin::start_at(second.addr, move |link| {
        if let Some(mut link) = server.accept(link) {
            serve_secured(&mut link, "second", 1000);
        }
    });
    for client in &mut clients {
        assert_eq!(client.answer().text(), "second", "{protocol}");
    }
}

/// Answers `count` requests and ends the connection.
pub fn serve_secured(link: &mut Link<Served>, name: &str, count: usize) {
    if link.stream.conn.alpn_protocol() == Some(b"h2") {
        let mut backend = Answering::over(&mut link.stream);
        for _ in 0..count {
            let Some((stream, _)) = backend.request() else {
                return;
            };
            backend.answer(stream, name);
        }
    } else {
        for _ in 0..count {
            if link.request().is_none() || !link.try_send(ok(name)) {
                return;
            }
        }
    }
    finish_sending(&mut link.stream);
}

/// The backend is probed only every ten minutes. Requests that wait in it make palantir probe it earlier.
#[test]
fn a_request_that_waits_has_its_backend_probed() {
    let state = State::new(true);
    let origin = state.start("first");
    let check = "health_check = { path = \"/health\", interval_secs = 600, timeout_secs = 1, unhealthy_after = 2 }\n";
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + check));
    // The first probe comes soon after the start, the next one ten minutes later.
    origin.wait_for_requests(1);
    state.set_well(false);
    let mut client = proxy.client();
    client.send(get("/wait"));
    state.wait_for(1);
    proxy.wait_for_log(&[&origin.addr.to_string(), "to=\"unhealthy\"", "no answer"]);
    state.is_released.store(true, SeqCst);
    assert_eq!(client.answer().text(), "first");
}
