//! Bytes that a backend sends beyond an answer are nobody's answer: they end the connection.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::support::origin::ok;
use crate::support::place::Directory;
use crate::support::proxy::route;
use crate::support::tls::{Authority, Server};
use crate::support::{Link, Origin, Proxy, get};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// Answers with the path, and sends more than that: with the answer, shortly after it, or once the connection is idle.
fn generous<S: Read + Write>(link: &mut Link<S>) {
    while let Some(request) = link.request() {
        let line = request.head.first_line().to_owned();
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let good = ok(&path);
        if path.starts_with("/with") {
            link.send(good + EVIL);
        } else if path.starts_with("/after") {
            link.send(good);
            thread::sleep(Duration::from_micros(300));
            link.send(EVIL);
        } else if path.starts_with("/idle") {
            link.send(good);
            thread::sleep(Duration::from_millis(20));
            link.send(EVIL);
        } else {
            link.send(good);
        }
    }
}

/// Asks in every way, and in pauses in which the surplus has come; each answer must be the request's own.
#[track_caller]
fn each_gets_its_own(proxy: &Proxy) {
    let mut client = proxy.client();
    for round in 0..20 {
        for kind in ["/with", "/after", "/idle", "/plain"] {
            let path = format!("{kind}/{round}");
            assert_eq!(client.ask(get(&path)).text(), path);
            // What is still on its way when a connection is used again, nobody can know of.
            thread::sleep(Duration::from_millis(match kind {
                "/idle" => 40,
                _ => 10,
            }));
        }
    }
}

#[test]
fn surplus_is_never_an_answer() {
    let origin = Origin::start(generous);
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    each_gets_its_own(&proxy);
    assert!(
        origin.accepted() > 50,
        "connections with surplus are closed"
    );
}

#[test]
fn surplus_over_tls_is_never_an_answer() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let ca = directory.write("ca.crt", &authority.pem());
    let server = Server::new(&authority.issue(&["backend.example"]));
    let origin = server.start(generous);
    let tls = format!("tls = {{ ca = {ca:?}, server_name = \"backend.example\" }}\n");
    let config = "workers = 1\n".to_owned() + &route("/", &[origin.addr]) + &tls;
    each_gets_its_own(&Proxy::start(&config));
}

/// The surplus comes while the worker is stopped, together with the next request: the ring tells of both at once.
#[test]
fn surplus_that_comes_with_the_next_request_is_seen() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let line = request.head.first_line().to_owned();
            link.send(ok(line.split(' ').nth(1).unwrap()));
            if line.contains("/late") {
                thread::sleep(Duration::from_millis(30));
                link.send(EVIL);
            }
        }
    });
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    for round in 0..10 {
        assert_eq!(client.ask(get("/late")).text(), "/late");
        proxy.signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(60));
        let path = format!("/next/{round}");
        client.send(get(&path));
        proxy.signal(libc::SIGCONT);
        assert_eq!(client.answer().text(), path);
    }
}
