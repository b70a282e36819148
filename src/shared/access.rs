//! One line of the access log on its way from a worker to the thread that writes it. Made to be cheap on the worker:
//! one allocation for all texts, numbers for everything that has a name in the snapshot, and no clock but the worker's
//! own.

use std::net::IpAddr;

use crate::base::ids::{PoolId, RequestId, RouteId};
use crate::base::limits;
use crate::base::time::Micros;

/// One exchange that has ended.
#[derive(Debug)]
pub struct AccessLine {
    /// When the request's first byte came. The reader turns it into the time of day.
    pub began: Micros,
    /// The id that the client saw in an answer of our own.
    pub request_id: RequestId,
    /// [`crate::snapshot::Snapshot::generation`] of the snapshot that `facts` and `tally` refer to. (An `Arc` of the
    /// snapshot would be counted up and down by every core for every request.)
    pub generation: u64,
    /// The facts of the request.
    pub facts: RequestFacts,
    /// The texts of the request's head.
    pub texts: LoggedTexts,
    /// The course of the exchange.
    pub tally: Tally,
    /// The part that the cache had.
    pub cache: CacheOutcome,
    /// Microseconds from the request's first byte to the answer's last.
    pub total_micros: u64,
    /// The label of a failure; `""` if there was none.
    pub failure: &'static str,
}

/// The facts of a request: what its head says, and where the decision about it has led.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestFacts {
    /// The client's address: that of the connection's peer, or the address that a trusted proxy names. `None` for a
    /// client on a Unix socket.
    pub client: Option<IpAddr>,
    /// The version of HTTP that the client speaks, times ten: 10, 11 or 20.
    pub version: u8,
    /// Whether the answer has no body whatever its fields say, because the request is a HEAD.
    pub is_head: bool,
    /// Whether the request is a gRPC call, which is answered in gRPC's own terms.
    pub is_grpc: bool,
    /// Whether the client would rather have JSON than text.
    pub wants_json: bool,
    /// The route to which host and path lead, whether or not the request may take it.
    pub found_route: Option<RouteId>,
    /// The route that the request has taken.
    pub route: Option<RouteId>,
    /// The pool of the route that the request has taken.
    pub pool: Option<PoolId>,
}

/// The part that the cache had in an exchange, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheOutcome {
    /// The part that the cache had.
    pub part: CachePart,
    /// The label of the reason; `""` if there is nothing to tell.
    pub reason: &'static str,
}

/// The part that the cache had in an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePart {
    /// None: the route has no cache, or the method does not concern the cache.
    #[default]
    None,
    /// A fresh entry answered.
    Hit,
    /// A stale entry answered.
    Stale,
    /// An entry answered after a backend had said that the entry still holds.
    Validated,
    /// A backend answered, because no entry could.
    Miss,
    /// A backend answered, because the cache must not be asked.
    Bypass,
}

impl CachePart {
    /// All parts, in the order in which they are counted.
    pub const ALL: [CachePart; 6] = [
        CachePart::None,
        CachePart::Hit,
        CachePart::Stale,
        CachePart::Validated,
        CachePart::Miss,
        CachePart::Bypass,
    ];

    /// The word for logs and metrics; `""`: the cache had no part.
    pub const fn word(self) -> &'static str {
        match self {
            CachePart::None => "",
            CachePart::Hit => "hit",
            CachePart::Stale => "stale",
            CachePart::Validated => "validated",
            CachePart::Miss => "miss",
            CachePart::Bypass => "bypass",
        }
    }
}

/// The counts and times of an exchange, taken while the exchange runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Status of the answer; 0 before, 499 if the client left before it came.
    pub status: u16,
    /// Attempts made at backends, 0 if none.
    pub attempts: u8,
    /// Whether a byte of an answer came from a backend. The request is not sent again then.
    pub is_heard: bool,
    /// Whether the head of an answer is on its way to the client, so that no other can be sent.
    pub is_answered: bool,
    /// Whether the answer is a stream of server-sent events.
    pub is_event_stream: bool,
    /// The backend of the last attempt, as index in the pool's backends.
    pub backend: Option<u32>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Microseconds from the sending of the request, in the last attempt, to the head of the backend's answer; `None`
    /// before.
    pub upstream_micros: Option<u64>,
    /// The instant since which nobody but the backend can be waited for: palantir connects to it, or it was sent the
    /// request, or the end of the request. Only where the whole exchange has a bound.
    pub backend_since: Micros,
    /// Microseconds from the request's first byte to the head of the backend's answer; 0 before.
    pub head_micros: u64,
}

