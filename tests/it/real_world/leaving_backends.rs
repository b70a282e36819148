//! Requests that leave a backend which turns unhealthy: where they are when they leave, and what that backend must not
//! get.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::real_world::hanging_backends::{POST, Second, State, pool, serve_secured};
use crate::support::h2::answering::Answering;
use crate::support::managed::Managed;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::tls::{Authority, Server};
use crate::support::{Client, Link, Origin, Proxy, eventually, get};
use crate::upstream::names::{beside, with_hosts};

/// Serves HTTP/2. Holds `/wait` until the backend may answer it, and holds `/health` while the backend is not well.
pub fn serve_h2(link: &mut Link, state: &State, name: &str) {
    let stream = link.stream.try_clone().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let (mut backend, mut held) = (Answering::over(stream), Vec::new());
    while backend.pump() {
        while let Some((stream, path)) = backend.come() {
            match path.as_str() {
                "/health" if !state.is_well.load(SeqCst) => {}
                "/wait" => {
                    state.waiting.fetch_add(1, SeqCst);
                    held.push(stream);
                }
                _ => drop(backend.answer(stream, name)),
            }
        }
        if state.is_released.load(SeqCst) {
            for stream in held.drain(..) {
                backend.answer(stream, name);
            }
        }
    }
}

/// The first backend begins its TLS handshake only after the request has left it.
#[test]
fn what_has_left_a_connection_in_the_making_never_goes_out_on_it() {
    let (state, second) = (State::new(true), Second::new());
    let authority = Authority::new();
    let server = Server::new(&authority.issue(&["a.example"])).choosing(&["h2"]);
    let (seen, secured) = (state.clone(), server.clone());
    let first = Origin::start(move |link| {
        while !seen.is_well.load(SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        let Some(mut link) = secured.accept(link) else {
            return;
        };
        let mut backend = Answering::over(&mut link.stream);
        // The connection ends after one answer until a request has left, so that the next request needs a connection of
        // its own.
        let has_left = seen.is_released.load(SeqCst);
        while let Some((stream, path)) = backend.request() {
            seen.waiting.fetch_add((path == "/wait").into(), SeqCst);
            backend.answer(stream, "first");
            if !has_left {
                return;
            }
        }
    });
    let directory = Directory::new();
    let ca = directory.write("ca.pem", &authority.pem());
    let more = format!("protocol = \"h2\"\ntls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let config = pool(first.addr, second.addr, &more).replace("connect = 2000", "connect = 3000");
    let proxy = Proxy::start(&config);
    second.is_away(&proxy);
    state.set_well(false);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(POST));
    proxy.wait_for_log(&[&first.addr.to_string(), "to=\"unhealthy\""]);
    let _origin = Origin::start_at(second.addr, move |link| {
        if let Some(mut link) = server.accept(link) {
            serve_secured(&mut link, "second", 1000);
        }
    });
    for client in &mut clients {
        assert_eq!(client.answer().text(), "second");
    }
    state.is_released.store(true, SeqCst);
    state.set_well(true);
    proxy.wait_for_log(&[&first.addr.to_string(), "to=\"healthy\""]);
    // Each worker goes on with the connection that it was making.
    eventually("the first one answers", || {
        (0..8).any(|_| proxy.ask(get("/")).text() == "first")
    });
    for _ in 0..20 {
        proxy.ask(get("/"));
    }
    assert_eq!(state.waiting.load(SeqCst), 0, "a POST reached both");
}

/// The first address of a name refuses connections, and then turns unhealthy. Requests at the second address go on.
#[test]
fn a_request_stays_with_the_address_that_was_connected_to() {
    let directory = Directory::new();
    let hosts = directory.write("hosts", "127.0.0.1 localhost\n");
    let refusing = free_addr();
    let serving = beside(refusing, 252);
    let state = State::new(true);
    let seen = state.clone();
    let _origin = Origin::start_at(serving, move |link| serve_h2(link, &seen, "second"));
    let Some(command) = with_hosts(&hosts) else {
        eprintln!("not shown here: needs a mount namespace, which takes root");
        return;
    };
    let lines = [refusing, serving].map(|addr| format!("{} two.test\n", addr.ip()));
    std::fs::write(&hosts, lines.concat()).unwrap();
    let config = format!(
        "workers = 1\n[[pools]]\nname = \"both\"\nprotocol = \"h2\"\non_unhealthy = \"cut\"\n\
         backends = [\"two.test:{}\"]\n\
         health_check = {{ path = \"/health\", interval_secs = 2, timeout_secs = 50, unhealthy_after = 3 }}\n\
         [[routes]]\npool = \"both\"\n",
        refusing.port()
    );
    let proxy = Proxy::start_as(command, &config);
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    state.wait_for(4);
    proxy.wait_for_log(&[&refusing.to_string(), "to=\"unhealthy\""]);
    // The worker knows of the change by now, or learns of it soon. A request that is not cut then is answered.
    eventually("all goes to the second one", || {
        (0..4).all(|_| proxy.ask(get("/")).text() == "second")
    });
    thread::sleep(Duration::from_millis(300));
    state.is_released.store(true, SeqCst);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "second");
    }
}

