//! Giving room back to the peer once received bytes are no longer held (RFC 9113 section 6.9).

use super::H2Connection;
use crate::http::h2::StreamId;
use crate::http::h2::frame;
use crate::http::h2::stream::StreamState;

impl H2Connection {
    /// Releases bytes of a [`super::H2Event::Body`] that are no longer held. Updates are sent when half a window is
    /// free, not for every few bytes.
    pub fn release(&mut self, stream: StreamId, bytes: u32) {
        self.release_connection(bytes);
        let Some(open) = self.streams.get_mut(&stream).filter(|open| open.receives) else {
            return;
        };
        open.released += bytes;
        open.taken = open.taken.saturating_add(bytes);
        if open.released >= open.widest / 2 {
            open.grant(stream, &mut self.out);
        }
    }

    /// Notes that whoever takes a stream's bytes waits for more of them. If a whole window of them was taken since
    /// the window was last made wider, it is the window that keeps the peer from sending faster: it is made twice as
    /// wide, unless the windows of all streams together would become wider than that of the connection: then streams
    /// whose bytes nobody takes could keep the others from sending.
    pub fn want_more(&mut self, stream: StreamId) {
        let all: u32 = self.streams.values().map(|open| open.widest).sum();
        let room = self.local.connection_window.saturating_sub(all);
        let Some(open) = self.streams.get_mut(&stream).filter(|open| open.receives) else {
            return;
        };
        let wider = open
            .widest
            .saturating_mul(2)
            .min(self.local.widest_stream_window);
        if open.taken >= open.widest && wider > open.widest && wider - open.widest <= room {
            open.released += wider - open.widest;
            open.widest = wider;
            open.taken = 0;
            open.grant(stream, &mut self.out);
        }
    }

    /// Releases bytes of a [`super::H2Event::Body`] whose stream is to get no more room.
    pub fn release_connection(&mut self, bytes: u32) {
        self.released += bytes;
        if self.released >= self.local.connection_window / 2 {
            self.receive_window += i64::from(self.released);
            debug_assert!(
                self.receive_window <= i64::from(self.local.connection_window),
                "only bytes that came are given back"
            );
            frame::write_window_update(&mut self.out, 0, self.released);
            self.released = 0;
        }
    }
}

impl StreamState {
    /// Gives the peer room for what was released.
    fn grant(&mut self, id: StreamId, out: &mut Vec<u8>) {
        self.receive_window += i64::from(self.released);
        debug_assert!(
            self.receive_window <= i64::from(self.widest),
            "only bytes that came are given back"
        );
        frame::write_window_update(out, id, self.released);
        self.released = 0;
    }
}
