//! The client's and the server's side of one connection over loopback: each side gets the bytes that the other sends.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::base::addresses::ListenAddr;
use crate::base::ids::BackendId;
use crate::http::h2::{LocalSettings, Role};
use crate::net::{
    AcceptSwitch, Block, BoundListener, Engine, ListenSocket, Socket, Timer, connect_tcp, spawn,
};
use crate::worker::min_rate::MinRate;
use crate::worker::sample::{refusing, run_worker, until};
use crate::worker::shard::Shard;

const PATIENCE: Duration = Duration::from_secs(60);

/// A listening socket on loopback for the engine, and its address.
pub fn bound() -> (BoundListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let bound = BoundListener {
        addr: ListenAddr::Tcp(addr),
        socket: listener.into(),
        came_for: None,
        file: None,
    };
    (bound, addr)
}

/// The two ends of a connection over TCP.
async fn sockets() -> (Socket, Socket) {
    let (bound, addr) = bound();
    let listener = ListenSocket::new(bound, Engine::Epoll).unwrap();
    let client = connect_tcp(addr).await.unwrap();
    let (server, _) = listener
        .accept(&AcceptSwitch::default())
        .await
        .unwrap()
        .unwrap();
    (client, server)
}

/// Moves the bytes of one side until it ends. `begin` takes the streams that the peer opens.
pub fn drive(
    shard: &Rc<Shard>,
    connection: &Rc<MultiplexConnection>,
    socket: Socket,
    begin: impl Fn(MultiplexStream) + 'static,
) {
    let (shard, connection) = (shard.clone(), connection.clone());
    spawn(async move {
        let terms = Terms {
            blocks: &shard.blocks,
            bulk_turns: &shard.bulk_turns,
            memory: &shard.memory,
            begin: &begin,
            refused: &|_| (),
            rest: &|| (),
            is_unwanted: &|| false,
            serves_half_closed: false,
            idle: PATIENCE,
            head: PATIENCE,
            stall: PATIENCE,
            rate: &MinRate::none(),
        };
        connection.drive(&socket, Block::default(), &terms).await;
        socket.end();
    });
}

/// A client's connection to a server that calls `begin` with each stream.
async fn connected(
    shard: &Rc<Shard>,
    begin: impl Fn(MultiplexStream) + 'static,
) -> Rc<MultiplexConnection> {
    let (client, server) = sockets().await;
    let [asking, serving] = [Role::Client, Role::Server]
        .map(|role| MultiplexConnection::new(role, LocalSettings::default(), &shard.timers));
    drive(shard, &serving, server, begin);
    drive(shard, &asking, client, |_| {
        panic!("servers open no streams")
    });
    asking
}

pub fn block(bytes: &[u8]) -> Block {
    let mut block = Block::with_capacity(bytes.len().max(1));
    block.extend(bytes);
    block
}

/// Sends the rest of a message. Errors: the peer has given the stream up.
pub async fn send(shard: &Shard, stream: &MultiplexStream, bytes: &[u8]) -> io::Result<()> {
    let timer = Timer::new(&shard.timers);
    timer.set(PATIENCE);
    let mut block = block(bytes);
    let piece = Piece {
        count: bytes.len(),
        is_last: true,
    };
    let sent = stream.send(&mut block, piece, &timer, |_| ());
    sent.await.expect("there is much time")
}

/// Receives the body of a message to its end.
pub async fn receive(stream: &MultiplexStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        poll_fn(|cx| stream.poll_readable(cx)).await;
        let mut piece = Block::with_capacity(16_384);
        match stream.receive(&mut piece, usize::MAX) {
            Ok(0) => return Ok(body),
            Ok(_) => body.extend_from_slice(piece.filled()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Answers a request with its own body.
async fn echo(shard: Rc<Shard>, stream: MultiplexStream) {
    let (head, _) = poll_fn(|cx| stream.poll_head(cx)).await.unwrap();
    stream.give_head(head);
    let body = receive(&stream).await.unwrap();
    let mut head = block(b"HTTP/1.1 200 OK\r\n\r\n");
    stream.answer(&mut head, body.is_empty()).unwrap();
    if !body.is_empty() {
        send(&shard, &stream, &body).await.unwrap();
    }
}

fn ask(connection: &Rc<MultiplexConnection>) -> MultiplexStream {
    let stream = connection.stream();
    let mut request = block(b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.ask(&mut request, "http", false, false).unwrap();
    stream
}

/// Bodies that are larger than all windows are sent as the peer takes them.
#[test]
fn bodies_of_any_size_come_back_whole_on_streams_beside_each_other() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let echoing = shard.clone();
            let connection = connected(&shard, move |stream| {
                spawn(echo(echoing.clone(), stream));
            });
            let connection = connection.await;
            let done = Rc::new(RefCell::new(0));
            let sizes = [0, 1, 16_384, 65_536, 300_000, 1_000_003];
            for (size, salt) in sizes.into_iter().zip(0u8..) {
                let (shard, connection, done) = (shard.clone(), connection.clone(), done.clone());
                spawn(async move {
                    let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8 ^ salt).collect();
                    let stream = ask(&connection);
                    send(&shard, &stream, &body).await.unwrap();
                    let (head, _) = poll_fn(|cx| stream.poll_head(cx)).await.unwrap();
                    assert_eq!(head.status(), 200);
                    assert!(receive(&stream).await.unwrap() == body, "{size} bytes");
                    *done.borrow_mut() += 1;
                });
            }
            until(&shard, || *done.borrow() == sizes.len()).await;
            until(&shard, || connection.open_streams() == 0).await;
            assert!(connection.has_room());
        },
    );
}

