//! How the proxy stops, and starts again.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::support::frozen::Frozen;
use crate::support::h2::frame::get as get_h2;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route};
use crate::support::tls::{Authority, Server};
use crate::support::{Origin, PATIENCE, Proxy, eventually, get};

/// A backend that answers `/wait` only when it is let go.
fn waiting() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /wait ") {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(ok("finished"));
        }
    });
    (origin, let_go)
}

#[test]
fn with_nothing_under_way_it_ends_at_once() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let origin = Origin::saying("");
        let mut proxy =
            Proxy::start(&("shutdown_timeout = 600\n".to_owned() + &route("/", &[origin.addr])));
        let mut idle = proxy.client();
        assert_eq!(idle.ask(get("/")).status(), 200);
        let mut fresh = proxy.client();
        proxy.signal(signal);
        assert_eq!(proxy.wait_for_exit(), 0);
        idle.ends();
        fresh.ends();
        origin.wait_for_ended(1);
    }
}

#[test]
fn running_requests_finish_and_new_ones_are_not_accepted() {
    let (origin, let_go) = waiting();
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 600\n".to_owned() + &route("/", &[origin.addr])));
    let mut idle = proxy.client();
    assert_eq!(idle.ask(get("/")).status(), 200);
    let mut running: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    running
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    origin.wait_for_requests(6);
    proxy.signal(libc::SIGTERM);
    idle.ends();
    eventually("nobody listens any more", || {
        TcpStream::connect(proxy.addr).is_err()
    });
    // However often they were sent: who waits behind another is sent again.
    drop(let_go);
    for client in &mut running {
        let answer = client.answer();
        assert_eq!(answer.text(), "finished");
        assert_eq!(answer.field("connection"), Some("close"));
        client.ends();
    }
    assert_eq!(proxy.wait_for_exit(), 0);
}

/// The thread that works with files is stopped, as if a disk did not answer.
#[test]
fn a_disk_that_hangs_keeps_no_socket_open() {
    let (origin, let_go) = waiting();
    let config = "shutdown_timeout = 600\n[[listeners]]\naddr = \"unix:{dir}/sock\"\n";
    let mut proxy = Proxy::start(&(config.to_owned() + &route("/", &[origin.addr])));
    let path = proxy.directory.path().join("sock");
    let mut running = proxy.client();
    running.send(get("/wait"));
    origin.wait_for_requests(1);
    let frozen = Frozen::new(proxy.pid(), "files");
    proxy.signal(libc::SIGTERM);
    eventually("nobody listens any more", || {
        TcpStream::connect(proxy.addr).is_err()
    });
    eventually("the socket's file is gone", || !path.exists());
    drop(let_go);
    assert_eq!(running.answer().text(), "finished");
    frozen.wait_for_end();
    assert_eq!(proxy.wait_for_exit(), 0);
}

#[test]
fn a_request_whose_body_is_still_coming_finishes() {
    let origin = Origin::saying("finished");
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 600\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello");
    eventually("the backend is connected to", || origin.accepted() == 1);
    proxy.signal(libc::SIGTERM);
    eventually("nobody listens any more", || {
        TcpStream::connect(proxy.addr).is_err()
    });
    client.send("x".repeat(99_995));
    let answer = client.answer();
    assert_eq!(answer.text(), "finished");
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(proxy.wait_for_exit(), 0);
}

#[test]
fn what_does_not_finish_is_cut_and_counted() {
    let (origin, _let_go) = waiting();
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut running: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    running
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    origin.wait_for_requests(3);
    proxy.signal(libc::SIGTERM);
    assert_eq!(proxy.wait_for_exit(), 1);
    for client in &mut running {
        client.ends();
    }
    proxy.wait_for_log(&["3", "cut"]);
}

