//! Faults in the responses of a backend whose responses must follow the RFCs to the letter. Each row of bytes becomes a
//! 502 that shows none of them.

use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy, get};

/// The status and body of what the client sees when the backend answers so and closes.
#[track_caller]
fn seen(bytes: &[u8]) -> crate::support::Answer {
    let bytes = bytes.to_vec();
    let origin = Origin::start(move |link| {
        if link.request().is_some() {
            link.send(&bytes);
        }
    });
    let proxy = strict(&origin);
    proxy.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx")
}

fn strict(origin: &Origin) -> Proxy {
    Proxy::start(&(route("/", &[origin.addr]) + "strict_responses = true\n"))
}

/// One proxy and one backend for all rows: the request's body says what the backend answers.
struct Parrot {
    _origin: Origin,
    proxy: Proxy,
}

impl Parrot {
    fn start() -> Parrot {
        let origin = Origin::start(|link| {
            if let Some(request) = link.request() {
                link.send(&request.body);
                link.finish_sending();
                link.rest();
            }
        });
        let proxy = strict(&origin);
        Parrot {
            _origin: origin,
            proxy,
        }
    }

    fn client_of(&self, answer: &[u8]) -> Client {
        let mut client = self.proxy.client();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        client.send([head.as_bytes(), answer].concat());
        client
    }
}

#[test]
fn malformed_heads() {
    let parrot = Parrot::start();
    let answers: [&[u8]; 49] = [
        b"",
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX Y: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX\xc3\xa4: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1a\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: unfini",
    ];
    for bytes in answers {
        let name = String::from_utf8_lossy(bytes);
        let answer = parrot.client_of(bytes).answer();
        assert_eq!(
            answer.status(),
            502,
            "{name:?} became {:?}",
            answer.head.text
        );
        assert!(answer.complete && !answer.reason().is_empty(), "{name:?}");
        assert!(
            answer.interim.iter().all(|head| head.status() == 100),
            "{name:?}"
        );
    }
}

#[test]
fn heads_without_end() {
    let parrot = Parrot::start();
    let field = format!("X: {}\r\n", "x".repeat(1000));
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
        field.repeat(100)
    );
    assert_eq!(
        parrot.client_of(long.as_bytes()).answer().status(),
        502,
        "100 KB of head"
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
        "X: y\r\n".repeat(1000)
    );
    assert_eq!(
        parrot.client_of(many.as_bytes()).answer().status(),
        502,
        "1000 fields"
    );
}

#[test]
fn malformed_chunks_are_never_passed_on_as_a_complete_body() {
    let parrot = Parrot::start();
    let bodies: [&[u8]; 18] = [
        b"\r\n",
        b"g\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1 \r\nx\r\n0\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1;a\x00\r\nx\r\n0\r\n\r\n",
        b"1\r\nx\r\n0\n\n",
        b"1\r\nx\r\n0\r\n\n",
        b"1\r\nx\r\n0\r\nT : u\r\n\r\n",
        b"1\r\nx\r\n0\r\nT\r\n\r\n",
        b"1\r\nx\r\n0\r\n",
        b"1\r\nx\r\n",
        b"9\r\nx",
        b"FFFFFFFFFFFFFFFFF\r\nx",
    ];
    for body in bodies {
        let name = String::from_utf8_lossy(body);
        let answer = [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            body,
        ]
        .concat();
        let mut client = parrot.client_of(&answer);
        let answer = client.answer();
        match answer.status() {
            502 => assert!(answer.complete, "{name:?}"),
            200 => {
                assert!(!answer.complete, "{name:?} became a complete body");
                client.ends();
            }
            status => panic!("{name:?} became {status}"),
        }
    }
}

#[test]
fn a_body_that_breaks_off_breaks_off_for_the_client_too() {
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ];
    for bytes in answers {
        for reset in [false, true] {
            let origin = Origin::start(move |link| {
                if link.request().is_some() {
                    link.send(bytes);
                    // The reset must not overtake the bytes.
                    link.request_within(std::time::Duration::from_millis(200));
                    if reset {
                        link.reset_on_close();
                    }
                }
            });
            let proxy = Proxy::to(&[origin.addr]);
            let mut client = proxy.client();
            let answer = client.ask(get("/"));
            let name = String::from_utf8_lossy(bytes);
            assert_eq!(answer.status(), 200, "{name:?}, reset: {reset}");
            assert!(!answer.complete, "{name:?}, reset: {reset}");
            assert!(
                b"hello".starts_with(&answer.body[..]),
                "{name:?}: {:?}",
                answer.text()
            );
            client.ends();
        }
    }
    // Until close there is no truncation to be seen in an orderly end, but a reset is one.
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\n\r\nhello");
            link.request_within(std::time::Duration::from_millis(200));
            link.reset_on_close();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    assert!(!proxy.ask(get("/")).complete);
}

#[test]
fn the_client_learns_nothing_of_what_the_backend_said() {
    let answer = seen(b"HTTP/1.1 200 OK\r\nX-Secret : tiger\r\n\r\n");
    assert_eq!(answer.status(), 502);
    assert!(!answer.head.text.contains("tiger") && !answer.text().contains("tiger"));
    assert!(!answer.head.text.contains("127.") && !answer.text().contains("127."));
}
