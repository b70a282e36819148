//! Ranges of bytes (RFC 9110 section 14): `Range` of requests, `Content-Range` of responses.

use super::fields::{list, trim};

/// Bytes of a representation, from the first to the last one, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The offset of the first byte.
    pub first: u64,
    /// The offset of the last byte, never before the first one.
    pub last: u64,
}

impl ByteRange {
    /// The number of bytes, at least 1. The range of all offsets has one byte more than can be counted, which no
    /// representation has.
    #[expect(clippy::len_without_is_empty, reason = "no range is empty")]
    pub fn len(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether the other range lies in this one.
    pub fn contains(&self, other: &ByteRange) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether the ranges have a byte in common, or one begins where the other one ends.
    pub fn touches(&self, other: &ByteRange) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    /// The range from the first byte of both to the last byte of both.
    pub fn joined(&self, other: &ByteRange) -> ByteRange {
        ByteRange {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// One member of `Range`, before the length of the representation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `5-9`: from one offset to another one.
    Between(ByteRange),
    /// `5-`: from an offset to the end.
    From(u64),
    /// `-5`: so many bytes at the end.
    Suffix(u64),
}

impl RangeSpec {
    /// The bytes of a representation of `total` bytes that are meant. `None`: none of its bytes.
    pub fn resolve(&self, total: u64) -> Option<ByteRange> {
        let end = total.checked_sub(1)?;
        // RFC 9110 section 14.1.2: an end behind that of the representation means the end of the representation, and a
        // suffix longer than the representation means all of its bytes.
        let (first, last) = match *self {
            RangeSpec::Between(range) => (range.first, range.last.min(end)),
            RangeSpec::From(first) => (first, end),
            RangeSpec::Suffix(0) => return None,
            RangeSpec::Suffix(len) => (total.saturating_sub(len), end),
        };
        (first <= end).then_some(ByteRange { first, last })
    }
}

/// The members of a value of `Range`, in order. `None`: the unit is not `bytes`, or a member is malformed, so that the
/// field is ignored as a whole.
pub fn specs(value: &[u8]) -> Option<impl Iterator<Item = RangeSpec>> {
    let value = trim(value);
    let at = memchr::memchr(b'=', value)?;
    // RFC 9110 section 14.2 (MUST, b): a unit that is not understood makes the field be ignored. Names of units are
    // case-insensitive (section 14.1).
    if !value[..at].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let set = &value[at + 1..];
    if list(set).next().is_none() || list(set).any(|member| spec(member).is_none()) {
        return None;
    }
    Some(list(set).filter_map(spec))
}

fn spec(member: &[u8]) -> Option<RangeSpec> {
    let at = memchr::memchr(b'-', member)?;
    let (first, last) = (&member[..at], &member[at + 1..]);
    match (first, last) {
        (b"", _) => decimal(last).map(RangeSpec::Suffix),
        (_, b"") => decimal(first).map(RangeSpec::From),
        _ => {
            let (first, last) = (decimal(first)?, decimal(last)?);
            // RFC 9110 section 14.1.1: an end before the start makes a range invalid.
            (first <= last).then_some(RangeSpec::Between(ByteRange { first, last }))
        }
    }
}

/// A decimal number of digits only. A number beyond all offsets is read as the largest one.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    // RFC 9110 section 14.1.2 (MUST): no number is too large to be read.
    is_number.then(|| {
        digits.iter().fold(0u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// The `Content-Range` of a 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes that the response has.
    pub range: ByteRange,
    /// The length of the whole representation; `None`: unknown (`*`).
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads a value of `Content-Range`. `None`: another unit than `bytes`, the form of a 416, or a malformed value.
    pub fn read(value: &[u8]) -> Option<ContentRange> {
        let value = trim(value);
        let at = memchr::memchr(b' ', value)?;
        // RFC 9110 section 14.4 (MUST NOT, a), and RFC 9111 section 3.3 (MUST NOT, a): a part in a unit that is not
        // understood is neither stored nor joined.
        if !value[..at].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let rest = trim(&value[at + 1..]);
        let slash = memchr::memchr(b'/', rest)?;
        let RangeSpec::Between(range) = spec(&rest[..slash])? else {
            return None;
        };
        let total = match &rest[slash + 1..] {
            b"*" => None,
            digits => Some(decimal(digits)?),
        };
        // RFC 9110 section 14.4 (MUST NOT, b): a range whose end is not before that of the representation is invalid,
        // and is not combined with stored content. The largest number stands for all that are too large.
        let is_valid = range.last < total.unwrap_or(u64::MAX);
        is_valid.then_some(ContentRange { range, total })
    }

    /// Appends the value.
    pub fn write(&self, out: &mut Vec<u8>) {
        // RFC 9110 section 14.4 (SHOULD, b): the length of the whole is told where it is known.
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"bytes ");
        out.extend_from_slice(digits.format(self.range.first).as_bytes());
        out.push(b'-');
        out.extend_from_slice(digits.format(self.range.last).as_bytes());
        out.push(b'/');
        match self.total {
            Some(total) => out.extend_from_slice(digits.format(total).as_bytes()),
            None => out.push(b'*'),
        }
    }

    /// The number of bytes that [`ContentRange::write`] appends.
    pub fn written_len(&self) -> usize {
        let mut digits = itoa::Buffer::new();
        let mut len = |number: u64| digits.format(number).len();
        8 + len(self.range.first) + len(self.range.last) + self.total.map_or(1, len)
    }
}

/// Appends the value of the `Content-Range` of a 416: the length of the representation.
pub fn write_unsatisfied(total: u64, out: &mut Vec<u8>) {
    // RFC 9110 section 14.4 (SHOULD, c): a 416 says how long the whole is.
    out.extend_from_slice(b"bytes */");
    out.extend_from_slice(itoa::Buffer::new().format(total).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn between(first: u64, last: u64) -> RangeSpec {
        RangeSpec::Between(ByteRange { first, last })
    }

    #[test]
    fn specs_table() {
        use RangeSpec::{From, Suffix};
        let rows: [(&str, Option<&[RangeSpec]>); 27] = [
            ("bytes=0-0", Some(&[between(0, 0)])),
            ("bytes=5-9", Some(&[between(5, 9)])),
            ("BYTES=5-9", Some(&[between(5, 9)])),
            (" bytes=5- ", Some(&[From(5)])),
            ("bytes=-5", Some(&[Suffix(5)])),
            ("bytes=-0", Some(&[Suffix(0)])),
            ("bytes=1-2,4-", Some(&[between(1, 2), From(4)])),
            ("bytes= 1-2 , ,-4,", Some(&[between(1, 2), Suffix(4)])),
            ("bytes=007-08", Some(&[between(7, 8)])),
            // RFC 9110 section 14.1.2 (MUST): no number is too large to be read.
            (
                "bytes=0-18446744073709551616",
                Some(&[between(0, u64::MAX)]),
            ),
            ("bytes=99999999999999999999-", Some(&[From(u64::MAX)])),
            ("bytes=9-5", None),
            ("bytes=0-1,9-5", None),
            ("bytes=", None),
            ("bytes=,", None),
            ("bytes", None),
            ("", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=1", None),
            ("bytes=1-2-3", None),
            ("bytes=+1-2", None),
            ("bytes=1 - 2", None),
            ("bytes =1-2", None),
            ("bytes:1-2", None),
            // RFC 9110 section 14.2 (MUST, b): a unit that is not known.
            ("items=0-1", None),
            ("bytes=0-1;x", None),
        ];
        for (value, expected) in rows {
            let read = specs(value.as_bytes()).map(|specs| specs.collect::<Vec<_>>());
            assert_eq!(read.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn resolved_table() {
        use RangeSpec::{From, Suffix};
        let rows = [
            (between(0, 4), 10, Some((0, 4))),
            (between(0, 99), 10, Some((0, 9))),
            (between(9, 9), 10, Some((9, 9))),
            (between(10, 12), 10, None),
            (From(0), 10, Some((0, 9))),
            (From(9), 10, Some((9, 9))),
            (From(10), 10, None),
            (Suffix(1), 10, Some((9, 9))),
            (Suffix(10), 10, Some((0, 9))),
            (Suffix(11), 10, Some((0, 9))),
            (Suffix(u64::MAX), 10, Some((0, 9))),
            (Suffix(0), 10, None),
            (From(0), 0, None),
            (Suffix(5), 0, None),
            (From(u64::MAX), u64::MAX, None),
            (between(0, u64::MAX), u64::MAX, Some((0, u64::MAX - 1))),
        ];
        for (spec, total, expected) in rows {
            let found = spec.resolve(total).map(|range| (range.first, range.last));
            assert_eq!(found, expected, "{spec:?} of {total}");
        }
    }

    #[test]
    fn content_ranges_table() {
        let rows = [
            ("bytes 0-4/10", Some((0, 4, Some(10)))),
            ("Bytes 0-9/10", Some((0, 9, Some(10)))),
            ("bytes 0-4/*", Some((0, 4, None))),
            ("bytes 5-5/6", Some((5, 5, Some(6)))),
            // RFC 9110 section 14.4 (MUST NOT, b): these are invalid, and are not joined.
            ("bytes 0-10/10", None),
            ("bytes 4-0/10", None),
            ("bytes 0-18446744073709551616/*", None),
            ("bytes */10", None),
            ("bytes 0-4", None),
            ("bytes=0-4/10", None),
            ("bytes -4/10", None),
            ("bytes 4-/10", None),
            ("bytes 0-4/", None),
            // RFC 9110 section 14.4 (MUST NOT, a), RFC 9111 section 3.3 (MUST NOT, a): a unit that is not known.
            ("items 0-4/10", None),
            ("bytes 0-4/10, bytes 6-7/10", None),
            ("", None),
        ];
        for (value, expected) in rows {
            let read = ContentRange::read(value.as_bytes());
            let read = read.map(|read| (read.range.first, read.range.last, read.total));
            assert_eq!(read, expected, "{value}");
        }
        // RFC 9110 section 14.4 (SHOULD, c): the length of the whole.
        let mut out = Vec::new();
        write_unsatisfied(47, &mut out);
        assert_eq!(out, b"bytes */47");
    }

    proptest! {
        #[test]
        fn written_ranges_are_read_again(
            first in 0u64..1 << 40, len in 1u64..1 << 40, behind in proptest::option::of(0u64..9))
        {
            let range = ByteRange { first, last: first + len - 1 };
            let written = ContentRange { range, total: behind.map(|behind| first + len + behind) };
            let mut out = Vec::new();
            written.write(&mut out);
            prop_assert_eq!(out.len(), written.written_len());
            prop_assert_eq!(ContentRange::read(&out), Some(written));
            prop_assert_eq!(range.len(), len);
        }

        /// A resolved range lies in the representation, whatever is asked for.
        #[test]
        fn resolved_ranges_lie_within(value in "bytes=[-0-9,]{0,24}", total: u64) {
            for spec in specs(value.as_bytes()).into_iter().flatten() {
                if let Some(range) = spec.resolve(total) {
                    prop_assert!(range.first <= range.last && range.last < total);
                }
            }
        }

        #[test]
        fn any_bytes_are_safe(value in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = specs(&value).map(Iterator::count);
            let _ = ContentRange::read(&value);
        }

        /// Ranges touch if and only if no byte lies between them.
        #[test]
        fn touching_is_mutual(a in 0u64..20, b in 0u64..20, c in 0u64..20, d in 0u64..20) {
            let one = ByteRange { first: a.min(b), last: a.max(b) };
            let other = ByteRange { first: c.min(d), last: c.max(d) };
            prop_assert_eq!(one.touches(&other), other.touches(&one));
            let joined = one.joined(&other);
            let is_gapless = (joined.first..=joined.last)
                .all(|at| [one, other].iter().any(|range| range.first <= at && at <= range.last));
            prop_assert_eq!(one.touches(&other), is_gapless);
        }
    }
}
