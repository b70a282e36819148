//! One side of a connection of HTTP/2 as clients and backends of the simulated world speak it: as little as they need,
//! without the proxy's own protocol code (but for the reading of HPACK).

use std::collections::BTreeMap;

use super::message::{Head, TRAILER};
use crate::http::h2::hpack::{Decoder, FieldList, ListLimits};
use crate::simulated::ByteQueue;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_BYTES: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The codes of RFC 9113 section 7 that are used here.
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// Something that the other side has sent.
#[derive(Debug)]
pub enum Frame {
    Head {
        stream: u32,
        head: Head,
        ends: bool,
    },
    Body {
        stream: u32,
        bytes: Vec<u8>,
        ends: bool,
    },
    /// The end of a message, with the number in its trailer, if it has one.
    Trailers {
        stream: u32,
        trailer: Option<usize>,
    },
    /// The stream has ended.
    Reset(u32),
    /// No stream beyond this one is processed.
    GoAway(u32),
    Broken(String),
}

/// One side of a connection.
pub struct Link {
    is_server: bool,
    has_preface: bool,
    buffer: ByteQueue,
    /// Bytes to send.
    pub out: ByteQueue,
    decoder: Decoder,
    /// The beginning of a section of fields: stream, whether the message ends with it, bytes.
    section: Option<(u32, bool, Vec<u8>)>,
    window: i64,
    windows: BTreeMap<u32, i64>,
    first_window: i64,
}

impl Link {
    /// A side that gives streams this window and, as a server, takes so many at once (0: any number).
    pub fn new(is_server: bool, stream_window: u32, streams: u32) -> Link {
        let limits = ListLimits {
            bytes: 1 << 20,
            fields: 1_000,
        };
        let mut link = Link {
            is_server,
            has_preface: !is_server,
            buffer: ByteQueue::default(),
            out: ByteQueue::default(),
            decoder: Decoder::new(limits),
            section: None,
            window: 65_535,
            windows: BTreeMap::new(),
            first_window: 65_535,
        };
        if !is_server {
            link.out.push(PREFACE);
        }
        let mut settings = Vec::new();
        let mut set = |id: u16, value: u32| {
            settings.extend(id.to_be_bytes());
            settings.extend(value.to_be_bytes());
        };
        set(4, stream_window);
        if streams > 0 {
            set(3, streams);
        }
        link.frame(SETTINGS, 0, 0, &settings);
        link
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.out.push(&(payload.len() as u32).to_be_bytes()[1..]);
        self.out.push(&[kind, flags]);
        self.out.push(&stream.to_be_bytes());
        self.out.push(payload);
    }

