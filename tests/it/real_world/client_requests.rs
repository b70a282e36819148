//! Unusual requests that are served: fields with names that only gateways confuse, and targets that name their own
//! host.

use crate::support::h2::frame::get as h2_get;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

#[test]
fn disguised_names_are_dropped() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    let fields = [
        ("x_forwarded_for", "1.2.3.4"),
        ("X_Forwarded-For", "1.2.3.4"),
        ("x_forwarded_host", "evil"),
        ("X-Forwarded_Proto", "https"),
        ("keep_alive", "timeout=5"),
        ("Proxy_Authorization", "Basic eA=="),
        ("proxy_connection", "close"),
    ];
    let mut client = (proxy.client(), proxy.h2());
    for (name, value) in fields {
        let answer = client.0.ask(format!(
            "GET / HTTP/1.1\r\nHost: test\r\n{name}: {value}\r\nX-A: b\r\n\r\n"
        ));
        assert_eq!(answer.status(), 200, "{name}");
        let lower = name.to_ascii_lowercase();
        let answer = client.1.ask(&h2_get("/", &[(&lower, value), ("x-a", "b")]));
        assert_eq!(answer.status(), 200, "{name}");
        let received = origin.requests();
        for request in &received[received.len() - 2..] {
            assert_eq!(request.head.field(&lower), None, "{name}");
            assert_eq!(
                request.head.field("x-forwarded-for"),
                Some("127.0.0.1"),
                "{name}"
            );
            assert_eq!(request.head.field("x-a"), Some("b"), "{name}");
            assert!(!request.head.text.contains(value), "{name}");
        }
    }
    for name in ["content_length", "transfer_encoding", "Content_length"] {
        let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{name}: 5\r\n\r\n"));
        assert_eq!(answer.status(), 400, "{name}");
    }
}

#[test]
fn the_host_of_an_absolute_target_wins() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let config = route("/", &[one.addr])
        + "host = \"one.test\"\nhost_header = \"preserve\"\n"
        + &route("/", &[two.addr])
        + "host = \"two.test\"\nhost_header = \"preserve\"\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for (target, host, expected) in [
        ("http://one.test/a?b", "two.test", "one"),
        ("http://two.test:8080/a", "one.test", "two"),
        ("HTTPS://One.Test:/", "two.test", "one"),
        ("http://two.test", "two.test:80", "two"),
        ("http://one.test/", "", "one"),
    ] {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.text(), expected, "{target} with {host}");
    }
    let received = two.requests();
    assert_eq!(received[0].head.all("host"), ["two.test:8080"]);
    assert_eq!(
        received[0].head.field("x-forwarded-host"),
        Some("two.test:8080")
    );
    for bytes in [
        "GET http://one.test/ HTTP/1.1\r\n\r\n",
        "GET http://one.test/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\nHost: one.test\r\n\r\n",
        "GET http://u@one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n",
    ] {
        assert_eq!(proxy.ask(bytes).status(), 400, "{bytes:?}");
    }
}

/// Signed uploads have an extension in each chunk.
#[test]
fn chunk_extensions_may_take_a_share_of_the_body() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let signature = format!(";chunk-signature={}", "a".repeat(64));
    let body = |size: usize, chunks: usize| {
        format!("{size:x}{signature}\r\n{}\r\n", "d".repeat(size)).repeat(chunks) + "0\r\n\r\n"
    };
    let answer = proxy.ask(format!("{head}{}", body(2_000, 1_000)));
    assert_eq!(answer.status(), 200);
    assert_eq!(origin.requests()[0].body.len(), 2_000_000);
    let mut client = proxy.client();
    client.send(head);
    client.try_send(body(100, 1_000));
    assert_eq!(client.answer().status(), 431);
}

#[test]
fn control_bytes_in_cookies_pass_where_they_are_tolerated() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(
        "tolerate = [\"control_bytes\"]",
        &route("/", &[origin.addr]),
    );
    let cookie = "a=\u{1}\u{b}b\u{7f}; c=d";
    let request =
        |line: &str| format!("GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n{line}\r\nX-C: d\r\n\r\n");
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(
            client.ask(request(&format!("Cookie: {cookie}"))).status(),
            200
        );
    }
    let mut second = proxy.h2();
    let crumbs = [("cookie", "a=\u{1}\u{b}b\u{7f}"), ("cookie", "c=d")];
    assert_eq!(second.ask(&h2_get("/", &crumbs)).status(), 200);
    for received in origin.requests() {
        assert_eq!(received.head.field("cookie"), Some(cookie));
    }
    for line in [
        "Cookie: a\0b",
        "Cookie: a\rb",
        "X-B: a\u{1}b",
        "Cookie\u{1}: a",
    ] {
        assert_eq!(proxy.ask(request(line)).status(), 400, "{line:?}");
    }
    for (name, value) in [
        ("cookie", "a\0"),
        ("cookie", "a\rb"),
        ("cookie", "a\nb"),
        ("x", "a\u{1}"),
    ] {
        let answer = second.ask(&h2_get("/", &[(name, value)]));
        assert!(answer.reset.is_some(), "{name}: {value:?}");
    }
    let strict = Proxy::to(&[origin.addr]);
    assert_eq!(
        strict.ask(request(&format!("Cookie: {cookie}"))).status(),
        400
    );
}
