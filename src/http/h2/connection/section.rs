//! Field sections received: put together, decoded, checked (RFC 9113 sections 4.3, 6.2, 6.10 and 8.1).

use super::{Ending, H2Connection, Note};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h1;
use crate::http::h2::check::{self, RequestRules};
use crate::http::h2::error::{Abuse, ConnectionError, ErrorCode};
use crate::http::h2::frame::{self, FrameHeader, flag};
use crate::http::h2::priority::Priority;
use crate::http::h2::stream::{AbsentStream, StreamState};
use crate::http::h2::{Role, StreamId};
use crate::http::refusal::Refusal;

/// Bounds on a trailer section, whatever those of heads are. That of bytes counts two line ends more than over
/// HTTP/1.1: that of the last line, and the empty line. A section of which a part has come.
#[derive(Debug, Default)]
pub(super) struct FieldSection {
    begun: Option<Begun>,
    pieces: Vec<u8>,
    continuations: u32,
}

/// The facts of the HEADERS frame that began the section.
#[derive(Clone, Copy, Debug)]
struct Begun {
    stream: StreamId,
    end: bool,
    /// The frame made the stream depend on itself.
    depends_on_itself: bool,
}

impl FieldSection {
    /// The stream whose CONTINUATION must come next.
    #[inline]
    pub(super) fn stream(&self) -> Option<StreamId> {
        self.begun.map(|begun| begun.stream)
    }
}

impl H2Connection {
    #[inline]
    pub(super) fn headers(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.check_head_stream(header.stream)?;
        debug_assert!(
            self.section.begun.is_none(),
            "one field section at a time (RFC 9113 section 4.3)"
        );
        let mut piece = frame::without_padding(header, payload)?;
        let mut depends_on_itself = false;
        if header.has(flag::PRIORITY) {
            let (old_priority, rest) = piece
                .split_at_checked(5)
                .ok_or(ConnectionError::FrameSize)?;
            depends_on_itself =
                frame::number(old_priority, 0) & frame::MAX_31_BITS == header.stream;
            piece = rest;
        }
        let begun = Begun {
            stream: header.stream,
            end: header.has(flag::END_STREAM),
            depends_on_itself,
        };
        if header.has(flag::END_HEADERS) {
            return self.finish_section(begun, piece, now);
        }
        self.section.pieces.extend_from_slice(piece);
        self.section.begun = Some(begun);
        Ok(None)
    }

    #[cold]
    pub(super) fn continuation(
        &mut self,
        header: &FrameHeader,
        piece: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        let section = &mut self.section;
        debug_assert!(
            section.begun.is_some(),
            "a continuation follows HEADERS (RFC 9113 section 6.10)"
        );
        section.continuations += 1;
        let most = self.local.head.or_trailers().bytes as usize * limits::H2_SECTION_MULTIPLE;
        if section.continuations > limits::H2_CONTINUATIONS
            || section.pieces.len() + piece.len() > most
        {
            return Err(Abuse::Continuation.into());
        }
        section.pieces.extend_from_slice(piece);
        let Some(begun) = section.begun.filter(|_| header.has(flag::END_HEADERS)) else {
            return Ok(None);
        };
        let section = std::mem::take(section);
        self.finish_section(begun, &section.pieces, now)
    }

    /// Whether HEADERS may come on this stream at all.
    #[inline]
    fn check_head_stream(&self, stream: StreamId) -> Result<(), ConnectionError> {
        if self.streams.contains_key(&stream) {
            return Ok(());
        }
        let may_open = self.role == Role::Server && stream % 2 == 1;
        match self.look_up(stream) {
            AbsentStream::Idle if may_open => Ok(()),
            AbsentStream::ResetByUs => Ok(()),
            AbsentStream::Idle | AbsentStream::Skipped => Err(ConnectionError::BadStreamId),
            AbsentStream::Ended => Err(ConnectionError::ClosedStream),
        }
    }

    /// The state of a stream that is not open, as far as it is known.
    pub(super) fn look_up(&self, stream: StreamId) -> AbsentStream {
        match stream % 2 {
            // Nobody opens streams with even numbers: we refuse to be pushed at and do not push.
            0 => AbsentStream::Idle,
            _ => self.ended.look_up(stream),
        }
    }

    /// Whether a section on this stream can only be trailers.
    #[inline]
    fn is_behind_head(&self, stream: StreamId) -> bool {
        match self.streams.get(&stream) {
            Some(open) => open.has_head,
            None => self.look_up(stream) != AbsentStream::Idle,
        }
    }

    /// A whole section. It is decoded whatever becomes of it, because the tables of both sides must stay the same.
    #[inline]
    fn finish_section(
        &mut self,
        begun: Begun,
        section: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.head.clear();
        let limits = if self.is_behind_head(begun.stream) {
            self.local.head.or_trailers()
        } else {
            self.local.head
        };
        let list = &mut self.head.fields;
        self.decoder.decode_within(limits, section, list)?;
        let stream = begun.stream;
        let Some(open) = self.streams.get(&stream) else {
            return match self.look_up(stream) {
                AbsentStream::Idle => self.open_by_peer(begun, now),
                _ => Ok(None),
            };
        };
        if !open.receives {
            return self.reset_for(stream, ErrorCode::STREAM_CLOSED, now);
        }
        if begun.depends_on_itself {
            return self.reset_for(stream, ErrorCode::PROTOCOL_ERROR, now);
        }
        if open.has_head {
            self.trailers(begun, now)
        } else {
            self.response(begun, now)
        }
    }

