//! Heads good and bad, as tables.

use super::*;
use crate::http::h2::hpack::{Decoder, Encoder, ListLimits};

const RULES: RequestRules = RequestRules {
    target_bytes: 50,
    extended_connect: true,
    control_bytes: false,
};

/// A head of `name: value` lines, through the wire. Names that an encoder would change are written raw.
fn head(lines: &[&str]) -> Head {
    let mut out = Vec::new();
    for line in lines {
        let at = line[1..].find(':').map_or(line.len(), |at| at + 1);
        let (name, value) = (&line[..at], line.get(at + 2..).unwrap_or_default());
        out.extend([0x00, name.len() as u8]);
        out.extend(name.bytes());
        out.push(value.len() as u8);
        out.extend(value.bytes());
    }
    let mut head = Head::default();
    let limits = ListLimits {
        bytes: 1_000,
        fields: 12,
    };
    Decoder::new(limits).decode(&out, &mut head.fields).unwrap();
    head
}

fn request(lines: &[&str]) -> Result<Head, Refusal> {
    let mut head = head(lines);
    check_request(&mut head, false, RULES).map(|()| head)
}

/// A proper request with `lines` behind it.
fn with(lines: &[&str]) -> Result<Head, Refusal> {
    request(
        &[
            &[
                ":method: GET",
                ":scheme: https",
                ":path: /a?b",
                ":authority: h",
            ],
            lines,
        ]
        .concat(),
    )
}

#[test]
fn a_request_is_read() {
    let head = with(&[
        "accept: */*",
        "content-length: 5",
        "te: trailers",
        "priority: u=1",
    ])
    .unwrap();
    assert_eq!(
        (head.method(), head.scheme(), head.authority()),
        (&b"GET"[..], &b"https"[..], &b"h"[..])
    );
    assert_eq!(
        (head.target(), head.path(), head.query()),
        (&b"/a?b"[..], &b"/a"[..], Some(&b"b"[..]))
    );
    assert_eq!(
        (
            head.content_length(),
            head.te_trailers(),
            head.expect_continue()
        ),
        (Some(5), true, false)
    );
    assert_eq!(head.priority().map(|priority| priority.urgency), Some(1));
    assert_eq!(head.field("accept"), Some(&b"*/*"[..]));
    assert_eq!((head.protocol(), head.status()), (None, 0));
    let lines = b"accept: */*\r\ncontent-length: 5\r\nte: trailers\r\npriority: u=1\r\n\r\n";
    assert_eq!(head.lines(), lines);
    assert_eq!(with(&[]).unwrap().lines(), b"\r\n");
}

#[test]
fn the_authority_stays_what_it_is_when_cookies_are_joined() {
    let pseudo = [":method: GET", ":scheme: http", ":path: /"];
    let others = [
        "cookie: first=1",
        "cookie: b=2",
        "x-other: value",
        "cookie: c",
    ];
    let orders = [[0, 1, 2, 3], [1, 0, 3, 2], [2, 1, 0, 3], [3, 2, 1, 0]];
    for (order, place, crumbs) in orders.iter().flat_map(|order| {
        (0..=4).flat_map(move |place| (0..=4).map(move |crumbs| (order, place, crumbs)))
    }) {
        let mut fields: Vec<_> = order.iter().map(|&at| others[at]).take(crumbs).collect();
        fields.insert(place.min(fields.len()), "host: a.example:81");
        for authority in [&[][..], &[":authority: a.example:81"]] {
            let lines = [&pseudo, authority, &fields[..]].concat();
            let head = request(&lines).unwrap();
            assert_eq!(head.authority(), b"a.example:81", "{lines:?}");
            assert_eq!(head.field("host"), Some(&b"a.example:81"[..]), "{lines:?}");
        }
    }
}

