//! The other side: a backend that speaks HTTP/2 frame by frame, as a test wants it to.

use std::time::Duration;

use super::frame::{self, Frame, PREFACE, flag, kind};
use crate::support::Link;

/// A connection that the proxy has made.
pub struct Backend<'a> {
    link: &'a mut Link,
    /// Whether PINGs are answered.
    pub answers_pings: bool,
    /// PINGs received so far.
    pub pings: usize,
}

impl<'a> Backend<'a> {
    /// Takes the proxy's preface and announces `settings`. `None`: the proxy has left.
    #[track_caller]
    pub fn greet(link: &'a mut Link, settings: &[(u16, u32)]) -> Option<Backend<'a>> {
        let preface = link.bytes(PREFACE.len())?;
        assert_eq!(preface, PREFACE);
        link.send(frame::settings(settings));
        Some(Backend {
            link,
            answers_pings: true,
            pings: 0,
        })
    }

    /// The next frame; SETTINGS and PINGs are answered. `None`: the connection has ended.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut bytes = self.link.bytes(9)?;
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        bytes.extend(self.link.bytes(length as usize)?);
        let frame = Frame::take(&mut bytes)?;
        match frame.kind {
            kind::SETTINGS if !frame.has(flag::ACK) => {
                self.send(frame::frame(kind::SETTINGS, flag::ACK, 0, b""));
            }
            kind::PING if !frame.has(flag::ACK) => {
                self.pings += 1;
                if self.answers_pings {
                    self.send(frame::frame(kind::PING, flag::ACK, 0, &frame.payload));
                }
            }
            _ => {}
        }
        Some(frame)
    }

    /// The stream of the next request. `None`: the connection has ended.
    pub fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame()?;
            if frame.kind == kind::HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// How long to wait for the rest of a frame.
    pub fn set_patience(&mut self, patience: Duration) {
        self.link.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// Takes a frame if one comes in time.
    pub fn pump(&mut self) {
        let mut byte = [0];
        if self
            .link
            .stream
            .peek(&mut byte)
            .is_ok_and(|count| count > 0)
        {
            self.frame();
        }
    }

    /// Sends bytes; false if the proxy has left.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.link.try_send(bytes)
    }

    /// Sends the head of an answer, which `flags` may end.
    pub fn head(&mut self, stream: u32, flags: u8) -> bool {
        let section = frame::section(&[(":status", "200")]);
        self.send(frame::headers(flag::END_HEADERS | flags, stream, section))
    }

    /// Answers a request with these bytes.
    pub fn answer(&mut self, stream: u32, body: &str) -> bool {
        self.head(stream, 0) && self.send(frame::data(flag::END_STREAM, stream, body))
    }

    /// Answers every request from now on.
    pub fn serve(&mut self, body: &str) {
        while let Some(stream) = self.request() {
            self.answer(stream, body);
        }
    }
}