    /// A request.
    #[inline]
    fn open_by_peer(&mut self, begun: Begun, now: Micros) -> Result<Option<Note>, ConnectionError> {
        let stream = begun.stream;
        self.ended.note_opened(stream);
        if let Ending::Final(last) = self.ending
            && stream > last
        {
            self.ended.note_reset_by_us(stream);
            return Ok(None);
        }
        self.floods.earn_by_head();
        if self.streams.len() >= self.local.streams as usize {
            frame::write_reset(&mut self.out, stream, ErrorCode::REFUSED_STREAM);
            self.ended.note_reset_by_us(stream);
            self.count_reply()?;
            self.floods.count(Abuse::RapidReset, now)?;
            return Ok(None);
        }
        if self.streams.len() >= self.stream_bound {
            frame::write_reset(&mut self.out, stream, ErrorCode::REFUSED_STREAM);
            self.ended.note_reset_by_us(stream);
            self.count_reply()?;
            self.refused = self.refused.saturating_add(1);
            return Ok(None); // The peer has broken no rule.
        }
        if begun.depends_on_itself {
            return self.reset_for(stream, ErrorCode::PROTOCOL_ERROR, now);
        }
        let rules = RequestRules {
            target_bytes: self.local.target_bytes,
            extended_connect: self.local.extended_connect,
            control_bytes: self.local.control_bytes,
        };
        let checked = check::check_request(&mut self.head, begun.end, rules);
        match checked {
            Err(refusal) if check::is_malformed(refusal) => self.refuse(stream, refusal, now),
            checked => {
                self.insert(begun);
                self.moved_at = now;
                Ok(Some(match checked {
                    Ok(()) => Note::Head {
                        stream,
                        end: begun.end,
                    },
                    Err(refusal) => Note::Refused {
                        stream,
                        refusal,
                        answer: true,
                    },
                }))
            }
        }
    }

    fn insert(&mut self, begun: Begun) {
        debug_assert!(self.streams.len() < self.local.streams as usize);
        let mut stream = StreamState::new(self.peer.stream_window, self.local.stream_window);
        stream.has_head = true;
        stream.receives = !begun.end;
        stream.expected = self.head.content_length();
        stream.priority = self.head.priority().unwrap_or(Priority::UNNAMED);
        debug_assert!(
            !self.streams.contains_key(&begun.stream),
            "a stream is opened once"
        );
        self.streams.insert(begun.stream, stream);
    }

    /// Resets a stream for its malformed head, and tells why.
    fn refuse(
        &mut self,
        stream: StreamId,
        refusal: Refusal,
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.reset_for(stream, ErrorCode::PROTOCOL_ERROR, now)?;
        let answer = false;
        Ok(Some(Note::Refused {
            stream,
            refusal,
            answer,
        }))
    }

    /// A response, interim or final.
    fn response(&mut self, begun: Begun, now: Micros) -> Result<Option<Note>, ConnectionError> {
        let stream = begun.stream;
        if let Err(refusal) = check::check_response(&mut self.head) {
            return self.refuse(stream, refusal, now);
        }
        let status = self.head.status();
        let (length, lines) = (self.head.content_length(), self.head.lines().len());
        let Some(open) = self.streams.get_mut(&stream) else {
            return Ok(None);
        };
        if status < 200 {
            open.interim_bytes = open.interim_bytes.saturating_add(h1::interim_cost(lines));
            if begun.end || open.interim_bytes > limits::INTERIM_BYTES {
                return self.refuse(stream, Refusal::BadStatusLine, now);
            }
            return Ok(Some(Note::Head { stream, end: false }));
        }
        open.has_head = true;
        self.floods.earn_by_head();
        // Here the length tells what a GET would have got, and the body is empty (RFC 9110 section 8.6).
        let is_empty = open.asked_head || matches!(status, 204 | 304);
        open.expected = if open.asked_tunnel && (200..300).contains(&status) {
            None // A success of CONNECT has no content (RFC 9110 section 9.3.6).
        } else if is_empty {
            Some(0)
        } else {
            length
        };
        if begun.end {
            if open.expected.is_some_and(|length| length > 0) {
                return self.refuse(stream, Refusal::LengthMismatch, now);
            }
            open.receives = false;
            self.close_half(stream);
        }
        Ok(Some(Note::Head {
            stream,
            end: begun.end,
        }))
    }

    fn trailers(&mut self, begun: Begun, now: Micros) -> Result<Option<Note>, ConnectionError> {
        let stream = begun.stream;
        let open = self.streams.get_mut(&stream);
        let (has_length, is_strict) = open.map_or((false, true), |open| {
            (open.expects(0, true), open.is_strict)
        });
        let repairs = self.role == Role::Client && !is_strict;
        let checked = check::check_trailers(&mut self.head.fields, repairs);
        // As with a head, only a client whose section is well-formed gets an answer that names the fault.
        let is_told = |refusal| self.role == Role::Server && !check::is_malformed(refusal);
        let note = match checked {
            Ok(()) => Note::Trailers { stream },
            Err(refusal) if is_told(refusal) => Note::RefusedTrailers { stream, refusal },
            Err(_) => return self.reset_for(stream, ErrorCode::PROTOCOL_ERROR, now),
        };
        if !begun.end || !has_length {
            return self.reset_for(stream, ErrorCode::PROTOCOL_ERROR, now);
        }
        if let Some(open) = self.streams.get_mut(&stream) {
            open.receives = false;
        }
        self.close_half(stream);
        Ok(Some(note))
    }
}
