//! Whole exchanges over real sockets: the request that the backend gets, the answer that the client gets, and the
//! counters.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::*;
use crate::base::addresses::ListenAddr;
use crate::base::time::Micros;
use crate::http::cookies::NO_COOKIE_EDITS;
use crate::http::names::NO_EDITS;
use crate::net::{AcceptSwitch, Block, BoundListener, Engine, ListenSocket, RemoteAddr, Socket};
use crate::route::RouteTable;
use crate::shared::counter::PerWorker;
use crate::shared::failure::FAILURES;
use crate::snapshot::{
    HostHeader, Listener as ListenerSettings, Route, RouteOptions, RouteTimeouts, Snapshot, sample,
};
use crate::worker::downstream::{AcceptedClient, Arrival, Woken};
use crate::worker::sample::{POOL, listener, run_worker_with};

const PATIENCE: Duration = Duration::from_secs(60);
/// The largest request body that the route takes.
const BODY_BYTES: u64 = 1 << 20;

/// The only route, for `/a`.
fn route() -> Route {
    Route {
        name: "/a".to_owned(),
        pool: POOL,
        prefix: "/a".to_owned(),
        host_header: HostHeader::Preserve,
        wants_certificate: false,
        request_fields: NO_EDITS.clone(),
        response_fields: NO_EDITS.clone(),
        options: RouteOptions {
            retries: 0,
            rewrite_location: false,
            ..RouteOptions::default()
        },
        timeouts: RouteTimeouts {
            client_body: PATIENCE,
            connect: PATIENCE,
            upstream_response: PATIENCE,
            upstream_idle: PATIENCE,
            tunnel_idle: PATIENCE,
        },
        request_body_bytes: BODY_BYTES,
        cookies: NO_COOKIE_EDITS.clone(),
        forwarded: false,
        x_real_ip: false,
        cache: None,
        cache_counters: None,
        counters: Arc::new(PerWorker::new(1)),
    }
}

fn listener_settings(addr: ListenAddr, redirect_to_https: bool) -> ListenerSettings {
    let mut listener = sample::listener(addr);
    listener.options.redirect_to_https = redirect_to_https;
    listener
}

