//! Clients that end their sending side where something else is at work: an older version, an early answer, a tunnel,
//! TLS.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use super::two_way_silence::switched;
use crate::support::origin::ok;
use crate::support::tls::Front;
use crate::support::{Link, Origin, Proxy, get};

const SOON: Duration = Duration::from_millis(300);
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Answers late, to the end of the connection.
fn late(link: &mut Link) {
    if link.request().is_some() {
        sleep(SOON);
        link.send("HTTP/1.0 200 OK\r\n\r\nto the end");
    }
}

/// An answer that ends with its connection comes whole, over HTTP/1.0 and where pipelined requests stand before it.
#[test]
fn answers_that_end_with_their_connection_come_whole() {
    let origin = Origin::start(late);
    let front = Front::to(&origin, "");
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut plain = front.proxy.client();
        plain.send(request);
        plain.finish_sending();
        let rest = String::from_utf8(plain.rest()).unwrap();
        assert!(rest.ends_with("to the end"), "{rest}");
    }
    let mut piped = front.proxy.client();
    piped.send(get("/1") + "GET /2 HTTP/1.0\r\n\r\n");
    piped.finish_sending();
    assert_eq!(piped.answer().text(), "to the end");
    let rest = String::from_utf8(piped.rest()).unwrap();
    assert!(rest.ends_with("to the end"), "{rest}");
}

/// close_notify behind pipelined requests, behind a whole upload, and behind one of HTTP/1.0.
#[test]
fn close_notify_behind_requests_waits_for_all_answers() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            sleep(SOON);
            link.send(ok(&format!("{}", request.body.len())));
        }
    });
    let front = Front::to(&origin, "");
    let upload = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n".to_owned();
    let two = get("/").replace("test", "a.example").repeat(2);
    let old = "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n".to_owned();
    let cases = [
        (two, vec!["0", "0"]),
        (upload + &"x".repeat(100_000), vec!["100000"]),
        (old, vec!["0"]),
    ];
    for (request, answers) in cases {
        let mut client = front.client();
        client.send(&request);
        client.stream.conn.send_close_notify();
        client.stream.flush().unwrap();
        for expected in answers {
            assert_eq!(client.answer().text(), expected);
        }
        client.ends();
    }
}

/// close_notify within an upload whose answer has begun gives up the upload alone.
#[test]
fn close_notify_within_an_answered_upload_leaves_the_answer() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\n");
            for _ in 0..5 {
                sleep(SOON);
                link.send("yy");
            }
            link.rest();
        }
    });
    let front = Front::to(&origin, "");
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nx");
    client.head();
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    assert_eq!(client.bytes(10), b"yyyyyyyyyy");
}

/// The client ends its side of a tunnel: the backend sees the end and still speaks.
#[test]
fn a_tunnel_whose_client_has_ended_goes_on() {
    let origin = Origin::start(|link| {
        if let Some(head) = link.head() {
            link.send(switched(&head));
            let said = link.rest();
            sleep(SOON);
            link.send(format!("{} heard", said.len()));
        }
    });
    let front = Front::to(&origin, "");
    let mut plain = front.proxy.client();
    plain.send(UPGRADE);
    assert_eq!(plain.head().status(), 101);
    plain.send("hello");
    plain.finish_sending();
    assert_eq!(plain.rest(), b"5 heard");
    let mut secure = front.client();
    secure.send(UPGRADE);
    assert_eq!(secure.head().status(), 101);
    secure.send("hello");
    secure.stream.conn.send_close_notify();
    secure.stream.flush().unwrap();
    assert_eq!(secure.rest(), b"5 heard");
}

/// The client ends its side behind the request for a tunnel, before it is granted.
#[test]
fn a_tunnel_may_be_granted_to_a_client_that_has_ended() {
    let origin = Origin::start(|link| {
        if let Some(head) = link.head() {
            sleep(SOON);
            link.send(switched(&head));
            assert_eq!(link.rest(), b"");
            link.send("farewell");
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(UPGRADE);
    client.finish_sending();
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.rest(), b"farewell");
}

/// The backend ends its side of a tunnel: the client sees the end and still speaks.
#[test]
fn a_tunnel_whose_backend_has_ended_goes_on() {
    let (told, hear) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |link| {
        if let Some(head) = link.head() {
            link.send(switched(&head) + "bye");
            link.finish_sending();
            let _ = told.lock().unwrap().send(link.rest());
        }
    });
    let front = Front::to(&origin, "");
    let mut plain = front.proxy.client();
    plain.send(UPGRADE);
    assert_eq!(plain.head().status(), 101);
    assert_eq!(plain.rest(), b"bye");
    sleep(SOON);
    plain.send("still here");
    plain.finish_sending();
    assert_eq!(
        hear.recv_timeout(crate::support::PATIENCE).unwrap(),
        b"still here"
    );
}

/// An early answer to a client that has written its request to the end, but whose backend has not read it.
#[test]
fn an_early_answer_reaches_a_client_that_has_ended() {
    const BYTES: usize = 1 << 20;
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            sleep(SOON);
            link.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly");
            sleep(SOON);
        }
    });
    let front = Front::to(&origin, "");
    let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {BYTES}\r\n\r\n");
    let mut plain = front.proxy.client();
    plain.send(&head);
    plain.send(vec![b'x'; BYTES]);
    plain.finish_sending();
    let answer = plain.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "early"));
    let mut secure = front.client();
    secure.send(&head);
    secure.send(vec![b'x'; BYTES]);
    secure.stream.conn.send_close_notify();
    secure.stream.flush().unwrap();
    let answer = secure.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "early"));
}
