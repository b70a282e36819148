//! Giving room back to the peer once received bytes are no longer held (RFC 9113 section 6.9).

use super::Connection;
use crate::http::h2::StreamId;
use crate::http::h2::frame;

impl Connection {
    /// Releases bytes of a [`super::Event::Body`] that are no longer held. Updates are sent when half a window is free,
    /// not for every few bytes.
    pub fn release(&mut self, stream: StreamId, bytes: u32) {
        self.release_connection(bytes);
        let Some(open) = self.streams.get_mut(&stream).filter(|open| open.receives) else {
            return;
        };
        open.released += bytes;
        if open.released >= self.local.stream_window / 2 {
            open.receive_window += i64::from(open.released);
            frame::write_window_update(&mut self.out, stream, open.released);
            open.released = 0;
        }
    }

    /// Releases bytes of a [`super::Event::Body`] whose stream is to get no more room.
    pub fn release_connection(&mut self, bytes: u32) {
        self.released += bytes;
        if self.released >= self.local.connection_window / 2 {
            self.receive_window += i64::from(self.released);
            frame::write_window_update(&mut self.out, 0, self.released);
            self.released = 0;
        }
    }
}
