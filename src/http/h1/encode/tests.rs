//! Tables and properties of the encode code.

use proptest::prelude::*;

use super::*;
use crate::http::h1::{
    Asked, FieldSlots, HeadLimits, ResponseBody, Version, parse_request, parse_response,
};
use crate::http::names::{FieldEdits, Identity, NO_EDITS, NameSet};
use crate::http::traceparent::{self, TraceFields};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 32_768,
    fields: 100,
    target_bytes: 8_192,
};

const PLAIN: RequestEdits<'static> = RequestEdits {
    path: b"/p",
    host: None,
    client: None,
    client_trusted: false,
    forwarding: Forwarding::NONE,
    proto: "http",
    operator: &NO_EDITS,
    via: false,
    expect: true,
    trace: TraceFields::Pass,
    identity: Identity::UNKNOWN,
    websocket_key: None,
    max_forwards: None,
};

/// The lines that a backend gets for `head` below its request line.
fn request(head: &str, edits: &RequestEdits<'_>) -> String {
    let whole = whole_request(head, edits);
    whole
        .split_once("\r\n")
        .expect("there is a first line")
        .1
        .to_owned()
}

fn whole_request(head: &str, edits: &RequestEdits<'_>) -> String {
    let mut slots = FieldSlots::new();
    let head = parse_request(head.as_bytes(), &mut slots, &LIMITS)
        .expect("the head is good")
        .expect("the head is complete");
    let mut out = b"before".to_vec();
    let encoded = encode_request(&mut out, &head, edits);
    assert_eq!(&out[encoded.host_value], edits.host.unwrap_or(head.host));
    String::from_utf8(out[b"before".len()..].to_vec()).expect("only ASCII was put in")
}

/// The lines that a client gets for `head`.
fn response<'a>(head: &str, asked: Asked, edit: impl FnOnce(&mut ResponseEdits<'a>)) -> String {
    let mut slots = FieldSlots::new();
    let head = parse_response(head.as_bytes(), &mut slots, asked, 65_536)
        .expect("the head is good")
        .expect("the head is complete");
    let mut edits = ResponseEdits {
        client_version: Version::Http11,
        body: head.body,
        close: false,
        operator: &NO_EDITS,
        computed: &[],
        via: false,
        rewriting: Rewriting::NONE,
        accept: None,
    };
    edit(&mut edits);
    let mut out = Vec::new();
    encode_response(&mut out, &head, &edits);
    String::from_utf8(out).expect("only ASCII was put in")
}

#[test]
fn request_lines_table() {
    let rows = [
        ("GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /p HTTP/1.1"),
        (
            "GET /a?b=%20?c HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /p?b=%20?c HTTP/1.1",
        ),
        ("POST /a? HTTP/1.0\r\n\r\n", "POST /p? HTTP/1.1"),
        (
            "PURGE http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
            "PURGE /p?b HTTP/1.1",
        ),
    ];
    for (head, expected) in rows {
        let line = whole_request(head, &PLAIN);
        assert_eq!(line.split("\r\n").next(), Some(expected));
    }
}

#[test]
fn fields_pass_byte_for_byte_and_in_order() {
    let head = "GET / HTTP/1.1\r\nacCept: a,  b\r\nHOST: h\r\nX: 1\r\nx: 2\r\nEmpty: \r\nCookie: a=b\r\n\r\n";
    let expected = "acCept: a,  b\r\nHOST: h\r\nX: 1\r\nx: 2\r\nEmpty: \r\nCookie: a=b\r\n\
        X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n";
    assert_eq!(request(head, &PLAIN), expected);
}

#[test]
fn blanks_around_values_become_one() {
    let head = "GET / HTTP/1.1\r\nHost:h\r\nA:b\r\nC: \t d \t\r\nE:\tf\r\nG:\r\nI: j\r\n\r\n";
    let expected = "Host: h\r\nA: b\r\nC: d\r\nE: f\r\nG: \r\nI: j\r\n\
        X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n";
    assert_eq!(request(head, &PLAIN), expected);
}

