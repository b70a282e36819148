//! The fields that decide how the body is framed, whether the connection goes on, and what else the client expects.

use super::*;

#[test]
fn framing_table() {
    use Refusal::*;
    use RequestBody::{Chunked, Length};
    let rows: [(&str, Result<RequestBody, Refusal>); 35] = [
        ("", Ok(RequestBody::None)),
        ("Content-Length: 0\r\n", Ok(RequestBody::None)),
        ("Content-Length: 5\r\n", Ok(Length(5))),
        (
            "content-length:9223372036854775807\r\n",
            Ok(Length(i64::MAX as u64)),
        ),
        (
            "Content-Length: 9223372036854775808\r\n",
            Err(BadContentLength),
        ),
        (
            "Content-Length: 99999999999999999999\r\n",
            Err(BadContentLength),
        ),
        (
            "Content-Length: 18446744073709551621\r\n",
            Err(BadContentLength),
        ),
        ("Content-Length:\r\n", Err(BadContentLength)),
        ("Content-Length: +5\r\n", Err(BadContentLength)),
        ("Content-Length: -5\r\n", Err(BadContentLength)),
        ("Content-Length: 5,5\r\n", Err(BadContentLength)),
        ("Content-Length: 5 5\r\n", Err(BadContentLength)),
        ("Content-Length: 5;\r\n", Err(BadContentLength)),
        ("Content-Length: 0x5\r\n", Err(BadContentLength)),
        ("Content-Length: 05\r\n", Ok(Length(5))),
        ("Content-Length: 00\r\n", Ok(RequestBody::None)),
        ("Content-Length: 5.0\r\n", Err(BadContentLength)),
        ("Content-Length: five\r\n", Err(BadContentLength)),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Err(RepeatedContentLength),
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(RepeatedContentLength),
        ),
        ("Transfer-Encoding: chunked\r\n", Ok(Chunked)),
        ("transfer-encoding:\tCHUNKED \r\n", Ok(Chunked)),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Err(LengthAndCoding),
        ),
        (
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            Err(LengthAndCoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Err(BadTransferEncoding),
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            Err(BadTransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Err(BadTransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked, gzip\r\n",
            Err(BadTransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked;q=1\r\n",
            Err(BadTransferEncoding),
        ),
        ("Transfer-Encoding: ,chunked\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding:\r\n", Err(BadTransferEncoding)),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(UnknownTransferCoding),
        ),
        ("Transfer-Encoding: gzip\r\n", Err(UnknownTransferCoding)),
        (
            "Transfer-Encoding: identity\r\n",
            Err(UnknownTransferCoding),
        ),
        (
            "Transfer-Encoding: xchunked\r\n",
            Err(UnknownTransferCoding),
        ),
    ];
    for (lines, expected) in rows {
        let head = with_fields(lines);
        match expected {
            Ok(body) => accepted(&head, |head| assert_eq!(head.body, body, "{lines:?}")),
            Err(refusal) => assert_eq!(refusal_of(&head), Some(refusal), "{lines:?}"),
        }
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refusal_of(old), Some(CodingInHttp10));
}

#[test]
fn persistence_table() {
    let rows = [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
    ];
    for (version, lines, expected) in rows {
        let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
        accepted(head.as_bytes(), |head| {
            assert_eq!(head.keep_alive, expected, "{version} {lines:?}")
        });
    }
    for option in ["Host", "content-length"] {
        let lines = format!("Connection: close, {option}\r\n");
        assert_eq!(
            refusal_of(&with_fields(&lines)),
            Some(Refusal::BadConnection)
        );
    }
    for (option, count, expected) in [
        ("x", limits::CONNECTION_OPTIONS, None),
        (
            "x",
            limits::CONNECTION_OPTIONS + 1,
            Some(Refusal::BadConnection),
        ),
        ("", limits::CONNECTION_OPTIONS, None),
        (
            "",
            limits::CONNECTION_OPTIONS + 1,
            Some(Refusal::BadConnection),
        ),
    ] {
        let half = vec![option; count / 2].join(",");
        let other = vec![option; count - count / 2].join(",");
        let lines = format!("Connection: {half}\r\nConnection: {other}\r\n");
        assert_eq!(
            refusal_of(&with_fields(&lines)),
            expected,
            "{option:?} {count}"
        );
    }
}

#[test]
fn upgrades_table() {
    let rows = [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        ("Connection: keep-alive, upgrade\r\nUpgrade: a, b\r\n", true),
        ("Upgrade: websocket\r\n", false),
        ("Connection: upgrade\r\n", false),
        ("Connection: upgrade\r\nUpgrade:\r\n", false),
        (
            "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
            false,
        ),
        ("Connection: upgrade\r\nUpgrade: HTTP/2.0, h2\r\n", false),
        ("Connection: upgrade\r\nUpgrade: websocket, H2C\r\n", true),
        ("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", true),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            true,
        ),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            true,
        ),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
            true,
        ),
    ];
    for (lines, expected) in rows {
        accepted(&with_fields(lines), |head| {
            assert_eq!(head.upgrade, expected, "{lines:?}")
        });
    }
    for (count, expected) in [
        (limits::UPGRADE_PROTOCOLS, true),
        (limits::UPGRADE_PROTOCOLS + 1, false),
    ] {
        let protocols = vec!["a"; count].join(",");
        let lines = format!("Connection: upgrade\r\nUpgrade: {protocols}\r\n");
        accepted(&with_fields(&lines), |head| {
            assert_eq!(head.upgrade, expected, "{count}")
        });
    }
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    accepted(old, |head| assert!(!head.upgrade));
}

#[test]
fn expectations_and_trailers_are_read() {
    accepted(&with_fields("Expect: 100-Continue\r\n"), |head| {
        assert!(head.expect_continue)
    });
    accepted(&with_fields(""), |head| {
        assert!(!head.expect_continue && !head.te_trailers)
    });
    accepted(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", |head| {
        assert!(!head.expect_continue)
    });
    for value in ["200-ok", "100-continue, x", "100-continue;a=b"] {
        let head = with_fields(&format!("Expect: {value}\r\n"));
        assert_eq!(
            refusal_of(&head),
            Some(Refusal::UnknownExpectation),
            "{value:?}"
        );
    }
    accepted(&with_fields("TE: gzip, Trailers\r\n"), |head| {
        assert!(head.te_trailers)
    });
    accepted(&with_fields("TE: gzip\r\n"), |head| {
        assert!(!head.te_trailers)
    });
}
