//! Pseudo-header fields of requests, and requests of other protocols.

use super::*;

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
