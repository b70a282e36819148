//! Frames received that steer a connection or a stream (RFC 9113 sections 6.3 to 6.9, RFC 9218 section 7.1).

use super::{Ending, H2Connection, Note};
use crate::base::time::Micros;
use crate::http::h2::error::{Abuse, ConnectionError, ErrorCode};
use crate::http::h2::frame::{self, FrameHeader, MAX_31_BITS, flag, kind, number};
use crate::http::h2::priority::Priority;
use crate::http::h2::stream::AbsentStream;
use crate::http::h2::{Role, StreamId};

const MAX_WINDOW: i64 = MAX_31_BITS as i64;

impl H2Connection {
    pub(super) fn settings(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        if header.has(flag::ACK) {
            if self.unacknowledged.take().is_none() {
                self.floods.count(Abuse::Settings, now)?;
            }
            return Ok(None);
        }
        self.floods.count(Abuse::Settings, now)?;
        let earlier_window = self.peer.stream_window;
        self.peer.apply(payload, self.role.other())?;
        self.has_peer_settings = true;
        self.encoder.set_max_size(self.peer.table_bytes as usize);
        // A new window applies to streams that are open too, and may turn their windows negative (section 6.9.2).
        let difference = i64::from(self.peer.stream_window) - i64::from(earlier_window);
        for stream in self.streams.values_mut().filter(|_| difference != 0) {
            stream.send_window += difference;
            if stream.send_window > MAX_WINDOW {
                return Err(ConnectionError::WindowOverflow);
            }
        }
        frame::write(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        self.count_reply()?;
        Ok(Some(Note::Settings))
    }

    pub(super) fn ping_received(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        if header.has(flag::ACK) && std::mem::take(&mut self.pinged) {
            if matches!(self.ending, Ending::Announced(_)) {
                self.finish_drain();
            }
            return Ok(Some(Note::Pong));
        }
        self.floods.count(Abuse::Ping, now)?;
        if !header.has(flag::ACK) {
            frame::write(&mut self.out, kind::PING, flag::ACK, 0, payload);
            self.count_reply()?;
        }
        Ok(None)
    }

    pub(super) fn goaway(&mut self, payload: &[u8]) -> Option<Note> {
        // A peer must not take more than it said before; if it does, what it said before holds.
        let last = number(payload, 0) & MAX_31_BITS;
        let last = self.peer_last.map_or(last, |earlier| last.min(earlier));
        self.peer_last = Some(last);
        if self.role == Role::Client {
            let unprocessed: Vec<StreamId> = self
                .streams
                .keys()
                .copied()
                .filter(|id| *id > last)
                .collect();
            for stream in unprocessed {
                self.remove(stream);
                self.ended.note_reset_by_us(stream);
            }
        }
        let code = ErrorCode(number(payload, 4));
        Some(Note::GoAway { last, code })
    }

    pub(super) fn window_update(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.floods.count(Abuse::WindowUpdate, now)?;
        let bytes = i64::from(number(payload, 0) & MAX_31_BITS);
        if header.stream == 0 {
            if bytes == 0 {
                return Err(ConnectionError::EmptyWindowUpdate);
            }
            debug_assert!(self.send_window <= MAX_WINDOW);
            self.send_window += bytes;
            return if self.send_window > MAX_WINDOW {
                Err(ConnectionError::WindowOverflow)
            } else {
                Ok(None)
            };
        }
        let Some(stream) = self.streams.get_mut(&header.stream) else {
            return self.not_idle(header.stream).map(|()| None);
        };
        stream.send_window += bytes;
        match (bytes, stream.send_window > MAX_WINDOW) {
            (0, _) => self.reset_for(header.stream, ErrorCode::PROTOCOL_ERROR, now),
            (_, true) => self.reset_for(header.stream, ErrorCode::FLOW_CONTROL_ERROR, now),
            (_, false) => Ok(None),
        }
    }

    pub(super) fn reset_received(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        let stream = header.stream;
        if !self.streams.contains_key(&stream) {
            self.not_idle(stream)?;
            self.floods.count(Abuse::RapidReset, now)?;
            return Ok(None);
        }
        // A client that has its whole answer may reset the stream to stop sending its request. Such a reset wastes no
        // work of a backend.
        let has_answer = self.streams.get(&stream).is_some_and(|open| !open.sends);
        self.remove(stream);
        match self.role {
            Role::Server if has_answer => self.floods.earn_by_exchange(),
            Role::Server => self.floods.count(Abuse::RapidReset, now)?,
            Role::Client => {}
        }
        let (code, by_us) = (ErrorCode(number(payload, 0)), false);
        Ok(Some(Note::Reset {
            stream,
            code,
            by_us,
        }))
    }

    /// PRIORITY says nothing any more, but must still be well-formed (RFC 9113 section 5.3.2).
    pub(super) fn priority(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.floods.count(Abuse::Priority, now)?;
        let is_open = self.streams.contains_key(&header.stream);
        let has_len = payload.len() == 5;
        let depends_on_itself = has_len && number(payload, 0) & MAX_31_BITS == header.stream;
        match (has_len, depends_on_itself, is_open) {
            (true, false, _) => Ok(None),
            (true, true, true) => self.reset_for(header.stream, ErrorCode::PROTOCOL_ERROR, now),
            (true, true, false) => Err(ConnectionError::BadPriority),
            (false, _, true) => self.reset_for(header.stream, ErrorCode::FRAME_SIZE_ERROR, now),
            (false, _, false) => Err(ConnectionError::FrameSize),
        }
    }

    /// A new priority for a stream. One that is not open yet brings its own in its head.
    pub(super) fn priority_update(
        &mut self,
        payload: &[u8],
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        self.floods.count(Abuse::Priority, now)?;
        let stream = number(payload, 0) & MAX_31_BITS;
        if self.role == Role::Client || stream.is_multiple_of(2) {
            return Err(ConnectionError::BadStreamId);
        }
        if let Some(open) = self.streams.get_mut(&stream) {
            open.priority = Priority::parse(&payload[4..]);
        }
        Ok(None)
    }

    /// For frames that may come after a stream's end but not before its beginning.
    fn not_idle(&self, stream: StreamId) -> Result<(), ConnectionError> {
        match self.look_up(stream) {
            AbsentStream::Idle => Err(ConnectionError::BadStreamId),
            _ => Ok(()),
        }
    }
}