/// A connection that was frozen while its backend was unhealthy gets no requests when the backend is well again.
#[test]
fn a_frozen_connection_gets_no_requests_after_recovery() {
    let (state, came) = (State::new(true), Arc::<Mutex<Vec<String>>>::default());
    let (seen, late) = (state.clone(), came.clone());
    let origin = Origin::start(move |link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        let mut is_frozen = false;
        while let Some((stream, path)) = backend.request() {
            match path.as_str() {
                "/health" if !seen.is_well.load(SeqCst) => {}
                "/wait" => {
                    seen.hold();
                    is_frozen = true;
                }
                _ if is_frozen => late.lock().unwrap().push(path),
                _ => drop(backend.answer(stream, "here")),
            }
        }
        if is_frozen {
            late.lock().unwrap().push("the end".to_owned());
        }
    });
    let config = pool(origin.addr, free_addr(), "protocol = \"h2\"");
    let config = config.replace("workers = 2", "workers = 1");
    let proxy = Proxy::start(&config);
    let mut waiting = proxy.client();
    waiting.send("POST /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    state.wait_for(1);
    state.set_well(false);
    proxy.wait_for_log(&[&origin.addr.to_string(), "to=\"unhealthy\""]);
    state.set_well(true);
    proxy.wait_for_log(&[&origin.addr.to_string(), "to=\"healthy\""]);
    eventually("it is used again", || {
        let mut client = proxy.client();
        client.send(get("/"));
        client.answer().text() == "here"
    });
    drop(waiting);
    state.is_released.store(true, SeqCst);
    drop(proxy);
    eventually("the connection ends", || !came.lock().unwrap().is_empty());
    assert_eq!(*came.lock().unwrap(), ["the end"]);
}

/// Requests that went to an unhealthy backend while its pool panicked leave it, or are cut, when the panic ends.
#[test]
fn requests_that_began_in_a_panic_leave_when_it_ends() {
    let (first, second) = (State::new(false), State::new(false));
    let serve = |state: &Arc<State>, name: &'static str| {
        let state = state.clone();
        Origin::start(move |link| state.serve(link, name))
    };
    let origins = [serve(&first, "first"), serve(&second, "second")];
    second.is_released.store(true, SeqCst);
    let more = "on_unhealthy = \"cut\"\npanic_threshold = 50";
    let config = pool(origins[0].addr, origins[1].addr, more);
    let config = config
        .replace("timeout_secs = 50", "timeout_secs = 1")
        .replace("workers = 2", "workers = 1");
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&["the pool panics", "0 of 2"]);
    eventually("the worker knows", || proxy.ask(get("/")).status() == 200);
    let mut getting: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    let mut posting: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for (getting, posting) in getting.iter_mut().zip(&mut posting) {
        getting.send(get("/wait"));
        posting.send(POST);
    }
    eventually("all are there", || {
        first.waiting.load(SeqCst) + second.waiting.load(SeqCst) >= 8
    });
    second.set_well(true);
    proxy.wait_for_log(&["panics no longer"]);
    for client in &mut getting {
        assert_eq!(client.answer().text(), "second");
    }
    for client in &mut posting {
        let answer = client.answer();
        let is_cut = answer.status() == 502 && answer.text().contains("backend_down");
        assert!(is_cut || answer.text() == "second", "{answer:?}");
    }
    first.is_released.store(true, SeqCst);
}