#[test]
fn cookies_become_one() {
    let head = with(&["cookie: a=1", "x: y", "cookie: b=2", "z: w", "cookie: c=3"]).unwrap();
    assert_eq!(
        head.lines(),
        b"x: y\r\nz: w\r\ncookie: a=1; b=2; c=3\r\n\r\n"
    );
    let fields: Vec<_> = head.fields().map(|field| field.value.to_vec()).collect();
    assert_eq!(fields, [&b"y"[..], b"w", b"a=1; b=2; c=3"]);
    assert_eq!(
        (head.method(), head.target(), head.authority()),
        (&b"GET"[..], &b"/a?b"[..], &b"h"[..])
    );
    assert_eq!(
        with(&["cookie: a=1", "x: y"]).unwrap().lines(),
        b"cookie: a=1\r\nx: y\r\n\r\n"
    );
}

#[test]
fn fields_table() {
    let rows: [(&[&str], Option<Refusal>); 34] = [
        (&["x: a b"], None),
        (&["host: h"], None),
        (&["host: H:443"], None),
        (&["te: Trailers"], None),
        (&["expect: 100-continue"], None),
        (&["content-length: 0"], None),
        (&["x-forwarded-for: 1.2.3.4"], None),
        (&["host: i"], Some(Refusal::HostMismatch)),
        (&["host: h:80"], Some(Refusal::HostMismatch)),
        (&["host: "], None),
        (&["host: ", "host: "], Some(Refusal::RepeatedHost)),
        (&["host: h", "host: h"], Some(Refusal::RepeatedHost)),
        (&["X: a"], Some(Refusal::BadFieldName)),
        (&["x y: a"], Some(Refusal::BadFieldName)),
        (&["x\r: a"], Some(Refusal::BadFieldName)),
        (&[":unknown: a"], Some(Refusal::BadFieldName)),
        (&["x: a\r\nb: c"], Some(Refusal::BadFieldValue)),
        (&["x: a\0"], Some(Refusal::BadFieldValue)),
        (&["x:  a"], Some(Refusal::BadFieldValue)),
        (&["x: a\t"], Some(Refusal::BadFieldValue)),
        (&["connection: close"], Some(Refusal::ConnectionField)),
        (&["keep-alive: timeout=5"], Some(Refusal::ConnectionField)),
        (&["proxy-connection: close"], Some(Refusal::ConnectionField)),
        (
            &["transfer-encoding: chunked"],
            Some(Refusal::ConnectionField),
        ),
        (&["upgrade: h2c"], Some(Refusal::ConnectionField)),
        (&["te: trailers, gzip"], Some(Refusal::ConnectionField)),
        (
            &["transfer_encoding: chunked"],
            Some(Refusal::DisguisedField),
        ),
        (
            &["content-length: 5", "content-length: 5"],
            Some(Refusal::RepeatedContentLength),
        ),
        (&["content-length: +5"], Some(Refusal::BadContentLength)),
        (&["content-length: 5, 5"], Some(Refusal::BadContentLength)),
        (&["content-length: "], Some(Refusal::BadContentLength)),
        (&["expect: 200-ok"], Some(Refusal::UnknownExpectation)),
        (&["x: a", ":path: /b"], Some(Refusal::BadPseudoField)),
        (
            &[
                "a: 1", "b: 1", "c: 1", "d: 1", "e: 1", "f: 1", "g: 1", "h: 1", "i: 1", "j: 1",
                "k: 1", "l: 1",
            ],
            Some(Refusal::TooManyFields),
        ),
    ];
    for (lines, refusal) in rows {
        assert_eq!(with(lines).err(), refusal, "{lines:?}");
    }
    let mut empty_name = head(&[":method: GET", ":scheme: http", ":path: /", ":authority: h"]);
    Decoder::new(ListLimits {
        bytes: 1_000,
        fields: 12,
    })
    .decode(&[0, 0, 1, b'x'], &mut empty_name.fields)
    .unwrap();
    assert_eq!(
        check_request(&mut empty_name, false, RULES),
        Err(Refusal::BadFieldName)
    );
}

