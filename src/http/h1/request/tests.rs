//! Tables and properties of the request code.

mod framing;

use super::*;
use crate::base::limits;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 32_768,
    fields: 100,
    target_bytes: 8_192,
};

/// The refusal of `head`, or `None` if the head is accepted; panics if the head is taken for incomplete.
fn refusal_of(head: &[u8]) -> Option<Refusal> {
    refusal_within(head, &LIMITS)
}

fn refusal_within(head: &[u8], limits: &HeadLimits) -> Option<Refusal> {
    match parse_request(head, &mut FieldSlots::new(), limits) {
        Ok(head) => {
            head.expect("the head is complete");
            None
        }
        Err(refusal) => Some(refusal),
    }
}

/// A head with a good request line and a good `Host`, and these field lines besides.
fn with_fields(lines: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n").into_bytes()
}

/// Parses a head that must be good, and looks at it.
fn accepted<R>(head: &[u8], look: impl FnOnce(RequestHead<'_, '_>) -> R) -> R {
    let mut slots = FieldSlots::new();
    let parsed = parse_request(head, &mut slots, &LIMITS);
    look(
        parsed
            .expect("the head is good")
            .expect("the head is complete"),
    )
}

#[test]
fn request_lines_table() {
    use Refusal::*;
    let rows: [(&str, Option<Refusal>); 30] = [
        ("GET / HTTP/1.1", None),
        ("get / HTTP/1.1", None),
        ("M-SEARCH / HTTP/1.1", None),
        ("GET  / HTTP/1.1", Some(BadRequestLine)),
        ("GET /  HTTP/1.1", Some(BadRequestLine)),
        ("GET / HTTP/1.1 ", Some(BadRequestLine)),
        (" GET / HTTP/1.1", Some(BadRequestLine)),
        ("GET\t/ HTTP/1.1", Some(BadRequestLine)),
        ("GET /\tHTTP/1.1", Some(BadRequestLine)),
        ("GET / a HTTP/1.1", Some(BadRequestLine)),
        ("G(T / HTTP/1.1", Some(BadRequestLine)),
        ("G\0T / HTTP/1.1", Some(BadRequestLine)),
        ("G\u{e9}T / HTTP/1.1", Some(BadRequestLine)),
        ("GET /", Some(BadRequestLine)),
        ("GET", Some(BadRequestLine)),
        ("GET / HTTP/1.1\rX", Some(BadRequestLine)),
        ("GET / HTTP/1.10", Some(BadRequestLine)),
        ("GET / HTTP/1", Some(BadRequestLine)),
        ("GET / http/1.1", Some(BadRequestLine)),
        ("GET / HTPP/1.1", Some(BadRequestLine)),
        ("GET / HTTP/11", Some(BadRequestLine)),
        ("GET / HTTP/0.9", Some(UnsupportedVersion)),
        ("GET / HTTP/1.2", Some(UnsupportedVersion)), // `lower_version` makes it 1.1 before.
        ("GET / HTTP/2.0", Some(UnsupportedVersion)),
        ("PRI * HTTP/2.0", Some(UnsupportedVersion)),
        ("GET / HTTP/3.0", Some(UnsupportedVersion)),
        ("CONNECT h:443 HTTP/1.1", Some(MethodNotAllowed)),
        ("TRACE / HTTP/1.1", Some(MethodNotAllowed)),
        ("GET /\u{7f} HTTP/1.1", Some(BadRequestLine)),
        ("GET /\u{1} HTTP/1.1", Some(BadRequestLine)),
    ];
    for (line, expected) in rows {
        let head = format!("{line}\r\nHost: h\r\n\r\n");
        assert_eq!(refusal_of(head.as_bytes()), expected, "{line:?}");
    }
}

/// A request of a higher minor version is served as one of HTTP/1.1. All other bytes stay as they are.
#[test]
fn versions_are_lowered_table() {
    let rows = [
        (
            "GET / HTTP/1.2\r\nHost: h\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n",
        ),
        ("\r\n\r\nGET / HTTP/1.9\r\n", "\r\n\r\nGET / HTTP/1.1\r\n"),
        ("GET / HTTP/1.2", "GET / HTTP/1.1"),
        ("GET / HTTP/1.1\r\n", ""),
        ("GET / HTTP/1.0\r\n", ""),
        ("GET / HTTP/2.0\r\n", ""),
        ("GET / HTTP/0.9\r\n", ""),
        ("GET / HTTP/1.10\r\n", ""),
        ("GET / HTTP/1.2 HTTP/1.1\r\n", ""),
        ("GET /a HTTP/1.1\r\nX: a b HTTP/1.2\r\n", ""),
        ("GET / HTTP/1.2\nHost: h\r\n", ""),
        ("GET", ""),
        ("", ""),
    ];
    for (line, expected) in rows {
        let mut bytes = line.as_bytes().to_vec();
        assert_eq!(lower_version(&mut bytes), !expected.is_empty(), "{line:?}");
        let expected = if expected.is_empty() { line } else { expected };
        assert_eq!(bytes, expected.as_bytes(), "{line:?}");
    }
}

