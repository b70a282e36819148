//! Clients that are slow for good reasons, with bounds that are short: nobody of them is cut.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use super::slow_clients::{connections, narrow};
use crate::support::h2::frame::{get as h2_get, post};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::route;
use crate::support::tls::{Authority, BOTH, Dialer, Secure};
use crate::support::{Client, Link, Origin, Proxy, get};

/// Longer than each bound of the client's.
const LONG: Duration = Duration::from_millis(4_500);
/// Far shorter than these bounds, so that a busy machine makes no client look idle.
const PAUSE: Duration = Duration::from_millis(100);
const SHORT: &str =
    "[timeouts]\nclient_header = 2\nclient_body = 2\nclient_idle = 2\nclient_stream_stall = 2\n";

/// One proxy in cleartext, one over TLS.
struct Fronts {
    plain: Proxy,
    secure: Proxy,
    authority: Authority,
    _directory: Directory,
}

impl Fronts {
    fn to(origin: &Origin) -> Fronts {
        let (authority, directory) = (Authority::new(), Directory::new());
        let pair = authority.issue(&["test"]).write(&directory, "a");
        let config = SHORT.to_owned() + &route("/", &[origin.addr]);
        let rate = "min_rate_grace = 1\nmin_rate_bytes = 100000\n";
        let tls = format!("{rate}tls = {{ certificates = [{pair}] }}");
        Fronts {
            plain: Proxy::with_listener(rate, &config),
            secure: Proxy::with_listener(&tls, &config),
            authority,
            _directory: directory,
        }
    }

    fn clients(&self) -> (Client, Client<Secure>) {
        let dialer = Dialer::new(&self.authority, BOTH);
        (self.plain.client(), dialer.client(self.secure.addr, "test"))
    }
}

/// Answers when there is something to tell.
fn polled(link: &mut Link) {
    while link.request().is_some() {
        sleep(LONG);
        link.send(ok("news"));
    }
}

/// A long poll, with the half of another request behind it.
#[test]
fn a_long_poll_is_not_silence() {
    let origin = Origin::start(polled);
    let fronts = Fronts::to(&origin);
    let request = get("/");
    let (half, rest) = request.split_at(20);
    let (mut plain, mut secure) = fronts.clients();
    plain.send(request.clone() + half);
    secure.send(request.clone() + half);
    assert_eq!(plain.answer().text(), "news");
    assert_eq!(secure.answer().text(), "news");
    plain.send(rest);
    secure.send(rest);
    assert_eq!(plain.answer().text(), "news");
    assert_eq!(secure.answer().text(), "news");
}

/// A client that must wait until its backend has read what it has sent.
#[test]
fn an_upload_that_its_backend_reads_slowly_is_not_slow() {
    const BYTES: usize = 12 << 20;
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            sleep(LONG);
            let mut left = BYTES;
            while left > 0 {
                let some = link.bytes(left.min(1 << 20)).map_or(0, |some| some.len());
                assert!(some > 0, "the upload was cut");
                left -= some;
                sleep(PAUSE);
            }
            link.send(ok("read"));
        }
    });
    let fronts = Fronts::to(&origin);
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {BYTES}\r\n\r\n");
    let body = vec![b'x'; BYTES];
    let (mut plain, mut secure) = fronts.clients();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            secure.send(&head);
            secure.send(&body);
            assert_eq!(secure.answer().text(), "read");
        });
        scope.spawn(|| {
            let answer = fronts.plain.h2().ask_with(&post("/", &[]), &body);
            assert_eq!(answer.text(), "read");
        });
        plain.send(&head);
        plain.send(&body);
        assert_eq!(plain.answer().text(), "read");
    });
}

/// The permission to send comes late: from the backend, which is a proxy of its own.
#[test]
fn who_waits_for_permission_is_not_slow() {
    let origin = Origin::start(|link| {
        if let Some(head) = link.head() {
            sleep(LONG);
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            let request = link.body_of(head).map_or(0, |it| it.body.len());
            link.send(ok(&request.to_string()));
        }
    });
    let inner = Fronts::to(&origin);
    let (config, rate) = (
        SHORT.to_owned() + &route("/", &[inner.plain.addr]),
        "min_rate_grace = 1\nmin_rate_bytes = 100000\n",
    );
    let outer = Proxy::with_listener(rate, &config);
    let mut client = outer.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
    );
    assert!(client.head().text.starts_with("HTTP/1.1 100 "));
    client.send("x".repeat(100_000));
    assert_eq!(client.answer().text(), "100000");
}

/// A backend that compresses, or has little to say, pauses for long between two chunks.
#[test]
fn a_download_whose_backend_pauses_is_not_slow() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for _ in 0..3 {
                link.send(format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000)));
                sleep(LONG / 2);
            }
            link.send("0\r\n\r\n");
        }
    });
    let fronts = Fronts::to(&origin);
    let (mut plain, mut secure) = fronts.clients();
    plain.send(get("/"));
    secure.send(get("/"));
    let answer = fronts.plain.h2().ask(&h2_get("/", &[]));
    assert_eq!(answer.body.len(), 300_000);
    assert_eq!(plain.answer().body.len(), 300_000);
    assert_eq!(secure.answer().body.len(), 300_000);
}

/// A reader that takes a little all the time: the kernel takes more for it in large steps only, for which `client_idle`
/// is too short. No least rate is demanded of it.
#[test]
fn a_steady_reader_is_not_idle() {
    const BYTES: usize = 12 << 20;
    let origin = Origin::start(|link| {
        if let Some(request) = link.request() {
            let kind = request.head.field("accept").unwrap_or("text/plain");
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {BYTES}\r\n\r\n"
            ));
            link.try_send("x".repeat(BYTES));
        }
    });
    let (authority, directory) = (Authority::new(), Directory::new());
    let pair = authority.issue(&["test"]).write(&directory, "a");
    let admins = [(); 3].map(|()| free_addr());
    let tls = format!("min_rate_bytes = 0\ntls = {{ certificates = [{pair}] }}");
    let listeners = ["min_rate_bytes = 0", "", &tls];
    let start = |index: usize| {
        let config = format!(
            "[admin]\nlisten_addr = \"{}\"\n[timeouts]\nclient_idle = 5\n{}",
            admins[index],
            route("/", &[origin.addr])
        );
        Proxy::with_listener(listeners[index], &config)
    };
    let proxies = [0, 1, 2].map(start);
    let [free, events] = [0, 1].map(|index| Client::connect(proxies[index].addr).stream);
    let dialer = Dialer::new(&authority, BOTH);
    let secure = dialer.client(proxies[2].addr, "test").stream;
    [&free, &events, &secure.sock].into_iter().for_each(narrow);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_is_left_alone(free, admins[0]));
        scope.spawn(|| assert_is_left_alone(events, admins[1]));
        assert_is_left_alone(secure, admins[2]);
    });
}

/// Reads a little again and again, for several times as long as a client may be idle.
#[track_caller]
fn assert_is_left_alone(stream: impl Read + Write, admin: SocketAddr) {
    let mut client = Client::over(stream);
    client.send(get("/").replace("\r\n\r\n", "\r\nAccept: text/event-stream\r\n\r\n"));
    client.head();
    for reads in 0..60 {
        client.bytes(5_000);
        assert!(connections(admin), "cut after {reads} reads");
        sleep(PAUSE);
    }
}