#[test]
fn host_is_rewritten_in_its_place_or_put_first() {
    let edits = RequestEdits {
        host: Some(b"backend:80"),
        ..PLAIN
    };
    let rows = [
        (
            "GET / HTTP/1.1\r\nA: b\r\nhost: h\r\n\r\n",
            "A: b\r\nhost: backend:80\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n",
        ),
        (
            "GET / HTTP/1.0\r\nA: b\r\n\r\n",
            "Host: backend:80\r\nA: b\r\nX-Forwarded-Proto: http\r\n\r\n",
        ),
        (
            "GET http://g/ HTTP/1.0\r\nA: b\r\n\r\n",
            "Host: backend:80\r\nA: b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: g\r\n\r\n",
        ),
    ];
    for (head, expected) in rows {
        assert_eq!(request(head, &edits), expected);
    }
    let kept = request("GET / HTTP/1.0\r\n\r\n", &PLAIN);
    assert_eq!(kept, "Host: \r\nX-Forwarded-Proto: http\r\n\r\n");
}

#[test]
fn hop_by_hop_fields_are_dropped() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close, X-A, keep-alive, te\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: close\r\nTE: gzip\r\nUpgrade: a\r\nProxy-Authorization: b\r\nx-a: 2\r\n\
        HTTP2-Settings: c\r\nTrailer: X-Sum\r\nConnection: cookie\r\nCookie: d\r\nX-B: 3\r\n\r\n";
    let expected = "Host: h\r\nTrailer: X-Sum\r\nX-B: 3\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n";
    assert_eq!(request(head, &PLAIN), expected);
}

#[test]
fn connection_cannot_remove_what_tells_of_the_client() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-forwarded-for, x-forwarded-proto\r\n\
        X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\r\n";
    let edits = RequestEdits {
        client_trusted: true,
        ..PLAIN
    };
    let expected = "Host: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: h\r\n\r\n";
    assert_eq!(request(head, &edits), expected);
}

#[test]
fn framing_is_written_anew() {
    let rows = [
        ("Content-Length: 5", "Content-Length: 5\r\n", ""),
        ("content-length:0", "content-length: 0\r\n", ""),
        (
            "transfer-encoding: CHUNKED",
            "",
            "Transfer-Encoding: chunked\r\n",
        ),
    ];
    for (line, in_place, at_end) in rows {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{line}\r\nA: b\r\n\r\n");
        let expected = format!(
            "Host: h\r\n{in_place}A: b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n{at_end}\r\n"
        );
        assert_eq!(request(&head, &PLAIN), expected);
    }
}

#[test]
fn forwarded_for_is_appended_to() {
    let rows = [
        ("", Some("192.0.2.1"), "192.0.2.1"),
        (
            "X-Forwarded-For: 1.1.1.1\r\n",
            Some("10.20.255.0"),
            "1.1.1.1, 10.20.255.0",
        ),
        (
            "x-forwarded-for: a, b\r\nA: b\r\nX-Forwarded-For:c\r\n",
            Some("::1"),
            "a, b, c, ::1",
        ),
        ("X-Forwarded-For:\r\n", Some("::ffff:1.2.3.4"), "1.2.3.4"),
        (
            "",
            Some("2001:db8:1111:2222:3333:4444:5555:6666"),
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ),
    ];
    for (lines, client, expected) in rows {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let client = client.map(|client| client.parse().expect("an address"));
        let sent = request(&head, &RequestEdits { client, ..PLAIN });
        let values: Vec<_> = sent
            .lines()
            .filter_map(|line| line.strip_prefix("X-Forwarded-For: "))
            .collect();
        assert_eq!(values, [expected], "{sent}");
    }
    // A client without an address adds nothing to the field.
    let nameless = |value: &str, client_trusted| {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {value}\r\n\r\n");
        let edits = RequestEdits {
            client: None,
            client_trusted,
            ..PLAIN
        };
        request(&head, &edits).to_lowercase()
    };
    assert!(nameless("a", true).contains("\r\nx-forwarded-for: a\r\n"));
    for (value, client_trusted) in [("a", false), ("", true)] {
        let sent = nameless(value, client_trusted);
        assert!(!sent.contains("x-forwarded-for"), "{sent}");
    }
}