/// A usual deployment: a backend is drained, and then stopped.
#[test]
fn requests_leave_a_drained_backend_that_hangs() {
    let (state, second) = (State::new(true), State::new(true));
    let origin = state.start("first");
    second.is_released.store(true, SeqCst);
    let other = second.start("second");
    let managed = Managed::start(
        "",
        &pool(origin.addr, other.addr, "on_unhealthy = \"cut\"").replace("workers = 2\n", ""),
    );
    let proxy = &managed.proxy;
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send([get("/wait"), POST.to_owned()][number / 4 % 2].as_bytes());
    }
    eventually("all are there", || {
        state.waiting.load(SeqCst) + second.waiting.load(SeqCst) >= 8
    });
    assert!(state.waiting.load(SeqCst) > 0);
    let drain = managed.ask(
        &format!("PATCH /pools/api/servers/{}", origin.addr),
        &[],
        "{\"drain\": true}",
    );
    assert_eq!(drain.status(), 200, "{}", drain.text());
    state.set_well(false);
    for client in &mut clients[..4] {
        assert_eq!(client.answer().text(), "second");
    }
    for client in &mut clients[4..] {
        let answer = client.answer();
        let is_cut = answer.status() == 502 && answer.text().contains("backend_down");
        assert!(is_cut || answer.text() == "second", "{answer:?}");
    }
    proxy.wait_for_log(&[
        "a backend that is drained is down",
        &origin.addr.to_string(),
    ]);
    state.is_released.store(true, SeqCst);
}

/// An answer of which bytes always wait to be sent, to a client that takes them as they come, or to one that takes
/// none.
#[test]
fn an_answer_that_never_pauses_is_cut() {
    let (state, sent) = (State::new(true), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (state.clone(), sent.clone());
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /flow ") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 90000000000\r\n\r\n");
                while link.try_send([b'x'; 65536]) {
                    counted.fetch_add(1, SeqCst);
                }
                return;
            }
            if !seen.is_well.load(SeqCst) {
                drop(link.rest());
                return;
            }
            link.send(ok("first"));
        }
    });
    let config = pool(origin.addr, free_addr(), "on_unhealthy = \"cut\"")
        .replace("[[routes]]", "[timeouts]\nclient_idle = 3000\n[[routes]]");
    let proxy = Proxy::start(&config);
    let connect = || {
        let mut client = TcpStream::connect(proxy.addr).unwrap();
        client
            .write_all(b"GET /flow HTTP/1.1\r\nHost: test\r\n\r\n")
            .unwrap();
        client
    };
    let (mut taking, mut standing) = (connect(), connect());
    standing.read_exact(&mut [0; 100]).unwrap();
    let reader = thread::spawn(move || read_to_the_end(&mut taking));
    eventually("it flows", || sent.load(SeqCst) > 100);
    state.set_well(false);
    assert!(reader.join().unwrap() < 90_000_000_000);
    // The test takes nothing of the other answer until it is cut: a pause while its bytes flow would end it as well.
    eventually("both are cut", || {
        proxy.log().matches("request failed: backend_down").count() == 2
    });
    read_to_the_end(&mut standing);
    for other in ["reader_too_slow", "client_stalled"] {
        assert!(!proxy.log().contains(other), "{}", proxy.log());
    }
}

fn read_to_the_end(stream: &mut TcpStream) -> usize {
    let (mut block, mut count) = (vec![0; 1 << 20], 0);
    while let Ok(more @ 1..) = stream.read(&mut block) {
        count += more;
    }
    count
}

/// Two backends hang one after the other, and the first one is well again when the second one hangs.
#[test]
fn a_request_goes_back_to_a_backend_that_is_well_again() {
    let states = [State::new(true), State::new(true)];
    let origins = [states[0].start("first"), states[1].start("second")];
    let config =
        pool(origins[0].addr, origins[1].addr, "").replace("timeout_secs = 50", "timeout_secs = 2");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send(get("/wait"));
    let waiting = |at: usize| states[at].waiting.load(SeqCst);
    eventually("it is somewhere", || waiting(0) + waiting(1) == 1);
    let (left, other) = (waiting(1), waiting(0));
    states[left].set_well(false);
    states[other].wait_for(1);
    states[left].is_released.store(true, SeqCst);
    states[left].set_well(true);
    proxy.wait_for_log(&[&origins[left].addr.to_string(), "to=\"healthy\""]);
    eventually("the workers know", || {
        let names = ["first", "second"];
        (0..8).any(|_| proxy.ask(get("/")).text() == names[left])
    });
    states[other].set_well(false);
    assert_eq!(client.answer().text(), ["first", "second"][left]);
    states[other].is_released.store(true, SeqCst);
}
