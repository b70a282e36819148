//! DATA received: what its frame header decides before the bytes come (RFC 9113 section 6.1).

use super::receive::{BodyLeft, ReceiveState, skip};
use super::{H2Connection, Note};
use crate::base::time::Micros;
use crate::http::h2::StreamId;
use crate::http::h2::error::{Abuse, ConnectionError, ErrorCode};
use crate::http::h2::frame::{FrameHeader, flag};
use crate::http::h2::stream::AbsentStream;

impl H2Connection {
    /// Begins a DATA frame, whose pad length is given if it has one.
    #[inline]
    pub(super) fn begin_body(
        &mut self,
        header: &FrameHeader,
        pad_len: Option<u8>,
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        let padding = usize::from(pad_len.unwrap_or(0));
        let overhead = padding + usize::from(pad_len.is_some());
        let Some(bytes) = header.len.checked_sub(overhead) else {
            return Err(ConnectionError::BadPadding);
        };
        if header.has(flag::PADDED) && pad_len.is_none() {
            return Err(ConnectionError::FrameSize);
        }
        self.receive_window -= header.len as i64;
        if self.receive_window < 0 {
            return Err(ConnectionError::WindowExceeded);
        }
        let end = header.has(flag::END_STREAM);
        if let Some(wrong) = self.wrong_with(header, bytes, end)? {
            self.release_connection(header.len as u32);
            self.reading = skip(bytes + padding);
            return match wrong {
                Wrong::Ignored => Ok(None),
                Wrong::Reset(code) => self.reset_for(header.stream, code, now),
            };
        }
        // Padding is used up as it comes.
        self.release(header.stream, overhead as u32);
        self.count_body(bytes, end, now)?;
        if bytes == 0 {
            self.reading = skip(padding);
            return Ok(if end {
                self.body_piece(header.stream, 0..0, true)
            } else {
                None
            });
        }
        self.reading = ReceiveState::Body(BodyLeft {
            stream: header.stream,
            bytes,
            padding,
            end,
        });
        Ok(None)
    }

    /// The error of the frame, if there is one, even if it concerns only its stream.
    #[inline]
    fn wrong_with(
        &mut self,
        header: &FrameHeader,
        bytes: usize,
        end: bool,
    ) -> Result<Option<Wrong>, ConnectionError> {
        let Some(stream) = self.streams.get_mut(&header.stream) else {
            return self.absent(header.stream).map(Some);
        };
        stream.receive_window -= header.len as i64;
        let wrong = if !stream.receives {
            Some(ErrorCode::STREAM_CLOSED)
        } else if stream.receive_window < 0 {
            Some(ErrorCode::FLOW_CONTROL_ERROR)
        } else if !stream.has_head || !stream.expects(bytes, end) {
            Some(ErrorCode::PROTOCOL_ERROR)
        } else {
            None
        };
        Ok(wrong.map(Wrong::Reset))
    }

    /// DATA on a stream that is not open.
    #[cold]
    fn absent(&self, stream: StreamId) -> Result<Wrong, ConnectionError> {
        match self.look_up(stream) {
            AbsentStream::Idle => Err(ConnectionError::BadStreamId),
            AbsentStream::ResetByUs => Ok(Wrong::Ignored),
            AbsentStream::Skipped | AbsentStream::Ended => Err(ConnectionError::ClosedStream),
        }
    }

    #[inline]
    fn count_body(&mut self, bytes: usize, end: bool, now: Micros) -> Result<(), Abuse> {
        if bytes > 0 {
            self.moved_at = now;
            self.floods.earn_by_received();
        } else if !end {
            self.floods.count(Abuse::EmptyData, now)?;
        }
        Ok(())
    }
}

/// The consequence of a frame that cannot be used.
enum Wrong {
    /// The frame was under way when we reset its stream.
    Ignored,
    Reset(ErrorCode),
}