#[test]
fn targets_table() {
    use Refusal::*;
    type Parts = (&'static str, Option<&'static str>);
    let rows: [(&str, Result<Parts, Refusal>); 27] = [
        ("GET /", Ok(("/", None))),
        ("GET /a/b?c=d?e", Ok(("/a/b", Some("c=d?e")))),
        ("GET /?", Ok(("/", Some("")))),
        ("GET //x", Ok(("//x", None))),
        ("GET /a|b{c}\"<>^`\\[]", Ok(("/a|b{c}\"<>^`\\[]", None))),
        ("OPTIONS *", Ok(("*", None))),
        ("OPTIONS /", Ok(("/", None))),
        ("OPTIONS http://h", Ok(("*", None))),
        ("OPTIONS http://h?q", Ok(("/", Some("q")))),
        ("GET http://h", Ok(("/", None))),
        ("GET http://H:80/a?b", Ok(("/a", Some("b")))),
        ("GET HTTPS://h:443/", Ok(("/", None))),
        ("GET http://h?b=/c", Ok(("/", Some("b=/c")))),
        ("GET http://other/", Ok(("/", None))),
        ("GET http://h:8080/", Ok(("/", None))),
        ("GET https://h:80/", Ok(("/", None))),
        ("GET http://u@h/", Err(BadHost)),
        ("GET http:///a", Err(BadHost)),
        ("GET http://h:/", Ok(("/", None))),
        ("GET ftp://h/", Err(BadTarget)),
        ("GET http:/h/", Err(BadTarget)),
        ("GET *", Err(BadTarget)),
        ("GET h:80", Err(BadTarget)),
        ("GET a/b", Err(BadTarget)),
        ("GET /a#b", Err(BadTarget)),
        ("GET /a?b#c", Err(BadTarget)),
        ("GET /\u{e9}", Err(BadTarget)),
    ];
    for (start, expected) in rows {
        let head = format!("{start} HTTP/1.1\r\nhost: h\r\n\r\n");
        match expected {
            Ok((path, query)) => accepted(head.as_bytes(), |head| {
                assert_eq!(head.path, path.as_bytes(), "{start}");
                assert_eq!(head.query, query.map(str::as_bytes), "{start}");
            }),
            Err(refusal) => assert_eq!(refusal_of(head.as_bytes()), Some(refusal), "{start}"),
        }
    }
    // Not UTF-8 either.
    assert_eq!(
        refusal_of(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"),
        Some(BadRequestLine)
    );
}

#[test]
fn fields_table() {
    use Refusal::*;
    let rows: [(&str, Option<Refusal>); 28] = [
        ("A: b\r\n", None),
        ("A:b\r\n", None),
        ("A: \t b \t\r\n", None),
        ("A:\r\n", None),
        ("A: b\tc\r\n", None),
        ("A: b\u{e9}\r\n", None),
        ("a!#$%&'*+-.^_`|~9: b\r\n", None),
        (": b\r\n", Some(BadFieldName)),
        ("A : b\r\n", Some(BadFieldName)),
        ("A\t: b\r\n", Some(BadFieldName)),
        (" A: b\r\n", Some(BadFieldName)),
        ("A: b\r\n folded\r\n", Some(BadFieldName)),
        ("A: b\r\n\tfolded\r\n", Some(BadFieldName)),
        ("A\r\n", Some(BadFieldName)),
        ("A b: c\r\n", Some(BadFieldName)),
        ("A(: b\r\n", Some(BadFieldName)),
        ("A\0: b\r\n", Some(BadFieldName)),
        ("\u{e9}: b\r\n", Some(BadFieldName)),
        ("A: b\0c\r\n", Some(BadFieldValue)),
        ("A: b\u{1}c\r\n", Some(BadFieldValue)),
        ("A: b\u{7f}c\r\n", Some(BadFieldValue)),
        ("A: b\rc\r\n", Some(BadFieldValue)),
        ("A: b\r\r\n", Some(BadFieldValue)),
        ("A: b\n", Some(BadLineEnd)),
        ("A:\n", Some(BadLineEnd)),
        ("A: b \nC: d\r\n", Some(BadLineEnd)),
        ("Content_Length: 3\r\n", Some(DisguisedField)),
        ("X_Forwarded_For: 1.2.3.4\r\n", None),
    ];
    for (lines, expected) in rows {
        assert_eq!(refusal_of(&with_fields(lines)), expected, "{lines:?}");
    }
}

#[test]
fn bare_line_feeds_are_refused_wherever_they_stand() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    for (at, _) in head.match_indices("\r\n") {
        let mut bare = head.to_owned();
        bare.remove(at);
        assert_eq!(
            refusal_of(bare.as_bytes()),
            Some(Refusal::BadLineEnd),
            "{bare:?}"
        );
    }
    assert_eq!(
        refusal_of(b"GET / HTTP/1.0\r\n\n"),
        Some(Refusal::BadLineEnd)
    );
}

