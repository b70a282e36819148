//! Properties of every head, however it came, checked over generated ones.

use proptest::prelude::*;

use super::*;
use crate::http::fields::{KnownField, recognise};
use crate::http::names::{Identity, NO_EDITS};
use crate::http::refusal::Refusal;
use crate::http::traceparent::TraceFields;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 1_000,
    fields: 20,
    target_bytes: 100,
};

/// The result of a parse without its borrows: bytes, body and host.
fn outcome(bytes: &[u8]) -> Result<Option<(usize, RequestBody, Vec<u8>)>, Refusal> {
    let mut slots = FieldSlots::new();
    let head = parse_request(bytes, &mut slots, &LIMITS)?;
    Ok(head.map(|head| (head.head_bytes, head.body, head.host.to_vec())))
}

fn response_outcome(bytes: &[u8], asked: Asked) -> Result<Option<(usize, ResponseBody)>, Refusal> {
    let mut slots = FieldSlots::new();
    let head = parse_response(bytes, &mut slots, asked, 1_000)?;
    Ok(head.map(|head| (head.head_bytes, head.body)))
}

fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "A",
        "accept",
        "Cookie",
        "X-Y",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
        "Expect",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "Host",
        "Keep-Alive",
        "Content_Length",
        "",
        " ",
    ]);
    let colon = prop::sample::select(vec![": ", ":", ":\t ", ": ", ": ", " :", ""]);
    let value = prop::sample::select(vec![
        "",
        "b",
        "a, b",
        "5",
        "0",
        "chunked",
        "gzip",
        "close",
        "x-y, close",
        "upgrade",
        "trailers",
        "100-continue",
        "h",
        "websocket",
        "\u{1}",
        "\u{e9}",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", " \r\n", "\n", "\r"]);
    (name, colon, value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"))
}

/// Heads good and bad.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "GET http://h/ HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "PUT /a HTTP/1.0\r\n",
        "\r\nGET / HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "GET /#a HTTP/1.1\r\n",
        "CONNECT h:1 HTTP/1.1\r\n",
    ]);
    (start, proptest::collection::vec(line(), 0..3))
        .prop_map(|(start, lines)| format!("{start}Host: h\r\n{}\r\n", lines.concat()).into_bytes())
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 404 \r\n",
        "HTTP/1.1 204\r\n",
        "HTTP/1.1 101 x\r\n",
        "HTTP/1.1 99 x\r\n",
    ]);
    (start, proptest::collection::vec(line(), 0..3))
        .prop_map(|(start, lines)| format!("{start}{}\r\n", lines.concat()).into_bytes())
}

/// A field that is passed on as it is.
fn end_to_end_field() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,20}";
    let value = proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20u8..0x7f, 0x80u8..], 0..30);
    (
        name,
        value.prop_map(|value| crate::http::fields::trim(&value).to_vec()),
    )
        .prop_filter("known names are treated in their own way", |(name, _)| {
            recognise(name.as_bytes()) == KnownField::Other
        })
}

/// The lines of `fields`, with these blanks before and after each value.
fn lines_of(fields: &[(String, Vec<u8>)], before: &str, after: &str) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| {
            [
                name.as_bytes(),
                b":",
                before.as_bytes(),
                value,
                after.as_bytes(),
                b"\r\n",
            ]
            .concat()
        })
        .collect()
}

