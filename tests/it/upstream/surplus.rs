//! Bytes that a backend sends beyond an answer are nobody's answer: they end the connection.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::support::origin::ok;
use crate::support::place::Directory;
use crate::support::proxy::route;
use crate::support::tls::{Authority, Server, finish_sending};
use crate::support::{Link, Origin, Proxy, eventually, get};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// The surplus of a backend.
#[derive(Default)]
struct Surplus {
    /// How often surplus was sent so far, and has come.
    sent: AtomicUsize,
    /// Whether the client, which has its answer, lets the surplus go that waits for that.
    is_released: AtomicBool,
}

/// Answers with the path, and sends more than that: with the answer, when the answer has come to the proxy, or when the
/// client lets it go.
fn generous<S: Read + Write>(link: &mut Link<S>, surplus: &Surplus, come: impl Fn(&Link<S>)) {
    while let Some(request) = link.request() {
        let line = request.head.first_line().to_owned();
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let good = ok(&path);
        if path.starts_with("/plain") {
            link.send(good);
            continue;
        }
        if path.starts_with("/with") {
            link.send(good + EVIL);
        } else {
            link.send(good);
            if path.starts_with("/after") {
                come(link);
            } else {
                let is_released = || surplus.is_released.swap(false, SeqCst);
                eventually("the client lets the surplus go", is_released);
            }
            link.send(EVIL);
        }
        come(link);
        surplus.sent.fetch_add(1, SeqCst);
    }
}

impl Surplus {
    /// Lets the surplus go that a backend holds back.
    fn release(&self) {
        self.is_released.store(true, SeqCst);
    }

    /// Waits until surplus was sent so often and has come. (Nobody can know of what is still on its way when a
    /// connection is used again.)
    #[track_caller]
    fn wait_for(&self, count: usize) {
        eventually("the surplus is sent", || self.sent.load(SeqCst) >= count);
    }
}

/// Asks in every way, each time when the surplus before has come; each answer must be the request's own.
#[track_caller]
fn each_gets_its_own(proxy: &Proxy, surplus: &Surplus) {
    let mut client = proxy.client();
    let mut count = 0;
    for round in 0..20 {
        for kind in ["/with", "/after", "/idle", "/plain"] {
            let path = format!("{kind}/{round}");
            assert_eq!(client.ask(get(&path)).text(), path);
            if kind == "/idle" {
                surplus.release();
            }
            if kind != "/plain" {
                count += 1;
                surplus.wait_for(count);
            }
        }
    }
}

#[test]
fn surplus_is_never_an_answer() {
    let surplus = Arc::<Surplus>::default();
    let sending = surplus.clone();
    let origin = Origin::start(move |link| generous(link, &sending, Link::wait_until_come));
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    each_gets_its_own(&proxy, &surplus);
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
    let surplus = Arc::<Surplus>::default();
    let sending = surplus.clone();
    let origin = Origin::start(move |link| {
        let Some(mut secured) = server.accept(link) else {
            return;
        };
        generous(&mut secured, &sending, |_| link.wait_until_come());
        finish_sending(&mut secured.stream);
    });
    let tls = format!("tls = {{ ca = {ca:?}, server_name = \"backend.example\" }}\n");
    // A handshake is given all the time that a busy machine may need.
    let first = "workers = 1\ntimeouts = { connect = 60 }\n";
    let config = first.to_owned() + &route("/", &[origin.addr]) + &tls;
    each_gets_its_own(&Proxy::start(&config), &surplus);
}

/// The surplus comes while the worker is stopped, together with the next request: the ring tells of both at once.
#[test]
fn surplus_that_comes_with_the_next_request_is_seen() {
    let surplus = Arc::<Surplus>::default();
    let sending = surplus.clone();
    let origin = Origin::start(move |link| generous(link, &sending, Link::wait_until_come));
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    for round in 0..10 {
        assert_eq!(client.ask(get("/idle")).text(), "/idle");
        proxy.stand_still();
        surplus.release();
        surplus.wait_for(round + 1);
        let path = format!("/plain/{round}");
        client.send(get(&path));
        proxy.go_on();
        assert_eq!(client.answer().text(), path);
    }
}
