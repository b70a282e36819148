//! The body of a probe's answer: whether a text stands in its beginning.

use super::ProbeOutcome;
use crate::base::limits;
use crate::http::h1::{ChunkedDecoder, ChunkedPiece, ResponseBody};
use crate::http::refusal::Refusal;

/// Looks for a text in the first `limits::PROBE_BODY_BYTES` of a body, however the bytes are cut.
pub struct Search {
    text: Vec<u8>,
    /// The last bytes of what was looked at, fewer than the text has.
    tail: Vec<u8>,
    /// Bytes that may still be looked at.
    left: usize,
    is_found: bool,
}

impl Search {
    /// Nothing is looked at yet.
    pub fn new(text: &[u8]) -> Search {
        debug_assert!(!text.is_empty(), "a text that is looked for has a byte");
        Search {
            text: text.to_vec(),
            tail: Vec::new(),
            left: limits::PROBE_BODY_BYTES,
            is_found: false,
        }
    }

    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.is_over() {
            return;
        }
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        self.tail.extend_from_slice(bytes);
        self.is_found = memchr::memmem::find(&self.tail, &self.text).is_some();
        let kept = self.text.len() - 1;
        self.tail.drain(..self.tail.len().saturating_sub(kept));
    }

    /// Whether no further byte matters.
    pub fn is_over(&self) -> bool {
        self.is_found || self.left == 0
    }

    /// The outcome of a probe that was otherwise `answered` as it should be.
    pub fn outcome_of(&self, answered: String) -> ProbeOutcome {
        let text = String::from_utf8_lossy(&self.text);
        match (self.is_found, self.left) {
            (true, _) => Ok(answered),
            (false, 0) => {
                let kib = limits::PROBE_BODY_BYTES >> 10;
                Err(format!(
                    "{answered}, but the first {kib} KiB of the body do not contain {text:?}"
                ))
            }
            _ => Err(format!(
                "{answered}, but the body does not contain {text:?}"
            )),
        }
    }
}

/// A body over HTTP/1.1, whose framing is taken off.
pub enum ProbeBody {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
}

impl ProbeBody {
    /// A body that is framed like this. `strict`: its chunks are held to the letter of the RFCs.
    pub fn of(framing: ResponseBody, strict: bool) -> ProbeBody {
        match framing {
            ResponseBody::None => ProbeBody::Length(0),
            ResponseBody::Length(length) => ProbeBody::Length(length),
            ResponseBody::Chunked if strict => ProbeBody::Chunked(Box::default()),
            ResponseBody::Chunked => ProbeBody::Chunked(Box::new(ChunkedDecoder::of_backend())),
            ResponseBody::UntilClose => ProbeBody::UntilClose,
        }
    }

    /// Whether the body ends with its connection.
    pub fn ends_by_close(&self) -> bool {
        matches!(self, ProbeBody::UntilClose)
    }

    /// Looks at received bytes; whether the body has ended. Errors: its framing breaks a rule.
    pub fn feed(&mut self, received: &[u8], search: &mut Search) -> Result<bool, Refusal> {
        match self {
            ProbeBody::UntilClose => {
                search.feed(received);
                Ok(false)
            }
            ProbeBody::Length(left) => {
                let count = received
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                search.feed(&received[..count]);
                *left -= count as u64;
                Ok(*left == 0)
            }
            ProbeBody::Chunked(decoder) => {
                let mut rest = received;
                loop {
                    let (used, piece) = decoder.decode(rest)?;
                    match piece {
                        ChunkedPiece::Data(range) => search.feed(&rest[range]),
                        ChunkedPiece::NeedMore => return Ok(false),
                        ChunkedPiece::End => return Ok(true),
                    }
                    rest = &rest[used..];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(body: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in body.chunks(size) {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    }

    proptest! {
        #[test]
        fn a_text_is_found_however_the_bytes_and_chunks_are_cut(
            before in "[ab]{0,40}",
            text in "[ab]{1,6}",
            after in "[ab]{0,40}",
            chunk in 1..10usize,
            read in 1..10usize,
        ) {
            let body = format!("{before}{text}{after}");
            for (framing, bytes) in [
                (ResponseBody::Length(body.len() as u64), body.clone().into_bytes()),
                (ResponseBody::UntilClose, body.clone().into_bytes()),
                (ResponseBody::Chunked, chunked(body.as_bytes(), chunk)),
            ] {
                let mut search = Search::new(text.as_bytes());
                let mut decoded = ProbeBody::of(framing, true);
                for piece in bytes.chunks(read) {
                    decoded.feed(piece, &mut search).unwrap();
                }
                prop_assert!(search.is_found, "{body:?} {text:?}");
                let mut other = Search::new(b"c");
                bytes.chunks(read).for_each(|piece| other.feed(piece));
                prop_assert!(!other.is_found);
            }
        }
    }

    #[test]
    fn only_the_beginning_is_searched() {
        let most = limits::PROBE_BODY_BYTES;
        for (before, expected) in [(most - 2, true), (most - 1, false)] {
            let mut search = Search::new(b"ok");
            search.feed(&vec![b'.'; before]);
            search.feed(b"ok");
            assert_eq!(
                search.outcome_of("answered 200".to_owned()).is_ok(),
                expected
            );
            assert!(search.is_over());
        }
    }
}
