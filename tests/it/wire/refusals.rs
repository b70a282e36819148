//! Requests that a client may not send: each row has bytes and a status, and nothing of it reaches the backend.

use crate::support::proxy::route;
use crate::support::{Answer, Origin, Proxy, get};

/// Sends the bytes on a connection of their own; the proxy must answer so, close, and keep the backend out of it.
#[track_caller]
fn refused(proxy: &Proxy, origin: &Origin, bytes: impl AsRef<[u8]>, status: u16) -> Answer {
    let bytes = bytes.as_ref();
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut client = proxy.client();
    client.send(bytes);
    let answer = client.read_answer(bytes.starts_with(b"HEAD "));
    assert_eq!(
        answer.status(),
        status,
        "{name:?} was answered {:?}",
        answer.head.text
    );
    assert!(answer.complete, "{name:?}");
    assert!(!answer.reason().is_empty());
    assert_eq!(answer.field("connection"), Some("close"), "{name:?}");
    client.ends();
    assert_eq!(origin.count(), 0, "{name:?} reached the backend");
    answer
}

#[test]
fn malformed_request_lines() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let lines: [&[u8]; 34] = [
        b"GET",
        b"GET /",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/\tHTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 x",
        b"GET /a b HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\x01b HTTP/1.1",
        b"GET /a\x7fb HTTP/1.1",
        b"GET /a\x00b HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET ftp://test/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET http://us@test/ HTTP/1.1",
        b"GET test:80 HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"GE(T) / HTTP/1.1",
        b"G\xc3\x84T / HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"/ HTTP/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.",
        b"GET / HTTP/11",
        b"GET / HTTP/1.1.1",
        b"GET / HTTP/1.11",
        b"GET / http/1.1",
        b"GET / XTTP/1.1",
        b"GET / HTTP 1.1",
    ];
    for line in lines {
        let request = [line, b"\r\nHost: test\r\n\r\n"].concat();
        refused(&proxy, &origin, request, 400);
    }
    for bytes in [
        "GET / HTTP/1.1\nHost: test\n\n",
        "GET / HTTP/1.1\nHost: test\r\n\r\n",
    ] {
        refused(&proxy, &origin, bytes, 400);
    }
}

#[test]
fn malformed_fields() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let fields: [&[u8]; 27] = [
        b"X : a\r\n",
        b"X\t: a\r\n",
        b"X Y: a\r\n",
        b" X: a\r\n",
        b"X: a\r\n b\r\n",
        b"X: a\r\n\tb\r\n",
        b"X: a\r\n \r\n",
        b": a\r\n",
        b":\r\n",
        b"X\r\n",
        b"X(Y): a\r\n",
        b"X\"Y: a\r\n",
        b"X/Y: a\r\n",
        b"X\x00Y: a\r\n",
        b"X\xc3\xa4: a\r\n",
        b"X\x7f: a\r\n",
        b"X: a\x00b\r\n",
        b"X: a\x01b\r\n",
        b"X: a\x0bb\r\n",
        b"X: a\x7fb\r\n",
        b"X: a\rb\r\n",
        b"X: a\r\r\n",
        b"X: a\n",
        b"X: a\nY: b\r\n",
        b"\nX: a\r\n",
        b"\rX: a\r\n",
        b"X: \x1f\r\n",
    ];
    for field in fields {
        for (before, behind) in [("Host: test\r\n", ""), ("", "Host: test\r\n")] {
            let parts = [
                b"GET / HTTP/1.1\r\n",
                before.as_bytes(),
                field,
                behind.as_bytes(),
                b"\r\n",
            ];
            refused(&proxy, &origin, parts.concat(), 400);
        }
    }
}

#[test]
fn a_bad_missing_or_repeated_host() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let heads = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nhost: other\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [zz]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
        "GET http://test/ HTTP/1.1\r\n\r\n",
    ];
    for head in heads {
        refused(&proxy, &origin, head, 400);
    }
}

#[test]
fn ambiguous_lengths() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let fields = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding:\tchunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\ncontent-length: 0",
        "Content-Length: 5, 5",
        "Content-Length: 5,",
        "Content-Length:",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5a",
        "Content-Length: 5 5",
        "Content-Length: 5.0",
        "Content-Length: \"5\"",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551621",
        "Content-Length: 99999999999999999999999999",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: chunked;q=1",
    ];
    for field in fields {
        let request = format!("POST / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\nhello");
        refused(&proxy, &origin, request, 400);
    }
    let old = "POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(&proxy, &origin, old, 400);
}

#[test]
fn malformed_chunks() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let bodies: [&[u8]; 33] = [
        b"\r\n0\r\n\r\n",
        b"g\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0\r\n\r\n",
        b"3 x\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"3;x\nabc\r\n0\r\n\r\n",
        b"3;x\x00\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3,x\r\nabc\r\n0\r\n\r\n",
        b"3_\r\nabc\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"00000000000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
        b"3\r\nabc\r\n0\r\n\rX",
        b"3\r\nabc\r\n0\r\nX y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        b"3\r\nabc\r\n0\r\n X: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: \x00\r\n\r\n",
        b"3\r\nabc\r\n0\r\n: y\r\n\r\n",
    ];
    for body in bodies {
        let head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&proxy, &origin, [&head[..], body].concat(), 400);
    }
    let long_extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(70_000));
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = proxy.client();
    client.send(head);
    client.try_send(long_extension);
    assert!(matches!(client.answer().status(), 400 | 431));
}

