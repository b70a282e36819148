//! Whole exchanges over loopback: responses of both versions of HTTP to clients of both, with and without a filter.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use crate::base::addresses::{BackendAddr, ListenAddr};
use crate::http::h1::{Asked, FieldSlots, parse_response};
use crate::http::h2::{LocalSettings, Role};
use crate::net::{AcceptSwitch, BoundListener, Engine, ListenSocket, connect_tcp, spawn};
use crate::snapshot::{Snapshot, sample};
use crate::worker::accept;
use crate::worker::multiplex::tests::{block, bound, drive, receive, send};
use crate::worker::multiplex::{MultiplexConnection, MultiplexStream};
use crate::worker::relay::filter::tests::IS_LOUDER;
use crate::worker::relay::tests::{louder, unframed};
use crate::worker::sample::{of_http2, run_worker_with, spawned, until};
use crate::worker::shard::Shard;

/// The clients of each backend: one of each version, without a filter and with one.
const CLIENTS: usize = 6;

/// A body that is larger than any block.
fn data() -> Vec<u8> {
    let bytes = (0..200_000usize).map(|at| b"abc12 xyz"[at % 9]);
    bytes.collect()
}

/// The head and the body of a response over HTTP/1.
fn written(head: &str, chunk: usize) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n").into_bytes();
    if chunk == 0 {
        out.extend(data());
        return out;
    }
    for piece in data().chunks(chunk) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
}

/// A backend of HTTP/1.1 that gives this response to each client.
fn backend(response: Vec<u8>) -> (JoinHandle<()>, BackendAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        for _ in 0..CLIENTS {
            let (mut stream, _) = listener.accept().unwrap();
            read_head(&mut stream);
            stream.write_all(&response).unwrap();
        }
    });
    (serving, BackendAddr::Tcp(addr))
}

/// The response that a client of HTTP/1 gets: whether its head has a length, and its body without framing.
fn ask_as_http1(addr: SocketAddr, version: &'static str) -> (bool, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    let mut slots = FieldSlots::new();
    let head = parse_response(&got, &mut slots, Asked::default(), 65_536);
    let head = head.unwrap().expect("a complete head");
    let is_chunked = head.field("transfer-encoding").is_some();
    let has_length = head.field("content-length").is_some();
    assert!(!(is_chunked && has_length) && head.status == 200);
    assert!(!is_chunked || version == "1.1");
    (has_length, unframed(&got[head.head_bytes..], is_chunked).0)
}

/// The response that a client of HTTP/2 gets, which runs on the worker's own thread: whether its head has a length, and
/// the body.
async fn ask_as_http2(shard: &Rc<Shard>, addr: SocketAddr) -> (bool, Vec<u8>) {
    let connection =
        MultiplexConnection::new(Role::Client, LocalSettings::default(), &shard.timers);
    let socket = connect_tcp(addr).await.unwrap();
    drive(shard, &connection, socket, |_| {
        panic!("servers open no streams")
    });
    let stream = connection.stream();
    let mut request = block(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.ask(&mut request, "http", true, false).unwrap();
    let (head, _) = poll_fn(|cx| stream.poll_head(cx)).await.unwrap();
    assert_eq!(head.status(), 200);
    let has_length = head.field("content-length").is_some();
    let body = receive(&stream).await.unwrap();
    connection.end_if_idle();
    (has_length, body)
}

/// Has the client of this number served, which is the client of a version, without a filter or with one.
async fn ask(shard: &Rc<Shard>, addr: SocketAddr, number: usize) -> (bool, Vec<u8>) {
    let version = ["1.0", "1.1", "2"][number / 2];
    if version == "2" {
        return ask_as_http2(shard, addr).await;
    }
    let asking = thread::spawn(move || ask_as_http1(addr, version));
    until(shard, || asking.is_finished()).await;
    asking.join().unwrap()
}

/// Has a worker serve the clients one after the other; whether the response that passes unchanged has a length.
async fn serve_clients(shard: Rc<Shard>, front: BoundListener, expects_length: bool) {
    let ListenAddr::Tcp(addr) = front.addr else {
        panic!("the test listens on loopback");
    };
    accept::start(&shard, front, Engine::Epoll).unwrap();
    for number in 0..CLIENTS {
        let is_louder = number % 2 == 1;
        IS_LOUDER.set(is_louder);
        let asking = shard.clone();
        let asked = async move { ask(&asking, addr, number).await };
        let (has_length, body) = spawned(asked).await;
        let expected = if is_louder { louder(&data()) } else { data() };
        assert!(body == expected, "client {number} got {} bytes", body.len());
        let name = "a filter takes the length away";
        assert_eq!(
            has_length,
            expects_length && !is_louder,
            "{name}, client {number}"
        );
    }
    IS_LOUDER.set(false);
}

#[test]
fn responses_of_http1_go_through_their_filter_in_every_framing() {
    let length = format!("Content-Length: {}\r\n", data().len());
    let rows = [
        (written(&length, 0), true),
        (written("Transfer-Encoding: chunked\r\n", 9_000), false),
        (written("", 0), false),
    ];
    for (response, expects_length) in rows {
        let (serving, backend) = backend(response);
        let (front, _) = bound();
        let listener = sample::listener(front.addr.clone());
        let adapt = |snapshot: &mut Snapshot| {
            snapshot.listeners = vec![listener];
            sample::with_route(snapshot);
        };
        run_worker_with(
            &[backend],
            |_| (),
            adapt,
            async |shard| {
                serve_clients(shard, front, expects_length).await;
            },
        );
        serving.join().unwrap();
    }
}

/// A backend of HTTP/2 on the worker's own thread.
async fn serve_http2(shard: Rc<Shard>, listener: ListenSocket, head: &'static str) {
    let accept_switch = AcceptSwitch::default();
    while let Some(Ok((socket, _))) = listener.accept(&accept_switch).await {
        let connection =
            MultiplexConnection::new(Role::Server, LocalSettings::default(), &shard.timers);
        let answering = shard.clone();
        drive(&shard, &connection, socket, move |stream| {
            spawn(answer(answering.clone(), stream, head));
        });
    }
}

async fn answer(shard: Rc<Shard>, stream: MultiplexStream, head: &'static str) {
    let (asked, _) = poll_fn(|cx| stream.poll_head(cx)).await.unwrap();
    stream.give_head(asked);
    let mut head = block(head.as_bytes());
    stream.answer(&mut head, false).unwrap();
    send(&shard, &stream, &data()).await.unwrap();
}

#[test]
fn responses_of_http2_go_through_their_filter() {
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
    ];
    for (head, expects_length) in rows {
        let ((back, addr), (front, _)) = (bound(), bound());
        let listener = sample::listener(front.addr.clone());
        let adapt = |snapshot: &mut Snapshot| {
            snapshot.listeners = vec![listener];
            sample::with_route(snapshot);
        };
        run_worker_with(&[BackendAddr::Tcp(addr)], of_http2, adapt, async |shard| {
            let back = ListenSocket::new(back, Engine::Epoll).unwrap();
            spawn(serve_http2(shard.clone(), back, head));
            serve_clients(shard, front, expects_length).await;
        });
    }
}
