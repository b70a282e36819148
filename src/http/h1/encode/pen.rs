//! Appending many small parts to a buffer whose room was made once.

use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};

use crate::http::h1::Version;

/// Longest IPv6 address as text.
const IPV6_BYTES: usize = 39;

/// Writes into a buffer's spare room. Unlike with a `Vec`, the length stays in a register from part to part: it is this
/// that makes it worth while.
pub(super) struct Pen<'o> {
    room: &'o mut [MaybeUninit<u8>],
    written: usize,
}

impl Pen<'_> {
    /// Lets `write` append at most `most` bytes to `out`; it panics if it appends more.
    #[inline(always)]
    pub(super) fn append<R>(
        out: &mut Vec<u8>,
        most: usize,
        write: impl FnOnce(&mut Pen<'_>) -> R,
    ) -> R {
        out.reserve(most);
        let mut pen = Pen {
            room: out.spare_capacity_mut(),
            written: 0,
        };
        let result = write(&mut pen);
        let written = pen.written;
        // SAFETY: `written` grows only in `text`, by the number of bytes that were initialised right there.
        unsafe { out.set_len(out.len() + written) };
        result
    }

    /// Bytes written so far.
    #[inline(always)]
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Takes back what was written after the first `written` bytes.
    pub(super) fn take_back(&mut self, written: usize) {
        self.written = self.written.min(written);
    }

    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        let end = self.written + text.len();
        self.room[self.written..end].write_copy_of_slice(text);
        self.written = end;
    }

    /// Writes all parts; unrolled, so that a constant one is a few stores.
    #[inline(always)]
    pub(super) fn texts<const N: usize>(&mut self, texts: [&[u8]; N]) {
        for text in texts {
            self.text(text);
        }
    }

    #[inline(always)]
    pub(super) fn field(&mut self, name: &str, value: &[u8]) {
        self.texts([name.as_bytes(), b": ", value, b"\r\n"]);
    }

    /// Writes `Via`; the version is the one that the message came with (RFC 9110 section 7.6.3).
    pub(super) fn via(&mut self, received: Version) {
        match received {
            Version::Http10 => self.text(b"Via: 1.0 palantir\r\n"),
            Version::Http11 => self.text(b"Via: 1.1 palantir\r\n"),
            Version::Http2 => self.text(b"Via: 2 palantir\r\n"),
        }
    }

    #[inline(always)]
    pub(super) fn address(&mut self, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => self.ipv4(address),
            IpAddr::V6(address) => {
                let mut text = [0; IPV6_BYTES];
                let mut rest = &mut text[..];
                // The text of an address always fits.
                let _ = write!(rest, "{address}");
                let unused = rest.len();
                self.text(&text[..IPV6_BYTES - unused]);
            }
        }
    }

    #[inline(always)]
    fn ipv4(&mut self, address: Ipv4Addr) {
        let mut text = [0; b"255.255.255.255.".len()];
        let mut len = 0;
        for octet in address.octets() {
            let [hundreds, tens, ones] =
                [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
            // Always four bytes, of which the next octet overwrites what is too much.
            let (digits, count) = match octet {
                0..10 => ([ones, b'.', 0, 0], 1),
                10..100 => ([tens, ones, b'.', 0], 2),
                _ => ([hundreds, tens, ones, b'.'], 3),
            };
            text[len..len + 4].copy_from_slice(&digits);
            len += count + 1;
        }
        self.text(&text[..len - 1]);
    }
}
