//! Clients and backends that are killed in the middle of an exchange, over either version, at any point: everything
//! that was held for them goes at once. No time-out is short enough to do that here.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::support::h2::H2;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, get, post, setting};
use crate::support::place::free_addr;
use crate::support::{Client, Link, Origin, Proxy, eventually, metrics, when_still};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// How far the exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The backend has the request and says nothing.
    Head,
    /// Some of the answer has come, and no more comes.
    Some,
    /// The client takes no more of a large answer: over HTTP/2, its window is shut.
    Full,
    /// The client takes no more of its answer. Over HTTP/2 the socket is full, not the window of the stream.
    Stuffed,
    /// The backend takes no more of a large request.
    Upload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Fin,
    Rst,
}

/// The verdict that the backend's connections wait for.
type Verdict = Arc<Mutex<Option<How>>>;

fn await_verdict(link: &mut Link, verdict: &Verdict) {
    loop {
        let verdict = *verdict.lock().unwrap();
        match verdict {
            Some(How::Rst) => return link.reset_on_close(),
            Some(How::Fin) => return,
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn serve_http1(link: &mut Link, verdict: &Verdict) {
    let Some(head) = link.head() else { return };
    let line = head.first_line().to_owned();
    if line.contains("/some") || line.contains("/full") {
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nsome");
    }
    if line.contains("/full") {
        let block = [b'x'; 64 << 10];
        while link.try_send(block) {}
        return;
    }
    await_verdict(link, verdict);
}

fn serve_http2(link: &mut Link, verdict: &Verdict) {
    // An upload finds this window and no more; the path is not looked at, since requests tell what they want by it.
    let Some(mut backend) = Backend::greet(link, &[(setting::INITIAL_WINDOW_SIZE, 40_000)]) else {
        return;
    };
    let Some(request) = std::iter::from_fn(|| backend.frame()).find(|frame| frame.kind == 1) else {
        return;
    };
    let asks_for = |path: &str| {
        request
            .payload
            .windows(path.len())
            .any(|it| it == path.as_bytes())
    };
    let stream = request.stream;
    if asks_for("/some") || asks_for("/full") {
        backend.head(stream, 0);
        backend.send(frame::data(0, stream, b"some"));
    }
    if asks_for("/full") {
        // As much as the stream's window allows: it begins with 16 KiB.
        backend.send(frame::data(0, stream, [b'x'; 16_000]));
    }
    await_verdict(link, verdict);
}

/// A client in the middle of an exchange.
enum Halfway {
    Http1(Client),
    Http2(Box<H2>),
}

impl Halfway {
    fn begin(version: Version, proxy: &Proxy, phase: Phase) -> Halfway {
        let path = match phase {
            Phase::Head => "/head",
            Phase::Some => "/some",
            Phase::Full | Phase::Stuffed => "/full",
            Phase::Upload => "/upload",
        };
        match version {
            Version::Http1 => Halfway::Http1(begin_http1(proxy, phase, path)),
            Version::Http2 => Halfway::Http2(Box::new(begin_http2(proxy, phase, path))),
        }
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Halfway::Http1(client) => &client.stream,
            Halfway::Http2(client) => &client.stream,
        }
    }

    fn kill(self, how: How) {
        if how == How::Rst {
            let socket = SockRef::from(self.stream());
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

fn begin_http1(proxy: &Proxy, phase: Phase, path: &str) -> Client {
    let mut client = proxy.client();
    if phase != Phase::Upload {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        return client;
    }
    let length = 1 << 30;
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(vec![b'x'; 100_000]);
    client
}

/// Sends until nobody takes any more.
fn fill(mut stream: &TcpStream) {
    let wait = Some(Duration::from_secs(1));
    stream.set_write_timeout(wait).unwrap();
    while stream.write(&[b'x'; 64 << 10]).is_ok() {}
}

fn begin_http2(proxy: &Proxy, phase: Phase, path: &str) -> H2 {
    let window = match phase {
        Phase::Stuffed => 1 << 30,
        _ => 65_535,
    };
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, window)]);
    client.gives_credit = false;
    if phase == Phase::Stuffed {
        client.credit(0, 1 << 30);
    }
    if phase != Phase::Upload {
        let stream = client.begin(&get(path, &[]), true);
        if phase == Phase::Full {
            client.head(stream);
        }
        return client;
    }
    let stream = client.begin(&post(path, &[]), false);
    while client.room(stream) > 0 {
        let most = client.room(stream).min(16_384);
        client.use_window(stream, most);
        client.send(frame::data(0, stream, vec![b'x'; most]));
    }
    client
}

/// A proxy before a backend of a version, and what it holds.
struct World {
    proxy: Proxy,
    origin: Origin,
    admin: SocketAddr,
    verdict: Verdict,
    /// Descriptors of the proxy at rest.
    at_rest: usize,
}

impl World {
    fn new(backend: Version) -> World {
        let verdict = Verdict::default();
        let told = verdict.clone();
        let origin = Origin::start(move |link| match backend {
            Version::Http1 => serve_http1(link, &told),
            Version::Http2 => serve_http2(link, &told),
        });
        let (admin, protocol) = (
            free_addr(),
            if backend == Version::Http1 {
                "h1"
            } else {
                "h2"
            },
        );
        let proxy = Proxy::with_listener(
            "half_close = \"abort\"",
            &format!(
                "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n\
             [timeouts]\nclient_idle = 600\nclient_body = 600\nclient_header = 600\n\
             upstream_response = 600\nupstream_idle = 600\n\
             [[pools]]\nname = \"one\"\nprotocol = \"{protocol}\"\n\
             backends = [{{ addr = \"{}\", max_connections = 100 }}]\n\
             [[routes]]\npool = \"one\"\nretries = 0\n",
                origin.addr
            ),
        );
        let mut world = World {
            proxy,
            origin,
            admin,
            verdict,
            at_rest: 0,
        };
        world.has_gauges(&[("palantir_client_connections", 0)]);
        world.at_rest = when_still(|| world.descriptors() as u64) as usize;
        world
    }

    fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.proxy.pid());
        fs::read_dir(path).unwrap().count()
    }

    /// Waits until gauges have these values.
    #[track_caller]
    fn has_gauges(&self, wanted: &[(&str, u64)]) {
        for (name, wanted) in wanted {
            eventually(&format!("{name} is {wanted}"), || {
                let text = metrics(self.admin);
                let lines = text.lines().filter(|line| {
                    let rest = line.strip_prefix(name);
                    rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                });
                let values =
                    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
                values.sum::<f64>() == *wanted as f64
            });
        }
    }

    #[track_caller]
    fn has_nothing_under_way(&self) {
        self.has_gauges(&[
            ("palantir_requests_in_flight", 0),
            ("palantir_route_requests_in_flight", 0),
            ("palantir_backend_requests_in_flight", 0),
        ]);
    }

    #[track_caller]
    fn holds_at_most(&self, more: usize) {
        eventually("the descriptors are given back", || {
            self.descriptors() <= self.at_rest + more
        });
    }

    /// Waits until the exchange can come no further.
    fn settle(&self, phase: Phase, connections: usize) {
        eventually("the backend is connected to", || {
            self.origin.accepted() > connections
        });
        self.has_gauges(&[("palantir_backend_requests_in_flight", 1)]);
        if matches!(phase, Phase::Full | Phase::Stuffed) {
            when_still(|| self.origin.sent());
        }
    }

    /// Lets the backend's connections end, and waits until they have.
    fn clear(&self) {
        self.verdict.lock().unwrap().get_or_insert(How::Fin);
        eventually("the backend's connections have ended", || {
            self.origin.ended() == self.origin.accepted()
        });
        self.holds_at_most(0);
        *self.verdict.lock().unwrap() = None;
    }
}

