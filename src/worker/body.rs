//! A body on its way, without I/O: how many of the received bytes belong to the body, and how the body is framed for
//! its receiver. The framing of the sender is removed once, then the body passes through its filters, and the framing
//! of the receiver is added once.

pub mod framing;
pub mod trailers;

use crate::base::limits;
use crate::http::h1::{
    CHUNK_END, ChunkedDecoder, ChunkedPiece, write_chunk_header, write_last_chunk,
};
use crate::http::refusal::Refusal;
use crate::net::Block;
use crate::worker::body::trailers::TrailerRules;
use crate::worker::cache::fill::BodyFill;
use crate::worker::relay::Filters;

/// The framing of the part that is still to come.
pub enum Coming {
    Nothing,
    /// The number of bytes that are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// All bytes up to the end of the sender's side (RFC 9112 section 6.3, rule 8; over HTTP/2 the end of the stream).
    UntilClose,
}

/// A body of which a part is still to come.
pub struct Body {
    /// The framing of the part that is still to come.
    pub coming: Coming,
    /// Whether the body goes to its receiver in chunks; otherwise without framing.
    pub chunked: bool,
    /// The most bytes that may still come. The bound is checked where the head does not announce the length.
    pub most: u64,
    /// The trailers of an ended body that the framing of the receiver does not contain, each `name: value CRLF`.
    pub trailers: Vec<u8>,
    /// The rules by which trailers are passed on; `None`: the body has no trailers.
    pub rules: Option<TrailerRules>,
    /// The filters that change the body on its way; `None`: no filter does.
    pub filters: Option<Box<Filters>>,
    /// The store of the cache, which gets a copy of the body as its sender sent it; `None`: the body is not stored.
    pub fill: Option<Box<BodyFill>>,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    Malformed(Refusal),
    /// The body is longer than it may be.
    TooLarge,
}

/// How far [`Body::reframe`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProgress {
    /// The output is full.
    Full,
    /// All input is used.
    Drained,
    /// The body has ended.
    Ended,
}

impl Body {
    /// No body.
    pub fn none() -> Body {
        Body {
            coming: Coming::Nothing,
            chunked: false,
            most: 0,
            trailers: Vec::new(),
            rules: None,
            filters: None,
            fill: None,
        }
    }

    /// Whether the body has ended and needs no trailers behind it.
    pub fn ends_here(&self) -> bool {
        self.has_ended() && self.trailers.is_empty()
    }

    /// Whether the whole body has come and has left the filters.
    pub fn has_ended(&self) -> bool {
        matches!(self.coming, Coming::Nothing) && !self.is_held_back()
    }

    /// Whether a filter has produced bytes that are not in the output yet.
    pub fn is_held_back(&self) -> bool {
        let filters = self.filters.as_ref();
        filters.is_some_and(|filters| !filters.given().is_empty())
    }

    /// Whether the bytes of the body are passed on unchanged: no filter changes them, and neither side uses framing.
    pub fn is_verbatim(&self) -> bool {
        !self.chunked && self.filters.is_none() && !matches!(self.coming, Coming::Chunked(_))
    }

    /// Takes bytes of a verbatim body. The result says how many of the `available` bytes belong to the body. These
    /// bytes count as passed on.
    pub fn take_verbatim(&mut self, available: &[u8]) -> Result<usize, Unacceptable> {
        debug_assert!(self.is_verbatim(), "other bodies are framed anew");
        if matches!(self.coming, Coming::UntilClose) {
            self.spend(available.len())?;
        }
        let taken = self.take(available.len());
        if let Some(fill) = &mut self.fill {
            fill.pass(&available[..taken]);
            if matches!(self.coming, Coming::Nothing) {
                fill.end(&[]);
            }
        }
        Ok(taken)
    }

    /// Counts bytes of a body whose length is not announced, or is not reliable.
    fn spend(&mut self, bytes: usize) -> Result<(), Unacceptable> {
        let left = self.most.checked_sub(bytes as u64);
        self.most = left.ok_or(Unacceptable::TooLarge)?;
        Ok(())
    }