#[test]
fn proto_and_host_are_believed_from_the_trusted_alone() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nA: b\r\n\r\n";
    let rows = [
        (
            true,
            "Host: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nA: b\r\n\r\n",
        ),
        (
            false,
            "Host: h\r\nA: b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n",
        ),
    ];
    for (client_trusted, expected) in rows {
        assert_eq!(
            request(
                head,
                &RequestEdits {
                    client_trusted,
                    ..PLAIN
                }
            ),
            expected
        );
    }
}

#[test]
fn operators_edits_have_the_last_word() {
    let remove = ["x-debug".to_owned(), "x-forwarded-for".to_owned()];
    let set = [
        ("X-Team".to_owned(), "a".to_owned()),
        ("x-forwarded-proto".to_owned(), "https".to_owned()),
    ];
    let operator = FieldEdits::new(remove.to_vec(), set.to_vec());
    let edits = RequestEdits {
        operator: &operator,
        client: Some([1, 2, 3, 4].into()),
        via: true,
        ..PLAIN
    };
    let head = "GET / HTTP/1.0\r\nHost: h\r\nX-Debug: 1\r\nx-team: b\r\nA: b\r\nX-DEBUG:2\r\n\r\n";
    let expected = "Host: h\r\nA: b\r\nX-Forwarded-Host: h\r\nVia: 1.0 palantir\r\nX-Team: a\r\nx-forwarded-proto: https\r\n\r\n";
    assert_eq!(request(head, &edits), expected);
}

/// Every form in which a gateway could take a field for one of ours.
#[test]
fn who_the_client_is_is_never_its_own_to_say() {
    let names = ["x-subject", "x-client-san"].map(str::to_owned);
    let names: NameSet = names.into_iter().collect();
    let own: NameSet = [String::from("x-old")].into_iter().collect();
    let fields = [("x-subject".to_owned(), "CN=alice".to_owned())];
    let identity = Identity {
        names: [&names, &own],
        fields: &fields,
    };
    let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Subject: a\r\nx_subject: b\r\nX_SUBJECT:c\r\nX-Client_San: d\r\n\
        X-Old: e\r\nX-Subjects: f\r\nTrailer: A, x_subject,Via, b\r\nTrailer: X-Old\r\n\r\n";
    let passed = "Host: h\r\nX-Subjects: f\r\nTrailer: A, b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";
    let edits = RequestEdits { identity, ..PLAIN };
    assert_eq!(
        request(head, &edits),
        format!("{passed}x-subject: CN=alice\r\n\r\n")
    );
    let set = vec![("X_Subject".to_owned(), "the operator's".to_owned())];
    let rows = [
        (
            FieldEdits::new(Vec::new(), set),
            "X_Subject: the operator's\r\n",
        ),
        (
            FieldEdits::new(vec!["x-subject".to_owned()], Vec::new()),
            "",
        ),
    ];
    for (operator, expected) in &rows {
        let edits = RequestEdits {
            identity,
            operator,
            ..PLAIN
        };
        assert_eq!(request(head, &edits), format!("{passed}{expected}\r\n"));
    }
}

