//! WebSockets through a pool of HTTP/2 to a backend that is at its bound of connections and takes WebSockets only by
//! HTTP/1.1. Each WebSocket needs a connection of its own, and waits for one like every other request.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use crate::real_world::hanging_backends::State;
use crate::real_world::leaving_backends::serve_h2;
use crate::real_world::websockets_to_h2::{
    BOTH, Backend, Seen, connect, is_echoed, is_echoed_on, with_key,
};
use crate::support::origin::ok;
use crate::support::{Client, Origin, Proxy, get};

/// A backend that speaks both versions, and takes WebSockets by HTTP/1.1 only.
const OLD: Backend = Backend {
    extended: None,
    ..BOTH
};

fn config(origin: &Origin, workers: u8, most: u8, connect: u8) -> String {
    format!(
        "workers = {workers}\n[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\n\
         backends = [{{ addr = \"{}\", max_connections = {most} }}]\n\
         [[routes]]\npool = \"h2\"\ntimeouts = {{ connect = {connect} }}\n",
        origin.addr
    )
}

fn switched(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(with_key());
    let head = client.head();
    assert_eq!(head.status(), 101, "{}", head.text);
    is_echoed(&mut client);
    client
}

/// An idle connection of HTTP/2 of any worker makes room for a WebSocket, and is opened anew when the WebSocket has
/// ended.
#[test]
fn an_idle_connection_of_http2_makes_room_for_a_websocket() {
    for workers in [1, 2] {
        let (origin, _) = OLD.start();
        let proxy = Proxy::start(&config(&origin, workers, 1, 50));
        for _ in 0..3 {
            assert_eq!(proxy.ask(get("/")).text(), "version2");
            drop(switched(&proxy));
        }
        let mut client = proxy.h2();
        let stream = client.begin(&connect("websocket"), false);
        is_echoed_on(&mut client, stream);
    }
}

/// The first WebSocket learns what the backend takes from a connection that then takes up its room.
#[test]
fn the_connection_that_told_what_the_backend_takes_makes_room() {
    let (origin, seen) = OLD.start();
    let proxy = Proxy::start(&config(&origin, 1, 1, 50));
    drop(switched(&proxy));
    assert_eq!(origin.accepted(), 2);
    // From then on the proxy knows what the backend takes.
    drop(switched(&proxy));
    assert_eq!(origin.accepted(), 3);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

/// A second WebSocket waits until the first one has ended, and so do requests that need a stream.
#[test]
fn a_websocket_waits_for_another_ones_end() {
    let (origin, _) = OLD.start();
    let proxy = Proxy::start(&config(&origin, 1, 1, 50));
    let first = switched(&proxy);
    let (mut second, mut plain) = (proxy.client(), proxy.client());
    second.send(with_key());
    plain.send(get("/"));
    // No request is refused before the first WebSocket has ended.
    thread::sleep(Duration::from_millis(300));
    drop(first);
    assert_eq!(second.head().status(), 101);
    is_echoed(&mut second);
    drop(second);
    assert_eq!(plain.answer().text(), "version2");
}

/// A WebSocket that gets no connection in time keeps no other request from its stream meanwhile.
#[test]
fn requests_that_need_a_stream_do_not_wait_behind_a_websocket() {
    let state = State::new(true);
    let seen = state.clone();
    let origin = Origin::start(move |link| {
        let mut first = [0; 3];
        match link.stream.peek(&mut first) {
            Ok(3) if first == *b"PRI" => serve_h2(link, &seen, "version2"),
            Ok(3) => OLD.serve(link, &Seen::default()),
            _ => {}
        }
    });
    let proxy = Proxy::start(&config(&origin, 1, 2, 1));
    let _holding = switched(&proxy);
    // The connection of HTTP/2 is in use until this request is answered.
    let mut busy = proxy.client();
    busy.send(get("/wait"));
    state.wait_for(1);
    let (mut waiting, mut plain) = (proxy.client(), proxy.client());
    waiting.send(with_key());
    for _ in 0..20 {
        assert_eq!(plain.ask(get("/")).text(), "version2");
    }
    let answer = waiting.answer();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("saturated"), "{answer:?}");
    state.is_released.store(true, SeqCst);
    assert_eq!(busy.answer().text(), "version2");
    drop(switched(&proxy));
}

/// Offers of other protocols than WebSocket go by HTTP/1.1, whatever the backend takes.
#[test]
fn other_protocols_get_the_room_of_an_idle_connection_too() {
    let (origin, _) = BOTH.start();
    let proxy = Proxy::start(&config(&origin, 1, 1, 50));
    assert_eq!(proxy.ask(get("/")).text(), "version2");
    let mut client = proxy.client();
    client.send("POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    is_echoed(&mut client);
    drop(client);
    // If the backend offers it, a WebSocket shares the connection of HTTP/2 with other requests.
    let websocket = switched(&proxy);
    assert_eq!(proxy.ask(get("/")).text(), "version2");
    drop(websocket);
}

/// The connection of a refused WebSocket ends and takes no other request.
#[test]
fn a_websocket_that_is_refused_leaves_its_room_to_others() {
    let (old, _) = OLD.start();
    let addr = old.addr;
    drop(old);
    let origin = Origin::start_at(addr, |link| match link.bytes(3).as_deref() {
        Some(b"PRI") => OLD.serve_http2(link, &Seen::default()),
        _ => drop((link.head(), link.try_send(ok("no")), link.rest())),
    });
    let proxy = Proxy::start(&config(&origin, 1, 1, 50));
    for _ in 0..3 {
        assert_eq!(proxy.client().ask(with_key()).text(), "no");
        assert_eq!(proxy.ask(get("/")).text(), "version2");
    }
}
