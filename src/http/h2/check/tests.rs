//! Heads good and bad, as tables.

mod pseudo_fields;
mod responses;

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