/// Takes the streams that a client opens, and leaves them unanswered.
async fn silent(shard: &Rc<Shard>) -> (Rc<MultiplexConnection>, Rc<RefCell<Vec<MultiplexStream>>>) {
    let streams = Rc::new(RefCell::new(Vec::new()));
    let taken = streams.clone();
    let connection = connected(shard, move |stream| taken.borrow_mut().push(stream)).await;
    (connection, streams)
}

#[test]
fn a_stream_that_is_given_up_is_reset_and_leaves_the_others_alone() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let (connection, streams) = silent(&shard).await;
            let [first, second] = [(); 2].map(|()| ask(&connection));
            until(&shard, || streams.borrow().len() == 2).await;
            drop(first);
            until(&shard, || streams.borrow()[0].is_gone()).await;
            assert!(!streams.borrow()[1].is_gone());
            // The server resets the other stream.
            streams.borrow_mut().clear();
            until(&shard, || second.is_gone()).await;
            assert!(!second.is_connection_lost(), "only the stream has ended");
            let gone = poll_fn(|cx| second.poll_gone(cx)).await;
            assert!(matches!(gone, Gone::Reset(_)), "{gone:?}");
        },
    );
}

#[test]
fn a_connection_that_is_lost_takes_its_streams_with_it() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let (connection, streams) = silent(&shard).await;
            let stream = ask(&connection);
            until(&shard, || streams.borrow().len() == 1).await;
            connection.lose(Gone::Lost);
            assert!(stream.is_connection_lost());
            assert!(!connection.has_room());
            until(&shard, || streams.borrow()[0].is_gone()).await;
            let late = connection.stream();
            let mut request = block(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(late.ask(&mut request, "http", true, false).is_err());
            let gone = poll_fn(|cx| late.poll_gone(cx)).await;
            assert_eq!(gone, Gone::Unprocessed, "it may be sent elsewhere");
        },
    );
}

#[test]
fn an_idle_connection_ends_when_it_is_not_needed() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let (connection, streams) = silent(&shard).await;
            let stream = ask(&connection);
            assert!(!connection.end_if_idle(), "it carries a stream");
            until(&shard, || streams.borrow().len() == 1).await;
            drop(stream);
            assert!(connection.end_if_idle());
            assert!(!connection.end_if_idle(), "its end has begun");
            until(&shard, || !connection.has_room()).await;
        },
    );
}

/// A request may wait on a connection that is still being made, and fails if the connection fails.
#[test]
fn streams_wait_for_the_socket_of_their_connection() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let connection =
                MultiplexConnection::new(Role::Client, LocalSettings::default(), &shard.timers);
            connection.note_backend(BackendId(5));
            let stream = Rc::new(connection.stream());
            let outcome = Rc::new(RefCell::new(None));
            let (waiting, told) = (stream.clone(), outcome.clone());
            spawn(async move {
                let made = poll_fn(|cx| waiting.poll_connected(cx)).await;
                told.replace(Some(made));
            });
            crate::worker::sample::tick(&shard).await;
            assert_eq!(*outcome.borrow(), None);
            assert!(!connection.end_if_idle(), "a request waits for it");
            connection.lose(Gone::Unconnected(Unconnected::Failed));
            until(&shard, || outcome.borrow().is_some()).await;
            let failed = Gone::Unconnected(Unconnected::Failed);
            assert_eq!(outcome.take(), Some(Err(failed)));
            assert_eq!(stream.backend(), Some(BackendId(5)));
        },
    );
}