#[test]
fn pseudo_fields_table() {
    let bad = Some(Refusal::BadPseudoField);
    let rows: [(&[&str], Option<Refusal>); 33] = [
        (
            &[":method: GET", ":scheme: http", ":path: /", "host: h"],
            None,
        ),
        (
            &[
                ":authority: h:1",
                ":path: /",
                ":method: x!y",
                ":scheme: http",
            ],
            None,
        ),
        (
            &[
                ":method: OPTIONS",
                ":scheme: http",
                ":path: *",
                ":authority: h",
            ],
            None,
        ),
        (
            &[
                ":method: CONNECT",
                ":protocol: websocket",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            None,
        ),
        (&[], bad),
        (&["host: h"], bad),
        (&[":method: GET", ":scheme: http", ":authority: h"], bad),
        (&[":method: GET", ":path: /", ":authority: h"], bad),
        (&[":scheme: http", ":path: /", ":authority: h"], bad),
        (
            &[":method: GET", ":scheme: http", ":path: ", ":authority: h"],
            bad,
        ),
        (
            &[":method: GET", ":scheme: ", ":path: /", ":authority: h"],
            bad,
        ),
        (
            &[":method: ", ":scheme: http", ":path: /", ":authority: h"],
            bad,
        ),
        (
            &[":method: G T", ":scheme: http", ":path: /", ":authority: h"],
            bad,
        ),
        (
            &[
                ":method: GET /x HTTP/1.1",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":path: /",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: h",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: h",
                ":status: 200",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /\r\nx: y",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: h",
                ":protocol: websocket",
            ],
            bad,
        ),
        (
            &[
                ":method: CONNECT",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            bad,
        ),
        (
            &[":method: CONNECT", ":authority: h:1"],
            Some(Refusal::MethodNotAllowed),
        ),
        (
            &[
                ":method: TRACE",
                ":scheme: http",
                ":path: /",
                ":authority: h",
            ],
            Some(Refusal::MethodNotAllowed),
        ),
        (
            &[":method: GET", ":scheme: http", ":path: /"],
            Some(Refusal::MissingHost),
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /",
                ":authority: u@h",
            ],
            Some(Refusal::BadHost),
        ),
        (
            &[":method: GET", ":scheme: http", ":path: /", ":authority: "],
            Some(Refusal::BadHost),
        ),
        (
            &[":method: GET", ":scheme: ftp", ":path: /", ":authority: h"],
            Some(Refusal::BadTarget),
        ),
        (
            &[":method: GET", ":scheme: http", ":path: a", ":authority: h"],
            Some(Refusal::BadTarget),
        ),
        (
            &[":method: GET", ":scheme: http", ":path: *", ":authority: h"],
            Some(Refusal::BadTarget),
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /a b",
                ":authority: h",
            ],
            Some(Refusal::BadTarget),
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /a#b",
                ":authority: h",
            ],
            Some(Refusal::BadTarget),
        ),
        (
            &[
                ":method: GET",
                ":scheme: http",
                ":path: /\u{e9}",
                ":authority: h",
            ],
            Some(Refusal::BadTarget),
        ),
    ];
    for (lines, refusal) in rows {
        assert_eq!(request(lines).err(), refusal, "{lines:?}");
    }
    let long = format!(":path: /{}", "a".repeat(50));
    let lines = [":method: GET", ":scheme: http", &long, ":authority: h"];
    assert_eq!(request(&lines).err(), Some(Refusal::TargetTooLong));
}

