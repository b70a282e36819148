//! Clients whose bytes are no TLS where TLS should be, TLS where it should not be, or break off.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::h2::frame::{PREFACE, get};
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::tls::{
    Dialer, Front, Secure, TLS12, TLS13, connection_failures, ended_orderly,
};
use crate::support::{Client, Origin, Proxy, eventually};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// The first message of a client, as it goes over the wire.
fn hello(front: &Front) -> Vec<u8> {
    let config = Arc::new(front.dialer().0);
    let name = ServerName::try_from("a.example").unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// The first message in records of so many bytes each.
fn split_hello(front: &Front, bytes: usize) -> Vec<u8> {
    let hello = hello(front);
    let records = hello[5..].chunks(bytes).map(|piece| {
        let length = (piece.len() as u16).to_be_bytes();
        [&hello[..3], &length, piece].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn plain_http_is_told_so() {
    let origin = Origin::saying("never");
    let front = Front::to(&origin, "");
    let upload = format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 200000\r\n\r\n{}",
        "x".repeat(200_000)
    );
    let requests = [
        GET.as_bytes(),
        b"OPTIONS * HTTP/1.1\r\n",
        b"G",
        PREFACE,
        upload.as_bytes(),
    ];
    for (count, request) in (1..).zip(requests) {
        let mut client = Client::connect(front.addr);
        client.try_send(request);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.complete), (400, true));
        assert!(answer.text().contains("https://"), "{answer:?}");
        client.ends();
        front.wait_for_failures("plain_http", count);
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(front.client().ask(GET).status(), 200);
}

#[test]
fn tls_is_not_taken_for_a_request() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let mut beside = front.proxy.client();
    let hello = hello(&front);
    for (count, first) in (1..).zip([hello.len(), 1, 3]) {
        let mut client = front.proxy.client();
        client.send(&hello[..first]);
        if first == 1 {
            assert_eq!(beside.ask(GET).status(), 200);
        }
        client.try_send(&hello[first..]);
        client.ends();
        front.wait_for_failures("unexpected_tls", count);
    }
    assert_eq!(beside.ask(GET).status(), 200);
    assert_eq!(origin.count(), 2);
}

/// Half of a handshake, and then nothing: others are served meanwhile, and nobody may wait forever.
#[test]
fn a_handshake_must_come_to_its_end() {
    let origin = Origin::saying("");
    // Long enough for a client that does not wait, whatever the machine is busy with.
    let config =
        "workers = 1\ntimeouts = { client_header = 5 }\n".to_owned() + &route("/", &[origin.addr]);
    let front = Front::start("", &config);
    let hello = hello(&front);
    let mut waiting: Vec<Client> = [0, 1, 4, 5, 20, hello.len() - 1, hello.len()]
        .into_iter()
        .map(|length| {
            let mut client = Client::connect(front.addr);
            client.send(&hello[..length]);
            client
        })
        .collect();
    assert_eq!(front.client().ask(GET).status(), 200);
    for client in &mut waiting {
        client.rest();
    }
    front.wait_for_failures("timeout", waiting.len() as u64);
}

/// A handshake may come in pieces, of the network or of TLS.
#[test]
fn a_handshake_may_come_in_pieces() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let hello = hello(&front);
    let mut slow = Client::connect(front.addr);
    for byte in &hello {
        slow.send([*byte]);
    }
    assert_eq!(slow.bytes(1), [22]);
    for size in [1, 10, hello.len()] {
        let mut odd = Client::connect(front.addr);
        odd.send(split_hello(&front, size));
        assert_eq!(odd.bytes(1), [22], "{size}");
    }
}

#[test]
fn what_is_no_handshake_ends() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let hello = hello(&front);
    let record = |kind: u8, length: u16, rest: &[u8]| {
        [&[kind, 3, 3], &length.to_be_bytes()[..], rest].concat()
    };
    let endless = [1, 0xff, 0xff, 0xff]
        .map(|byte| record(22, 1, &[byte]))
        .concat();
    let rows = [
        ("noise", b"\x01\x02\x03\x04\x05\x06\x07\x08".repeat(100)),
        ("lower case", b"get / http/1.1\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        (
            "SSL 2",
            b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10".repeat(8),
        ),
        ("application data", record(23, 5, b"hello")),
        ("an alert", record(21, 2, &[2, 40])),
        ("a change of keys", record(20, 1, &[1]).repeat(100)),
        ("an empty record", record(22, 0, b"").repeat(1000)),
        ("a record too long", record(22, 0x4801, &[1; 0x4801])),
        ("a message too long", endless.clone()),
        ("a server's hello", record(22, 4, &[2, 0, 0, 0])),
        ("a hello of nothing", record(22, 4, &[1, 0, 0, 0])),
        (
            "a flood of pieces",
            [endless, record(22, 1, &[0]).repeat(40_000)].concat(),
        ),
        ("a hello twice", [&hello[..], &hello[..]].concat()),
    ];
    let mut beside = front.client();
    for (name, bytes) in rows {
        let mut client = Client::connect(front.addr);
        client.try_send(bytes);
        // At most an alert, and what answers a hello.
        let said = client.rest();
        assert!(
            said.is_empty() || said[0] == 21 || name == "a hello twice",
            "{name}: {said:?}"
        );
        assert_eq!(beside.ask(GET).status(), 200, "{name}");
    }
    let reasons = ["malformed", "misbehaved", "refused_by_peer", "other"];
    let counts: Vec<u64> = reasons
        .iter()
        .map(|reason| front.failures(reason))
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 14, "{reasons:?} {counts:?}");
    assert_eq!(counts[3], 0, "{reasons:?} {counts:?}");
    assert!(front.proxy.peak_memory() < 64 << 20);
}

