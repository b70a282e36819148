//! A backend's end of an HTTP/2 connection: requests as they come, answered in any order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use palantir::base::time::Micros;
use palantir::http::h2::{ErrorCode, Field, H2Connection, H2Event, LocalSettings, Role};

/// One connection of the proxy's, over `S`.
pub struct Answering<S> {
    stream: S,
    protocol: H2Connection,
    received: Vec<u8>,
    /// Streams with their paths, of which nothing was told yet.
    requests: VecDeque<(u32, String)>,
}

impl<S: Read + Write> Answering<S> {
    /// A server that takes as many streams at once as the proxy may want to open, and no WebSockets (RFC 8441).
    pub fn over(stream: S) -> Answering<S> {
        let settings = LocalSettings {
            streams: 1000,
            extended_connect: false,
            ..LocalSettings::default()
        };
        Answering {
            stream,
            protocol: H2Connection::new(Role::Server, settings, Micros::now()),
            received: Vec::new(),
            requests: VecDeque::new(),
        }
    }

    /// The next request's stream and path; `None` when the connection has ended.
    pub fn request(&mut self) -> Option<(u32, String)> {
        loop {
            if let Some(request) = self.come() {
                return Some(request);
            }
            if !self.pump() {
                return None;
            }
        }
    }

    /// The next request, if it has come.
    pub fn come(&mut self) -> Option<(u32, String)> {
        self.requests.pop_front()
    }

    /// Reads once, for as long as the stream's time-out; false when the connection has ended.
    pub fn pump(&mut self) -> bool {
        if !self.flush() {
            return false;
        }
        let mut block = [0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => return false,
            Ok(count) => self.received.extend_from_slice(&block[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
        self.take_in() && self.flush()
    }

    fn take_in(&mut self) -> bool {
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while !rest.is_empty() {
            let Ok((used, event)) = self.protocol.receive(rest, Micros::now()) else {
                return false;
            };
            rest = &rest[used..];
            let mut body = (0, 0);
            match event {
                Some(H2Event::Head { stream, head, .. }) => {
                    let path = String::from_utf8_lossy(head.path()).into_owned();
                    self.requests.push_back((stream, path));
                }
                Some(H2Event::Body { stream, bytes, .. }) => body = (stream, bytes.len() as u32),
                _ => {}
            }
            if body.1 > 0 {
                self.protocol.release(body.0, body.1);
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        let out = self.protocol.take_output(Vec::new());
        self.stream.write_all(&out).is_ok() && self.stream.flush().is_ok()
    }

    /// Answers a request without a body.
    pub fn answer_with(&mut self, stream: u32, status: u16, fields: &[(&str, &str)]) -> bool {
        let fields = fields.iter().map(|(name, value)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            sensitive: false,
        });
        let done = self.protocol.send_head(stream, status, fields, true);
        self.flush() && done.is_ok()
    }

    /// Answers 200 with a small body.
    pub fn answer(&mut self, stream: u32, body: &str) -> bool {
        let begun = self.protocol.send_head(stream, 200, [], false);
        let now = Micros::now();
        let done = begun.and_then(|()| self.protocol.send_body(stream, body.as_bytes(), true, now));
        self.flush() && done.is_ok()
    }

    /// Ends a stream before its time.
    pub fn reset(&mut self, stream: u32, code: ErrorCode) -> bool {
        self.protocol.reset(stream, code);
        self.flush()
    }
}
