//! Tables and properties of the encode code.

mod identity;
mod responses;

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
    replaced: ReplacedFields::NONE,
    asked_host: None,
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

#[test]
fn fields_are_replaced_whatever_their_spelling() {
    let head =
        "GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"a\"\r\nrange: bytes=0-1\r\nX-A: b\r\n\r\n";
    let written = [ComputedField {
        name: "if-none-match",
        value: b"\"z\"",
    }];
    let edits = RequestEdits {
        replaced: ReplacedFields {
            left_out: &["range"],
            written: &written,
        },
        ..PLAIN
    };
    let sent = request(head, &edits);
    assert!(sent.contains("if-none-match: \"z\"\r\n"), "{sent}");
    assert!(sent.contains("X-A: b\r\n"), "{sent}");
    for gone in ["\"a\"", "range"] {
        assert!(!sent.contains(gone), "{sent}");
    }
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
