//! Heads up to the limits, and beyond them: every request has an answer that says what is wrong.

use crate::support::h2::H2;
use crate::support::h2::frame::{get, request};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

/// A proxy whose backends speak HTTP/1.1.
fn proxy(origin: &Origin) -> Proxy {
    Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])))
}

/// Query and fields share the room of one head.
#[test]
fn large_requests_over_http2_have_an_answer() {
    let origin = Origin::saying("whole");
    let proxy = proxy(&origin);
    let mut client = proxy.h2();
    for query in [0, 1, 4_000, 7_000, 8_100, 8_180, 8_200, 20_000] {
        for field in [0, 1, 4_000, 8_000, 9_000, 9_500, 16_000, 20_000, 31_000] {
            let path = format!("/?{}", "q".repeat(query));
            let value = "v".repeat(field);
            let answer = client.ask(&get(&path, &[("x-large", &value)]));
            let expected = match (path.len(), path.len() + field) {
                (..=8_192, ..=32_000) => 200,
                (8_193.., ..=32_000) => 414,
                _ => 431,
            };
            assert_eq!(answer.reset, None, "{query} and {field}");
            assert_eq!(answer.status(), expected, "{query} and {field}");
            if expected == 200 {
                let received = origin.requests().pop().unwrap().head;
                assert_eq!(received.first_line(), format!("GET {path} HTTP/1.1"));
                assert_eq!(received.field("x-large"), Some(&value[..]));
            }
        }
    }
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}

/// Nobody can have implemented a method of such a length (RFC 9112 section 3).
#[test]
fn overlong_methods_are_not_implemented() {
    let origin = Origin::saying("");
    let proxy = proxy(&origin);
    let mut client: H2 = proxy.h2();
    for length in [1, 17, 64, 65, 100, 8_000, 18_000, 31_000] {
        let method = "M".repeat(length);
        let expected = if length <= 64 { 200 } else { 501 };
        let answer = client.ask(&request(&method, "/", &[]));
        assert_eq!(answer.reset, None, "{length}");
        assert_eq!(answer.status(), expected, "{length}");
        let written = proxy.ask(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(written.status(), expected, "{length}");
        if expected == 501 {
            let words = [answer.text(), written.text()];
            assert!(words.iter().all(|text| text.contains("method_too_long")));
        }
    }
    // Not all of it has to come before it is refused.
    let mut client = proxy.client();
    client.send("M".repeat(100));
    assert_eq!(client.answer().status(), 501);
}

#[test]
fn overlong_protocols_are_not_implemented() {
    let origin = Origin::saying("");
    let proxy = proxy(&origin);
    let mut client = proxy.h2();
    for length in [65, 9_000, 18_000, 31_000] {
        let protocol = "p".repeat(length);
        let fields = [
            (":method", "CONNECT"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/"),
            (":protocol", &protocol[..]),
        ];
        let answer = client.ask(&fields);
        assert_eq!(answer.reset, None, "{length}");
        assert_eq!(answer.status(), 501, "{length}");
        assert!(answer.text().contains("protocol_too_long"));
    }
    assert_eq!(origin.count(), 0);
}
