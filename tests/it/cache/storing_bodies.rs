//! Bodies in every framing, of every size: stored whole, or not at all.

use super::*;
use crate::support::nginx::Nginx;
use crate::support::place::free_addr;
use crate::support::{Link, eventually};

const HOUR: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n";

/// A body in chunks of this size, and trailers behind it.
fn chunked(body: &[u8], chunk: usize, trailers: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in body.chunks(chunk) {
        text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    text
}

/// Sends a body of the length in the path by the framing in it: `/length/5`, `/chunked/5`, `/close/5`.
fn framed(link: &mut Link) {
    while let Some(request) = link.request() {
        let mut parts = path_of(&request.head)[1..].split('/');
        let framing = parts.next().unwrap().to_owned();
        let body = bytes(parts.next().unwrap().parse().unwrap());
        match &*framing {
            "length" => {
                link.send(format!("{HOUR}Content-Length: {}\r\n\r\n", body.len()));
                link.send(&body);
            }
            "chunked" => {
                link.send(format!("{HOUR}Transfer-Encoding: chunked\r\n\r\n"));
                link.send(chunked(&body, 30_000, ""));
            }
            _ => {
                link.send(format!("{HOUR}Connection: close\r\n\r\n"));
                link.send(&body);
                return;
            }
        }
    }
}

#[test]
fn bodies_are_stored_byte_for_byte() {
    let origin = Origin::start(framed);
    let proxy = caching("max_object = '8MiB'", &[origin.addr]);
    let sizes = [
        0, 1, 4_096, 16_384, 16_385, 65_536, 262_144, 262_145, 1_048_577, 5_000_000,
    ];
    for framing in ["length", "chunked", "close"] {
        for (number, size) in sizes.into_iter().enumerate() {
            let path = format!("/{framing}/{size}");
            let expected = bytes(size);
            let mut first = Asker::new(&proxy, VERSIONS[number % 2]);
            let answer = first.get(&path, &[]);
            assert!(answer.complete && answer.body == expected, "{path}");
            for version in VERSIONS {
                let mut client = Asker::new(&proxy, version);
                for _ in 0..2 {
                    // The end of the body may reach the client before it is noted that the answer is stored.
                    let answer = client.get(&path, &[]);
                    assert!(
                        answer.complete && answer.body == expected,
                        "{path} {version:?}"
                    );
                    if answer.is_hit() {
                        assert_eq!(answer.number("content-length"), size as i64);
                    }
                }
                assert!(client.get(&path, &[]).is_hit(), "{path} {version:?}");
            }
            assert_eq!(requests_for(&origin, &path), 1, "{path}");
        }
    }
}

#[test]
fn bodies_from_a_backend_of_http_2_are_stored() {
    let addr = free_addr();
    let nginx = Nginx::start(&format!(
        "listen {addr} http2; location / {{ default_type text/plain; add_header Cache-Control max-age=3600;
             add_header X-Request $request_id; }}
         location /ssi/ {{ default_type text/plain; add_header Cache-Control max-age=3600;
             add_header X-Request $request_id; ssi on; ssi_types text/plain; }}"
    ));
    let proxy = Proxy::start(&pooled("protocol = \"h2\"", "", "", &[addr]));
    std::fs::create_dir(nginx.directory.path().join("ssi")).unwrap();
    for size in [0, 5, 70_000, 3_000_000] {
        let text: String = bytes(size)
            .iter()
            .map(|byte| char::from(b'a' + byte % 26))
            .collect();
        for path in [format!("/{size}"), format!("/ssi/{size}")] {
            nginx.directory.write(&path[1..], &text);
            for version in VERSIONS {
                let mut client = Asker::new(&proxy, version);
                let first = client.get(&path, &[]);
                let second = client.get(&path, &[]);
                assert!(
                    first.text() == text && second.text() == text,
                    "{path} {version:?}"
                );
                assert!(second.is_hit(), "{path}: {:?}", second.cache());
                assert_eq!(first.field("x-request"), second.field("x-request"));
            }
        }
    }
}

/// A client of HTTP/1.0 gets a body with a length, however it came.
#[test]
fn a_client_of_http_1_0_is_answered_from_the_store() {
    let origin = Origin::start(framed);
    let proxy = caching("", &[origin.addr]);
    for path in ["/length/9", "/chunked/90000", "/close/9"] {
        let expected = proxy
            .ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .body;
        let answer = proxy.ask(format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n"));
        assert!(answer.body == expected && answer.complete, "{path}");
        assert!(answer.field("transfer-encoding").is_none());
        assert_eq!(requests_for(&origin, path), 1);
    }
}

#[test]
fn trailers_are_stored_with_the_answer() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let size = path_of(&request.head)[1..].parse().unwrap();
            link.send(format!(
                "{HOUR}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
            ));
            link.send(chunked(&bytes(size), 10_000, "X-Sum: 7\r\n"));
        }
    });
    let proxy = caching("", &[origin.addr]);
    for size in [5, 500_000] {
        for version in VERSIONS {
            let mut client = Asker::new(&proxy, version);
            let path = format!("/{size}");
            let te: &[_] = match version {
                Version::One => &[("te", "trailers"), ("connection", "te")],
                Version::Two => &[("te", "trailers")],
            };
            let first = client.get(&path, te);
            let second = client.get(&path, te);
            assert!(first.body == bytes(size) && second.body == bytes(size));
            assert!(second.is_hit() && second.complete, "{second:?}");
            // RFC 9111 section 3.1 (MUST NOT, b): trailers do not become fields of the head.
            assert_eq!(second.field("x-sum"), None, "{second:?}");
            // All trailers are there, or none.
            assert!(
                ["", "x-sum: 7\r\n"].contains(&&*second.trailers),
                "{second:?}"
            );
            assert!(client.get(&path, &[]).is_hit());
        }
    }
}