/// Texts of a request that a log may have; an absent one is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestTexts<'t> {
    /// The method as received.
    pub method: &'t [u8],
    /// The request target as received.
    pub target: &'t [u8],
    /// The host that the request was for.
    pub host: &'t [u8],
    /// `Referer`.
    pub referer: &'t [u8],
    /// `User-Agent`.
    pub user_agent: &'t [u8],
    /// The trace that the request belongs to, in hexadecimal digits.
    pub trace_id: &'t [u8],
}

/// Texts of the request, byte for byte, in one allocation. Each text is cut at [`limits::LOGGED_TEXT_BYTES`]; an absent
/// one is empty.
#[derive(Debug, Default)]
pub struct LoggedTexts {
    bytes: Box<[u8]>,
    ends: [u16; TEXTS],
}

const TEXTS: usize = 6;

const _: () = assert!(TEXTS * limits::LOGGED_TEXT_BYTES <= u16::MAX as usize);

impl LoggedTexts {
    /// Copies the texts.
    pub fn new(texts: &RequestTexts<'_>) -> LoggedTexts {
        let parts = [
            texts.method,
            texts.target,
            texts.host,
            texts.referer,
            texts.user_agent,
            texts.trace_id,
        ];
        let parts = parts.map(|text| &text[..text.len().min(limits::LOGGED_TEXT_BYTES)]);
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let ends = parts.map(|part| {
            bytes.extend_from_slice(part);
            bytes.len() as u16
        });
        debug_assert!(ends.is_sorted() && usize::from(ends[TEXTS - 1]) == bytes.len());
        LoggedTexts {
            bytes: bytes.into_boxed_slice(),
            ends,
        }
    }

    /// The method as received.
    pub fn method(&self) -> &[u8] {
        self.part(0)
    }

    /// The request target as received.
    pub fn target(&self) -> &[u8] {
        self.part(1)
    }

    /// The host that the request was for.
    pub fn host(&self) -> &[u8] {
        self.part(2)
    }

    /// `Referer`.
    pub fn referer(&self) -> &[u8] {
        self.part(3)
    }

    /// `User-Agent`.
    pub fn user_agent(&self) -> &[u8] {
        self.part(4)
    }

    /// The trace that the request belongs to, in hexadecimal digits.
    pub fn trace_id(&self) -> &[u8] {
        self.part(5)
    }

    fn part(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[usize::from(start)..usize::from(self.ends[index])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_went_in() {
        let texts = LoggedTexts::new(&RequestTexts {
            method: b"GET",
            target: b"/a?b",
            user_agent: b"curl/8",
            trace_id: b"4bf9",
            ..RequestTexts::default()
        });
        assert_eq!(texts.method(), b"GET");
        assert_eq!(texts.target(), b"/a?b");
        assert_eq!(texts.host(), b"");
        assert_eq!(texts.referer(), b"");
        assert_eq!(texts.user_agent(), b"curl/8");
        assert_eq!(texts.trace_id(), b"4bf9");
    }

    #[test]
    fn long_texts_are_cut() {
        let long = vec![b'x'; limits::LOGGED_TEXT_BYTES + 1];
        let texts = LoggedTexts::new(&RequestTexts {
            method: b"GET",
            target: &long,
            host: &long,
            referer: b"r",
            user_agent: &long,
            ..RequestTexts::default()
        });
        assert_eq!(texts.target().len(), limits::LOGGED_TEXT_BYTES);
        assert_eq!(texts.host().len(), limits::LOGGED_TEXT_BYTES);
        assert_eq!(texts.referer(), b"r");
        assert_eq!(texts.user_agent().len(), limits::LOGGED_TEXT_BYTES);
    }
}
