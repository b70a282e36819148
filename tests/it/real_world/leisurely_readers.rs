//! Messages come as they come, and their readers take them as slowly as they like, also where the windows of HTTP/2 are
//! wide open, so that only the socket tells how slow a client is.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::slow_clients::{connections, is_counted, narrow, proxy};
use super::two_way_silence::switched;
use crate::support::h2::H2;
use crate::support::h2::frame::{get, post, setting};
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Link, Origin, eventually, metrics};

const PAUSE: Duration = Duration::from_millis(100);
/// Several times as long as a client that takes too little has.
const LONG: Duration = Duration::from_secs(7);
/// More than the kernels of both ends hold.
const BYTES: usize = 20 << 20;
const LISTENER: &str = "min_rate_bytes = 100000000";

/// Says much, of the type that is asked for.
fn telling(link: &mut Link) {
    if let Some(head) = link.head() {
        let kind = head.field("content-type").unwrap_or("text/event-stream");
        link.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"));
        link.try_send("data: x\n\n".repeat(BYTES / 9));
        link.rest();
    }
}

/// Switches to whatever it is asked for, and says much there.
fn switching(link: &mut Link) {
    if let Some(head) = link.head() {
        link.send(switched(&head));
        link.try_send("x".repeat(BYTES));
        link.rest();
    }
}

/// Opens the windows wide, asks, and takes little of what comes.
struct Leisurely {
    client: H2,
    admin: SocketAddr,
}

impl Leisurely {
    fn start(addr: SocketAddr, admin: SocketAddr) -> Leisurely {
        let mut client = H2::start(addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
        narrow(&client.stream);
        client.gives_credit = false;
        client.credit(0, 1 << 30);
        Leisurely { client, admin }
    }

    /// Takes a little, while the proxy keeps the connection. (What the kernel holds for the client comes behind its
    /// end.)
    #[track_caller]
    fn sips(&mut self) {
        sleep(PAUSE);
        let _ = self.client.stream.read(&mut [0; 20_000]);
        assert!(connections(self.admin), "the connection ended");
    }

    #[track_caller]
    fn is_left_alone(&mut self, stream: u32) {
        assert_eq!(self.client.head(stream).status(), 200);
        self.client.stream.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            self.sips();
        }
    }
}

fn upgrade(protocol: &str) -> [(&str, &str); 7] {
    [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
}

#[test]
fn events_are_read_as_slowly_as_one_likes() {
    let origin = Origin::start(telling);
    let (proxy, admin) = proxy(LISTENER, &route("/", &[origin.addr]));
    let mut reader = Leisurely::start(proxy.addr, admin);
    let stream = reader.client.begin(&get("/", &[]), true);
    reader.is_left_alone(stream);
}

#[test]
fn calls_are_read_as_slowly_as_one_likes() {
    let origin = Origin::start(telling);
    let (proxy, admin) = proxy(LISTENER, &route("/", &[origin.addr]));
    let mut reader = Leisurely::start(proxy.addr, admin);
    let fields = [("content-type", "application/grpc")];
    let stream = reader.client.begin(&post("/", &fields), false);
    reader.is_left_alone(stream);
}

#[track_caller]
fn assert_tunnel_is_left_alone(protocol: &str) {
    let origin = Origin::start(switching);
    let (proxy, admin) = proxy(LISTENER, &route("/", &[origin.addr]));
    let mut reader = Leisurely::start(proxy.addr, admin);
    let stream = reader.client.begin(&upgrade(protocol), false);
    reader.is_left_alone(stream);
}

#[test]
fn websockets_are_read_as_slowly_as_one_likes() {
    assert_tunnel_is_left_alone("websocket");
}

#[test]
fn tunnels_are_read_as_slowly_as_one_likes() {
    assert_tunnel_is_left_alone("other");
}

/// A download beside events on one connection ends alone.
#[test]
fn a_download_beside_events_is_reset_alone() {
    let origin = Origin::start(telling);
    let large = Origin::saying(&"x".repeat(BYTES));
    let routes = route("/events", &[origin.addr]) + &route("/", &[large.addr]);
    let (proxy, admin) = proxy(LISTENER, &routes);
    let mut reader = Leisurely::start(proxy.addr, admin);
    let events = reader.client.begin(&get("/events", &[]), true);
    assert_eq!(reader.client.head(events).status(), 200);
    reader.client.begin(&get("/", &[]), true);
    let counted = std::thread::spawn(move || is_counted(admin, "reader_too_slow"));
    reader.client.stream.set_nonblocking(true).unwrap();
    while !counted.is_finished() {
        reader.sips();
    }
    counted.join().unwrap();
    (0..10).for_each(|_| reader.sips());
}

/// Answers nothing until it is released.
fn waiting(is_released: &Arc<AtomicBool>) -> Origin {
    let is_released = is_released.clone();
    Origin::start(move |link| {
        if link.head().is_some() {
            while !is_released.load(SeqCst) {
                sleep(Duration::from_millis(5));
            }
            link.try_send(ok("late"));
        }
    })
}

/// A download ends alone beside streams whose answers have not begun: a poll, an upload, and a gRPC call.
#[test]
fn a_download_beside_streams_without_answers_is_reset_alone() {
    let is_released = Arc::<AtomicBool>::default();
    let slow = waiting(&is_released);
    let large = Origin::saying(&"x".repeat(BYTES));
    let routes = route("/wait", &[slow.addr]) + &route("/", &[large.addr]);
    let (proxy, admin) = proxy(LISTENER, &routes);
    let mut reader = Leisurely::start(proxy.addr, admin);
    let call = [("content-type", "application/grpc"), ("te", "trailers")];
    let client = &mut reader.client;
    client.begin(&get("/wait", &[]), true);
    client.begin(&post("/wait", &[]), false);
    client.begin(&post("/wait", &call), false);
    eventually("all wait for their backend", || slow.accepted() >= 3);
    client.begin(&get("/", &[]), true);
    let counted = std::thread::spawn(move || is_counted(admin, "reader_too_slow"));
    reader.client.stream.set_nonblocking(true).unwrap();
    while !counted.is_finished() {
        reader.sips();
    }
    counted.join().unwrap();
    (0..10).for_each(|_| reader.sips());
    let metrics = metrics(admin);
    let mut lines = metrics.lines();
    let in_flight = lines.find(|line| line.starts_with("palantir_requests_in_flight"));
    assert!(
        in_flight.is_some_and(|line| line.ends_with(" 3")),
        "{in_flight:?}"
    );
    is_released.store(true, SeqCst);
}

/// Where all answers of a connection are read too slowly, the connection ends, and all of them are counted.
#[test]
fn downloads_that_are_read_too_slowly_end_together() {
    let large = Origin::saying(&"x".repeat(BYTES));
    let (proxy, admin) = proxy(LISTENER, &route("/", &[large.addr]));
    let mut reader = Leisurely::start(proxy.addr, admin);
    for _ in 0..3 {
        reader.client.begin(&get("/", &[]), true);
    }
    large.wait_for_requests(3);
    reader.client.stream.set_nonblocking(true).unwrap();
    while connections(admin) {
        sleep(PAUSE);
        let _ = reader.client.stream.read(&mut [0; 20_000]);
    }
    eventually("all are counted", || {
        let metrics = metrics(admin);
        let mut lines = metrics.lines();
        lines.any(|line| line.contains("reason=\"reader_too_slow\"") && line.ends_with(" 3"))
    });
}
