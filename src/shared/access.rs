//! One line of the access log on its way from a worker to the thread that writes it. Made to be cheap on the worker:
//! one allocation for all texts, numbers for everything that has a name in the snapshot, and no clock but the worker's
//! own.

use std::net::IpAddr;

use crate::base::ids::{PoolId, RequestId, RouteId};
use crate::base::limits;
use crate::base::time::Micros;

/// What is known of an exchange when it has ended.
#[derive(Debug)]
pub struct AccessLine {
    /// When the request's first byte came. The reader turns it into the time of day.
    pub began: Micros,
    /// The id that the client saw in an own answer.
    pub request_id: RequestId,
    /// `None` for a client on a Unix socket.
    pub client: Option<IpAddr>,
    /// The texts of the line.
    pub texts: Texts,
    /// 10 or 11.
    pub version: u8,
    /// What the client was answered; 499 if it left before.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// [`crate::snapshot::Snapshot::generation`] of the snapshot that `route`, `pool` and `backend` refer to. (An `Arc`
    /// of the snapshot would be counted up and down by every core for every request.)
    pub generation: u64,
    /// The route that was found, if any.
    pub route: Option<RouteId>,
    /// The pool of the route, if a route was found.
    pub pool: Option<PoolId>,
    /// Index in the pool's backends; of the last attempt.
    pub backend: Option<u32>,
    /// Attempts made upstream, 0 if none.
    pub attempts: u8,
    /// Microseconds from the first attempt to the response head; 0 if none came.
    pub upstream_micros: u64,
    /// Microseconds from the request's first byte to the answer's last.
    pub total_micros: u64,
    /// The reason word of a failure; `""` if there was none.
    pub failure: &'static str,
}

/// What the request said, byte for byte, in one allocation. Each text is cut at [`limits::LOGGED_TEXT_BYTES`]; an
/// absent one is empty.
#[derive(Debug, Default)]
pub struct Texts {
    bytes: Box<[u8]>,
    ends: [u16; TEXTS],
}

const TEXTS: usize = 6;

const _: () = assert!(TEXTS * limits::LOGGED_TEXT_BYTES <= u16::MAX as usize);

impl Texts {
    /// Copies the texts.
    pub fn new(
        method: &[u8],
        target: &[u8],
        host: &[u8],
        referer: &[u8],
        user_agent: &[u8],
        trace_id: &[u8],
    ) -> Texts {
        let parts = [method, target, host, referer, user_agent, trace_id]
            .map(|text| &text[..text.len().min(limits::LOGGED_TEXT_BYTES)]);
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let ends = parts.map(|part| {
            bytes.extend_from_slice(part);
            bytes.len() as u16
        });
        Texts {
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
        let texts = Texts::new(b"GET", b"/a?b", b"", b"", b"curl/8", b"4bf9");
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
        let texts = Texts::new(b"GET", &long, &long, b"r", &long, b"");
        assert_eq!(texts.target().len(), limits::LOGGED_TEXT_BYTES);
        assert_eq!(texts.host().len(), limits::LOGGED_TEXT_BYTES);
        assert_eq!(texts.referer(), b"r");
        assert_eq!(texts.user_agent().len(), limits::LOGGED_TEXT_BYTES);
    }
}