    fn take(&mut self, available: usize) -> usize {
        match &mut self.coming {
            Coming::UntilClose => available,
            Coming::Length(left) => {
                let taken = available.min(usize::try_from(*left).unwrap_or(usize::MAX));
                debug_assert!(*left > 0, "a body without a byte left has ended");
                *left -= taken as u64;
                if *left == 0 {
                    self.coming = Coming::Nothing;
                }
                taken
            }
            Coming::Nothing | Coming::Chunked(_) => 0,
        }
    }

    /// Moves the body from `received` to the end of `out`, until the input is used, `out` is full or the body ends.
    /// `out` never grows beyond `limits::BLOCK_BYTES`.
    pub fn reframe(
        &mut self,
        received: &mut Block,
        out: &mut Block,
    ) -> Result<BodyProgress, Unacceptable> {
        while !self.has_ended() {
            let room = limits::BLOCK_BYTES.saturating_sub(out.len() + limits::CHUNK_FRAMING_BYTES);
            if room == 0 {
                return Ok(BodyProgress::Full);
            }
            if self.is_held_back() {
                self.put_filtered(room, out);
                continue;
            }
            if received.is_empty() {
                return Ok(BodyProgress::Drained);
            }
            let input = &received.filled()[..received.len().min(room)];
            let used = match &mut self.coming {
                Coming::Chunked(decoder) => {
                    let (used, piece) = decoder.decode(input).map_err(Unacceptable::Malformed)?;
                    match piece {
                        ChunkedPiece::Data(range) => self.pass(&input[range], out)?,
                        ChunkedPiece::End => self.end(out),
                        ChunkedPiece::NeedMore => {}
                    }
                    used
                }
                _ => {
                    let taken = self.take(input.len());
                    self.pass(&input[..taken], out)?;
                    if matches!(self.coming, Coming::Nothing) {
                        self.end(out);
                    }
                    taken
                }
            };
            received.consume(used);
        }
        Ok(BodyProgress::Ended)
    }

    /// Notes that the sender has ended its side, with these trailers. The result says whether the body has ended: only
    /// a body without another end lasts until then, and any other body is incomplete (RFC 9112 section 8).
    pub fn source_ended(&mut self, trailers: Vec<u8>, out: &mut Block) -> bool {
        let is_end = matches!(self.coming, Coming::UntilClose);
        if is_end {
            self.trailers = trailers;
            self.end(out);
        }
        is_end
    }

    /// Takes bytes of the body, without the framing of the sender, and appends them to `out` unless a filter keeps
    /// them.
    fn pass(&mut self, data: &[u8], out: &mut Block) -> Result<(), Unacceptable> {
        self.spend(data.len())?;
        if let Some(fill) = &mut self.fill {
            fill.pass(data);
        }
        match &mut self.filters {
            None => self.put(data, out),
            Some(filters) => filters.pass(data),
        }
        Ok(())
    }

    /// Appends at most `room` bytes of the filters' output to `out`, and the end of the body behind its last byte.
    fn put_filtered(&mut self, room: usize, out: &mut Block) {
        let Some(mut filters) = self.filters.take() else {
            return;
        };
        let count = filters.given().len().min(room);
        debug_assert!(
            count > 0,
            "only a body that is held back is put from its filters"
        );
        self.put(&filters.given()[..count], out);
        filters.note_taken(count);
        self.filters = Some(filters);
        if self.has_ended() {
            self.put_end(out);
        }
    }

    /// Appends bytes of the body to `out`, in the framing of the receiver.
    fn put(&self, data: &[u8], out: &mut Block) {
        if self.chunked && !data.is_empty() {
            write_chunk_header(out.vec(), data.len());
            out.extend(data);
            out.extend(CHUNK_END);
        } else {
            out.extend(data);
        }
    }

    /// Notes the end of the body, and appends the end to `out` unless a filter still holds a part of the body.
    fn end(&mut self, out: &mut Block) {
        debug_assert!(
            self.trailers.is_empty() || !matches!(self.coming, Coming::Chunked(_)),
            "a body ends once"
        );
        if let Coming::Chunked(decoder) = std::mem::replace(&mut self.coming, Coming::Nothing) {
            self.trailers = decoder.trailers().to_vec();
        }
        if let Some(rules) = &self.rules {
            rules.apply(&mut self.trailers);
        }
        if let Some(fill) = &mut self.fill {
            fill.end(&self.trailers);
        }
        if let Some(filters) = &mut self.filters {
            filters.end();
        }
        if !self.is_held_back() {
            self.put_end(out);
        }
    }

