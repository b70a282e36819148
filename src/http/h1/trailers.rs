//! Trailer sections (RFC 9110 section 6.5): what of one may be passed on.

use httparse::{EMPTY_HEADER, Status};

use crate::base::limits;
use crate::http::fields::{Known, recognise};
use crate::http::refusal::Refusal;

/// Fields that mean nothing, or something dangerous, once the body has been read: those which route, authenticate,
/// modify the request or tell how to read the content (RFC 9110 section 6.5.1).
const NOT_AS_TRAILER: [&str; 22] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "forwarded",
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
    "trailer",
    "vary",
];

/// The lines of `section`, each ending in CRLF, that may be passed on, written as `name: value CRLF`. Errors: a malformed
/// line or too many.
pub(super) fn checked(section: &[u8]) -> Result<Vec<u8>, Refusal> {
    if section.is_empty() {
        return Ok(Vec::new());
    }
    let whole = [section, b"\r\n"].concat();
    let mut slots = [EMPTY_HEADER; limits::TRAILER_FIELDS];
    let fields = match httparse::parse_headers(&whole, &mut slots) {
        Ok(Status::Complete((_, fields))) => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::ChunkOverheadTooLarge),
        _ => return Err(Refusal::BadTrailer),
    };
    let mut passed = Vec::with_capacity(whole.len() + fields.len());
    for field in fields {
        if may_be_trailer(field.name) {
            for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                passed.extend_from_slice(part);
            }
        }
    }
    Ok(passed)
}

/// Whether a trailer field of this name may be passed on.
pub(in crate::http) fn may_be_trailer(name: &str) -> bool {
    let is_listed = NOT_AS_TRAILER
        .iter()
        .any(|listed| name.eq_ignore_ascii_case(listed));
    !is_listed && recognise(name.as_bytes()) == Known::Other
}
