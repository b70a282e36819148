//! Tunnels that one side breaks off: the other side must not take what it got for the whole.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Client, Link, Origin, PATIENCE, Proxy};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhalf";

/// How a stream ended: `None` if in order.
type End = Option<ErrorKind>;

/// Reads until the end.
fn end_of(stream: &mut impl Read) -> End {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    read.err().map(|error| error.kind())
}

/// A backend that switches, sends a part of something, and does `then`, which says whether it stays. The end of a
/// tunnel in which it stays is reported.
fn switching(then: impl Fn(&mut Link) -> bool + Send + Sync + 'static) -> (Origin, Receiver<End>) {
    let (ended, end) = mpsc::channel();
    let ended = Arc::new(Mutex::new(ended));
    let origin = Origin::start(move |link| {
        if link.request().is_some() {
            link.send(SWITCHING);
            if then(link) {
                let _ = ended.lock().unwrap().send(end_of(&mut link.stream));
            }
        }
    });
    (origin, end)
}

/// A proxy with an access log, in which tunnels end after this silence.
fn proxy(origin: &Origin, tunnel_idle: u32) -> Proxy {
    let log = "[access_log]\npath = \"{dir}/access.log\"\n";
    let timeouts = format!("[timeouts]\ntunnel_idle = {tunnel_idle}\n");
    Proxy::start(&format!("{log}{timeouts}{}", route("/", &[origin.addr])))
}

fn begin(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.bytes(4), b"half");
    client
}

#[track_caller]
fn assert_logged(proxy: &Proxy, failure: &str) {
    let line = &proxy.access_lines(1)[0];
    assert!(line.contains(failure), "{line}");
}

#[test]
fn a_backend_that_resets_a_tunnel_has_the_client_reset() {
    let (origin, _end) = switching(|link| {
        link.bytes(1);
        link.reset_on_close();
        false
    });
    let proxy = proxy(&origin, 600);
    let mut client = begin(&proxy);
    client.send("x");
    assert_eq!(end_of(&mut client.stream), Some(ErrorKind::ConnectionReset));
    assert_logged(&proxy, "\"failure\":\"tunnel_broken\"");
}

#[test]
fn a_client_that_resets_a_tunnel_has_the_backend_reset() {
    let (origin, end) = switching(|link| link.bytes(1).is_some());
    let proxy = proxy(&origin, 600);
    let mut client = begin(&proxy);
    client.send("x");
    client.leave();
    let end = end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert_logged(&proxy, "\"failure\":\"client_left\"");
}

#[test]
fn a_tunnel_that_is_silent_for_too_long_is_reset_on_both_sides() {
    let (origin, end) = switching(|_| true);
    let proxy = proxy(&origin, 1);
    let mut client = begin(&proxy);
    assert_eq!(end_of(&mut client.stream), Some(ErrorKind::ConnectionReset));
    let end = end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert_logged(&proxy, "\"failure\":\"tunnel_idle\"");
}

/// A client that ends its TLS connection without the word for it may have had more to say.
#[test]
fn a_client_of_tls_that_ends_without_a_word_has_the_backend_reset() {
    let (origin, end) = switching(|link| link.bytes(1).is_some());
    let front = Front::to(&origin, "");
    let mut client = front.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status(), 101);
    client.send("x");
    client.stream.sock.shutdown(Shutdown::Both).unwrap();
    let end = end.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_tunnel_that_both_sides_end_has_no_failure() {
    let (origin, end) = switching(|link| link.bytes(1).is_some());
    let proxy = proxy(&origin, 600);
    let mut client = begin(&proxy);
    client.send("x");
    client.finish_sending();
    assert_eq!(end.recv_timeout(PATIENCE).unwrap(), None);
    assert_eq!(end_of(&mut client.stream), None);
    assert_logged(&proxy, "\"failure\":null");
}
