//! The bytes that are sent on streams, and their order.

use super::H2Connection;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::StreamId;
use crate::http::h2::error::ErrorCode;
use crate::http::h2::frame::{self, HEADER_BYTES, flag, kind};
use crate::http::h2::head::Field;
use crate::http::h2::stream::StreamState;

/// The stream is gone, or its sending side is: what was to be sent on it is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl H2Connection {
    /// Sends a response's head. `end`: it has no body and no trailers. A status below 200 is an interim response, and
    /// never the end.
    pub fn send_head<'b>(
        &mut self,
        stream: StreamId,
        status: u16,
        fields: impl IntoIterator<Item = Field<'b>>,
        end: bool,
    ) -> Result<(), Closed> {
        debug_assert!(!(end && status < 200));
        self.send_section(stream, Some(status), fields, end)
    }

    /// Sends trailers: the end of the message.
    pub fn send_trailers<'b>(
        &mut self,
        stream: StreamId,
        fields: impl IntoIterator<Item = Field<'b>>,
    ) -> Result<(), Closed> {
        self.send_section(stream, None, fields, true)
    }

    #[inline]
    fn send_section<'b>(
        &mut self,
        id: StreamId,
        status: Option<u16>,
        fields: impl IntoIterator<Item = Field<'b>>,
        end: bool,
    ) -> Result<(), Closed> {
        let stream = sending(self.streams.get_mut(&id))?;
        stream.sends = !end;
        let out = &mut self.out;
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        self.encoder.begin(out);
        if let Some(status) = status {
            self.encoder.status(out, status);
        }
        for field in fields {
            self.encoder
                .field(out, field.name, field.value, field.sensitive);
        }
        frame::finish_section(out, start, id, end, self.peer.frame_bytes as usize);
        if end {
            self.close_half(id);
        }
        Ok(())
    }

    /// Sends as much of `bytes` as the windows and the output allow, and gives the number taken; `end` is heeded when
    /// all are taken. The rest stays with the caller, to be offered again when [`H2Connection::next_to_send`] names the
    /// stream. Nothing is taken while streams of more urgency could send.
    pub fn send_body(
        &mut self,
        id: StreamId,
        bytes: &[u8],
        end: bool,
        now: Micros,
    ) -> Result<usize, Closed> {
        let room = self.room_for(id)?;
        let taken = bytes.len().min(room);
        let is_whole = taken == bytes.len();
        self.write_body(id, &bytes[..taken], end && is_whole);
        let stream = sending(self.streams.get_mut(&id))?;
        debug_assert!(
            taken == 0 || (taken as i64 <= stream.send_window && taken as i64 <= self.send_window)
        );
        stream.send_window -= taken as i64;
        self.send_window -= taken as i64;
        let is_shut = stream.send_window <= 0 || self.send_window <= 0;
        if taken > 0 && (is_whole || !is_shut) {
            self.floods.earn_by_piece();
        }
        if taken > 0 {
            self.moved_at = now;
            self.turn += 1;
            self.is_after_new = stream.served == 0;
            stream.served = self.turn;
        }
        if is_whole {
            stream.sends = !end;
            if end {
                self.close_half(id);
            }
        } else if !std::mem::replace(&mut stream.waits, true) {
            self.waiting.push(id);
        }
        Ok(taken)
    }

    /// Whether a stream waits for its turn or for the transport, and not for a window of the peer.
    pub fn is_held_back(&self, id: StreamId) -> bool {
        let stream = self.streams.get(&id);
        self.send_window > 0 && stream.is_some_and(|stream| stream.send_window > 0)
    }

    /// Bytes that may be taken from a stream now.
    fn room_for(&mut self, id: StreamId) -> Result<usize, Closed> {
        let stream = sending(self.streams.get_mut(&id))?;
        let (rank, priority, window) = (
            stream.rank(id, self.is_after_new),
            stream.priority,
            stream.send_window,
        );
        let window = window.min(self.send_window).max(0) as usize;
        let output = self.output_bound.saturating_sub(self.out.len());
        let room = window.min(output);
        if self.waiting.is_empty() {
            return Ok(room);
        }
        Ok(match self.first_waiting(id) {
            Some((first, _)) if first < rank => 0,
            Some(_) if priority.incremental => room.min(limits::H2_TURN_BYTES),
            _ => room,
        })
    }

    /// Appends `bytes` as DATA frames; an empty one only to tell the end.
    #[inline]
    fn write_body(&mut self, id: StreamId, bytes: &[u8], end: bool) {
        let end_flag = if end { flag::END_STREAM } else { 0 };
        if bytes.is_empty() {
            if end {
                frame::write(&mut self.out, kind::DATA, end_flag, id, &[]);
            }
            return;
        }
        debug_assert!(
            self.peer.frame_bytes >= 1 << 14,
            "no peer may ask for smaller frames"
        );
        let mut pieces = bytes.chunks(self.peer.frame_bytes as usize).peekable();
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { end_flag } else { 0 };
            frame::write(&mut self.out, kind::DATA, flags, id, piece);
            self.floods.earn_by_sent(piece.len());
        }
    }

    /// The stream whose turn it is to send what it could not send before. It does not wait any longer: whoever has
    /// still something to send calls [`H2Connection::send_body`]. `None`: there is no room, or nobody waits.
    pub fn next_to_send(&mut self) -> Option<StreamId> {
        if self.waiting.is_empty() || self.is_full() || self.send_window <= 0 {
            return None;
        }
        let (_, id) = self.first_waiting(0)?;
        self.waiting.retain(|waiting| *waiting != id);
        if let Some(stream) = self.streams.get_mut(&id) {
            debug_assert!(stream.waits, "a stream is listed while it waits");
            stream.waits = false;
        }
        Some(id)
    }

    /// The first in order of those, besides `other`, that wait and whose windows are open.
    fn first_waiting(&self, other: StreamId) -> Option<(Rank, StreamId)> {
        let ready = self
            .waiting
            .iter()
            .filter(|id| **id != other)
            .filter_map(|id| {
                let stream = self
                    .streams
                    .get(id)
                    .filter(|stream| stream.send_window > 0)?;
                Some((stream.rank(*id, self.is_after_new), *id))
            });
        ready.min()
    }

    /// Ends a stream before its time. Nothing happens if it is gone already.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        if self.streams.contains_key(&stream) {
            frame::write_reset(&mut self.out, stream, code);
            self.remove(stream);
            self.ended.note_reset_by_us(stream);
        }
    }
}

/// The order of sending, smallest first: urgency; within it, responses that are of use only as a whole, one after the
/// other; then the others in turns (RFC 9218 section 10).
type Rank = (u8, bool, u64);

impl StreamState {
    /// A stream that was never served goes before those that were, but not right behind another such one: however many
    /// new ones come, the others have every second turn.
    fn rank(&self, id: StreamId, is_after_new: bool) -> Rank {
        debug_assert!(
            self.priority.urgency <= 7,
            "an urgency is 0 to 7 (RFC 9218 section 4.1)"
        );
        let order = match (self.priority.incremental, self.served) {
            (false, _) => u64::from(id),
            (true, 0) if is_after_new => u64::MAX,
            (true, served) => served,
        };
        (self.priority.urgency, self.priority.incremental, order)
    }
}

fn sending(stream: Option<&mut StreamState>) -> Result<&mut StreamState, Closed> {
    stream.filter(|stream| stream.sends).ok_or(Closed)
}
