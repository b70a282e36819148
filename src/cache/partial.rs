//! Parts of a representation: what may be stored of an incomplete response, which requests stored parts answer, and
//! when they may be joined (RFC 9111 sections 3.3 and 3.4, RFC 9110 section 15.3.7.3).

use httparse::Header;

use crate::base::limits;
use crate::cache::ranges::{self, RangeSelection};
use crate::cache::stored_head;
use crate::cache::validators::Validators;
use crate::http::fields::{trim, values};
use crate::http::range::{ByteRange, ContentRange, decimal};

/// The bytes of a representation that are stored: ranges in ascending order, none of which touches another one.
#[derive(Clone, Copy, PartialEq)]
pub struct Stretches {
    ranges: [ByteRange; limits::CACHE_STRETCHES],
    count: usize,
    total: u64,
}

/// Why a response is no part that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPartial {
    /// The status is neither 200 nor 206.
    Status,
    /// `Content-Range` is absent, malformed, in another unit, or there more than once; or the body has several ranges.
    ContentRange,
    /// The length of the whole representation is unknown.
    UnknownTotal,
    /// No byte has come.
    Empty,
    /// `Content-Length`, `Content-Range` and the bytes that came do not agree.
    Disagreement,
    /// An incomplete response without a strong validator could never be completed.
    NoStrongValidator,
}

/// The meaning of stored parts for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the ranges are on the stack, where half a kilobyte costs nothing"
)]
pub enum FromParts {
    /// The stored parts have what is asked for. [`RangeSelection::Whole`] is selected only of complete parts.
    Answer(RangeSelection),
    /// The bytes from the first to the last one that is asked for and not stored.
    Missing(ByteRange),
}

impl Stretches {
    /// One range of a representation of `total` bytes. `None`: the range ends behind the representation.
    pub fn new(range: ByteRange, total: u64) -> Option<Stretches> {
        let mut ranges = [ByteRange::default(); limits::CACHE_STRETCHES];
        ranges[0] = range;
        (range.last < total).then_some(Stretches {
            ranges,
            count: 1,
            total,
        })
    }

    /// The length of the whole representation, in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The stored ranges in ascending order.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    /// Whether every byte of the representation is stored: the response is a 200 then.
    pub fn is_complete(&self) -> bool {
        self.as_slice()
            .first()
            .is_some_and(|range| range.len() == self.total)
    }

    /// Whether every byte of a range is stored.
    pub fn has(&self, range: &ByteRange) -> bool {
        self.as_slice().iter().any(|stored| stored.contains(range))
    }

    /// The stretches with those of another response of the same representation: see [`combined`]. `None`: the lengths
    /// differ, or there would be too many stretches.
    fn with(&self, other: &Stretches) -> Option<Stretches> {
        let mut joined = *self;
        let are_joined =
            self.total == other.total && other.as_slice().iter().all(|range| joined.add(*range));
        are_joined.then_some(joined)
    }

    /// Adds a range; `false`: there would be too many stretches.
    fn add(&mut self, range: ByteRange) -> bool {
        let before = self
            .as_slice()
            .iter()
            .take_while(|known| known.last < range.first && !known.touches(&range));
        let start = before.count();
        let touching = self.as_slice()[start..]
            .iter()
            .take_while(|known| known.touches(&range));
        let end = start + touching.count();
        let count = self.count + 1 - (end - start);
        if count > limits::CACHE_STRETCHES {
            return false;
        }
        let joined = self.ranges[start..end]
            .iter()
            .fold(range, |joined, known| joined.joined(known));
        self.ranges.copy_within(end..self.count, start + 1);
        self.ranges[start] = joined;
        self.count = count;
        true
    }

    /// The bytes from the first to the last one of a range that are not stored.
    fn missing(&self, range: ByteRange) -> Option<ByteRange> {
        let (mut first, mut last) = (range.first, range.last);
        for stored in self.as_slice() {
            if stored.contains(&ByteRange { first, last: first }) {
                first = stored.last.saturating_add(1);
            }
        }
        for stored in self.as_slice().iter().rev() {
            if stored.contains(&ByteRange { first: last, last }) {
                last = stored.first.checked_sub(1)?;
            }
        }
        (first <= last).then_some(ByteRange { first, last })
    }
}

impl std::fmt::Debug for Stretches {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} of {}", self.as_slice(), self.total)
    }
}