    /// Sends a head.
    pub fn send_head(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let mut section = Vec::new();
        for (name, value) in fields {
            section.push(0);
            for text in [name, value] {
                length(&mut section, text.len());
                section.extend_from_slice(text.as_bytes());
            }
        }
        self.windows.entry(stream).or_insert(self.first_window);
        let mut pieces = section.chunks(FRAME_BYTES).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let end_headers = if pieces.peek().is_none() { 4 } else { 0 };
            let end = u8::from(ends && kind == HEADERS);
            self.frame(kind, end | end_headers, stream, piece);
            kind = CONTINUATION;
        }
    }

    /// Sends as much of a body as the windows let; how much.
    pub fn send_body(&mut self, stream: u32, bytes: &[u8], ends: bool) -> usize {
        let mut sent = 0;
        loop {
            let own = self.windows.get(&stream).copied().unwrap_or(0);
            let room = own.min(self.window).max(0) as usize;
            let count = room.min(bytes.len() - sent).min(FRAME_BYTES);
            let is_last = ends && sent + count == bytes.len();
            if count == 0 && !(is_last && bytes.is_empty()) {
                return sent;
            }
            self.frame(DATA, u8::from(is_last), stream, &bytes[sent..sent + count]);
            self.window -= count as i64;
            *self.windows.entry(stream).or_default() -= count as i64;
            sent += count;
            if sent == bytes.len() {
                return sent;
            }
        }
    }

    /// Ends a message by a trailer that has this number.
    pub fn send_trailer(&mut self, stream: u32, id: usize) {
        self.send_head(stream, &[(TRAILER, &id.to_string())], true);
    }

    /// Ends a stream.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// Says that no stream beyond `last` is processed.
    pub fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.frame(GOAWAY, 0, 0, &payload);
    }

    /// Lets the other side send so many more bytes, on a stream and on the connection.
    pub fn release(&mut self, stream: Option<u32>, bytes: usize) {
        if bytes > 0 {
            let count = (bytes as u32).to_be_bytes();
            self.frame(WINDOW_UPDATE, 0, stream.unwrap_or(0), &count);
        }
    }

    /// Adds what was received.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next thing that the other side has sent.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if !self.has_preface {
                if self.buffer.len() < PREFACE.len() {
                    return None;
                }
                if !self.buffer.starts_with(PREFACE) {
                    return Some(Frame::Broken("no preface".to_owned()));
                }
                self.buffer.drop_front(PREFACE.len());
                self.has_preface = true;
            }
            if self.buffer.len() < 9 {
                return None;
            }
            let number =
                |at: usize| u32::from_be_bytes(self.buffer[at..at + 4].try_into().unwrap());
            let length = (number(0) >> 8) as usize;
            let (kind, flags, stream) = (self.buffer[3], self.buffer[4], number(5));
            if self.buffer.len() < 9 + length {
                return None;
            }
            self.buffer.drop_front(9);
            let payload = self.buffer.take(length);
            if let Some(frame) = self.take_in(kind, flags, stream, payload) {
                return Some(frame);
            }
        }
    }

    fn take_in(&mut self, kind: u8, flags: u8, stream: u32, payload: Vec<u8>) -> Option<Frame> {
        let number = |at: usize| {
            let four = payload
                .get(at..at + 4)
                .and_then(|four| four.try_into().ok());
            four.map_or(0, u32::from_be_bytes)
        };
        match kind {
            DATA => Some(Frame::Body {
                stream,
                ends: flags & 1 != 0,
                bytes: payload,
            }),
            HEADERS => {
                self.section = Some((stream, flags & 1 != 0, payload));
                self.section_done(flags)
            }
            CONTINUATION => {
                if let Some((_, _, section)) = &mut self.section {
                    section.extend(payload);
                }
                self.section_done(flags)
            }
            RST_STREAM => Some(Frame::Reset(stream)),
            GOAWAY => Some(Frame::GoAway(number(0))),
            SETTINGS if flags & 1 == 0 => {
                for setting in payload.chunks_exact(6).filter(|setting| setting[1] == 4) {
                    let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    let change = i64::from(value) - self.first_window;
                    self.windows
                        .values_mut()
                        .for_each(|window| *window += change);
                    self.first_window = i64::from(value);
                }
                self.frame(SETTINGS, 1, 0, &[]);
                None
            }
            PING if flags & 1 == 0 => {
                self.frame(PING, 1, 0, &payload);
                None
            }
            WINDOW_UPDATE => {
                let bytes = i64::from(number(0));
                match stream {
                    0 => self.window += bytes,
                    _ => *self.windows.entry(stream).or_insert(self.first_window) += bytes,
                }
                None
            }
            _ => None,
        }
    }

    fn section_done(&mut self, flags: u8) -> Option<Frame> {
        if flags & 4 == 0 {
            return None;
        }
        let (stream, ends, section) = self.section.take()?;
        let mut list = FieldList::default();
        if self.decoder.decode(&section, &mut list).is_err() {
            return Some(Frame::Broken(
                "a section of fields cannot be read".to_owned(),
            ));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut head = Head::default();
        for (name, value) in list.iter() {
            head.fields.push((text(name), text(value)));
        }
        if head.field(":method").or(head.field(":status")).is_none() {
            let trailer = head.number(TRAILER);
            return Some(Frame::Trailers { stream, trailer });
        }
        if self.is_server {
            self.windows.entry(stream).or_insert(self.first_window);
            let of = |name| head.field(name).unwrap_or_default().to_owned();
            head.line = format!("{} {} HTTP/2", of(":method"), of(":path"));
        } else {
            head.line = format!("HTTP/2 {}", head.field(":status").unwrap_or_default());
        }
        Some(Frame::Head { stream, head, ends })
    }
}

/// The length of a text without Huffman coding (RFC 7541 section 5.2).
fn length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return out.push(length as u8);
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}
