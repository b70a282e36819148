//! HTTP/2 frames as bytes (RFC 9113), with nothing that keeps a test from writing wrong ones.

/// The bytes that a client's connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
    pub const PRIORITY_UPDATE: u8 = 0x10;
    /// Nobody knows what this is.
    pub const UNKNOWN: u8 = 0xfe;
}

/// Flags of frames.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
    /// A whole head without a body behind it.
    pub const WHOLE: u8 = END_STREAM | END_HEADERS;
}

/// Error codes.
pub mod code {
    pub const NO_ERROR: u32 = 0x0;
    pub const PROTOCOL_ERROR: u32 = 0x1;
    pub const INTERNAL_ERROR: u32 = 0x2;
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub const STREAM_CLOSED: u32 = 0x5;
    pub const FRAME_SIZE_ERROR: u32 = 0x6;
    pub const REFUSED_STREAM: u32 = 0x7;
    pub const CANCEL: u32 = 0x8;
    pub const COMPRESSION_ERROR: u32 = 0x9;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// Settings.
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
    pub const UNKNOWN: u16 = 0xfafa;
}

/// A frame as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Takes a complete frame off the front of `buffer`.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Frame> {
        let header = *buffer.first_chunk::<9>()?;
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if buffer.len() < 9 + len {
            return None;
        }
        let payload = buffer[9..9 + len].to_vec();
        buffer.drain(..9 + len);
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream: number(&header[5..]) & 0x7fff_ffff,
            payload,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The first four bytes as a number.
pub fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().expect("four bytes"))
}

/// A frame, whose stream may have the reserved bit set.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [&[a, b, c, kind, flags, d, e, f, g], payload].concat()
}

pub fn headers(flags: u8, stream: u32, section: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, section)
}

pub fn continuation(flags: u8, stream: u32, section: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::CONTINUATION, flags, stream, section)
}

pub fn data(flags: u8, stream: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let values = values.iter();
    let values = values.map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(kind::SETTINGS, 0, 0, values.collect::<Vec<_>>().concat())
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, code.to_be_bytes())
}

pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
}

pub fn ping(payload: &[u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, payload)
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(kind::GOAWAY, 0, 0, payload)
}

/// PRIORITY: the stream that `stream` depends on, with a weight less one.
pub fn priority(stream: u32, on: u32, weight: u8) -> Vec<u8> {
    let payload = [&on.to_be_bytes()[..], &[weight]].concat();
    frame(kind::PRIORITY, 0, stream, payload)
}

/// A field section of literals that enter no table, without Huffman's code. Every char is one byte, as in Latin-1.
pub fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    for (name, value) in fields {
        section.push(0);
        string(&mut section, name);
        string(&mut section, value);
    }
    section
}

fn string(section: &mut Vec<u8>, text: &str) {
    let bytes: Vec<u8> = text
        .chars()
        .map(|char| u8::try_from(char).expect("a byte"))
        .collect();
    match bytes.len() {
        short @ ..127 => section.push(short as u8),
        long => {
            section.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                section.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            section.push(rest as u8);
        }
    }
    section.extend_from_slice(&bytes);
}

/// The pseudo-fields of a GET request, and more fields.
pub fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    request("GET", path, more)
}

/// The pseudo-fields of a POST request, and more fields.
pub fn post<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    request("POST", path, more)
}

/// The pseudo-fields of a request, and more fields.
pub fn request<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ];
    [&pseudo[..], more].concat()
}
