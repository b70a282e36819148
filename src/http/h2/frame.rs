//! Frames (RFC 9113 sections 4 and 6) as bytes.

use super::StreamId;
use super::error::{ConnectionError, ErrorCode};
use crate::base::limits::H2_FRAME_BYTES;

/// The bytes that a client's connection begins with (section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: usize = 9;
/// Largest window (section 6.9.1) and stream identifier (section 5.1.1).
pub(super) const MAX_31_BITS: u32 = 0x7fff_ffff;

/// Types of frames.
pub(super) mod kind {
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
    /// RFC 9218 section 7.1.
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags of frames.
pub(super) mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: StreamId,
}

impl FrameHeader {
    #[inline]
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> FrameHeader {
        let [a, b, c, kind, flags, rest @ ..] = *bytes;
        FrameHeader {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(rest) & MAX_31_BITS,
        }
    }

    #[inline]
    pub(super) fn bytes(self) -> [u8; HEADER_BYTES] {
        debug_assert!(self.len < 1 << 24, "a length has 24 bits");
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Checks what its header alone says of a frame: length, and whether it belongs to a stream or to the connection.
    #[inline]
    pub(super) fn check(&self) -> Result<(), ConnectionError> {
        if self.len > H2_FRAME_BYTES {
            return Err(ConnectionError::FrameSize);
        }
        let needs_stream = match self.kind {
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION => {
                true
            }
            kind::SETTINGS | kind::PING | kind::GOAWAY | kind::PRIORITY_UPDATE => false,
            _ => return self.check_len(),
        };
        if needs_stream != (self.stream != 0) {
            return Err(ConnectionError::BadStreamId);
        }
        self.check_len()
    }

    /// Lengths that are wrong for the connection; that of PRIORITY is wrong for its stream alone (section 6.3).
    #[inline]
    fn check_len(&self) -> Result<(), ConnectionError> {
        let fits = match self.kind {
            kind::RST_STREAM | kind::WINDOW_UPDATE => self.len == 4,
            kind::SETTINGS if self.has(flag::ACK) => self.len == 0,
            kind::SETTINGS => self.len.is_multiple_of(6),
            kind::PING => self.len == 8,
            kind::GOAWAY => self.len >= 8,
            kind::PRIORITY_UPDATE => self.len >= 4,
            _ => true,
        };
        fits.then_some(()).ok_or(ConnectionError::FrameSize)
    }
}

/// Appends a frame.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: StreamId, payload: &[u8]) {
    let header = FrameHeader {
        len: payload.len(),
        kind,
        flags,
        stream,
    };
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&header.bytes());
    out.extend_from_slice(payload);
}

