//! Trailer sections (RFC 9110 section 6.5): what of one may be passed on.

use httparse::{EMPTY_HEADER, Status};

use super::head_facts::Sender;
use super::repair::repair_trailers;
use crate::base::limits;
use crate::http::fields::{KnownField, recognise};
use crate::http::names;
use crate::http::refusal::Refusal;

/// Fields that mean nothing, or something dangerous, once the body has been read: those which route, authenticate,
/// modify the request or tell how to read the content (RFC 9110 section 6.5.1).
const NOT_AS_TRAILER: [&str; 25] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "range",
    "retry-after",
    "set-cookie",
    "sec-websocket-accept",
    "sec-websocket-key",
    "traceparent",
    "tracestate",
    "vary",
    "via",
];

/// The lines of `section`, each ending in CRLF, that may be passed on, written as `name: value CRLF`. Errors: a
/// malformed line or too many.
pub(super) fn checked(section: &[u8], sender: Sender) -> Result<Vec<u8>, Refusal> {
    if section.is_empty() {
        return Ok(Vec::new());
    }
    let whole = match sender {
        Sender::Stranger => [section, b"\r\n"].concat(),
        Sender::Ours => [&repair_trailers(section)?[..], b"\r\n"].concat(),
    };
    let mut slots = [EMPTY_HEADER; limits::TRAILER_FIELDS];
    let fields = match httparse::parse_headers(&whole, &mut slots) {
        Ok(Status::Complete((_, fields))) => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::ChunkOverheadTooLarge),
        _ => return Err(Refusal::BadTrailer),
    };
    let mut passed = Vec::with_capacity(whole.len() + fields.len());
    for field in fields {
        if may_be_trailer(field.name.as_bytes()) {
            for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                passed.extend_from_slice(part);
            }
        }
    }
    Ok(passed)
}

/// Whether a trailer field of this name may be passed on, as far as its name alone tells.
pub(in crate::http) fn may_be_trailer(name: &[u8]) -> bool {
    let mut listed = NOT_AS_TRAILER.iter();
    recognise(name) == KnownField::Other && !listed.any(|known| names::same(name, known.as_bytes()))
}

/// Keeps of `trailers`, each `name: value CRLF`, those that `passes` lets by.
pub fn retain_trailers(trailers: &mut Vec<u8>, passes: impl Fn(&[u8]) -> bool) {
    debug_assert!(
        trailers.is_empty() || trailers.ends_with(b"\n"),
        "each trailer is a line"
    );
    let mut kept = 0;
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &trailers[start..]) {
        let line = start..start + length + 1;
        let name = trailers[line.clone()].split(|byte| *byte == b':').next();
        if passes(name.unwrap_or_default()) {
            trailers.copy_within(line.clone(), kept);
            kept += line.len();
            debug_assert!(kept <= line.end, "lines only move to the front");
        }
        start = line.end;
    }
    trailers.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_table() {
        for name in ["grpc-status", "Server-Timing", "x-checksum", "digest"] {
            assert!(may_be_trailer(name.as_bytes()), "{name}");
        }
        for name in [
            "Set-Cookie",
            "set_cookie",
            "CONTENT_TYPE",
            "content-length",
            "host",
            "trailer",
            "X-Forwarded-For",
            "x_forwarded_port",
            "forwarded",
            "via",
            "traceparent",
        ] {
            assert!(!may_be_trailer(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_does_not_pass_is_taken_out() {
        let rows = [
            ("", ""),
            ("a: 1\r\n", "a: 1\r\n"),
            ("x: 1\r\n", ""),
            ("x: 1\r\na: x: 2\r\nx: 3\r\nb: \r\n", "a: x: 2\r\nb: \r\n"),
        ];
        for (trailers, expected) in rows {
            let mut kept = trailers.as_bytes().to_vec();
            retain_trailers(&mut kept, |name| name != b"x");
            assert_eq!(kept, expected.as_bytes(), "{trailers:?}");
        }
    }
}