#[test]
fn proxies_alone_say_whom_a_request_comes_from() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=a\r\nX-Forwarded-Port: 1\r\nX_Forwarded_Prefix: /a\r\n\
        X-Real-IP: b\r\nX-Original-URL: /c\r\nX-Forwarded-User: d\r\n\r\n";
    let rows = [
        (false, ""),
        (
            true,
            "Forwarded: for=a\r\nX-Forwarded-Port: 1\r\nX-Real-IP: b\r\nX-Original-URL: /c\r\nX-Forwarded-User: d\r\n",
        ),
    ];
    for (client_trusted, passed) in rows {
        let edits = RequestEdits {
            client_trusted,
            ..PLAIN
        };
        let expected =
            format!("Host: h\r\n{passed}X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n");
        assert_eq!(request(head, &edits), expected);
    }
}

/// RFC 8441 section 5: there is one key, the one whose proof we look at.
#[test]
fn our_key_of_a_websocket_is_the_only_one() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: a\r\nsec_websocket_key: b\r\n\r\n";
    let edits = RequestEdits {
        websocket_key: Some(b"ours"),
        max_forwards: None,
        ..PLAIN
    };
    let written = request(head, &edits);
    assert!(
        written.ends_with("Sec-WebSocket-Key: ours\r\n\r\n"),
        "{written}"
    );
    assert_eq!(
        written.to_ascii_lowercase().matches("key").count(),
        1,
        "{written}"
    );
}

#[test]
fn expectations_table() {
    let rows = [
        ("1.1", true, true),
        ("1.1", false, false),
        // A 1.0 client does not know what to do with a 100.
        ("1.0", true, false),
    ];
    for (version, expect, passed) in rows {
        let head = format!("POST / HTTP/{version}\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
        let sent = request(&head, &RequestEdits { expect, ..PLAIN });
        assert_eq!(
            sent.contains("Expect: 100-continue\r\n"),
            passed,
            "{version} {expect}"
        );
    }
}

#[test]
fn upgrades_and_trailers_are_asked_for_anew() {
    let rows = [
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
        ),
        ("Upgrade: websocket\r\n", ""),
        (
            "Connection: upgrade\r\nUpgrade: H2C, a/1,,\tb\r\nUpgrade: http/2.0\r\nupgrade: c\r\n",
            "Connection: upgrade\r\nUpgrade: a/1, b, c\r\n",
        ),
        (
            "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "",
        ),
        (
            "TE: trailers, gzip\r\nConnection: TE\r\n",
            "TE: trailers\r\nConnection: TE\r\n",
        ),
        (
            "TE: trailers\r\nConnection: TE, upgrade\r\nUpgrade: a\r\n",
            "TE: trailers\r\nConnection: upgrade, TE\r\nUpgrade: a\r\n",
        ),
    ];
    for (lines, expected) in rows {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let expected =
            format!("Host: h\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n{expected}\r\n");
        assert_eq!(request(&head, &PLAIN), expected);
    }
}

#[test]
fn responses_pass_without_what_concerned_the_backend() {
    let head = "HTTP/1.0 418 I'm a teapot\r\nServer: x\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
        Content-Length: 3\r\nTrailer: T\r\n\r\n";
    let expected = "HTTP/1.1 418 I'm a teapot\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
        Content-Length: 3\r\nTrailer: T\r\n\r\n";
    assert_eq!(response(head, Asked::default(), |_| {}), expected);
}

#[test]
fn an_answer_says_what_it_requires_to_switch_to() {
    let rows = [
        (
            426,
            "Upgrade: a\r\n",
            "Upgrade: a\r\nConnection: upgrade\r\n",
        ),
        (
            426,
            "Connection: close, upgrade\r\nUpgrade: h2c,  a\r\nUpgrade: b\r\n",
            "Upgrade: h2c, a, b\r\nConnection: upgrade\r\n",
        ),
        (426, "Connection: upgrade\r\nUpgrade: ,\r\n", ""),
        (426, "Connection: upgrade\r\n", ""),
        (200, "Connection: upgrade\r\nUpgrade: h2,h2c\r\n", ""),
        (400, "Connection: upgrade\r\nUpgrade: a\r\n", ""),
    ];
    for (status, lines, expected) in rows {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{lines}\r\n");
        let written = response(&head, Asked::default(), |_| {});
        let expected = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{expected}\r\n");
        assert_eq!(written, expected, "{lines:?}");
        let closing = response(&head, Asked::default(), |edits| edits.close = true);
        let option = "Connection: upgrade, close\r\n\r\n";
        assert_eq!(
            closing.ends_with(option),
            expected.contains("upgrade"),
            "{closing}"
        );
    }
}

