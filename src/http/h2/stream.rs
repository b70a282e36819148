//! The streams of a connection: those that are open, and how those that ended did.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::StreamId;
use super::priority::Priority;
use crate::base::limits;

/// A stream that has begun and not ended (RFC 9113 section 5.1).
#[derive(Debug)]
pub(super) struct StreamState {
    /// Bytes that we may send; below zero when the peer took back what it had granted (section 6.9.2).
    pub(super) send_window: i64,
    /// Bytes that the peer may send.
    pub(super) receive_window: i64,
    /// Bytes released and not yet granted anew.
    pub(super) released: u32,
    /// The most that the peer may send before any of it is released.
    pub(super) widest: u32,
    /// Bytes released since it was made so wide.
    pub(super) taken: u32,
    /// Whether more of the peer's message may come.
    pub(super) receives: bool,
    /// Whether more of ours may be sent.
    pub(super) sends: bool,
    /// Whether the peer's final head was received.
    pub(super) has_head: bool,
    /// Whether the response has no body whatever its fields say: we asked with HEAD.
    pub(super) asked_head: bool,
    /// Whether the stream becomes a tunnel with any successful status, because our request was an extended CONNECT.
    pub(super) asked_tunnel: bool,
    /// Whether the response is held to the letter of the RFC, even where it has one reading.
    pub(super) is_strict: bool,
    /// Bytes of the interim responses that have come, as `limits::INTERIM_BYTES` counts them.
    pub(super) interim_bytes: u32,
    /// Bytes of the body that `content-length` announced and that did not come yet.
    pub(super) expected: Option<u64>,
    pub(super) priority: Priority,
    /// The turn in which it last sent, for those that take turns.
    pub(super) served: u64,
    /// Whether it is among those that wait to send.
    pub(super) waits: bool,
}

impl StreamState {
    pub(super) fn new(send_window: u32, receive_window: u32) -> StreamState {
        StreamState {
            send_window: i64::from(send_window),
            receive_window: i64::from(receive_window),
            released: 0,
            widest: receive_window,
            taken: 0,
            receives: true,
            sends: true,
            has_head: false,
            asked_head: false,
            asked_tunnel: false,
            is_strict: false,
            interim_bytes: 0,
            expected: None,
            priority: Priority::UNNAMED,
            served: 0,
            waits: false,
        }
    }

    /// Counts bytes of the peer's body, the last ones if `end`; whether they are within what was announced.
    pub(super) fn expects(&mut self, bytes: usize, end: bool) -> bool {
        let Some(expected) = self.expected else {
            return true;
        };
        let left = expected.checked_sub(bytes as u64);
        self.expected = left;
        left.is_some_and(|left| left == 0 || !end)
    }
}

/// A map from the streams of a connection to something that is kept of each.
pub type ById<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;

/// The open streams.
pub(super) type Streams = ById<StreamState>;

/// Spreads identifiers, which come in a row, by one multiplication. A peer can only have as many as it is allowed at
/// once, so it gains nothing by choosing them badly.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// How the streams that the peer or we opened came to their end, for the last [`limits::H2_ENDED_STREAMS`].
#[derive(Debug)]
pub(super) struct EndedStreams {
    /// The newest stream opened; 0 before.
    newest: StreamId,
    opened: Ring,
    reset_by_us: Ring,
}

const RING_WORDS: usize = limits::H2_ENDED_STREAMS as usize / 64;
const _: () = assert!(limits::H2_ENDED_STREAMS.is_multiple_of(u64::BITS));
type Ring = [u64; RING_WORDS];

/// The meaning of a frame on a stream that is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbsentStream {
    /// The stream was not opened yet.
    Idle,
    /// The stream was passed over when a later one was opened.
    Skipped,
    /// We reset it: what the peer sent before it knew is to be ignored.
    ResetByUs,
    /// The stream ended, or the peer reset it.
    Ended,
}

impl EndedStreams {
    pub(super) fn new() -> EndedStreams {
        EndedStreams {
            newest: 0,
            opened: [0; RING_WORDS],
            reset_by_us: [0; RING_WORDS],
        }
    }

