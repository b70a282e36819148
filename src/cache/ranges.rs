//! The ranges that a client gets of a complete stored body (RFC 9110 section 14.2), and the parts of an answer with
//! several of them (section 15.3.7.2).

use httparse::Header;

use crate::base::limits;
use crate::http::fields::values;
use crate::http::range::{ByteRange, ContentRange, specs};

/// What a client gets of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Selection {
    /// The whole body with status 200.
    Whole,
    /// One range with status 206.
    Single(ByteRange),
    /// Several ranges with status 206, as `multipart/byteranges`.
    Several(Ranges),
    /// No byte of the body was asked for: status 416.
    Unsatisfiable,
}

/// Ranges of one body of which no two overlap or are neighbours, in the order in which they were asked for.
#[derive(Clone, Copy, PartialEq)]
pub struct Ranges {
    ranges: [ByteRange; limits::CACHE_RANGES],
    count: usize,
}

/// Selects what a client gets of a complete stored body of `total` bytes. If-Range is evaluated before: see
/// `conditions::range_counts`.
pub fn select(method: &[u8], fields: &[Header<'_>], status: u16, total: u64) -> Selection {
    // RFC 9110 section 14.2 (MUST): Range has no effect with another method than GET, nor where the answer without it
    // would be no 200. Of a body without bytes the server may send the whole.
    if method != b"GET" || status != 200 || total == 0 {
        return Selection::Whole;
    }
    let mut lines = values(fields, "range");
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return Selection::Whole;
    };
    let Some(specs) = specs(value) else {
        return Selection::Whole;
    };
    let mut ranges = Ranges::NONE;
    for (index, spec) in specs.enumerate() {
        // RFC 9110 section 14.2: ranges in such numbers may be ignored.
        if index == limits::CACHE_RANGES {
            return Selection::Whole;
        }
        if let Some(range) = spec.resolve(total) {
            ranges.add(range);
        }
    }
    match *ranges.as_slice() {
        [] => Selection::Unsatisfiable,
        [range] => Selection::Single(range),
        _ => Selection::Several(ranges),
    }
}

impl Ranges {
    const NONE: Ranges = Ranges {
        ranges: [ByteRange { first: 0, last: 0 }; limits::CACHE_RANGES],
        count: 0,
    };

    /// The ranges.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    /// Adds a range, joined with those that it touches. The joined one stands where the first of them stood.
    fn add(&mut self, range: ByteRange) {
        let touching = self
            .as_slice()
            .iter()
            .position(|known| known.touches(&range));
        let Some(at) = touching else {
            self.ranges[self.count] = range;
            self.count += 1;
            return;
        };
        self.ranges[at] = self.ranges[at].joined(&range);
        let mut kept = at + 1;
        for next in at + 1..self.count {
            // Known ranges do not touch each other, so that only the new one can have closed a gap.
            if self.ranges[next].touches(&range) {
                self.ranges[at] = self.ranges[at].joined(&self.ranges[next]);
            } else {
                self.ranges[kept] = self.ranges[next];
                kept += 1;
            }
        }
        self.count = kept;
    }
}

impl std::fmt::Debug for Ranges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.as_slice()).finish()
    }
}

/// The body of an answer with several ranges.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// The boundary, of at most 70 characters, which does not occur in the body.
    pub boundary: &'a [u8],
    /// The `Content-Type` of the stored response, which each part has.
    pub content_type: Option<&'a [u8]>,
    /// The length of the stored body.
    pub total: u64,
}

impl Multipart<'_> {
    /// Appends the value of the answer's own `Content-Type`.
    pub fn write_content_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"multipart/byteranges; boundary=");
        out.extend_from_slice(self.boundary);
    }

    /// Appends what stands before the bytes of a range: the end of the part before, the boundary, the part's fields.
    pub fn write_part_head(&self, is_first: bool, range: ByteRange, out: &mut Vec<u8>) {
        out.extend_from_slice(if is_first { b"--" } else { b"\r\n--" });
        out.extend_from_slice(self.boundary);
        if let Some(content_type) = self.content_type {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(content_type);
        }
        out.extend_from_slice(b"\r\nContent-Range: ");
        self.content_range(range).write(out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Appends what stands behind the last range.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(self.boundary);
        out.extend_from_slice(b"--\r\n");
    }

    /// The length of the whole body of the answer.
    pub fn content_length(&self, ranges: &Ranges) -> u64 {
        let content_type = self.content_type.map_or(0, |value| 16 + value.len());
        let fixed = 2 + self.boundary.len() + content_type + 17 + 4;
        let parts = ranges.as_slice().iter().enumerate().map(|(index, range)| {
            let line_end = if index == 0 { 0 } else { 2 };
            let head = line_end + fixed + self.content_range(*range).written_len();
            (head as u64).saturating_add(range.len())
        });
        let end = 8 + self.boundary.len() as u64;
        parts.fold(end, u64::saturating_add)
    }

    fn content_range(&self, range: ByteRange) -> ContentRange {
        ContentRange {
            range,
            total: Some(self.total),
        }
    }
}