#[test]
fn other_transfer_codings() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    for coding in [
        "gzip",
        "gzip, chunked",
        "identity",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "x-gzip,chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
        );
        refused(&proxy, &origin, request, 501);
    }
}

#[test]
fn versions_methods_and_expectations() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/9.9"] {
        refused(
            &proxy,
            &origin,
            format!("GET / {version}\r\nHost: test\r\n\r\n"),
            505,
        );
    }
    for head in [
        "CONNECT test:443 HTTP/1.1\r\nHost: test:443",
        "TRACE / HTTP/1.1\r\nHost: test",
    ] {
        let mut client = proxy.client();
        let answer = client.ask(format!("{head}\r\n\r\n"));
        assert_eq!(answer.status(), 405, "{head}");
        answer.reason();
    }
    let unknown = "POST / HTTP/1.1\r\nHost: test\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n";
    let mut client = proxy.client();
    assert_eq!(client.ask(unknown).status(), 417);
    assert_eq!(origin.count(), 0);
}

#[test]
fn heads_over_their_bounds() {
    let origin = Origin::saying("");
    let limits =
        "[limits]\nrequest_head_bytes = 4096\nrequest_headers = 20\nrequest_target_bytes = 1000\n";
    let proxy = Proxy::start(&format!("{limits}{}", route("/", &[origin.addr])));

    let fields = |count: usize| "X: y\r\n".repeat(count);
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", fields(count));
    refused(&proxy, &origin, many(20), 431);
    refused(&proxy, &origin, many(500), 431);

    let long = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    refused(&proxy, &origin, long(4096), 431);
    let endless = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(4096));
    refused(&proxy, &origin, endless, 431);

    let target = |length: usize| get(&format!("/{}", "x".repeat(length - 1)));
    refused(&proxy, &origin, target(1001), 414);
    refused(&proxy, &origin, target(3000), 414);

    let mut client = proxy.client();
    assert_eq!(client.ask(many(19)).status(), 200);
    assert_eq!(client.ask(long(4000)).status(), 200);
    assert_eq!(client.ask(target(1000)).status(), 200);
}

#[test]
fn bodies_over_their_bound() {
    let origin = Origin::saying("");
    let limits = "[limits]\nrequest_body_bytes = 10\n";
    let own = route("/roomy", &[origin.addr]) + "limits = { request_body_bytes = 20 }\n";
    let proxy = Proxy::start(&format!("{limits}{}{own}", route("/", &[origin.addr])));
    let by_length = |target, length: usize| {
        format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")
    };
    // Refused by its head alone: no body follows.
    refused(&proxy, &origin, by_length("/", 11), 413);
    refused(&proxy, &origin, by_length("/roomy", 21), 413);
    let chunked = |size: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{size:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(size)
        )
    };
    refused(&proxy, &origin, chunked(6), 413);
    let mut client = proxy.client();
    assert_eq!(client.ask(by_length("/", 10) + "0123456789").status(), 200);
    assert_eq!(client.ask(chunked(5)).status(), 200);
    assert_eq!(
        client
            .ask(by_length("/roomy", 20) + &"x".repeat(20))
            .status(),
        200
    );
}

#[test]
fn clients_that_are_too_slow() {
    let origin = Origin::saying("");
    let timeouts = "[timeouts]\nclient_header = 2\nclient_body = 2\nclient_idle = 2\n";
    let proxy = Proxy::start(&format!("{timeouts}{}", route("/", &[origin.addr])));
    refused(&proxy, &origin, "GET / HTTP/1.1\r\nHost: te", 408);
    refused(
        &proxy,
        &origin,
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc",
        408,
    );
    let chunked = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
    refused(&proxy, &origin, chunked, 408);

    // Nothing sent at all is no request: the connection ends without an answer, at its start and between requests.
    proxy.client().ends();
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    client.ends();
}

#[test]
fn a_head_sent_byte_by_byte_does_not_outlive_its_deadline() {
    let origin = Origin::saying("");
    let timeouts = "[timeouts]\nclient_header = 1\n";
    let proxy = Proxy::start(&format!("{timeouts}{}", route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n");
    // Each byte is progress, but the whole head has one deadline.
    let mut feeder = client.stream.try_clone().unwrap();
    let feeding = std::thread::spawn(move || {
        use std::io::Write;
        for _ in 0..400 {
            if feeder.write_all(b"X: y\r\n").is_err() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        false
    });
    assert_eq!(client.answer().status(), 408);
    drop(client);
    assert!(feeding.join().unwrap(), "the proxy went on reading");
    assert_eq!(origin.count(), 0);
}