#[test]
fn a_stream_switches_to_one_protocol_that_is_not_http2() {
    let refused = Err(Refusal::BadPseudoField);
    let rows = [
        ("websocket", Ok(())),
        ("connect-udp", Ok(())),
        ("", refused),
        ("h2c", refused),
        ("H2C", refused),
        ("web socket", refused),
        ("websocket, h2c", refused),
        ("websocket,h2c", refused),
        ("TLS/1.0", refused),
        ("w\u{e9}bsocket", refused),
    ];
    for (protocol, expected) in rows {
        let mut head = head(&[
            ":method: CONNECT",
            &format!(":protocol: {protocol}"),
            ":scheme: http",
            ":path: /",
            ":authority: h",
        ]);
        assert_eq!(
            check_request(&mut head, false, RULES),
            expected,
            "{protocol}"
        );
    }
}

#[test]
fn extended_connect_needs_to_be_allowed() {
    let mut head = head(&[
        ":method: CONNECT",
        ":protocol: websocket",
        ":scheme: http",
        ":path: /",
        ":authority: h",
    ]);
    let rules = RequestRules {
        extended_connect: false,
        ..RULES
    };
    assert_eq!(
        check_request(&mut head, false, rules),
        Err(Refusal::BadPseudoField)
    );
}

#[test]
fn responses_table() {
    let rows: [(&[&str], Result<u16, Refusal>); 26] = [
        (&[":status: 200"], Ok(200)),
        (&[":status: 103", "link: x"], Ok(103)),
        (&[":status: 599"], Ok(599)),
        (&[":status: 204", "content-length: 0"], Ok(204)),
        (&[":status: 304", "content-length: 7"], Ok(304)),
        (&[":status: 204", "content-length: 7"], Ok(204)),
        (&[":status: 103", "content-length: 7"], Ok(103)),
        (
            &[":status: 200", "content-length: 7", "content-length: 7,007"],
            Ok(200),
        ),
        (
            &[":status: 200", "content-length: 7", "content-length: 8"],
            Err(Refusal::RepeatedContentLength),
        ),
        (&[":status: 200", "x_forwarded_for: 1.2.3.4"], Ok(200)),
        (&[":status: 101"], Err(Refusal::BadSwitch)),
        (&[":status: 099"], Err(Refusal::BadStatusLine)),
        (&[":status: 600"], Ok(600)),
        (&[":status: 999"], Ok(999)),
        (&[":status: 20"], Err(Refusal::BadStatusLine)),
        (&[":status: 2000"], Err(Refusal::BadStatusLine)),
        (&[":status: 2x0"], Err(Refusal::BadStatusLine)),
        (&["x: y"], Err(Refusal::BadPseudoField)),
        (
            &[":status: 200", ":status: 200"],
            Err(Refusal::BadPseudoField),
        ),
        (&[":status: 200", ":path: /"], Err(Refusal::BadPseudoField)),
        (&[":Status: 200"], Err(Refusal::BadFieldName)),
        (&[":status: 200 "], Err(Refusal::BadPseudoField)),
        (&[":status: 200", "x y: a"], Err(Refusal::BadFieldName)),
        (&[":status: 200", "x: a\rb"], Err(Refusal::BadFieldValue)),
        (
            &[":status: 200", "Content-Length: 7", "content-length: 8"],
            Err(Refusal::RepeatedContentLength),
        ),
        (
            &[":status: 200", "x: a", ":path: /"],
            Err(Refusal::BadPseudoField),
        ),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_response(&mut head);
        // A fault of the length is for the reader of the head to refuse.
        let fault = head.facts.length_fault;
        let checked = checked.and(fault.map_or(Ok(head.status()), Err));
        assert_eq!(checked, expected, "{lines:?}");
    }
}