#[test]
fn response_framing_follows_the_client() {
    use ResponseBody::{Chunked, UntilClose};
    let rows = [
        ("", Chunked, "Transfer-Encoding: chunked\r\n"),
        ("", UntilClose, ""),
        (
            "Transfer-Encoding: chunked\r\n",
            Chunked,
            "Transfer-Encoding: chunked\r\n",
        ),
        ("Transfer-Encoding: chunked\r\n", UntilClose, ""),
        (
            "Content-Length: 3\r\n",
            ResponseBody::Length(3),
            "Content-Length: 3\r\n",
        ),
        (
            "Content-Length: 0\r\n",
            ResponseBody::None,
            "Content-Length: 0\r\n",
        ),
        (
            "Content-Length: 3\r\n",
            Chunked,
            "Transfer-Encoding: chunked\r\n",
        ),
    ];
    for (lines, body, expected) in rows {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let sent = response(&head, Asked::default(), |edits| edits.body = body);
        assert_eq!(
            sent,
            format!("HTTP/1.1 200 OK\r\n{expected}\r\n"),
            "{lines:?} {body:?}"
        );
    }
    // The fields of the body stay in the answer to a HEAD; a 204 has no such fields.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let asked = Asked {
        head: true,
        ..Asked::default()
    };
    assert_eq!(response(head, asked, |_| {}), head);
    let empty = response(
        "HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n",
        Asked::default(),
        |_| {},
    );
    assert_eq!(empty, "HTTP/1.1 204 \r\n\r\n");
}

/// A length that is not written as one number is rewritten. A response without a body has no framing fields.
#[test]
fn response_framing_is_written_in_one_way() {
    let rows = [
        (
            "200",
            "A: b\r\nContent-Length: 007\r\n",
            "A: b\r\nContent-Length: 7\r\n",
        ),
        (
            "200",
            "Content-Length: 7,7\r\nA: b\r\nContent-Length: 7\r\n",
            "A: b\r\nContent-Length: 7\r\n",
        ),
        ("200", "Content-Length: 000\r\n", "Content-Length: 0\r\n"),
        (
            "200",
            "Content_Length: 7\r\nContent-Length: 7\r\n",
            "Content-Length: 7\r\n",
        ),
        (
            "204",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\nA: b\r\n",
            "A: b\r\n",
        ),
        ("204", "Content-Length: x\r\n", ""),
        ("103", "Content-Length: 7\r\nContent-Length: 8\r\n", ""),
        ("304", "Content-Length: 7\r\n", "Content-Length: 7\r\n"),
        ("304", "Content-Length: 7, 7\r\n", "Content-Length: 7\r\n"),
        (
            "304",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            "",
        ),
        ("304", "Content-Length: 7, 8\r\n", ""),
        ("205", "", "Content-Length: 0\r\n"),
        ("205", "Content-Length: 0\r\n", "Content-Length: 0\r\n"),
    ];
    for (status, lines, expected) in rows {
        let head = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        let mut slots = FieldSlots::new();
        let parsed = parse_response(head.as_bytes(), &mut slots, Asked::default(), 1_000);
        let parsed = parsed.unwrap().unwrap();
        let edits = ResponseEdits {
            client_version: Version::Http11,
            body: parsed.body,
            close: false,
            operator: &NO_EDITS,
            computed: &[],
            via: false,
            rewriting: Rewriting::NONE,
            accept: None,
        };
        let mut out = Vec::new();
        encode_response(&mut out, &parsed, &edits);
        let sent = String::from_utf8(out).unwrap();
        assert_eq!(
            sent,
            format!("HTTP/1.1 {status} x\r\n{expected}\r\n"),
            "{head:?}"
        );
    }
}