/// The part of a representation that a response to GET has, `received` being the bytes of its body that came. A 200 of
/// which all bytes came is a part without gaps.
pub fn part(status: u16, fields: &[Header<'_>], received: u64) -> Result<Stretches, NotPartial> {
    let announced = content_length(fields)?;
    let (first, len, total) = match status {
        206 => {
            let read = content_range(fields)?;
            let total = read.total.ok_or(NotPartial::UnknownTotal)?;
            (read.range.first, read.range.len(), total)
        }
        200 => {
            let total = announced.ok_or(NotPartial::UnknownTotal)?;
            (0, total, total)
        }
        _ => return Err(NotPartial::Status),
    };
    if announced.is_some_and(|announced| announced != len) || received > len {
        return Err(NotPartial::Disagreement);
    }
    let last = received.checked_sub(1).ok_or(NotPartial::Empty)? + first;
    if received < len && Validators::of(fields).strong().is_none() {
        return Err(NotPartial::NoStrongValidator);
    }
    Stretches::new(ByteRange { first, last }, total).ok_or(NotPartial::Disagreement)
}

/// Stored parts joined with those of a newer response. `None`: they stay apart, and the newer response replaces the
/// stored one or is not stored.
pub fn combined(
    stored: (&Stretches, &Validators<'_>),
    newer: (&Stretches, &Validators<'_>),
) -> Option<Stretches> {
    // RFC 9111 section 3.4: only parts that share a strong validator may be joined.
    let is_same = stored.1.share_strong(newer.1);
    is_same.then(|| stored.0.with(newer.0)).flatten()
}

/// Finds out whether stored parts answer a request. `range_counts`: see `conditions::range_counts`.
pub fn from_parts(
    stored: &Stretches,
    method: &[u8],
    fields: &[Header<'_>],
    range_counts: bool,
) -> FromParts {
    let selection = if range_counts {
        ranges::select(method, fields, 200, stored.total)
    } else {
        RangeSelection::Whole
    };
    // RFC 9111 section 3.3 (MUST NOT, b): an incomplete response answers nothing but ranges that lie within it.
    let wanted = match &selection {
        RangeSelection::Unsatisfiable => &[][..],
        RangeSelection::Single(range) => std::slice::from_ref(range),
        RangeSelection::Several(ranges) => ranges.as_slice(),
        RangeSelection::Whole => &[ByteRange {
            first: 0,
            last: stored.total.saturating_sub(1),
        }],
    };
    let missing = wanted.iter().filter_map(|range| stored.missing(*range));
    match missing.reduce(|all, range| all.joined(&range)) {
        Some(missing) => FromParts::Missing(missing),
        None => FromParts::Answer(selection),
    }
}

/// The head under which parts are stored: that of a 200 with the whole representation, which they become when they are
/// complete (RFC 9110 section 15.3.7.3). `head` is that of a 206 or of an incomplete 200.
pub fn whole_head(head: &[u8], total: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 32);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in stored_head::fields(head) {
        // RFC 9530 section 2: Content-Digest is of the bytes of one message, and so was Content-MD5.
        let is_of_part = [
            "content-length",
            "content-range",
            "content-digest",
            "content-md5",
        ];
        if !is_of_part
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            stored_head::write_field(name, value, &mut out);
        }
    }
    let mut digits = itoa::Buffer::new();
    stored_head::write_field(b"Content-Length", digits.format(total).as_bytes(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Appends the value of the `Range` that asks a backend for what is missing. `If-Range` with the strong validator of
/// the stored parts goes with it.
pub fn write_range(missing: ByteRange, total: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"bytes=");
    out.extend_from_slice(digits.format(missing.first).as_bytes());
    out.push(b'-');
    if missing.last.saturating_add(1) < total {
        out.extend_from_slice(digits.format(missing.last).as_bytes());
    }
}

fn content_range(fields: &[Header<'_>]) -> Result<ContentRange, NotPartial> {
    // RFC 9110 section 15.3.7.2 (MUST NOT): an answer with several ranges has no Content-Range of its own.
    let is_multipart = values(fields, "content-type").any(|value| {
        let start = value.get(..20).unwrap_or_default();
        start.eq_ignore_ascii_case(b"multipart/byteranges")
    });
    let mut lines = values(fields, "content-range");
    match (lines.next().and_then(ContentRange::read), lines.next()) {
        (Some(read), None) if !is_multipart => Ok(read),
        _ => Err(NotPartial::ContentRange),
    }
}

/// `Content-Length`. The parser of responses has refused values that do not agree.
fn content_length(fields: &[Header<'_>]) -> Result<Option<u64>, NotPartial> {
    let value = values(fields, "content-length").next();
    let length = value.map(|value| decimal(trim(value)).ok_or(NotPartial::Disagreement));
    length.transpose()
}

#[cfg(test)]
mod tests;