/// Clients of both versions, killed in every phase.
fn clients_are_killed(backend: Version) {
    let world = World::new(backend);
    // A connection that other clients share stays.
    let kept = usize::from(backend == Version::Http2);
    for version in [Version::Http1, Version::Http2] {
        for phase in [
            Phase::Head,
            Phase::Some,
            Phase::Full,
            Phase::Stuffed,
            Phase::Upload,
        ] {
            for how in [How::Fin, How::Rst] {
                eprintln!("a client of {version:?} is killed by {how:?} in {phase:?}");
                let connections = world.origin.accepted();
                let client = Halfway::begin(version, &world.proxy, phase);
                world.settle(phase, connections);
                if (version, phase, how) == (Version::Http1, Phase::Upload, How::Rst) {
                    fill(client.stream()); // A reset comes through all the same; the end behind such bytes would not.
                }
                client.kill(how);
                world.has_nothing_under_way();
                world.has_gauges(&[("palantir_client_connections", 0)]);
                world.holds_at_most(kept);
                world.clear();
            }
        }
    }
}

/// Backends, killed in every phase, while clients of both versions are there.
fn backends_are_killed(backend: Version) {
    let world = World::new(backend);
    for version in [Version::Http1, Version::Http2] {
        for phase in [Phase::Head, Phase::Some, Phase::Upload] {
            for how in [How::Fin, How::Rst] {
                eprintln!(
                    "a backend is killed by {how:?} in {phase:?}, before a client of {version:?}"
                );
                let connections = world.origin.accepted();
                let client = Halfway::begin(version, &world.proxy, phase);
                world.settle(phase, connections);
                *world.verdict.lock().unwrap() = Some(how);
                world.has_nothing_under_way();
                world.holds_at_most(1); // The client's.
                drop(client);
                world.clear();
            }
        }
    }
}

