//! Response heads as a client gets them.

use super::*;

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
