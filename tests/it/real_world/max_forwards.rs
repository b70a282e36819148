//! `Max-Forwards` bounds how far OPTIONS goes (RFC 9110 section 7.6.2).

use crate::support::h2::frame::request;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

fn written(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}

#[test]
fn a_request_whose_forwards_are_spent_is_answered_here() {
    let origin = Origin::saying("theirs");
    let proxy = Proxy::start(&route("/", &[origin.addr]));
    let mut client = proxy.client();
    for lines in [
        "Max-Forwards: 0\r\n",
        "max-forwards: 000\r\nContent-Type: application/grpc\r\n",
    ] {
        let answer = client.ask(written("OPTIONS", "/a", lines));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, ""),
            "{lines}"
        );
        assert_eq!(answer.field("allow"), Some(ALLOWED));
        assert_eq!(answer.field("content-length"), Some("0"));
        assert_eq!(answer.field("content-type"), None);
        assert_eq!(answer.field("proxy-status"), None);
    }
    let mut client = proxy.h2();
    let grpc = [("max-forwards", "0"), ("content-type", "application/grpc")];
    for fields in [&grpc[..1], &grpc] {
        let answer = client.ask(&request("OPTIONS", "/a", fields));
        assert_eq!((answer.reset, answer.status()), (None, 200));
        assert_eq!(answer.field("allow"), Some(ALLOWED));
        assert_eq!(answer.field("grpc-status"), None);
        assert_eq!(answer.text(), "");
    }
    // TRACE is never forwarded.
    assert_eq!(
        proxy
            .ask(written("TRACE", "/", "Max-Forwards: 5\r\n"))
            .status(),
        405
    );
    let answer = client.ask(&request("TRACE", "/", &[("max-forwards", "5")]));
    assert_eq!(answer.status(), 405);
    assert_eq!(origin.count(), 0);
}

#[test]
fn every_forward_of_options_counts() {
    let origin = Origin::saying("theirs");
    let proxy = Proxy::start(&route("/", &[origin.addr]));
    let mut h2 = proxy.h2();
    let rows = [
        ("OPTIONS", "/", "1", "0"),
        ("OPTIONS", "/a?b", "010", "9"),
        ("OPTIONS", "*", "2", "1"),
        ("OPTIONS", "/", "99999999999999999999", "4294967294"),
        ("GET", "/", "0", "0"),
        ("POST", "/", "7", "7"),
        ("GET", "/", "a, b", "a, b"),
    ];
    for (number, (method, path, sent, arrived)) in rows.into_iter().enumerate() {
        let lines = format!("Max-Forwards: {sent}\r\nContent-Length: 0\r\n");
        assert_eq!(
            proxy.ask(written(method, path, &lines)).text(),
            "theirs",
            "{method} {sent}"
        );
        let answer = h2.ask(&request(method, path, &[("max-forwards", sent)]));
        assert_eq!(answer.text(), "theirs", "{method} {sent}");
        for received in &origin.requests()[2 * number..] {
            let fields = received.head.all("max-forwards");
            assert_eq!(fields, [arrived], "{method} {path} {sent}");
        }
    }
}

#[test]
fn a_value_that_is_no_number_is_refused() {
    let origin = Origin::saying("theirs");
    let proxy = Proxy::start(&route("/", &[origin.addr]));
    for values in [
        &["-1"][..],
        &[""],
        &["1, 1"],
        &["1", "1"],
        &["0", "9"],
        &["1.5"],
        &["0x1"],
    ] {
        let lines: String = values
            .iter()
            .map(|value| format!("Max-Forwards: {value}\r\n"))
            .collect();
        assert_eq!(
            proxy.ask(written("OPTIONS", "/", &lines)).status(),
            400,
            "{values:?}"
        );
        let fields: Vec<_> = values
            .iter()
            .map(|value| ("max-forwards", *value))
            .collect();
        let answer = proxy.h2().ask(&request("OPTIONS", "/", &fields));
        assert_eq!((answer.reset, answer.status()), (None, 400), "{values:?}");
    }
    assert_eq!(origin.count(), 0);
}

/// The operator's edits apply to the field, and to the answers, as everywhere else.
#[test]
fn the_operators_edits_have_the_last_word() {
    let origin = Origin::saying("theirs");
    let proxy = Proxy::start(
        &(route("/", &[origin.addr])
            + "request_headers = { remove = [\"max-forwards\"] }\n\
               response_headers = { set = { access-control-allow-origin = \"*\" } }\n"),
    );
    assert_eq!(
        proxy
            .ask(written("OPTIONS", "/", "Max-Forwards: 3\r\n"))
            .text(),
        "theirs"
    );
    assert!(origin.request().head.all("max-forwards").is_empty());
    let answer = proxy.ask(written("OPTIONS", "/", "Max-Forwards: 0\r\n"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert_eq!(origin.count(), 1);
}