#[test]
fn clients_before_a_backend_of_http1() {
    clients_are_killed(Version::Http1);
}

#[test]
fn clients_before_a_backend_of_http2() {
    clients_are_killed(Version::Http2);
}

#[test]
fn backends_of_http1() {
    backends_are_killed(Version::Http1);
}

#[test]
fn backends_of_http2() {
    backends_are_killed(Version::Http2);
}

/// A client that ends its sending side counts as gone, also while it takes nothing of what is sent to it.
#[test]
fn a_client_of_http2_that_half_closes() {
    let world = World::new(Version::Http1);
    for phase in [Phase::Full, Phase::Stuffed] {
        let connections = world.origin.accepted();
        let client = Halfway::begin(Version::Http2, &world.proxy, phase);
        world.settle(phase, connections);
        client.stream().shutdown(Shutdown::Write).unwrap();
        world.has_nothing_under_way();
        drop(client);
        world.clear();
    }
}

/// Many uploads share a connection whose window they use up, and some wait for it before they have sent anything.
#[test]
fn uploads_that_share_a_lost_connection() {
    let verdict = Verdict::default();
    let told = verdict.clone();
    let origin = Origin::start(move |link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            backend.request();
            await_verdict(link, &told);
        }
    });
    let proxy = Proxy::start(&format!(
        "workers = 1\n[timeouts]\nupstream_response = 600\n\
         [[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = [{{ addr = \"{}\", max_connections = 1 }}]\n[[routes]]\npool = \"h2\"\nretries = 0\n",
        origin.addr
    ));
    let mut clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = proxy.client();
            client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
            client.send(vec![b'x'; 60_000]);
            client
        })
        .collect();
    eventually("the backend is connected to", || origin.accepted() == 1);
    thread::sleep(Duration::from_secs(1)); // By then the uploads have used up the window; later ones fail all the same.
    *verdict.lock().unwrap() = Some(How::Rst);
    for client in &mut clients {
        assert_eq!(client.answer().status(), 502);
    }
}

/// Bytes that a client sent behind its request do not hide that the client has left, be it one byte or more than is
/// received.
#[test]
fn bytes_behind_a_request_hide_nothing() {
    let world = World::new(Version::Http1);
    for bytes in [1, 1_000, 40_000] {
        for how in [How::Fin, How::Rst] {
            let connections = world.origin.accepted();
            let mut client = Halfway::begin(Version::Http1, &world.proxy, Phase::Head);
            world.settle(Phase::Head, connections);
            if let Halfway::Http1(client) = &mut client {
                client.send(vec![b'G'; bytes]);
            }
            thread::sleep(Duration::from_millis(300)); // The bytes and the end come one after the other, as a rule.
            client.kill(how);
            world.has_nothing_under_way();
            world.has_gauges(&[("palantir_client_connections", 0)]);
            world.clear();
        }
    }
}

/// One side of a tunnel is killed while the other takes nothing.
#[test]
fn a_tunnel_whose_other_side_is_stuck() {
    let verdict = Verdict::default();
    let told = verdict.clone();
    let origin = Origin::start(move |link| {
        if link.head().is_some() {
            link.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n",
            );
            await_verdict(link, &told);
        }
    });
    let admin = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nupstream_idle = 600\n{}",
        crate::support::proxy::route("/", &[origin.addr])
    ));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    fill(&client.stream);
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually("the tunnel ends", || {
        let text = metrics(admin);
        text.contains("palantir_requests_in_flight 0")
            || text.lines().any(|line| {
                line.starts_with("palantir_requests_in_flight{") && line.ends_with(" 0")
            })
    });
    *verdict.lock().unwrap() = Some(How::Fin);
}

/// An HTTP/2 client that resets one stream of several takes that stream's exchange along, and no other.
#[test]
fn a_reset_stream_whose_window_is_shut() {
    let world = World::new(Version::Http1);
    let mut client = match Halfway::begin(Version::Http2, &world.proxy, Phase::Full) {
        Halfway::Http2(client) => client,
        Halfway::Http1(_) => unreachable!("asked for the other version"),
    };
    world.settle(Phase::Full, 0);
    client.send(frame::reset(1, frame::code::CANCEL));
    world.has_nothing_under_way();
    client.is_alive();
    drop(client);
    world.clear();
}