/// Faults that a backend may be forgiven, and the head that is then written.
#[test]
fn odd_responses_table() {
    let name = Refusal::BadFieldName;
    let value = Refusal::BadFieldValue;
    let connection = Refusal::ConnectionField;
    let rows: [(&[&str], &str, Option<Refusal>); 9] = [
        (&["x: a"], "x: a\r\n\r\n", None),
        (
            &["X-Ab: Cd", "y: e"],
            "x-ab: Cd\r\ny: e\r\n\r\n",
            Some(name),
        ),
        (&["x: \t a b ", "Y: "], "x: a b\r\ny: \r\n\r\n", Some(value)),
        (&["y:  "], "y: \r\n\r\n", Some(value)),
        (
            &["Content-Length: 7"],
            "content-length: 7\r\n\r\n",
            Some(name),
        ),
        (
            &["connection: close"],
            "connection: close\r\n\r\n",
            Some(connection),
        ),
        (
            &["upgrade: h2c", "keep-alive: timeout=5"],
            "upgrade: h2c\r\nkeep-alive: timeout=5\r\n\r\n",
            Some(connection),
        ),
        (&["te: gzip"], "te: gzip\r\n\r\n", Some(connection)),
        (
            &["transfer-encoding: chunked"],
            "transfer-encoding: chunked\r\n\r\n",
            Some(connection),
        ),
    ];
    for (lines, written, oddity) in rows {
        let mut head = head(&[&[":status: 200"], lines].concat());
        check_response(&mut head).unwrap();
        let text = std::str::from_utf8(head.lines()).unwrap();
        assert_eq!((text, head.facts.oddity), (written, oddity), "{lines:?}");
        let codes = lines[0].starts_with("transfer");
        assert_eq!(head.facts.has_coding, codes, "{lines:?}");
    }
}

#[test]
fn trailers_table() {
    let rows: [(&[&str], Result<&str, Refusal>); 8] = [
        (
            &["grpc-status: 0", "x: y"],
            Ok("grpc-status: 0\r\nx: y\r\n"),
        ),
        (
            &["x: y", "content-length: 5", "z: w"],
            Ok("x: y\r\nz: w\r\n"),
        ),
        (&["authorization: y"], Ok("")),
        (&["transfer_encoding: y"], Ok("")),
        (&[":path: /"], Err(Refusal::BadTrailer)),
        (&["X: y"], Err(Refusal::BadTrailer)),
        (&["x: y\n"], Err(Refusal::BadTrailer)),
        (&["connection: close"], Err(Refusal::BadTrailer)),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_trailers(&mut head.fields, false)
            .map(|()| std::str::from_utf8(&head.fields.text).unwrap());
        assert_eq!(checked, expected, "{lines:?}");
    }
}

#[test]
fn trailers_of_backends_table() {
    let rows: [(&[&str], Result<&str, Refusal>); 5] = [
        (&["X-A: y ", "z: w"], Ok("x-a: y\r\nz: w\r\n")),
        (&["Connection: close", "z: w"], Ok("z: w\r\n")),
        (&["Status: 1", ":path: /"], Err(Refusal::BadTrailer)),
        (&["x y: y"], Err(Refusal::BadTrailer)),
        (&["X: y\n"], Err(Refusal::BadTrailer)),
    ];
    for (lines, expected) in rows {
        let mut head = head(lines);
        let checked = check_trailers(&mut head.fields, true)
            .map(|()| std::str::from_utf8(&head.fields.text).unwrap());
        assert_eq!(checked, expected, "{lines:?}");
    }
}

/// A head that an encoder writes is accepted by the check.
#[test]
fn pseudo_fields_are_encoded() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new();
    encoder.pseudo(&mut out, 2..=3, b"POST");
    encoder.pseudo(&mut out, 6..=7, b"https");
    encoder.pseudo(&mut out, 4..=5, b"/x");
    encoder.pseudo(&mut out, 1..=1, b"h");
    assert_eq!(out[..2], [0x83, 0x87]);
    let mut head = Head::default();
    Decoder::new(ListLimits {
        bytes: 1_000,
        fields: 12,
    })
    .decode(&out, &mut head.fields)
    .unwrap();
    check_request(&mut head, false, RULES).unwrap();
    assert_eq!(
        (head.method(), head.target(), head.authority()),
        (&b"POST"[..], &b"/x"[..], &b"h"[..])
    );
}