/// A request, as the backend received it: a head and its body, as far as the head announces one.
fn receive_request(link: &mut TcpStream) -> String {
    let (mut received, mut piece) = (Vec::new(), [0; 65_536]);
    loop {
        let text = String::from_utf8_lossy(&received);
        if let Some(end) = text.find("\r\n\r\n") {
            let (head, body) = text.split_at(end + 4);
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let is_whole = match length {
                Some(length) => body.len() >= length.parse().unwrap(),
                None => !head.contains("Transfer-Encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if is_whole {
                return text.into_owned();
            }
        }
        match link.read(&mut piece).unwrap() {
            0 => return String::from_utf8_lossy(&received).into_owned(),
            count => received.extend_from_slice(&piece[..count]),
        }
    }
}

/// A backend that answers the first request with these bytes, and then ends the connection. The result is the request;
/// empty: no request came.
fn backend(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
    spawn(move || {
        let (mut link, _) = listener.accept().unwrap();
        let request = receive_request(&mut link);
        link.write_all(answer.as_bytes()).unwrap();
        request
    })
}

/// A client that sends a request. The result is all bytes that it gets until the connection ends.
fn client(addr: SocketAddr, request: String) -> JoinHandle<String> {
    spawn(move || {
        let mut link = TcpStream::connect(addr).unwrap();
        // A proxy that refuses a request may end the connection before it has taken all of the request.
        let _ = link.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = link.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
}

/// One exchange.
struct Served {
    /// The bytes that the backend got; empty: none.
    forwarded: String,
    answer: String,
    next: Next,
    /// The label of the failure that was counted; empty: none.
    failure: &'static str,
}

async fn accept(listening: TcpListener) -> (Socket, RemoteAddr) {
    listening.set_nonblocking(true).unwrap();
    let bound = BoundListener {
        addr: ListenAddr::Tcp(listening.local_addr().unwrap()),
        socket: listening.into(),
        came_for: None,
        file: None,
    };
    let listener = ListenSocket::new(bound, Engine::Epoll).unwrap();
    listener
        .accept(&AcceptSwitch::default())
        .await
        .unwrap()
        .unwrap()
}

/// Serves one request on a connection of its own.
async fn serve_once(shard: &Rc<Shard>, listening: TcpListener) -> (Next, &'static str) {
    let addr = ListenAddr::Tcp(listening.local_addr().unwrap());
    let (socket, peer) = accept(listening).await;
    let arrival = Arrival {
        peer,
        connection_peer: peer,
        reached: None,
        listener: shard.config().listener(&addr).unwrap().clone(),
        secured: None,
        upstreams: Rc::default(),
    };
    let accepted = AcceptedClient {
        socket,
        arrival,
        received: Block::default(),
    };
    let client = Client::new(accepted, shard);
    client.first_due.set(Micros::now().after(PATIENCE));
    assert_eq!(client.wait_for_request(shard, PATIENCE).await, Woken::Bytes);
    let next = serve(shard, &client).await;
    client.close(shard).await;
    let reasons = shard.links.counters(shard.worker).reasons();
    let counted = FAILURES.iter().zip(reasons).find(|(_, count)| *count > 0);
    (next, counted.map_or("", |(row, _)| row.label))
}

fn exchange(request: &str, answer: &'static str, redirects: bool) -> Served {
    let client = |addr: SocketAddr| client(addr, request.to_owned());
    exchange_between(|upstream| backend(upstream, answer), client, redirects)
}

fn exchange_between(
    backend: impl FnOnce(TcpListener) -> JoinHandle<String>,
    client: impl FnOnce(SocketAddr) -> JoinHandle<String>,
    redirects: bool,
) -> Served {
    let (upstream, upstream_addr) = listener();
    let waker = upstream.local_addr().unwrap();
    let downstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = downstream.local_addr().unwrap();
    let adapt = |snapshot: &mut Snapshot| {
        snapshot.routes = vec![Arc::new(route())];
        snapshot.route_table = Arc::new(RouteTable::new(&[(None, "/a".to_owned())]));
        snapshot.listeners = vec![listener_settings(ListenAddr::Tcp(addr), redirects)];
    };
    let backend = backend(upstream);
    let client = client(addr);
    let (next, failure) = run_worker_with(
        &[upstream_addr],
        |_| (),
        adapt,
        async |shard| serve_once(&shard, downstream).await,
    );
    // A backend that gets no connection would wait for one without an end.
    drop(TcpStream::connect(waker));
    Served {
        forwarded: backend.join().unwrap(),
        answer: client.join().unwrap(),
        next,
        failure,
    }
}

const HI: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn what_each_request_comes_to() {
    use Next::{Close, Request};
    let options = "OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n".to_owned();
    let chunked =
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n";
    let old = "GET /a HTTP/1.0\r\nHost: a\r\n\r\n".to_owned();
    let too_long = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        BODY_BYTES + 1
    );
    let close = "Connection: close\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhi";
    let malformed = "HTTP/1.1 2000 OK\r\n\r\n";
    // The request, the backend's answer, the status, the end of the answer, the next act of the connection, the
    // failure.
    let rows = [
        (get("/a/b", ""), HI, "200", "\r\n\r\nhi", Request, ""),
        (get("/a", close), HI, "200", "\r\n\r\nhi", Close, ""),
        (old, HI, "200", "\r\n\r\nhi", Close, ""),
        (
            get("/a", ""),
            until_close,
            "200",
            "2\r\nhi\r\n0\r\n\r\n",
            Request,
            "",
        ),
        (chunked.to_owned(), HI, "200", "\r\n\r\nhi", Request, ""),
        (get("/none", ""), HI, "404", "", Request, "no_route"),
        (
            get("/a", "Bad : x\r\n"),
            HI,
            "400",
            "",
            Close,
            "bad_field_name",
        ),
        (get("/../a", ""), HI, "400", "", Close, "path_above_root"),
        (options, HI, "200", "\r\n\r\n", Request, ""),
        (too_long, HI, "413", "", Close, "body_too_large"),
        (get("/a", ""), "", "502", "", Request, "reset"),
        (
            get("/a", ""),
            malformed,
            "502",
            "",
            Request,
            "bad_status_line",
        ),
    ];
    for (request, answer, status, end, next, failure) in rows {
        let served = exchange(&request, answer, false);
        assert!(
            served.answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {}",
            served.answer
        );
        assert!(served.answer.ends_with(end), "{request}: {}", served.answer);
        assert_eq!((served.next, served.failure), (next, failure), "{request}");
        let reaches = matches!(failure, "" | "reset" | "bad_status_line");
        let is_forwarded = reaches && !request.starts_with("OPTIONS");
        assert_eq!(!served.forwarded.is_empty(), is_forwarded, "{request}");
    }
}

#[test]
fn a_request_goes_on_with_what_its_backend_must_know() {
    let served = exchange(&get("/a/x/../b?c", "X: y\r\nKeep-Alive: 5\r\n"), HI, false);
    let head = served.forwarded;
    assert!(head.starts_with("GET /a/b?c HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nX: y\r\n") && head.contains("X-Forwarded-For: 127.0.0.1"),
        "{head}"
    );
    assert!(!head.contains("Keep-Alive"), "{head}");
}

#[test]
fn a_listener_that_redirects_forwards_nothing() {
    let served = exchange(&get("/a?b", ""), HI, true);
    let answer = served.answer;
    assert!(
        answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\nLocation: https://a/a?b\r\n"),
        "{answer}"
    );
    assert_eq!((served.failure, served.next), ("", Next::Request));
    assert_eq!(served.forwarded, "");
}

/// A body that is larger than the kept part is passed on while it comes.
#[test]
fn a_large_body_arrives_whole() {
    for length in [1, 16_384, 300_000] {
        let body = "x".repeat(length);
        let head = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let served = exchange(&(head + &body), HI, false);
        let (_, forwarded) = served.forwarded.split_once("\r\n\r\n").unwrap();
        assert_eq!(forwarded.len(), length);
        assert_eq!((served.failure, served.next), ("", Next::Request));
    }
}

#[test]
fn a_connection_that_switched_protocols_carries_bytes_both_ways() {
    let backend = |upstream: TcpListener| {
        spawn(move || {
            let (mut link, _) = upstream.accept().unwrap();
            let mut received = receive_request(&mut link);
            let switched = "HTTP/1.1 101 Switching Protocols\r\n";
            let chosen = "Connection: upgrade\r\nUpgrade: talk\r\n\r\n";
            link.write_all(format!("{switched}{chosen}hello ").as_bytes())
                .unwrap();
            let mut ping = [0; 4];
            link.read_exact(&mut ping).unwrap();
            received += std::str::from_utf8(&ping).unwrap();
            link.write_all(b"pong").unwrap();
            received
        })
    };
    let client = |addr: SocketAddr| {
        spawn(move || {
            let mut link = TcpStream::connect(addr).unwrap();
            let request = get("/a", "Connection: upgrade\r\nUpgrade: talk\r\n");
            link.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello ") {
                let mut byte = [0];
                link.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
            link.write_all(b"ping").unwrap();
            link.read_to_end(&mut answer).unwrap();
            String::from_utf8(answer).unwrap()
        })
    };
    let served = exchange_between(backend, client, false);
    let answer = served.answer;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello pong"), "{answer}");
    assert!(served.forwarded.ends_with("\r\n\r\nping"));
    assert_eq!((served.failure, served.next), ("", Next::Close));
}