    /// Appends the end of the body to `out`, if the framing of the receiver has one.
    fn put_end(&mut self, out: &mut Block) {
        debug_assert!(self.has_ended(), "only a body that has ended gets its end");
        if self.chunked {
            write_last_chunk(out.vec(), &std::mem::take(&mut self.trailers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(bytes: &[u8]) -> Block {
        let mut block = Block::with_capacity(bytes.len());
        block.extend(bytes);
        block
    }

    fn chunked() -> Coming {
        Coming::Chunked(Box::default())
    }

    #[test]
    fn framing_table() {
        type Row = (Coming, bool, &'static [u8], &'static [u8], &'static [u8]);
        let rows: [Row; 4] = [
            (
                chunked(),
                true,
                b"3;x=y\r\nabc\r\n0\r\nt: v\r\n\r\nnext",
                b"3\r\nabc\r\n0\r\nt: v\r\n\r\n",
                b"next",
            ),
            (
                chunked(),
                false,
                b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                b"abcde",
                b"",
            ),
            (
                Coming::Length(3),
                true,
                b"abcnext",
                b"3\r\nabc\r\n0\r\n\r\n",
                b"next",
            ),
            (Coming::Length(3), false, b"abcnext", b"abc", b"next"),
        ];
        for (coming, chunked, input, expected, rest) in rows {
            let mut body = Body {
                coming,
                chunked,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: None,
                filters: None,
                fill: None,
            };
            let (mut received, mut out) = (block(input), block(b""));
            assert_eq!(
                body.reframe(&mut received, &mut out),
                Ok(BodyProgress::Ended)
            );
            assert_eq!((out.filled(), received.filled()), (expected, rest));
        }
    }

    #[test]
    fn only_a_body_until_close_may_end_by_closing() {
        let mut out = block(b"");
        let mut body = Body {
            coming: Coming::UntilClose,
            chunked: true,
            most: u64::MAX,
            trailers: Vec::new(),
            rules: None,
            filters: None,
            fill: None,
        };
        assert!(body.source_ended(Vec::new(), &mut out) && body.has_ended());
        assert_eq!(out.filled(), b"0\r\n\r\n");
        for coming in [chunked(), Coming::Length(1)] {
            let mut body = Body {
                coming,
                chunked: true,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: None,
                filters: None,
                fill: None,
            };
            assert!(!body.source_ended(Vec::new(), &mut out));
        }
    }

    #[test]
    fn an_unannounced_length_is_bounded() {
        let mut body = Body {
            coming: chunked(),
            chunked: true,
            most: 4,
            trailers: Vec::new(),
            rules: None,
            filters: None,
            fill: None,
        };
        let (mut received, mut out) = (block(b"3\r\nabc\r\n2\r\nde\r\n"), block(b""));
        assert_eq!(
            body.reframe(&mut received, &mut out),
            Err(Unacceptable::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn what_goes_in_chunked_comes_out_the_same_however_it_is_split(
            data in prop::collection::vec(any::<u8>(), 0..60_000),
            size in 1usize..20_000,
            split in 1usize..20_000,
        ) {
            let mut sent = Vec::new();
            for chunk in data.chunks(size) {
                write_chunk_header(&mut sent, chunk.len());
                sent.extend_from_slice(chunk);
                sent.extend_from_slice(CHUNK_END);
            }
            write_last_chunk(&mut sent, b"");
            let mut body = Body {
                coming: chunked(),
                chunked: false,
                most: u64::MAX,
                trailers: Vec::new(),
                rules: None,
                filters: None,
                fill: None,
            };
            let mut passed = Vec::new();
            for piece in sent.chunks(split) {
                let mut received = block(piece);
                loop {
                    let mut out = block(b"");
                    let progress = body.reframe(&mut received, &mut out).unwrap();
                    prop_assert!(out.len() <= limits::BLOCK_BYTES);
                    passed.extend_from_slice(out.filled());
                    if progress != BodyProgress::Full { break; }
                }
            }
            prop_assert!(body.has_ended());
            prop_assert_eq!(passed, data);
        }
    }
}
