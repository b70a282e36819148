//! Bytes to frames to events, however the bytes are cut.

use std::ops::Range;

use super::{H2Connection, H2Event, Note};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::error::{Abuse, ConnectionError};
use crate::http::h2::frame::{FrameHeader, HEADER_BYTES, PREFACE, flag, kind};
use crate::http::h2::{Role, StreamId};

/// The meaning of the next bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReceiveState {
    /// The client's preface from this byte on.
    Preface(usize),
    /// A frame, of which [`H2Connection::partial`] has the beginning.
    Frame,
    /// The rest of a DATA frame.
    Body(BodyLeft),
    /// So many bytes that nobody wants.
    Skip(usize),
}

/// The rest of a DATA frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLeft {
    pub(super) stream: StreamId,
    pub(super) bytes: usize,
    pub(super) padding: usize,
    pub(super) end: bool,
}

impl ReceiveState {
    pub(super) fn first(role: Role) -> ReceiveState {
        match role {
            Role::Server => ReceiveState::Preface(0),
            Role::Client => ReceiveState::Frame,
        }
    }
}

/// The result of one step: the number of bytes used, and perhaps something to tell.
type Step = (usize, Option<Note>);

impl H2Connection {
    /// Reads received bytes up to the first thing worth telling. Gives the number of bytes used and the event; without
    /// one, all bytes were used and more are needed. With one, there may be more in the rest, which must be given
    /// again.
    ///
    /// Errors: the connection has to end; send the output and close. Every later call gives the same error.
    pub fn receive<'a>(
        &'a mut self,
        bytes: &'a [u8],
        now: Micros,
    ) -> Result<(usize, Option<H2Event<'a>>), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.heard_at = now;
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            match self.step(rest, now) {
                Ok((step, None)) => used += step,
                Ok((step, Some(note))) => {
                    self.incomplete_since = None;
                    return Ok((used + step, Some(self.event(note, rest))));
                }
                Err(error) => return Err(self.fail(error)),
            }
            if !self.is_incomplete() {
                self.incomplete_since = None;
            }
        }
        if self.is_incomplete() {
            self.incomplete_since.get_or_insert(now);
        }
        debug_assert_eq!(
            used,
            bytes.len(),
            "every byte is read before more is received"
        );
        Ok((used, None))
    }

    /// Whether a frame that is needed in one piece, or a field section, has begun and not ended. Incomplete DATA does
    /// not count, because the bytes of a body are passed on as they come. A client's preface begins with the
    /// connection.
    pub fn is_incomplete(&self) -> bool {
        let is_in_preface = matches!(self.reading, ReceiveState::Preface(_));
        is_in_preface || !self.partial.is_empty() || self.section.stream().is_some()
    }

    fn event<'a>(&'a mut self, note: Note, bytes: &'a [u8]) -> H2Event<'a> {
        match note {
            Note::Head { stream, end } => H2Event::Head {
                stream,
                head: &mut self.head,
                end,
            },
            Note::Refused {
                stream,
                refusal,
                answer,
            } => H2Event::Refused {
                stream,
                refusal,
                answer,
            },
            Note::Body { stream, range, end } => H2Event::Body {
                stream,
                bytes: &bytes[range],
                end,
            },
            Note::Trailers { stream } => H2Event::Trailers {
                stream,
                lines: &self.head.fields.text,
            },
            Note::RefusedTrailers { stream, refusal } => {
                H2Event::RefusedTrailers { stream, refusal }
            }
            Note::Reset {
                stream,
                code,
                by_us,
            } => H2Event::Reset {
                stream,
                code,
                by_us,
            },
            Note::GoAway { last, code } => H2Event::GoAway { last, code },
            Note::Settings => H2Event::Settings,
            Note::Pong => H2Event::Pong,
        }
    }

    /// Uses at least one of `bytes`, of which there is at least one.
    fn step(&mut self, bytes: &[u8], now: Micros) -> Result<Step, ConnectionError> {
        match self.reading {
            ReceiveState::Frame if self.partial.is_empty() => self.read_frame(bytes, now),
            ReceiveState::Frame => self.read_partial(bytes, now),
            ReceiveState::Body(left) => Ok(self.read_body(left, bytes)),
            ReceiveState::Skip(left) => {
                let used = left.min(bytes.len());
                self.reading = skip(left - used);
                Ok((used, None))
            }
            ReceiveState::Preface(at) => self.read_preface(at, bytes).map(|used| (used, None)),
        }
    }

    fn read_preface(&mut self, at: usize, bytes: &[u8]) -> Result<usize, ConnectionError> {
        debug_assert!(at < PREFACE.len(), "a whole preface is read no further");
        let used = bytes.len().min(PREFACE.len() - at);
        if bytes[..used] != PREFACE[at..at + used] {
            return Err(ConnectionError::BadPreface);
        }
        self.reading = match at + used {
            at if at == PREFACE.len() => ReceiveState::Frame,
            at => ReceiveState::Preface(at),
        };
        Ok(used)
    }

    /// A frame from its first byte: at once if all of it that is needed is there, else it is gathered.
    #[inline]
    fn read_frame(&mut self, bytes: &[u8], now: Micros) -> Result<Step, ConnectionError> {
        let Some(first) = bytes.first_chunk::<HEADER_BYTES>() else {
            self.partial.extend_from_slice(bytes);
            return Ok((bytes.len(), None));
        };
        let header = FrameHeader::parse(first);
        self.admit(&header)?;
        let needed = HEADER_BYTES + assembled(&header);
        let Some(payload) = bytes.get(HEADER_BYTES..needed) else {
            self.partial.extend_from_slice(bytes);
            return Ok((bytes.len(), None));
        };
        Ok((needed, self.frame(&header, payload, now)?))
    }

    #[cold]
    fn read_partial(&mut self, bytes: &[u8], now: Micros) -> Result<Step, ConnectionError> {
        let header = self
            .partial
            .first_chunk::<HEADER_BYTES>()
            .map(FrameHeader::parse);
        let needed = HEADER_BYTES + header.as_ref().map_or(0, assembled);
        let used = bytes.len().min(needed - self.partial.len());
        self.partial.extend_from_slice(&bytes[..used]);
        let Some(first) = self.partial.first_chunk::<HEADER_BYTES>() else {
            return Ok((used, None));
        };
        let header = FrameHeader::parse(first);
        self.admit(&header)?;
        if self.partial.len() < HEADER_BYTES + assembled(&header) {
            return Ok((used, None));
        }
        let mut partial = std::mem::take(&mut self.partial);
        let note = self.frame(&header, &partial[HEADER_BYTES..], now);
        partial.clear();
        partial.shrink_to(limits::H2_KEPT_HEAD_BYTES);
        self.partial = partial;
        Ok((used, note?))
    }

    /// The objection to a frame that its header alone justifies.
    #[inline]
    fn admit(&self, header: &FrameHeader) -> Result<(), ConnectionError> {
        if !self.has_peer_settings && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(ConnectionError::BadPreface);
        }
        header.check()?;
        match self.section.stream() {
            None if header.kind == kind::CONTINUATION => Err(ConnectionError::BrokenSection),
            Some(stream) if header.kind != kind::CONTINUATION || header.stream != stream => {
                Err(ConnectionError::BrokenSection)
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn frame(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        match header.kind {
            kind::DATA => self.begin_body(header, payload.first().copied(), now),
            kind::HEADERS => self.headers(header, payload, now),
            kind::CONTINUATION => self.continuation(header, payload, now),
            kind::WINDOW_UPDATE => self.window_update(header, payload, now),
            kind::RST_STREAM => self.reset_received(header, payload, now),
            kind::SETTINGS => self.settings(header, payload, now),
            kind::PING => self.ping_received(header, payload, now),
            kind::GOAWAY => Ok(self.goaway(payload)),
            kind::PRIORITY => self.priority(header, payload, now),
            kind::PRIORITY_UPDATE => self.priority_update(payload, now),
            kind::PUSH_PROMISE => Err(ConnectionError::Push),
            _ => {
                self.floods.count(Abuse::UnknownFrame, now)?;
                self.reading = skip(header.len);
                Ok(None)
            }
        }
    }

    /// More of a DATA frame. Bytes of a stream that is gone meanwhile are nobody's.
    #[inline]
    fn read_body(&mut self, left: BodyLeft, bytes: &[u8]) -> Step {
        debug_assert!(left.bytes > 0, "a frame without bytes is left at once");
        let used = left.bytes.min(bytes.len());
        let rest = BodyLeft {
            bytes: left.bytes - used,
            ..left
        };
        let is_last = rest.bytes == 0;
        self.reading = if is_last {
            skip(left.padding)
        } else {
            ReceiveState::Body(rest)
        };
        (
            used,
            self.body_piece(left.stream, 0..used, left.end && is_last),
        )
    }

    /// Tells of a piece of a body, unless its stream is gone.
    pub(super) fn body_piece(
        &mut self,
        stream: StreamId,
        range: Range<usize>,
        end: bool,
    ) -> Option<Note> {
        let Some(open) = self.streams.get_mut(&stream).filter(|open| open.receives) else {
            self.release_connection(range.len() as u32);
            return None;
        };
        if end {
            open.receives = false;
            self.close_half(stream);
        }
        Some(Note::Body { stream, range, end })
    }
}

/// How many bytes of a frame's payload are needed in one piece.
#[inline]
fn assembled(header: &FrameHeader) -> usize {
    match header.kind {
        // The pad length; what follows is passed on as it comes.
        kind::DATA => usize::from(header.has(flag::PADDED)).min(header.len),
        0..=kind::CONTINUATION | kind::PRIORITY_UPDATE => header.len,
        _ => 0,
    }
}

/// The reading that passes over so many bytes.
pub(super) fn skip(bytes: usize) -> ReceiveState {
    match bytes {
        0 => ReceiveState::Frame,
        bytes => ReceiveState::Skip(bytes),
    }
}