fn end_to_end_fields(fields: &[Header<'_>]) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .filter(|field| recognise(field.name.as_bytes()) == KnownField::Other)
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = outcome(&bytes);
        let _ = response_outcome(&bytes, Asked::default());
        let _ = response_outcome(&[b"HTTP/1.1 200 ", &bytes[..]].concat(), Asked::default());
        let _ = outcome(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat());
    }

    /// However a head is cut: nothing is decided but refusals before it has ended, and what follows changes nothing.
    #[test]
    fn requests_are_read_alike_however_they_are_cut(head in request(), rest in any::<[u8; 3]>()) {
        let whole = outcome(&head);
        let len = whole.as_ref().ok().and_then(|done| done.as_ref()).map_or(head.len(), |done| done.0);
        for end in 0..len {
            match outcome(&head[..end]) {
                Ok(early) => prop_assert_eq!(early, None),
                Err(refusal) => prop_assert_eq!(Err(refusal), whole.clone()),
            }
        }
        if whole.is_ok() {
            prop_assert_eq!(outcome(&[&head[..], &rest].concat()), whole);
        }
    }

    #[test]
    fn responses_are_read_alike_however_they_are_cut(
        head in response(), rest in any::<[u8; 3]>(), is_head in any::<bool>(), upgrade in any::<bool>(),
        strict in any::<bool>(),
    ) {
        let asked = Asked { head: is_head, upgrade, strict };
        let whole = response_outcome(&head, asked);
        let len = whole.as_ref().ok().and_then(|done| done.as_ref()).map_or(head.len(), |done| done.0);
        for end in 0..len {
            match response_outcome(&head[..end], asked) {
                Ok(early) => prop_assert_eq!(early, None),
                Err(refusal) => prop_assert_eq!(Err(refusal), whole),
            }
        }
        if whole.is_ok() {
            prop_assert_eq!(response_outcome(&[&head[..], &rest].concat(), asked), whole);
        }
    }

    /// The empty line is seen wherever the bytes were cut before it, and nowhere else.
    #[test]
    fn ends_of_heads_are_seen(head in request(), cut in any::<prop::sample::Index>()) {
        let Ok(Some((len, ..))) = outcome(&head) else { return Ok(()) };
        prop_assert!(may_end_head(&head[..len], cut.index(len)));
        let begins_empty = head.starts_with(b"\r\n");
        prop_assert!(begins_empty || !may_end_head(&head[..len - 1], cut.index(len)));
    }

    #[test]
    fn requests_arrive_as_they_were_sent(
        fields in proptest::collection::vec(end_to_end_field(), 0..12),
        (before, after) in prop::sample::select(vec![(" ", ""), ("", ""), ("\t ", " \t"), ("  ", "")]),
        framing in prop::sample::select(vec!["", "Content-Length: 0\r\n", "Content-Length:17\r\n", "transfer-encoding: Chunked\r\n"]),
        host_at_end in any::<bool>(),
        client in any::<Option<std::net::IpAddr>>(),
        via in any::<bool>(),
    ) {
        let lines = lines_of(&fields, before, after);
        let (first, last) = if host_at_end { ("", "Host: h:1\r\n") } else { ("Host: h:1\r\n", "") };
        let head = [b"PUT /a?b HTTP/1.1\r\n", first.as_bytes(), framing.as_bytes(), &lines, last.as_bytes(), b"\r\n"].concat();
        let mut slots = FieldSlots::new();
        let parsed = parse_request(&head, &mut slots, &LIMITS);
        let Ok(Some(sent)) = parsed else { panic!("{:?}", parsed) };
        let edits = RequestEdits {
            path: sent.path, host: None, client, client_trusted: false, forwarding: Forwarding::NONE,
            proto: "https", operator: &NO_EDITS, via, expect: true, trace: TraceFields::Pass,
            identity: Identity::UNKNOWN, websocket_key: None, max_forwards: None, replaced: ReplacedFields::NONE, asked_host: None,
        };
        let mut out = Vec::new();
        encode_request(&mut out, &sent, &edits);
        let mut slots = FieldSlots::new();
        let limits = HeadLimits { head_bytes: 2_000, ..LIMITS };
        let arrived = parse_request(&out, &mut slots, &limits).unwrap().unwrap();
        prop_assert_eq!(arrived.head_bytes, out.len());
        prop_assert_eq!(arrived.target, sent.target);
        prop_assert_eq!((arrived.host, arrived.body), (sent.host, sent.body));
        prop_assert_eq!(end_to_end_fields(arrived.fields).len(), fields.len() + usize::from(via));
        prop_assert_eq!(&end_to_end_fields(arrived.fields)[..fields.len()], &fields[..]);
        let forwarded_for = arrived.field("x-forwarded-for").map(|value| String::from_utf8(value.to_vec()).unwrap());
        prop_assert_eq!(forwarded_for, client.map(|client| client.to_canonical().to_string()));
    }

    #[test]
    fn responses_arrive_as_they_were_sent(
        fields in proptest::collection::vec(end_to_end_field(), 0..12),
        (before, after) in prop::sample::select(vec![(" ", ""), ("", ""), ("\t ", " \t")]),
        framing in prop::sample::select(vec!["", "Content-Length: 0\r\n", "Content-Length:17\r\n", "transfer-encoding: Chunked\r\n"]),
        status in 200u16..1000,
    ) {
        let lines = lines_of(&fields, before, after);
        let head = [format!("HTTP/1.1 {status} x y\r\n{framing}").as_bytes(), &lines, b"\r\n"].concat();
        let mut slots = FieldSlots::new();
        let sent = parse_response(&head, &mut slots, Asked::default(), 1_000).unwrap().unwrap();
        let edits = ResponseEdits {
            client_version: Version::Http11, body: sent.body, close: false, operator: &NO_EDITS,
            computed: &[], via: false, rewriting: Rewriting::NONE, accept: None,
        };
        let mut out = Vec::new();
        encode_response(&mut out, &sent, &edits);
        let mut slots = FieldSlots::new();
        let arrived = parse_response(&out, &mut slots, Asked::default(), 2_000).unwrap().unwrap();
        prop_assert_eq!((arrived.status, arrived.reason), (sent.status, sent.reason));
        prop_assert_eq!(arrived.body, sent.body);
        prop_assert_eq!(end_to_end_fields(arrived.fields), fields);
    }
}