#[test]
fn response_connection_table() {
    let rows = [
        (Version::Http11, false, ""),
        (Version::Http11, true, "Connection: close\r\n"),
        (Version::Http10, false, "Connection: keep-alive\r\n"),
        (Version::Http10, true, "Connection: close\r\n"),
    ];
    for (version, close, expected) in rows {
        let edit =
            |edits: &mut ResponseEdits<'_>| (edits.client_version, edits.close) = (version, close);
        let sent = response("HTTP/1.1 304 x\r\n\r\n", Asked::default(), edit);
        assert_eq!(sent, format!("HTTP/1.1 304 x\r\n{expected}\r\n"));
        let interim = response(
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
            Asked::default(),
            edit,
        );
        assert_eq!(interim, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    }
}

#[test]
fn a_switch_of_protocols_passes() {
    let asked = Asked {
        upgrade: true,
        ..Asked::default()
    };
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade:websocket\r\nConnection: Upgrade, X-A\r\nX-A: 1\r\nA: b\r\n\r\n";
    let expected = "HTTP/1.1 101 Switching Protocols\r\nA: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(response(head, asked, |edits| edits.close = true), expected);
}

#[test]
fn response_edits_are_applied() {
    let remove = ["server".to_owned()];
    let set = [("x-frame".to_owned(), "deny".to_owned())];
    let operator = FieldEdits::new(remove.to_vec(), set.to_vec());
    let sent = response(
        "HTTP/1.0 200 OK\r\nSERVER: a\r\nX-Frame: b\r\nContent-Length: 1\r\n\r\n",
        Asked::default(),
        |edits| {
            *edits = ResponseEdits {
                operator: &operator,
                via: true,
                rewriting: Rewriting::NONE,
                accept: None,
                ..*edits
            }
        },
    );
    assert_eq!(
        sent,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nVia: 1.0 palantir\r\nx-frame: deny\r\n\r\n"
    );
}

/// The fields that palantir computes are the only ones of their names, unless the operator decides on them.
#[test]
fn computed_fields_take_the_place_of_the_backends() {
    let computed = [
        ComputedField {
            name: "Age",
            value: b"7",
        },
        ComputedField {
            name: "Cache-Status",
            value: b"palantir; hit",
        },
    ];
    let set = vec![("cache-status".to_owned(), "none".to_owned())];
    let operators = [
        (
            FieldEdits::new(Vec::new(), Vec::new()),
            "Age: 7\r\nCache-Status: palantir; hit\r\n",
        ),
        (
            FieldEdits::new(vec!["age".to_owned()], Vec::new()),
            "Cache-Status: palantir; hit\r\n",
        ),
        (
            FieldEdits::new(Vec::new(), set),
            "Age: 7\r\ncache-status: none\r\n",
        ),
    ];
    let head = "HTTP/1.1 200 OK\r\nAGE: 1\r\nA: b\r\ncache_status: x\r\nAge:2\r\nContent-Length: 1\r\n\r\n";
    for (operator, written) in &operators {
        let sent = response(head, Asked::default(), |edits| {
            (edits.operator, edits.computed) = (operator, &computed);
        });
        let expected = format!("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\n{written}\r\n");
        assert_eq!(sent, expected);
        // A client of HTTP/2 gets the same fields.
        let (status, fields) = crate::http::h2::to_h2::response(sent.as_bytes());
        let names: Vec<_> = fields
            .into_iter()
            .map(|field| field.name.to_ascii_lowercase())
            .collect();
        let ages = names.iter().filter(|name| &name[..] == b"age").count();
        assert_eq!((status, ages), (200, usize::from(written.contains("Age"))));
    }
}

#[test]
fn trace_fields_table() {
    let made = traceparent::new(
        [0x0af7_6519_16cd_43dd, 0x8448_eb21_1c80_319c],
        0xb7ad_6b71_6920_3331,
    );
    let made_line = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let forwarded = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n";
    let sent = "Traceparent: x\r\nTRACESTATE: a=b\r\nA: b\r\n";
    let replaced = format!("Host: h\r\nA: b\r\n{forwarded}{made_line}\r\n");
    let rows = [
        (
            TraceFields::Pass,
            format!("Host: h\r\n{sent}{forwarded}\r\n"),
        ),
        (
            TraceFields::Drop,
            format!("Host: h\r\nA: b\r\n{forwarded}\r\n"),
        ),
        (TraceFields::Replace(&made), replaced),
    ];
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{sent}\r\n");
    for (trace, expected) in rows {
        let edits = RequestEdits { trace, ..PLAIN };
        assert_eq!(request(&head, &edits), expected, "{trace:?}");
    }
    let set = [("traceparent".to_owned(), "the operator's".to_owned())];
    let operator = FieldEdits::new(Vec::new(), set.to_vec());
    let edits = RequestEdits {
        trace: TraceFields::Replace(&made),
        operator: &operator,
        ..PLAIN
    };
    let written = request(&head, &edits);
    assert!(
        written.contains("traceparent: the operator's\r\n"),
        "{written}"
    );
    assert_eq!(written.matches("traceparent").count(), 1, "{written}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any head within the limits is written whole, whatever room its buffer has.
    #[test]
    fn heads_of_any_size_are_written(
        method in "[A-Z]{1,64}",
        query in prop::option::of(0usize..8_000),
        fields in proptest::collection::vec(0usize..9_000, 0..4),
        set in proptest::collection::vec(0usize..4_000, 0..3),
        upgrade in prop::option::of(1usize..9_000),
        (room, is_trusted, via) in (0usize..40_000, any::<bool>(), any::<bool>()),
    ) {
        prop_assume!(!matches!(&method[..], "CONNECT" | "TRACE"));
        let query = query.map(|len| format!("?{}", "q".repeat(len))).unwrap_or_default();
        let lines = fields.iter().map(|len| format!("X-Forwarded-For: {}\r\nA:{}\r\n", "1".repeat(len / 2), "a".repeat(len / 2)));
        let upgrade = upgrade.map(|len| format!("Connection: upgrade\r\nUpgrade: {}\r\n", "u".repeat(len)));
        let head = format!(
            "{method} /path{query} HTTP/1.1\r\nHost: h\r\n{}{}\r\n",
            lines.collect::<String>(), upgrade.unwrap_or_default(),
        );
        let wide = HeadLimits { head_bytes: 200_000, fields: 100, target_bytes: 100_000 };
        let mut slots = FieldSlots::new();
        let parsed = parse_request(head.as_bytes(), &mut slots, &wide).unwrap().unwrap();
        let set: Vec<_> = set.iter().enumerate().map(|(at, len)| (format!("x-set-{at}"), "s".repeat(*len))).collect();
        let edits = RequestEdits {
            path: parsed.path, operator: &FieldEdits::new(Vec::new(), set.clone()), client: Some([203, 0, 113,
            9].into()), client_trusted: is_trusted, via, ..PLAIN
        };
        let mut out = Vec::with_capacity(room);
        encode_request(&mut out, &parsed, &edits);
        let mut slots = FieldSlots::new();
        let again = parse_request(&out, &mut slots, &wide).unwrap().unwrap();
        prop_assert_eq!(again.head_bytes, out.len());
        prop_assert_eq!((again.method, again.target), (parsed.method, parsed.target));
        prop_assert!(again.offered().eq(parsed.offered()));
        for (name, value) in &set {
            prop_assert_eq!(again.field(name), Some(value.as_bytes()));
        }
    }
}