/// Each of these has a line: a request that waits for its answer, one whose answer has begun, one whose body is still
/// coming, a tunnel, and a stream of HTTP/2.
#[test]
fn what_is_cut_has_a_line_in_the_access_log() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let line = request.head.first_line().to_owned();
            if line.contains("/begun") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
            } else if line.contains("/tunnel") {
                let upgrade = "Connection: upgrade\r\nUpgrade: x\r\n\r\n";
                link.send(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}"));
            }
            link.rest();
        }
    });
    let config = "shutdown_timeout = 0.5\n[access_log]\npath = \"{dir}/access.log\"\n";
    let mut proxy = Proxy::start(&(config.to_owned() + &route("/", &[origin.addr])));
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    // No request may wait behind another one at the backend.
    clients[0].send("POST /waits HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    clients[1].send("POST /begun HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let upgrade = "Connection: upgrade\r\nUpgrade: x\r\n\r\n";
    clients[2].send(format!("GET /tunnel HTTP/1.1\r\nHost: test\r\n{upgrade}"));
    clients[3].send("POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello");
    assert_eq!(clients[1].head().status(), 200);
    assert_eq!(clients[2].head().status(), 101);
    let mut multiplexed = proxy.h2();
    let fields = get_h2("/stream", &[]).into_iter();
    let fields = fields.map(|(name, value)| match name {
        ":method" => (name, "POST"),
        _ => (name, value),
    });
    multiplexed.begin(&fields.collect::<Vec<_>>(), true);
    origin.wait_for_requests(4);
    eventually("the body's backend is connected to", || {
        origin.accepted() == 5
    });
    assert_eq!(proxy.stop(), 1);
    let mut lines = proxy.access_lines(5);
    lines.sort();
    let line_of = |path: &str| lines.iter().find(|line| line.contains(path)).expect(path);
    for (path, status) in [
        ("/waits", 503),
        ("/begun", 200),
        ("/tunnel", 101),
        ("/body", 503),
        ("/stream", 503),
    ] {
        let line = line_of(path);
        assert!(line.contains("\"cut_by_stop\""), "{line}");
        assert!(line.contains(&format!("\"status\":{status}")), "{line}");
    }
    proxy.wait_for_log(&["5 requests were cut"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (origin, _let_go) = waiting();
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 600\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send(get("/wait"));
    origin.wait_for_requests(1);
    proxy.signal(libc::SIGTERM);
    eventually("nobody listens any more", || {
        TcpStream::connect(proxy.addr).is_err()
    });
    proxy.signal(libc::SIGINT);
    assert_ne!(proxy.wait_for_exit(), 0);
    client.ends();
}

#[test]
fn an_open_tunnel_is_cut_after_the_timeout() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            );
            link.rest();
        }
    });
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 0.5\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    assert_eq!(proxy.stop(), 1);
    client.ends();
}

/// An answer to HTTP/1.0 without a length ends with its connection, whose orderly end would make a part of the answer
/// look whole.
#[test]
fn an_answer_that_ends_with_its_connection_is_cut_by_a_reset() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\na part");
            link.rest();
        }
    });
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 0.5\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.bytes(6), b"a part");
    assert_eq!(proxy.stop(), 1);
    let end = client.stream.read(&mut [0; 1]);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// The backend of a tunnel speaks TLS, which has a word for an orderly end. A cut is none.
#[test]
fn a_cut_tunnel_tells_no_backend_of_an_orderly_end() {
    let authority = Authority::new();
    let (ended, end) = mpsc::channel();
    let ended = Mutex::new(ended);
    let origin = Server::new(&authority.issue(&["a.example"])).start(move |link| {
        if link.request().is_some() {
            let upgrade = "Connection: upgrade\r\nUpgrade: x\r\n\r\n";
            link.send(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}"));
            let _ = ended.lock().unwrap().send(link.stream.read(&mut [0; 1]));
        }
    });
    let directory = Directory::new();
    let ca = directory.write("ca.crt", &authority.pem());
    let config = format!(
        "shutdown_timeout = 0.5\n{}tls = {{ ca = {ca:?}, server_name = \"a.example\" }}\n",
        route("/", &[origin.addr])
    );
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    assert_eq!(proxy.stop(), 1);
    let end = end.recv_timeout(PATIENCE).unwrap();
    assert!(end.is_err(), "the backend was told of an orderly end");
}

#[test]
fn it_starts_again_while_clients_knock() {
    let origin = Origin::saying("served");
    let addr = free_addr();
    let config = format!("listen_addr = \"{addr}\"\n{}", route("/", &[origin.addr]));
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let knocking = std::thread::spawn(move || {
        while !is_over.load(SeqCst) {
            drop(TcpStream::connect(addr));
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let rounds = std::panic::catch_unwind(|| {
        for _ in 0..10 {
            let proxy = Proxy::launch(command(), addr, &config);
            proxy.wait_for_log(&["listening", &addr.to_string()]);
            let mut client = proxy.client();
            assert_eq!(client.ask(get("/")).text(), "served");
            // Ended with connections open, and started again on the same address.
        }
    });
    over.store(true, SeqCst);
    knocking.join().unwrap();
    rounds.unwrap();
}

#[test]
fn a_signal_right_after_the_start_is_not_missed() {
    for _ in 0..10 {
        let mut proxy = Proxy::to(&[free_addr()]);
        assert_eq!(proxy.stop(), 0);
    }
}