#[test]
fn one_empty_line_may_precede() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let after = |before: &[u8]| [before, head].concat();
    accepted(&after(b"\r\n"), |parsed| {
        assert_eq!(parsed.head_bytes, head.len() + 2)
    });
    for before in ["\r\n\r\n", "\n", "\r\n\n", "\r", "\r\r\n", " "] {
        let refused = refusal_of(&after(before.as_bytes()));
        assert_eq!(refused, Some(Refusal::BadRequestLine), "{before:?}");
    }
    for start in ["", "\r", "\r\n"] {
        let mut slots = FieldSlots::new();
        let parsed = parse_request(start.as_bytes(), &mut slots, &LIMITS);
        assert!(matches!(parsed, Ok(None)), "{start:?}");
    }
}

#[test]
fn hosts_table() {
    use Refusal::*;
    let rows: [(&str, Result<&str, Refusal>); 12] = [
        ("1.1\r\nHost: Api.Example:8080\r\n", Ok("Api.Example:8080")),
        ("1.1\r\nHOST:[::1]\r\n", Ok("[::1]")),
        ("1.0\r\nHost: h\r\n", Ok("h")),
        ("1.0\r\n", Ok("")),
        ("1.1\r\n", Err(MissingHost)),
        ("1.1\r\nHost:\r\n", Err(BadHost)),
        ("1.1\r\nHost: a b\r\n", Err(BadHost)),
        ("1.1\r\nHost: a, b\r\n", Err(BadHost)),
        ("1.0\r\nHost: u@h\r\n", Err(BadHost)),
        ("1.1\r\nHost: h\r\nHost: h\r\n", Err(RepeatedHost)),
        ("1.0\r\nHost: h\r\nA: b\r\nhost: g\r\n", Err(RepeatedHost)),
        ("1.1\r\nHost : h\r\n", Err(BadFieldName)),
    ];
    for (rest, expected) in rows {
        let head = format!("GET / HTTP/{rest}\r\n");
        match expected {
            Ok(host) => accepted(head.as_bytes(), |head| {
                assert_eq!(head.host, host.as_bytes());
                let name = host.strip_suffix(":8080").unwrap_or(host);
                assert_eq!(head.host_name, name.as_bytes());
            }),
            Err(refusal) => assert_eq!(refusal_of(head.as_bytes()), Some(refusal), "{rest:?}"),
        }
    }
    accepted(b"GET http://G:80/ HTTP/1.0\r\n\r\n", |head| {
        assert_eq!((head.host, head.host_name), (&b"G:80"[..], &b"G"[..]))
    });
}

#[test]
fn limits_are_exact() {
    let limits = HeadLimits {
        head_bytes: 60,
        fields: 2,
        target_bytes: 10,
    };
    let head = |target: usize, filling: usize| {
        let target = "a".repeat(target - 1);
        let filling = "b".repeat(filling);
        format!("GET /{target} HTTP/1.1\r\nHost: h\r\nA: {filling}\r\n\r\n").into_bytes()
    };
    let fixed = head(10, 0).len();
    let rows = [
        (head(10, 60 - fixed), None),
        (head(10, 61 - fixed), Some(Refusal::HeadTooLarge)),
        (head(11, 0), Some(Refusal::TargetTooLong)),
        (head(200, 0), Some(Refusal::TargetTooLong)),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n".to_vec(),
            Some(Refusal::TooManyFields),
        ),
    ];
    for (head, expected) in rows {
        assert_eq!(
            refusal_within(&head, &limits),
            expected,
            "{}",
            head.escape_ascii()
        );
    }
    // A head that cannot become a good one is refused before it has ended.
    let incomplete = |head: &[u8]| parse_request(head, &mut FieldSlots::new(), &limits).err();
    assert_eq!(incomplete(b"GET /aaaaaaaaa"), None);
    assert_eq!(incomplete(b"GET /aaaaaaaaaa"), Some(Refusal::TargetTooLong));
    assert_eq!(incomplete(&head(10, 60)[..59]), None);
    assert_eq!(incomplete(&head(10, 60)[..60]), Some(Refusal::HeadTooLarge));
}

#[test]
fn methods_table() {
    let rows = [
        ("GET", true, true),
        ("HEAD", true, true),
        ("OPTIONS", true, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("get", false, false),
    ];
    for (method, safe, idempotent) in rows {
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        accepted(head.as_bytes(), |head| {
            assert_eq!(head.method.is_safe(), safe, "{method}");
            assert_eq!(head.method.is_idempotent(), idempotent, "{method}");
            assert_eq!(head.method.is_head(), method == "HEAD");
        });
    }
}
