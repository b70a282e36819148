//! HTTP/1 (RFC 9112): heads, framing, chunked coding.
//!
//! A head is parsed once by httparse, checked once right after it (`survey.rs`), and copied once into the other side's
//! output ([`encode_request`], [`encode_response`]).

mod asked;
mod chunked;
mod encode;
mod fault;
mod field_set;
mod framing;
mod from_h2;
mod head_facts;
#[cfg(test)]
mod properties;
mod repair;
mod request;
mod response;
mod target;
mod tolerant;
mod trailers;

use std::mem::MaybeUninit;

use httparse::Header;

use self::head_facts::HeadFacts;
use crate::base::limits;

pub use asked::Asked;
pub use chunked::{CHUNK_END, ChunkedDecoder, ChunkedPiece, write_chunk_header, write_last_chunk};
pub use encode::{
    ComputedField, Encoded, Forwarding, ReplacedFields, RequestEdits, ResponseEdits, Rewriting,
    encode_request, encode_response,
};
pub use fault::fault_at;
pub(in crate::http) use from_h2::{H2Request, H2Response};
pub(in crate::http) use head_facts::{content_length, equal_lengths, is_http};
pub use repair::{may_be_repaired, repair_response};
pub use request::{RequestHead, lower_version, parse_request};
pub use response::{ResponseHead, interim_cost, parse_response};
pub use tolerant::parse_tolerant;
pub(in crate::http) use trailers::may_be_trailer;
pub use trailers::retain_trailers;

/// Bounds on a request's head; beyond them it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line: 431.
    pub head_bytes: u32,
    /// Fields: 431.
    pub fields: u16,
    /// Bytes of the path and the query of the request target; a longer target gets a 414.
    pub target_bytes: u32,
}

/// Where a parse puts its fields and what it notes about them. Costs nothing to make: it is not initialised.
pub struct FieldSlots<'b> {
    slots: [MaybeUninit<Header<'b>>; limits::HEAD_FIELDS],
    facts: MaybeUninit<HeadFacts<'b>>,
}

impl FieldSlots<'_> {
    /// Slots for `limits::HEAD_FIELDS` fields.
    #[inline]
    pub fn new() -> Self {
        FieldSlots {
            slots: [const { MaybeUninit::uninit() }; limits::HEAD_FIELDS],
            facts: MaybeUninit::uninit(),
        }
    }
}

impl Default for FieldSlots<'_> {
    fn default() -> Self {
        FieldSlots::new()
    }
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// The message came over HTTP/2 and is treated like HTTP/1.1 from here on.
    Http2,
}

impl Version {
    fn from_minor(minor: Option<u8>) -> Version {
        match minor {
            Some(1) => Version::Http11,
            _ => Version::Http10,
        }
    }
}

/// A request's method, case-sensitive, always a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method<'b>(&'b [u8]);

impl<'b> Method<'b> {
    /// As received.
    pub fn as_bytes(self) -> &'b [u8] {
        self.0
    }

    /// Whether the response has no body whatever its fields say.
    pub fn is_head(self) -> bool {
        self.0 == b"HEAD"
    }

    /// Whether the request only reads (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self.0, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE")
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self.0, b"PUT" | b"DELETE")
    }
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none, or its length is given as 0.
    None,
    /// So many bytes follow, at least 1.
    Length(u64),
    /// The body comes in chunks (RFC 9112 section 7.1).
    Chunked,
}

/// How the end of a response's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, or its length is given as 0.
    None,
    /// The number of bytes that follow, as a field of the head says; 0: no bytes follow, and no field names a length.
    Length(u64),
    /// The body comes in chunks (RFC 9112 section 7.1).
    Chunked,
    /// All that comes until the backend closes.
    UntilClose,
}

/// Whether the bytes from `from` on may have completed a head: an empty line ends there. Spares a parse of the whole
/// for every few bytes when a head comes slowly; `from`, at most the length, is where the bytes begin that are new
/// since the last parse.
pub fn may_end_head(bytes: &[u8], from: usize) -> bool {
    memchr::memchr_iter(b'\n', &bytes[from..]).any(|at| {
        let before = &bytes[..from + at];
        before.ends_with(b"\n\r") || before.ends_with(b"\n")
    })
}
