//! A head as HTTP/1 would have had it, so that everything behind it need not know where it came from.

use httparse::Header;

use super::head::Head;
use crate::http::h1::{
    Asked, FieldSlots, H2Request, H2Response, RequestBody, RequestHead, ResponseHead,
};
use crate::http::refusal::Refusal;

impl Head {
    /// The request in the form of HTTP/1. `end`: nothing follows the head. A body without a length is taken for
    /// chunked. An extended CONNECT becomes a GET that offers to switch to its protocol (RFC 8441 section 5). Errors:
    /// more fields than `limits::HEAD_FIELDS`.
    pub fn as_request<'b, 's>(
        &'b self,
        end: bool,
        slots: &'s mut FieldSlots<'b>,
    ) -> Result<RequestHead<'b, 's>, Refusal> {
        let request = H2Request {
            method: match self.protocol() {
                Some(_) => b"GET",
                None => self.method(),
            },
            path: self.path(),
            query: self.query(),
            target: self.target(),
            host: self.authority(),
            body: match self.content_length() {
                // The bytes behind the head of an extended CONNECT belong to the other protocol.
                _ if end || self.protocol().is_some() => RequestBody::None,
                Some(0) => RequestBody::None,
                Some(length) => RequestBody::Length(length),
                None => RequestBody::Chunked,
            },
            expect_continue: self.expect_continue(),
            upgrade: self.protocol(),
            lines: self.lines(),
        };
        request.head(self.headers(), slots)
    }

    /// The response to a request like `asked` in the form of HTTP/1. `end`: nothing follows the head. Errors: more
    /// fields than `limits::HEAD_FIELDS`, a transfer coding that a body could be thought to have, or what is malformed
    /// by the RFC where that is to be refused.
    pub fn as_response<'b, 's>(
        &'b self,
        end: bool,
        asked: Asked,
        slots: &'s mut FieldSlots<'b>,
    ) -> Result<ResponseHead<'b, 's>, Refusal> {
        if let Some(refusal) = self.facts.oddity.filter(|_| asked.strict) {
            return Err(refusal);
        }
        let head = &self.fields.text[..];
        let response = H2Response {
            status: self.status(),
            end,
            content_length: self.content_length(),
            length_fault: self.facts.length_fault,
            has_coding: self.facts.has_coding,
            // The first line of the head, `:status: 200`, has the status where `HTTP/1.1 200` has it.
            head,
            fields_start: head.len() - self.lines().len(),
        };
        response.head(self.headers(), slots, asked)
    }

    fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.fields().map(|field| Header {
            // Names were found to be tokens.
            name: std::str::from_utf8(field.name).unwrap_or_default(),
            value: field.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::http::traceparent::TraceFields;
    use proptest::prelude::*;

    use super::*;
    use crate::http::fields::{KnownField, recognise};
    use crate::http::h1::{
        Forwarding, HeadLimits, ReplacedFields, RequestEdits, ResponseBody, ResponseEdits,
        Rewriting, Version, encode_request, encode_response, parse_request,
    };
    use crate::http::h2::check::{RequestRules, check_request, check_response};
    use crate::http::h2::hpack::{Decoder, Encoder, ListLimits};
    use crate::http::names::{Identity, NO_EDITS};
    use crate::http::status::reason_phrase;

    const LIMITS: ListLimits = ListLimits {
        bytes: 1_000,
        fields: 20,
    };

    fn head(fields: &[(&str, &str)]) -> Head {
        let (mut section, mut encoder, mut head) = (Vec::new(), Encoder::new(), Head::default());
        for (name, value) in fields {
            encoder.field(&mut section, name.as_bytes(), value.as_bytes(), false);
        }
        Decoder::new(LIMITS)
            .decode(&section, &mut head.fields)
            .unwrap();
        head
    }

    #[test]
    fn a_request_is_written_like_one_of_http1() {
        let mut head = head(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "example.com"),
            (":path", "/a?b=c"),
            ("cookie", "d=e"),
            ("accept", "*/*"),
            ("cookie", "f=g"),
            ("cookie", ""),
            ("te", "trailers"),
            ("x-forwarded-for", "192.0.2.7"),
            ("proxy-authorization", "secret"),
        ]);
        check_request(
            &mut head,
            false,
            RequestRules {
                target_bytes: 100,
                extended_connect: true,
                control_bytes: false,
            },
        )
        .unwrap();
        let mut slots = FieldSlots::new();
        let request = head.as_request(false, &mut slots).unwrap();
        assert_eq!(request.body, RequestBody::Chunked);
        assert_eq!(request.field("cookie"), Some(&b"d=e; f=g"[..]));
        let edits = RequestEdits {
            path: request.path,
            host: None,
            client: Some([203, 0, 113, 9].into()),
            client_trusted: true,
            forwarding: Forwarding::NONE,
            proto: "https",
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
        let mut out = Vec::new();
        encode_request(&mut out, &request, &edits);
        let expected = "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\naccept: */*\r\ncookie: d=e; f=g\r\n\
            X-Forwarded-For: 192.0.2.7, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\n\
            Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        let mut slots = FieldSlots::new();
        let limits = HeadLimits {
            head_bytes: 1_000,
            fields: 20,
            target_bytes: 100,
        };
        assert!(parse_request(&out, &mut slots, &limits).unwrap().is_some());
    }

    #[test]
    fn request_bodies_table() {
        let rows = [
            (None, true, RequestBody::None),
            (None, false, RequestBody::Chunked),
            (Some("0"), true, RequestBody::None),
            (Some("0"), false, RequestBody::None),
            (Some("7"), false, RequestBody::Length(7)),
        ];
        for (length, end, expected) in rows {
            let mut fields = vec![
                (":method", "PUT"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "h"),
            ];
            fields.extend(length.map(|length| ("content-length", length)));
            let mut head = head(&fields);
            check_request(
                &mut head,
                end,
                RequestRules {
                    target_bytes: 100,
                    extended_connect: true,
                    control_bytes: false,
                },
            )
            .unwrap();
            let mut slots = FieldSlots::new();
            let body = head.as_request(end, &mut slots).unwrap().body;
            assert_eq!(body, expected, "{length:?} {end}");
        }
    }

    #[test]
    fn responses_table() {
        let get = Asked::default();
        let head_asked = Asked { head: true, ..get };
        let rows = [
            ("200", None, false, get, ResponseBody::Chunked),
            ("200", None, true, get, ResponseBody::Length(0)),
            ("302", None, true, get, ResponseBody::Length(0)),
            ("200", None, true, head_asked, ResponseBody::None),
            ("304", None, true, get, ResponseBody::None),
            ("200", Some("0"), false, get, ResponseBody::None),
            ("200", Some("7"), false, get, ResponseBody::Length(7)),
            ("200", Some("7"), true, head_asked, ResponseBody::None),
            ("200", None, false, head_asked, ResponseBody::None),
            ("204", None, true, get, ResponseBody::None),
            ("304", Some("7"), true, get, ResponseBody::None),
            ("103", None, false, get, ResponseBody::None),
        ];
        for (status, length, end, asked, expected) in rows {
            let mut fields = vec![(":status", status), ("server", "x")];
            fields.extend(length.map(|length| ("content-length", length)));
            let mut head = head(&fields);
            check_response(&mut head).unwrap();
            let mut slots = FieldSlots::new();
            let response = head.as_response(end, asked, &mut slots).unwrap();
            assert_eq!(response.body, expected, "{status} {length:?} {end}");
            let edits = ResponseEdits {
                client_version: Version::Http11,
                body: response.body,
                close: false,
                operator: &NO_EDITS,
                computed: &[],
                via: false,
                rewriting: Rewriting::NONE,
                accept: None,
            };
            let mut out = Vec::new();
            encode_response(&mut out, &response, &edits);
            let line = format!(
                "HTTP/1.1 {status} {}\r\nserver: x\r\n",
                reason_phrase(head.status())
            );
            assert!(out.starts_with(line.as_bytes()));
        }
    }

    /// A client of HTTP/1.1 gets a 101 when a backend of HTTP/2 accepts an extended CONNECT.
    #[test]
    fn an_accepted_websocket_is_a_switch() {
        let mut head = head(&[
            (":status", "200"),
            ("content-length", "0"),
            ("sec-websocket-accept", "theirs"),
            ("sec-websocket-protocol", "chat"),
        ]);
        check_response(&mut head).unwrap();
        let mut slots = FieldSlots::new();
        let response = head
            .as_response(false, Asked::default(), &mut slots)
            .unwrap();
        let edits = ResponseEdits {
            client_version: Version::Http11,
            body: ResponseBody::UntilClose,
            close: false,
            operator: &NO_EDITS,
            computed: &[],
            via: false,
            rewriting: Rewriting::NONE,
            accept: Some(b"ours"),
        };
        let mut out = Vec::new();
        encode_response(&mut out, &response, &edits);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol: chat\r\nConnection: upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Accept: ours\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Fields good and bad, with bytes that would end a line or a head.
    fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let name = prop_oneof![
            prop::sample::select(vec![
                "accept",
                "cookie",
                "content-length",
                "host",
                "te",
                "expect",
                "priority",
                "x-forwarded-for",
                "transfer-encoding",
                "connection",
                "upgrade",
                "http2-settings",
                "x_forwarded_for",
                ":path",
                ":method",
                ":authority",
                "",
                "A",
            ])
            .prop_map(|name| name.as_bytes().to_vec()),
            proptest::collection::vec(prop_oneof![4 => b'a'..=b'z', 1 => any::<u8>()], 0..4),
        ];
        let value = prop_oneof![
            prop::sample::select(vec![
                "",
                "a",
                "0",
                "7",
                "h",
                "trailers",
                "100-continue",
                "chunked",
                "/x",
                "a\r\nb: c",
                "a\nb: c",
                "\r\n\r\n"
            ])
            .prop_map(|value| value.as_bytes().to_vec()),
            proptest::collection::vec(prop_oneof![4 => b' '..=b'~', 1 => any::<u8>()], 0..6),
        ];
        (name, value)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// An accepted head is, as HTTP/1, one request and the same request.
        #[test]
        fn nothing_is_smuggled(
            method in prop::sample::select(vec!["GET", "OPTIONS", "A B", "GET / HTTP/1.1\r\nx:"]),
            target in prop_oneof![Just("/".to_owned()), Just("*".to_owned()), "/[ -~]{0,6}", "(?s).{0,5}"],
            authority in prop::sample::select(vec!["h", "H:80", "h:", "u@h", "h\r\nx: y", "h/", "[::1]:8"]),
            fields in proptest::collection::vec(field(), 0..5),
            (end, is_tunnel) in any::<(bool, bool)>(),
        ) {
            let method = if is_tunnel { "CONNECT" } else { method };
            let mut start = vec![(":method", method), (":scheme", "http"), (":path", &target), (":authority", authority)];
            start.extend(is_tunnel.then_some((":protocol", "websocket")));
            let start = start.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            let (mut section, mut head) = (Vec::new(), Head::default());
            for (name, value) in start.chain(fields) {
                section.extend([0, name.len() as u8]);
                section.extend(name);
                section.push(value.len() as u8);
                section.extend(value);
            }
            Decoder::new(LIMITS).decode(&section, &mut head.fields).unwrap();
            if check_request(&mut head, end, RequestRules { target_bytes: 100, extended_connect: true,
            control_bytes: false }).is_err() {
                return Ok(());
            }
            let mut slots = FieldSlots::new();
            let request = head.as_request(end, &mut slots).unwrap();
            let edits = RequestEdits {
                path: request.path, host: None, client: None, client_trusted: true,
                forwarding: Forwarding::NONE, proto: "http", operator: &NO_EDITS, via: false, expect: true,
                trace: TraceFields::Pass, identity: Identity::UNKNOWN, websocket_key: None,
                max_forwards: None,
                replaced: ReplacedFields::NONE,
                asked_host: None,
            };
            let mut out = Vec::new();
            encode_request(&mut out, &request, &edits);
            let mut slots = FieldSlots::new();
            let limits = HeadLimits { head_bytes: 10_000, fields: 100, target_bytes: 1_000 };
            let again = parse_request(&out, &mut slots, &limits).unwrap().unwrap();
            prop_assert_eq!(again.head_bytes, out.len());
            prop_assert_eq!((again.method, again.target, again.body), (request.method, request.target, request.body));
            let plain = |head: &RequestHead<'_, '_>| {
                let plain = head.fields.iter().filter(|field| recognise(field.name.as_bytes()) == KnownField::Other);
                plain.map(|field| (field.name.to_owned(), field.value.to_vec())).collect::<Vec<_>>()
            };
            prop_assert_eq!(plain(&again), plain(&request));
        }

        /// Any head within the limits is written whole, whatever room its buffer has.
        #[test]
        fn heads_of_any_size_are_written(
            method in "[A-Z]{1,64}",
            protocol in prop::option::of("[a-z]{1,64}"),
            query in prop::option::of(0usize..8_000),
            authority in 1usize..250,
            fields in proptest::collection::vec(0usize..12_000, 0..4),
            room in 0usize..40_000,
        ) {
            let target = format!("/p{}", query.map(|len| format!("?{}", "q".repeat(len))).unwrap_or_default());
            let (authority, method) = ("a".repeat(authority), if protocol.is_some() { "CONNECT" } else { &method[..] });
            let mut list = vec![(":method", method), (":scheme", "https"), (":path", &target), (":authority", &authority)];
            list.extend(protocol.as_deref().map(|protocol| (":protocol", protocol)));
            let values: Vec<_> = fields.iter().map(|len| "v".repeat(*len)).collect();
            list.extend(values.iter().map(|value| ("x-forwarded-for", &value[..])));
            let (mut section, mut head) = (Vec::new(), Head::default());
            for (name, value) in list {
                Encoder::new().field(&mut section, name.as_bytes(), value.as_bytes(), true);
            }
            let wide = ListLimits { bytes: 200_000, fields: 100 };
            Decoder::new(wide).decode(&section, &mut head.fields).unwrap();
            let rules = RequestRules { target_bytes: 100_000, extended_connect: true, control_bytes: false };
            prop_assume!(check_request(&mut head, true, rules).is_ok());
            let mut slots = FieldSlots::new();
            let request = head.as_request(true, &mut slots).unwrap();
            let edits = RequestEdits {
                path: request.path, host: None, client: None, client_trusted: true,
                forwarding: Forwarding::NONE, proto: "https", operator: &NO_EDITS, via: true, expect: true,
                trace: TraceFields::Pass, identity: Identity::UNKNOWN, websocket_key: Some(&[b'k'; 24]),
                max_forwards: None,
                replaced: ReplacedFields::NONE,
                asked_host: None,
            };
            let mut out = Vec::with_capacity(room);
            encode_request(&mut out, &request, &edits);
            let mut slots = FieldSlots::new();
            let limits = HeadLimits { head_bytes: 200_000, fields: 100, target_bytes: 100_000 };
            let again = parse_request(&out, &mut slots, &limits).unwrap().unwrap();
            prop_assert_eq!((again.head_bytes, again.target), (out.len(), request.target));
            prop_assert_eq!((again.host, again.upgrade), (request.host, request.upgrade));
        }

        /// A response head within the limits is written whole, whatever room its buffer has.
        #[test]
        fn response_heads_of_any_size_are_written(
            fields in proptest::collection::vec(0usize..30_000, 0..4),
            status in 200u16..600,
            room in 0usize..40_000,
        ) {
            let (status, values) = (status.to_string(), fields.iter().map(|len| "v".repeat(*len)));
            let values: Vec<_> = values.collect();
            let (mut section, mut head) = (Vec::new(), Head::default());
            Encoder::new().field(&mut section, b":status", status.as_bytes(), true);
            for value in &values {
                Encoder::new().field(&mut section, b"x", value.as_bytes(), true);
            }
            let wide = ListLimits { bytes: 200_000, fields: 100 };
            Decoder::new(wide).decode(&section, &mut head.fields).unwrap();
            check_response(&mut head).unwrap();
            let mut slots = FieldSlots::new();
            let response = head.as_response(false, Asked::default(), &mut slots).unwrap();
            let edits = ResponseEdits {
                client_version: Version::Http11, body: response.body, close: true, operator: &NO_EDITS,
                computed: &[], via: true, rewriting: Rewriting::NONE, accept: None,
            };
            let mut out = Vec::with_capacity(room);
            encode_response(&mut out, &response, &edits);
            let sent: usize = values.iter().map(String::len).sum();
            prop_assert!(out.len() > sent && out.ends_with(b"Connection: close\r\n\r\n"));
        }
    }
}