/// Answers the next request by a part of a body, as the path says, and closes.
fn truncated(link: &mut Link) {
    let Some(request) = link.request() else {
        return;
    };
    let path = path_of(&request.head).to_owned();
    let head = match &*path {
        "/length" | "/reset" => "Content-Length: 200000\r\n\r\n",
        "/small" => "Content-Length: 20\r\n\r\n",
        _ => "Transfer-Encoding: chunked\r\n\r\n",
    };
    link.send(format!("{HOUR}{head}"));
    match &*path {
        "/small" => link.send("only ten.."),
        "/length" => link.send(bytes(199_999)),
        "/reset" => link.send(bytes(100_000)),
        "/in-chunk" => link.send("ff\r\nabc"),
        "/before-last" => link.send("3\r\nabc\r\n"),
        "/no-size" => link.send("3\r\nabc\r\nxyz\r\n"),
        _ => link.send("3\r\nabc\r\n0\r\nX-Sum: 7\r\n"),
    }
    link.wait_until_come();
    if path == "/reset" {
        link.reset_on_close();
    }
}

/// An answer whose end has not come is no answer: nothing of it is stored.
#[test]
fn truncated_bodies_are_never_stored() {
    let origin = Origin::start(truncated);
    let proxy = Proxy::start(&pooled("", "", "retries = 0", &[origin.addr]));
    for path in [
        "/small",
        "/length",
        "/reset",
        "/in-chunk",
        "/before-last",
        "/no-size",
        "/in-trailers",
    ] {
        for version in VERSIONS {
            let asked = requests_for(&origin, path);
            for _ in 0..2 {
                match version {
                    Version::One => {
                        let answer =
                            proxy.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
                        assert!(
                            !answer.complete || answer.status() == 502,
                            "{path}: {answer:?}"
                        );
                    }
                    Version::Two => {
                        let answer = proxy.h2().ask(&frame::get(path, &[]));
                        assert!(
                            !answer.complete || answer.status() == 502,
                            "{path}: {answer:?}"
                        );
                    }
                }
            }
            assert_eq!(
                requests_for(&origin, path),
                asked + 2,
                "{path}: {version:?}"
            );
        }
    }
}

/// A body that is longer than its head says ends where the head says, and the rest spoils nothing.
#[test]
fn a_longer_body_than_announced_is_cut() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send(format!("{HOUR}Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"));
        }
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        for path in ["/a", "/b"] {
            let mut client = Asker::new(&proxy, version);
            for _ in 0..3 {
                assert_eq!(client.get(path, &[]).text(), "hello");
            }
        }
    }
}

/// Contradicting lengths are refused or settled before anything is stored.
#[test]
fn contradicting_lengths_are_not_stored() {
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -5",
    ] {
        let origin = Origin::answering(format!("{HOUR}{lengths}\r\n\r\nhello!"));
        let proxy = caching("", &[origin.addr]);
        for _ in 0..2 {
            let answer = proxy.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(answer.status(), 502, "{lengths}: {answer:?}");
        }
    }
}

#[test]
fn bodies_larger_than_max_object_pass_unstored() {
    let origin = Origin::start(framed);
    let proxy = caching("max_object = '100KiB'", &[origin.addr]);
    let most = 100 << 10;
    for framing in ["length", "chunked", "close"] {
        for (size, is_stored) in [(most, true), (most + 1, false), (3_000_000, false)] {
            for version in VERSIONS {
                let path = format!("/{framing}/{size}?{version:?}").replace('?', "/");
                let mut client = Asker::new(&proxy, version);
                for _ in 0..2 {
                    let answer = client.get(&path, &[]);
                    assert!(answer.complete && answer.body == bytes(size), "{path}");
                }
                let asked = requests_for(&origin, &path);
                assert_eq!(asked == 1, is_stored, "{path}: {asked} requests");
            }
        }
    }
}

/// A client that reads slowly, or leaves, does not spoil what others get.
#[test]
fn a_client_that_leaves_a_stored_answer_spoils_nothing() {
    let origin = Origin::start(framed);
    let proxy = caching("", &[origin.addr]);
    let request = "GET /length/5000000 HTTP/1.1\r\nHost: test\r\n\r\n";
    let expected = bytes(5_000_000);
    assert!(proxy.ask(request).body == expected);
    let mut slow = proxy.client();
    slow.send(request);
    slow.begin_answer();
    for _ in 0..3 {
        let mut leaving = proxy.client();
        leaving.send(request);
        leaving.begin_answer();
        leaving.bytes(100_000);
        leaving.leave();
    }
    let mut second = proxy.h2();
    let stream = second.begin(&frame::get("/length/5000000", &[]), true);
    second.head(stream);
    second.send(frame::reset(stream, frame::code::CANCEL));
    assert!(proxy.ask(request).body == expected);
    assert!(slow.bytes(expected.len()) == expected);
    eventually("one request was enough", || origin.count() == 1);
}