    /// The newest stream opened; 0 before.
    pub(super) fn newest(&self) -> StreamId {
        self.newest
    }

    /// Notes that a stream newer than all others is opened.
    pub(super) fn note_opened(&mut self, id: StreamId) {
        debug_assert!(
            id % 2 == 1 && id > self.newest,
            "streams are opened in the order of their numbers"
        );
        let passed = (id / 2)
            .saturating_sub(self.newest / 2)
            .min(limits::H2_ENDED_STREAMS);
        for back in 0..passed {
            clear(&mut self.opened, id - 2 * back);
            clear(&mut self.reset_by_us, id - 2 * back);
        }
        self.newest = id;
        set(&mut self.opened, id);
    }

    pub(super) fn note_reset_by_us(&mut self, id: StreamId) {
        if self.is_remembered(id) {
            set(&mut self.reset_by_us, id);
        }
    }

    /// The state of a stream that is not open, as far as it is known.
    pub(super) fn look_up(&self, id: StreamId) -> AbsentStream {
        if id > self.newest {
            AbsentStream::Idle
        } else if !self.is_remembered(id) {
            AbsentStream::Ended
        } else if get(&self.reset_by_us, id) {
            AbsentStream::ResetByUs
        } else if get(&self.opened, id) {
            AbsentStream::Ended
        } else {
            AbsentStream::Skipped
        }
    }

    fn is_remembered(&self, id: StreamId) -> bool {
        id <= self.newest && (self.newest - id) / 2 < limits::H2_ENDED_STREAMS
    }
}

fn place(id: StreamId) -> (usize, u64) {
    let index = (id / 2 % limits::H2_ENDED_STREAMS) as usize;
    (index / 64, 1 << (index % 64))
}

fn set(ring: &mut Ring, id: StreamId) {
    let (word, bit) = place(id);
    ring[word] |= bit;
}

fn clear(ring: &mut Ring, id: StreamId) {
    let (word, bit) = place(id);
    ring[word] &= !bit;
}

fn get(ring: &Ring, id: StreamId) -> bool {
    let (word, bit) = place(id);
    ring[word] & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_streams_are_remembered() {
        let mut ended = EndedStreams::new();
        assert_eq!(ended.look_up(1), AbsentStream::Idle);
        for id in [1, 3, 7] {
            ended.note_opened(id);
        }
        ended.note_reset_by_us(3);
        let rows = [
            (1, AbsentStream::Ended),
            (3, AbsentStream::ResetByUs),
            (5, AbsentStream::Skipped),
            (7, AbsentStream::Ended),
            (9, AbsentStream::Idle),
        ];
        for (id, expected) in rows {
            assert_eq!(ended.look_up(id), expected, "{id}");
        }
        let far = 7 + 2 * limits::H2_ENDED_STREAMS;
        ended.note_opened(far);
        assert_eq!(ended.look_up(3), AbsentStream::Ended);
        assert_eq!(ended.look_up(9), AbsentStream::Skipped);
        assert_eq!(ended.look_up(far), AbsentStream::Ended);
        ended.note_opened(0x7fff_ffff);
        assert_eq!(ended.look_up(far), AbsentStream::Ended);
        assert_eq!(ended.look_up(0x7fff_fffd), AbsentStream::Skipped);
    }

    #[test]
    fn bodies_are_held_to_their_length() {
        type Row = (Option<u64>, &'static [(usize, bool)], bool);
        let rows: [Row; 7] = [
            (None, &[(7, true)], true),
            (Some(5), &[(2, false), (3, true)], true),
            (Some(5), &[(5, false), (0, true)], true),
            (Some(5), &[(4, true)], false),
            (Some(5), &[(6, false)], false),
            (Some(0), &[(0, true)], true),
            (Some(0), &[(1, false)], false),
        ];
        for (expected, pieces, proper) in rows {
            let mut stream = StreamState::new(0, 0);
            stream.expected = expected;
            let mut pieces = pieces.iter();
            let all = pieces.all(|(bytes, end)| stream.expects(*bytes, *end));
            assert_eq!(all, proper, "{expected:?} {pieces:?}");
        }
    }
}