pub(super) fn write_reset(out: &mut Vec<u8>, stream: StreamId, code: ErrorCode) {
    write(out, kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
}

pub(super) fn write_window_update(out: &mut Vec<u8>, stream: StreamId, bytes: u32) {
    write(out, kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

pub(super) fn write_goaway(out: &mut Vec<u8>, last: StreamId, code: ErrorCode, reason: &str) {
    let payload = [
        &last.to_be_bytes()[..],
        &code.0.to_be_bytes(),
        reason.as_bytes(),
    ]
    .concat();
    write(out, kind::GOAWAY, 0, 0, &payload);
}

/// Makes frames of the section that stands in `out` from `start` on, behind room for one frame header.
#[inline]
pub(super) fn finish_section(
    out: &mut Vec<u8>,
    start: usize,
    stream: StreamId,
    end: bool,
    most: usize,
) {
    debug_assert!(most > 0 && out.len() >= start + HEADER_BYTES);
    let len = out.len() - start - HEADER_BYTES;
    let end_flag = if end { flag::END_STREAM } else { 0 };
    let is_whole = len <= most;
    let header = FrameHeader {
        len: len.min(most),
        kind: kind::HEADERS,
        flags: end_flag | if is_whole { flag::END_HEADERS } else { 0 },
        stream,
    };
    out[start..start + HEADER_BYTES].copy_from_slice(&header.bytes());
    if !is_whole {
        continue_section(out, start + HEADER_BYTES + most, stream, most);
    }
}

/// Puts what stands behind `from` into CONTINUATION frames.
#[cold]
fn continue_section(out: &mut Vec<u8>, from: usize, stream: StreamId, most: usize) {
    let rest = out.split_off(from);
    let count = rest.len().div_ceil(most);
    for (index, piece) in rest.chunks(most).enumerate() {
        let flags = if index + 1 == count {
            flag::END_HEADERS
        } else {
            0
        };
        write(out, kind::CONTINUATION, flags, stream, piece);
    }
}

/// The part of a frame's payload without padding. The pad length, if there is one, comes first.
pub(super) fn without_padding<'b>(
    header: &FrameHeader,
    payload: &'b [u8],
) -> Result<&'b [u8], ConnectionError> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(ConnectionError::FrameSize)?;
    let len = rest.len().checked_sub(usize::from(padding));
    Ok(&rest[..len.ok_or(ConnectionError::BadPadding)?])
}

/// Four bytes at `at`, as a number.
#[inline]
pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    debug_assert!(
        bytes.len() >= at + 4,
        "the length of a frame is checked before it is read"
    );
    bytes[at..]
        .first_chunk::<4>()
        .map_or(0, |four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, flags: u8, stream: StreamId, len: usize) -> FrameHeader {
        FrameHeader {
            len,
            kind,
            flags,
            stream,
        }
    }

    #[test]
    fn headers_come_back_and_the_reserved_bit_is_ignored() {
        let header = header(kind::HEADERS, 0x25, 0x7fff_fff1, 0x01_0203);
        let mut bytes = header.bytes();
        assert_eq!(bytes, [1, 2, 3, 1, 0x25, 0x7f, 0xff, 0xff, 0xf1]);
        bytes[5] |= 0x80;
        assert_eq!(FrameHeader::parse(&bytes), header);
    }

    #[test]
    fn lengths_and_streams_table() {
        use ConnectionError::{BadStreamId, FrameSize};
        let rows = [
            (header(kind::DATA, 0, 1, 16_384), Ok(())),
            (header(kind::DATA, 0, 1, 16_385), Err(FrameSize)),
            (header(0xfa, 0xff, 7, 16_385), Err(FrameSize)),
            (header(0xfa, 0xff, 7, 16_384), Ok(())),
            (header(kind::DATA, 0, 0, 1), Err(BadStreamId)),
            (header(kind::HEADERS, 0, 0, 1), Err(BadStreamId)),
            (header(kind::CONTINUATION, 0, 0, 1), Err(BadStreamId)),
            (header(kind::PRIORITY, 0, 0, 5), Err(BadStreamId)),
            (header(kind::PRIORITY, 0, 1, 4), Ok(())),
            (header(kind::RST_STREAM, 0, 0, 4), Err(BadStreamId)),
            (header(kind::RST_STREAM, 0, 1, 5), Err(FrameSize)),
            (header(kind::SETTINGS, 0, 1, 6), Err(BadStreamId)),
            (header(kind::SETTINGS, 0, 0, 7), Err(FrameSize)),
            (header(kind::SETTINGS, 0, 0, 12), Ok(())),
            (header(kind::SETTINGS, flag::ACK, 0, 6), Err(FrameSize)),
            (header(kind::PING, 0, 1, 8), Err(BadStreamId)),
            (header(kind::PING, 0, 0, 7), Err(FrameSize)),
            (header(kind::GOAWAY, 0, 1, 8), Err(BadStreamId)),
            (header(kind::GOAWAY, 0, 0, 7), Err(FrameSize)),
            (header(kind::WINDOW_UPDATE, 0, 0, 4), Ok(())),
            (header(kind::WINDOW_UPDATE, 0, 1, 3), Err(FrameSize)),
            (header(kind::PRIORITY_UPDATE, 0, 1, 4), Err(BadStreamId)),
            (header(kind::PRIORITY_UPDATE, 0, 0, 3), Err(FrameSize)),
        ];
        for (header, expected) in rows {
            assert_eq!(header.check(), expected, "{header:?}");
        }
    }

    #[test]
    fn padding_table() {
        let padded = header(kind::HEADERS, flag::PADDED, 1, 0);
        type Row = (&'static [u8], Result<&'static [u8], ConnectionError>);
        let rows: [Row; 5] = [
            (&[0, 1, 2], Ok(&[1, 2])),
            (&[1, 1, 2], Ok(&[1])),
            (&[2, 1, 2], Ok(&[])),
            (&[3, 1, 2], Err(ConnectionError::BadPadding)),
            (&[], Err(ConnectionError::FrameSize)),
        ];
        for (payload, expected) in rows {
            assert_eq!(without_padding(&padded, payload), expected, "{payload:?}");
        }
    }

    #[test]
    fn a_long_section_is_cut() {
        for (len, kinds) in [
            (5, &[(1, 5, 5)][..]),
            (10, &[(1, 5, 10)]),
            (25, &[(1, 1, 10), (9, 0, 10), (9, 4, 5)]),
        ] {
            let section: Vec<u8> = (0..len).collect();
            let mut out = [&b"x123456789"[..], &section].concat();
            finish_section(&mut out, 1, 3, true, 10);
            let (mut at, mut pieces) = (1, Vec::new());
            for (kind, flags, len) in kinds {
                let header = FrameHeader::parse(out[at..].first_chunk().unwrap());
                assert_eq!(
                    (header.kind, header.flags, header.len, header.stream),
                    (*kind, *flags, *len, 3)
                );
                pieces.extend_from_slice(&out[at + HEADER_BYTES..][..*len]);
                at += HEADER_BYTES + len;
            }
            assert_eq!((at, pieces), (out.len(), section));
        }
    }
}
