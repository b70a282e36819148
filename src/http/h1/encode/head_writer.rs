//! Appending many small parts to a buffer whose room was made once.

use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};

use crate::http::h1::Version;

/// Longest IPv6 address as text.
const IPV6_BYTES: usize = 39;

/// Writes into a buffer's spare room. Unlike with a `Vec`, the length stays in a register from part to part: it is this
/// that makes it worth while.
pub(super) struct HeadWriter<'o> {
    room: &'o mut [MaybeUninit<u8>],
    /// Where the next part goes: beyond the room when the room was too small.
    written: usize,
    /// Bytes of room that would have sufficed; 0 as long as the room does.
    lacked: usize,
}

impl HeadWriter<'_> {
    /// Appends what `write` writes to `out`. `expected` bytes of room are made for it; should it be more, all of it is
    /// written again into the room that it was found to need, so that a wrong expectation costs time and nothing else.
    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "writing to reserved memory directly spares a check per byte"
    )]
    pub(super) fn append<R>(
        out: &mut Vec<u8>,
        expected: usize,
        write: impl Fn(&mut HeadWriter<'_>) -> R,
    ) -> R {
        out.reserve(expected);
        loop {
            let mut writer = HeadWriter {
                room: out.spare_capacity_mut(),
                written: 0,
                lacked: 0,
            };
            let result = write(&mut writer);
            let HeadWriter {
                written, lacked, ..
            } = writer;
            if lacked == 0 {
                debug_assert!(
                    out.len() + written <= out.capacity(),
                    "only reserved memory has been written"
                );
                // SAFETY: no part was left out, and `written` grows only by the parts that `text` initialised.
                unsafe { out.set_len(out.len() + written) };
                return result;
            }
            #[cfg(test)]
            assert!(
                !crate::simulated::is_planted(crate::simulated::Fault::ForgetsTarget),
                "a head goes beyond its room"
            );
            // The second time nothing is lacking, as `write` changes nothing that it writes.
            out.reserve(lacked);
        }
    }

    /// Bytes written so far.
    #[inline(always)]
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Takes back what was written after the first `written` bytes.
    pub(super) fn take_back(&mut self, written: usize) {
        debug_assert!(
            written <= self.written,
            "only what was written is taken back"
        );
        self.written = self.written.min(written);
    }

    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        let end = self.written + text.len();
        match self.room.get_mut(self.written..end) {
            Some(place) => {
                place.write_copy_of_slice(text);
            }
            None => self.note_lack(end),
        }
        self.written = end;
    }

    #[cold]
    fn note_lack(&mut self, end: usize) {
        self.lacked = self.lacked.max(end);
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
        debug_assert!(
            memchr::memchr2(b'\r', b'\n', value).is_none(),
            "a field is one line"
        );
        self.texts([name.as_bytes(), b": ", value, b"\r\n"]);
    }

    /// Writes a field whose value is a number.
    pub(super) fn number(&mut self, name: &str, number: u64) {
        let mut digits = [b'0'; u64::MAX.ilog10() as usize + 1];
        let (mut start, mut rest) = (digits.len(), number);
        while rest > 0 || start == digits.len() {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        debug_assert!(start < digits.len(), "a number has a digit");
        self.field(name, &digits[start..]);
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
        debug_assert!(len <= text.len());
        self.text(&text[..len - 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too little room costs a second round; nothing is lost, and what was taken back stays away.
    #[test]
    fn any_expectation_gives_the_same_text() {
        for expected in 0..40 {
            let mut out = Vec::with_capacity(8);
            out.extend_from_slice(b"before ");
            let result = HeadWriter::append(&mut out, expected, |writer| {
                writer.field("name", b"a value");
                let here = writer.written();
                writer.texts([b"a list, ", b"its end, "]);
                writer.take_back(writer.written() - b", ".len());
                writer.text(b".");
                here
            });
            assert_eq!(result, b"name: a value\r\n".len(), "{expected}");
            assert_eq!(
                out, b"before name: a value\r\na list, its end.",
                "{expected}"
            );
        }
    }
}