#[test]
fn clients_that_vanish_are_counted() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let hello = hello(&front);
    for length in [1, 5, hello.len() / 2, hello.len()] {
        let mut client = Client::connect(front.addr);
        client.send(&hello[..length]);
        if length == hello.len() {
            client.bytes(100);
        }
    }
    front.wait_for_failures("closed", 4);
    assert_eq!(front.client().ask(GET).status(), 200);
}

/// Without TLS's own word for it the end may be forged; with it, a body is still as long as it says.
#[test]
fn an_upload_that_is_cut_is_not_whole() {
    let origin = Origin::saying("");
    let front = Front::to(&origin, "");
    let heads = ["Content-Length: 10", "Transfer-Encoding: chunked"];
    for versions in [TLS12, TLS13] {
        for (head, is_orderly) in heads
            .into_iter()
            .flat_map(|head| [(head, true), (head, false)])
        {
            let dialer = Dialer::new(&front.authority, versions);
            let mut client = dialer.client(front.addr, "a.example");
            let body = if head.starts_with('C') {
                "hello"
            } else {
                "5\r\nhello\r\n"
            };
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a.example\r\n{head}\r\n\r\n{body}"
            ));
            if is_orderly {
                client.stream.conn.send_close_notify();
                client.stream.flush().unwrap();
            }
            client
                .stream
                .sock
                .shutdown(std::net::Shutdown::Write)
                .unwrap();
            let said = client.rest();
            assert!(!said.starts_with(b"HTTP/1.1 2"), "{head} {is_orderly}");
        }
    }
    eventually("the backend's connections have ended", || {
        origin.accepted() == origin.ended()
    });
    assert_eq!(origin.count(), 0, "complete requests");
}

/// An answer that is cut must not look like one that has ended: neither by its framing nor by TLS's word.
#[test]
fn an_answer_that_is_cut_is_not_whole() {
    let cuts = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ];
    for cut in cuts {
        let origin = Origin::start(move |link| {
            link.request();
            link.send(cut);
        });
        let front = Front::to(&origin, "");
        for version in ["1.0", "1.1"] {
            let mut client = front.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a.example\r\n\r\n"));
            let answer = client.answer();
            let by_close = answer
                .field("content-length")
                .or(answer.field("transfer-encoding"))
                .is_none();
            assert!(!answer.complete || by_close, "{answer:?}");
            if by_close {
                assert!(!ended_orderly(&mut client.stream), "{answer:?}");
            }
        }
        let answer = front.h2().ask(&get("/", &[]));
        assert!(answer.reset.is_some() && !answer.complete, "{answer:?}");
    }
}

/// New keys as often as a client likes, within reason (RFC 8446 section 4.6.3).
#[test]
fn keys_may_change() {
    let origin = Origin::saying("hello");
    let front = Front::to(&origin, "");
    let mut client = Dialer::new(&front.authority, TLS13).client(front.addr, "a.example");
    for _ in 0..20 {
        client.stream.conn.refresh_traffic_keys().unwrap();
        assert_eq!(client.ask(GET).text(), "hello");
    }
    fn flood(stream: &mut Secure) -> std::io::Result<()> {
        for _ in 0..5_000 {
            stream
                .conn
                .refresh_traffic_keys()
                .map_err(std::io::Error::other)?;
            stream.flush()?;
        }
        stream.write_all(GET.as_bytes())?;
        stream.read(&mut [0; 1]).map(|_| ())
    }
    // Served or cut off, but it costs nobody else anything.
    let _ = flood(&mut client.stream);
    assert_eq!(front.client().ask(GET).text(), "hello");
    assert!(front.proxy.peak_memory() < 64 << 20);
}

/// A request by a listener of its own in cleartext, with nothing but TLS sent to it.
#[test]
fn tls_on_a_port_without_http2() {
    let (addr, admin) = (free_addr(), free_addr());
    let origin = Origin::saying("");
    let _proxy = Proxy::start(&format!(
        "[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{addr}\"\nhttp2 = false\n{}",
        route("/", &[origin.addr])
    ));
    let front = Front::to(&origin, "");
    let refused = front.dialer().connect(addr, "a.example");
    assert!(refused.is_err());
    eventually("it is counted", || {
        connection_failures(admin, "unexpected_tls") == 1
    });
}
