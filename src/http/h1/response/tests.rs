//! Tables and properties of the response code.

use super::*;

const MAX: u32 = 65_536;
const GET: Asked = Asked {
    head: false,
    upgrade: false,
    strict: false,
};
const STRICT: Asked = Asked {
    strict: true,
    ..GET
};

fn refusal_of(head: &str, asked: Asked) -> Option<Refusal> {
    match parse_response(head.as_bytes(), &mut FieldSlots::new(), asked, MAX) {
        Ok(head) => {
            head.expect("the head is complete");
            None
        }
        Err(refusal) => Some(refusal),
    }
}

fn accepted<R>(head: &str, asked: Asked, look: impl FnOnce(ResponseHead<'_, '_>) -> R) -> R {
    let mut slots = FieldSlots::new();
    let parsed = parse_response(head.as_bytes(), &mut slots, asked, MAX);
    look(
        parsed
            .expect("the head is good")
            .expect("the head is complete"),
    )
}

#[test]
fn status_lines_table() {
    type Line = (u16, &'static str);
    let rows: [(&str, Result<Line, Refusal>); 21] = [
        ("HTTP/1.1 200 OK\r\n", Ok((200, "OK"))),
        ("HTTP/1.0 404 Not Found\r\n", Ok((404, "Not Found"))),
        ("HTTP/1.1 200 \r\n", Ok((200, ""))),
        ("HTTP/1.1 200\r\n", Ok((200, ""))),
        ("HTTP/1.1 599 gr\u{fc}n\r\n", Ok((599, "gr\u{fc}n"))),
        ("HTTP/1.1 099 x\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 600 x\r\n", Ok((600, "x"))),
        ("HTTP/1.1 999 x\r\n", Ok((999, "x"))),
        ("HTTP/1.1 20 x\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 2000 x\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1  200 x\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 -20 x\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 200 a\0b\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 200 a\rb\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.1 200 OK\n", Err(Refusal::BadLineEnd)),
        ("HTTP/1.1 200\n", Err(Refusal::BadLineEnd)),
        ("\r\nHTTP/1.1 200 OK\r\n", Err(Refusal::BadStatusLine)),
        ("\nHTTP/1.1 200 OK\r\n", Err(Refusal::BadStatusLine)),
        ("HTTP/1.2 200 OK\r\n", Err(Refusal::UnsupportedVersion)),
        ("HTTP/2 200\r\n\r\n", Err(Refusal::UnsupportedVersion)),
        ("220 mail.example ESMTP\r\n", Err(Refusal::BadStatusLine)),
    ];
    for (line, expected) in rows {
        let head = format!("{line}Content-Length: 3\r\n\r\n");
        match expected {
            Ok((status, reason)) => accepted(&head, GET, |head| {
                assert_eq!(
                    (head.status, head.reason),
                    (status, reason.as_bytes()),
                    "{line:?}"
                );
            }),
            Err(refusal) => assert_eq!(refusal_of(&head, GET), Some(refusal), "{line:?}"),
        }
    }
}

#[test]
fn framing_table() {
    use Refusal::*;
    use ResponseBody::{Chunked, Length, UntilClose};
    let head_request = Asked { head: true, ..GET };
    let rows: [(&str, &str, Asked, Result<ResponseBody, Refusal>); 54] = [
        ("1.1 200", "", GET, Ok(UntilClose)),
        (
            "1.1 200",
            "Content-Length: 0\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        ("1.1 200", "Content-Length: 7\r\n", GET, Ok(Length(7))),
        (
            "1.1 200",
            "Transfer-Encoding: chunked\r\n",
            GET,
            Ok(Chunked),
        ),
        ("1.0 200", "Content-Length: 7\r\n", GET, Ok(Length(7))),
        (
            "1.1 205",
            "Content-Length: 0\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 200",
            "Content-Length: 7\r\n",
            head_request,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: chunked\r\n",
            head_request,
            Ok(ResponseBody::None),
        ),
        ("1.1 200", "", head_request, Ok(ResponseBody::None)),
        (
            "1.1 304",
            "Content-Length: 7\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        ("1.1 304", "", GET, Ok(ResponseBody::None)),
        ("1.1 204", "", GET, Ok(ResponseBody::None)),
        (
            "1.1 204",
            "Content-Length: 0\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 204",
            "Content-Length: 7\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 204",
            "Transfer-Encoding: chunked\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 204",
            "Transfer-Encoding: x\r\nContent-Length: y\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        ("1.1 103", "Link: </a>\r\n", GET, Ok(ResponseBody::None)),
        (
            "1.1 100",
            "Content-Length: 7\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 100",
            "Transfer-Encoding: chunked\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 304",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            GET,
            Ok(ResponseBody::None),
        ),
        (
            "1.1 200",
            "Content-Length: x\r\n",
            head_request,
            Ok(ResponseBody::None),
        ),
        ("1.1 205", "", GET, Ok(ResponseBody::None)),
        ("1.1 205", "Content-Length: 7\r\n", GET, Ok(Length(7))),
        (
            "1.1 200",
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            GET,
            Ok(Length(7)),
        ),
        (
            "1.1 200",
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            GET,
            Err(RepeatedContentLength),
        ),
        ("1.1 200", "Content-Length: 7, 007\r\n", GET, Ok(Length(7))),
        (
            "1.1 200",
            "Content-Length: 7, 8\r\n",
            GET,
            Err(BadContentLength),
        ),
        (
            "1.1 200",
            "Content-Length: 7,\r\n",
            GET,
            Err(BadContentLength),
        ),
        ("1.1 200", "Content-Length:\r\n", GET, Err(BadContentLength)),
        (
            "1.1 200",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            GET,
            Err(LengthAndCoding),
        ),
        (
            "1.0 200",
            "Transfer-Encoding: chunked\r\n",
            GET,
            Ok(Chunked),
        ),
        (
            "1.0 200",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            GET,
            Err(LengthAndCoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: , chunked ,\r\n",
            GET,
            Ok(Chunked),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: gzip, chunked\r\n",
            GET,
            Err(UnknownTransferCoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: unheard-of\r\n",
            GET,
            Ok(UntilClose),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: unheard-of, chunked\r\n",
            GET,
            Err(UnknownTransferCoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: unheard-of\r\nContent-Length: 7\r\n",
            GET,
            Err(LengthAndCoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: chunked, chunked\r\n",
            GET,
            Err(BadTransferEncoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            GET,
            Err(BadTransferEncoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding:\r\n",
            GET,
            Err(BadTransferEncoding),
        ),
        (
            "1.1 200",
            "Transfer_Encoding: chunked\r\n",
            GET,
            Ok(UntilClose),
        ),
        (
            "1.1 204",
            "Content-Length: 7\r\n",
            STRICT,
            Err(BodyNotAllowed),
        ),
        (
            "1.1 204",
            "Transfer-Encoding: chunked\r\n",
            STRICT,
            Err(BodyNotAllowed),
        ),
        ("1.1 103", "Link: </a>\r\n", STRICT, Ok(ResponseBody::None)),
        (
            "1.1 100",
            "Content-Length: 7\r\n",
            STRICT,
            Err(BodyNotAllowed),
        ),
        (
            "1.1 100",
            "Transfer-Encoding: chunked\r\n",
            STRICT,
            Err(BodyNotAllowed),
        ),
        (
            "1.1 200",
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            STRICT,
            Err(RepeatedContentLength),
        ),
        (
            "1.1 200",
            "Content-Length: 7, 7\r\n",
            STRICT,
            Err(BadContentLength),
        ),
        (
            "1.1 200",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            STRICT,
            Err(LengthAndCoding),
        ),
        (
            "1.1 304",
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            STRICT,
            Err(LengthAndCoding),
        ),
        (
            "1.0 200",
            "Transfer-Encoding: chunked\r\n",
            STRICT,
            Err(CodingInHttp10),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: gzip, chunked\r\n",
            STRICT,
            Err(UnknownTransferCoding),
        ),
        (
            "1.1 200",
            "Transfer-Encoding: chunked, chunked\r\n",
            STRICT,
            Err(BadTransferEncoding),
        ),
        (
            "1.1 200",
            "Transfer_Encoding: chunked\r\n",
            STRICT,
            Err(DisguisedField),
        ),
    ];
    for (status, lines, asked, expected) in rows {
        let head = format!("HTTP/{status} x\r\n{lines}\r\n");
        match expected {
            Ok(body) => accepted(&head, asked, |head| assert_eq!(head.body, body, "{head:?}")),
            Err(refusal) => assert_eq!(refusal_of(&head, asked), Some(refusal), "{head:?}"),
        }
    }
}

/// A connection takes no other answer after one whose framing is in doubt.
#[test]
fn doubtful_framing_ends_the_connection() {
    let rows = [
        ("1.1 204", "", true),
        ("1.1 204", "Content-Length: 0\r\n", true),
        ("1.1 204", "Content-Length: 7\r\n", false),
        ("1.1 204", "Transfer-Encoding: chunked\r\n", false),
        ("1.1 304", "Transfer-Encoding: chunked\r\n", true),
        ("1.1 304", "Content-Length: 7\r\n", true),
        ("1.1 304", "Content-Length: x\r\n", false),
        ("1.1 205", "", false),
        ("1.1 205", "Content-Length: 0\r\n", true),
        ("1.1 103", "Content-Length: 7\r\n", false),
        ("1.1 103", "", true),
        (
            "1.0 200",
            "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            false,
        ),
    ];
    for (status, lines, expected) in rows {
        let head = format!("HTTP/{status} x\r\n{lines}\r\n");
        accepted(&head, GET, |head| {
            assert_eq!(head.keep_alive, expected, "{status} {lines:?}")
        });
    }
}

#[test]
fn persistence_table() {
    let rows = [
        ("1.1", "Content-Length: 3\r\n", true, None),
        (
            "1.1",
            "Content-Length: 3\r\nConnection: close\r\n",
            false,
            None,
        ),
        ("1.1", "", false, None),
        ("1.0", "Content-Length: 3\r\n", false, None),
        (
            "1.0",
            "Content-Length: 3\r\nConnection: keep-alive\r\n",
            true,
            None,
        ),
        (
            "1.1",
            "Content-Length: 3\r\nKeep-Alive: max=100, Timeout=5\r\n",
            true,
            Some(5),
        ),
        (
            "1.1",
            "Content-Length: 3\r\nKeep-Alive: timeout=5s\r\n",
            true,
            None,
        ),
        (
            "1.1",
            "Content-Length: 3\r\nKeep-Alive: \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\r\n",
            true,
            None,
        ),
    ];
    for (version, lines, keep_alive, timeout) in rows {
        let head = format!("HTTP/{version} 200 OK\r\n{lines}\r\n");
        accepted(&head, GET, |head| {
            assert_eq!(
                (head.keep_alive, head.keep_alive_timeout),
                (keep_alive, timeout),
                "{version} {lines:?}"
            );
        });
    }
}

#[test]
fn switches_table() {
    let offered = Asked {
        upgrade: true,
        ..GET
    };
    let proper = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let rows = [
        (proper, offered, None),
        (proper, GET, Some(Refusal::BadSwitch)),
        ("Upgrade: websocket\r\n", offered, Some(Refusal::BadSwitch)),
        ("Connection: upgrade\r\n", offered, Some(Refusal::BadSwitch)),
        (
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            offered,
            Some(Refusal::BadSwitch),
        ),
        (
            "Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 2\r\n",
            offered,
            None,
        ),
        (
            "Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 2\r\n",
            Asked {
                strict: true,
                ..offered
            },
            Some(Refusal::BodyNotAllowed),
        ),
    ];
    for (lines, asked, expected) in rows {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
        assert_eq!(refusal_of(&head, asked), expected, "{lines:?} {asked:?}");
    }
    let head = format!("HTTP/1.1 200 OK\r\n{proper}Content-Length: 3\r\n\r\n");
    accepted(&head, offered, |head| assert!(!head.upgrade));
}

#[test]
fn malformed_fields_and_large_heads_are_refused() {
    let rows = [
        ("A : b\r\n", Refusal::BadFieldName),
        (" A: b\r\n", Refusal::BadFieldName),
        ("A: b\r\n c\r\n", Refusal::BadFieldName),
        ("A: b\0\r\n", Refusal::BadFieldValue),
        ("A: b\n", Refusal::BadLineEnd),
        ("Connection: content-length\r\n", Refusal::BadConnection),
    ];
    for (lines, expected) in rows {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        assert_eq!(refusal_of(&head, GET), Some(expected), "{lines:?}");
    }
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let within = |max| {
        let mut slots = FieldSlots::new();
        parse_response(head, &mut slots, GET, max).map(|head| head.map(|head| head.head_bytes))
    };
    assert_eq!(within(19), Ok(Some(19)));
    assert_eq!(within(18), Err(Refusal::HeadTooLarge));
}
