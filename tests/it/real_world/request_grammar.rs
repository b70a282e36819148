//! Requests that the RFCs allow and that few clients send. Palantir serves them, and forwards them in the usual form.

use crate::support::h2::frame::{post, request};
use crate::support::{Origin, Proxy};

/// A request, and the fields that must reach the backend with these values.
type Row = (
    &'static str,
    &'static [(&'static str, Option<&'static str>)],
);

#[test]
fn rare_requests_are_served_in_the_usual_form() {
    let rows: [Row; 19] = [
        (
            "GET / HTTP/1.1\r\nHost: test:\r\n\r\n",
            &[("x-forwarded-host", Some("test"))],
        ),
        (
            "GET / HTTP/1.1\r\nHost: [::1]:\r\n\r\n",
            &[("x-forwarded-host", Some("[::1]"))],
        ),
        ("GET / HTTP/1.1\r\nHost: test:080\r\n\r\n", &[]),
        (
            "GET http://test:/ HTTP/1.1\r\nHost: test\r\n\r\n",
            &[("x-forwarded-host", Some("test"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nExpect:\r\nContent-Length: 1\r\n\r\nx",
            &[("expect", None)],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: ,\r\nContent-Length: 1\r\n\r\nx",
            &[("expect", None)],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: , 100-Continue,\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            &[("expect", Some("100-continue"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 007\r\n\r\n1234567",
            &[("content-length", Some("7"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 000\r\n\r\n",
            &[("content-length", Some("0"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length:\t00000000000000000000000003 \t\r\n\r\nabc",
            &[("content-length", Some("3"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: CHUNKED\r\n\r\n3 ; a = b;c\r\nabc\r\n0 ;d=\"e f\"\r\n\r\n",
            &[("transfer-encoding", Some("chunked"))],
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\t;\ta\t=\tb\r\nabc\r\n0\r\n\r\n",
            &[("transfer-encoding", Some("chunked"))],
        ),
        ("GET / HTTP/1.2\r\nHost: test\r\n\r\n", &[]),
        (
            "GET / HTTP/1.9\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
            &[],
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nConnection:\r\n\r\n",
            &[("connection", None)],
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: ,, keep-alive ,\tX-A,\r\nX-A: 1\r\n\r\n",
            &[("x-a", None)],
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nTE: , gzip;q=0.5 ,\tTrailers\r\nConnection: te\r\n\r\n",
            &[("te", Some("trailers"))],
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nTE:\r\n\r\n",
            &[("te", None)],
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: ,\r\nConnection: upgrade\r\n\r\n",
            &[("upgrade", None)],
        ),
    ];
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for (count, (bytes, fields)) in rows.into_iter().enumerate() {
        let answer = client.ask(bytes);
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "ok"),
            "{bytes:?}"
        );
        assert_ne!(answer.field("connection"), Some("close"), "{bytes:?}");
        origin.wait_for_requests(count + 1);
        let received = origin.requests().pop().unwrap();
        assert!(
            received.head.first_line().ends_with("HTTP/1.1"),
            "{bytes:?}"
        );
        for (name, value) in fields {
            let all = received.head.all(name);
            assert_eq!(
                all,
                value.iter().copied().collect::<Vec<_>>(),
                "{bytes:?}: {name}"
            );
        }
    }
}

/// Requests that stay refused, because two readers may understand them in two ways, or because they are no requests of
/// HTTP/1.
#[test]
fn what_no_rfc_allows_stays_refused() {
    let rows = [
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: test::\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: test:65536\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: test:8x\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1, 1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0x1\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 009223372036854775808\r\n\r\nx",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\nx",
            417,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nHost: test\r\n\r\n", 505),
        ("GET / HTTP/1.10\r\nHost: test\r\n\r\n", 400),
        ("GET / HTTP/1.2\nHost: test\r\n\r\n", 400),
    ];
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    for (bytes, status) in rows {
        let answer = proxy.ask(bytes);
        assert_eq!(
            (answer.status(), answer.field("connection")),
            (status, Some("close")),
            "{bytes:?}"
        );
    }
    assert_eq!(origin.count(), 0);
}

/// The version may arrive in pieces, and pipelined requests of several versions are all served.
#[test]
fn higher_versions_come_in_pieces() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let bytes = "GET / HTTP/1.2\r\nHost: test\r\n\r\n";
    for at in [4, 12, 13, 14, 15, 16, 20] {
        client.send(&bytes[..at]);
        // The piece may arrive alone or with the rest. The request is served in both cases.
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.send(&bytes[at..]);
        assert_eq!(client.answer().text(), "ok", "{at}");
    }
    client.send(bytes.repeat(3));
    for _ in 0..3 {
        assert_eq!(client.answer().text(), "ok");
    }
}

#[test]
fn rare_requests_of_http2_are_served_in_the_usual_form() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let answer = client.ask_with(&post("/", &[("content-length", "007")]), b"1234567");
    assert_eq!(answer.status(), 200);
    let answer = client.ask_with(&post("/", &[("expect", "")]), b"x");
    assert_eq!(answer.status(), 200);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test:"),
        (":path", "/"),
    ];
    assert_eq!(client.ask(&fields).status(), 200);
    assert_eq!(
        client
            .ask(&request("GET", "/", &[("expect", "x")]))
            .status(),
        417
    );
    let received = origin.requests();
    assert_eq!(received[0].head.field("content-length"), Some("7"));
    assert_eq!(received[1].head.field("expect"), None);
    assert_eq!(received[2].head.field("x-forwarded-host"), Some("test"));
}
