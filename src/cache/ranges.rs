//! The ranges that a client gets of a complete stored body (RFC 9110 section 14.2), and the parts of an answer with
//! several of them (section 15.3.7.2).

use httparse::Header;

use crate::base::limits;
use crate::http::fields::values;
use crate::http::range::{ByteRange, ContentRange, specs};

/// The bytes that a client gets of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the ranges are on the stack, where half a kilobyte costs nothing"
)]
pub enum RangeSelection {
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

/// Selects the bytes that a client gets of a complete stored body of `total` bytes. If-Range is evaluated before: see
/// `conditions::range_counts`.
pub fn select(method: &[u8], fields: &[Header<'_>], status: u16, total: u64) -> RangeSelection {
    // RFC 9110 section 14.2 (MUST, a): Range has no effect with another method than GET, nor where the answer without
    // it would be no 200. Of a body without bytes the server may send the whole.
    if method != b"GET" || status != 200 || total == 0 {
        return RangeSelection::Whole;
    }
    let mut lines = values(fields, "range");
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return RangeSelection::Whole;
    };
    let Some(specs) = specs(value) else {
        return RangeSelection::Whole;
    };
    let mut ranges = Ranges::NONE;
    for (index, spec) in specs.enumerate() {
        // RFC 9110 section 14.2: ranges in such numbers may be ignored.
        if index == limits::CACHE_RANGES {
            return RangeSelection::Whole;
        }
        if let Some(range) = spec.resolve(total) {
            ranges.add(range);
        }
    }
    // RFC 9110 section 14.2 (SHOULD, b; SHOULD, c): ranges that have a byte get a 206, and others a 416.
    match *ranges.as_slice() {
        [] => RangeSelection::Unsatisfiable,
        [range] => RangeSelection::Single(range),
        _ => RangeSelection::Several(ranges),
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

    /// Appends the text before the bytes of a range: the end of the part before, the boundary, the part's fields.
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

    /// Appends the text behind the last range.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selected(method: &[u8], lines: &[&str], status: u16, total: u64) -> RangeSelection {
        let header = |value: &&'static str| Header {
            name: "range",
            value: value.as_bytes(),
        };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let lines: Vec<&'static str> = lines.into_iter().map(|line| &*line.leak()).collect();
        let fields: Vec<_> = lines.iter().map(header).collect();
        select(method, &fields, status, total)
    }

    /// `whole`, `none` or the ranges, with `+` between them.
    fn shown(selection: RangeSelection) -> String {
        let one = |range: &ByteRange| format!("{}-{}", range.first, range.last);
        match selection {
            RangeSelection::Whole => "whole".to_owned(),
            RangeSelection::Unsatisfiable => "none".to_owned(),
            RangeSelection::Single(range) => one(&range),
            RangeSelection::Several(ranges) => {
                let shown: Vec<_> = ranges.as_slice().iter().map(one).collect();
                shown.join("+")
            }
        }
    }

    #[test]
    fn selections_table() {
        let rows = [
            // RFC 9110 section 14.2 (SHOULD, b; SHOULD, c): the ranges that have a byte are sent, or a 416 is.
            ("bytes=0-1", "0-1"),
            ("bytes=1-", "1-10"),
            ("bytes=-1", "10-10"),
            ("bytes=-5", "6-10"),
            ("bytes=0-", "0-10"),
            ("bytes=-99", "0-10"),
            ("bytes=5-99", "5-10"),
            // RFC 9110 section 15.5.17: no range that is asked for has a byte.
            ("bytes=11-", "none"),
            ("bytes=11-20, -0", "none"),
            ("bytes=20-30, 0-1", "0-1"),
            ("bytes=0-1,4-5", "0-1+4-5"),
            // RFC 9110 section 15.3.7.2 (SHOULD): parts stand in the order in which they were asked for.
            ("bytes=4-5,0-1", "4-5+0-1"),
            ("bytes=-2,0-1", "9-10+0-1"),
            ("bytes=0-1,2-3", "0-3"),
            ("bytes=0-5,3-8", "0-8"),
            ("bytes=8-9,0-1,3-4,2-2", "8-9+0-4"),
            ("bytes=0-0,10-10,4-4,1-9", "0-10"),
            ("bytes=4-4,0-0,4-4,0-0", "4-4+0-0"),
            ("bytes=0-,0-,0-", "0-10"),
            ("bytes=5-1", "whole"),
            ("bytes=a", "whole"),
            ("lines=0-1", "whole"),
            ("", "whole"),
        ];
        for (value, expected) in rows {
            let found = shown(selected(b"GET", &[value], 200, 11));
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn where_ranges_have_no_effect() {
        let value = &["bytes=0-1"][..];
        assert_eq!(shown(selected(b"GET", value, 200, 11)), "0-1");
        // RFC 9110 section 14.2 (MUST, a): another method, or another status.
        for method in [&b"HEAD"[..], b"POST", b"get"] {
            assert_eq!(shown(selected(method, value, 200, 11)), "whole");
        }
        for status in [203, 204, 206, 301, 404] {
            assert_eq!(shown(selected(b"GET", value, status, 11)), "whole");
        }
        assert_eq!(shown(selected(b"GET", value, 200, 0)), "whole");
        assert_eq!(shown(selected(b"GET", &[], 200, 11)), "whole");
        let two = &["bytes=0-1", "bytes=4-5"];
        assert_eq!(shown(selected(b"GET", two, 200, 11)), "whole");
    }

    #[test]
    fn too_many_ranges_get_the_whole() {
        let many = |count: usize| {
            let members: Vec<_> = (0..count)
                .map(|at| format!("{}-{}", 2 * at, 2 * at))
                .collect();
            format!("bytes={}", members.join(","))
        };
        let most = many(limits::CACHE_RANGES);
        let RangeSelection::Several(ranges) = selected(b"GET", &[&most], 200, 1_000) else {
            panic!("{most}");
        };
        assert_eq!(ranges.as_slice().len(), limits::CACHE_RANGES);
        for count in [limits::CACHE_RANGES + 1, 10_000] {
            assert_eq!(
                shown(selected(b"GET", &[&many(count)], 200, 1_000_000)),
                "whole"
            );
        }
        let same = format!("bytes={}", "0-,".repeat(limits::CACHE_RANGES + 1));
        assert_eq!(shown(selected(b"GET", &[&same], 200, 1_000)), "whole");
    }

    #[test]
    fn a_body_of_parts_is_written_out() {
        let RangeSelection::Several(ranges) = selected(b"GET", &["bytes=0-1,-1"], 200, 11) else {
            panic!("two ranges");
        };
        let (body, length) = written(Some(b"text/plain"), &ranges, b"0123456789A");
        let expected = "--THE\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/11\r\n\r\n01\r\n\
            --THE\r\nContent-Type: text/plain\r\nContent-Range: bytes 10-10/11\r\n\r\nA\r\n--THE--\r\n";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(length, expected.len() as u64);
    }

    fn written(content_type: Option<&[u8]>, ranges: &Ranges, body: &[u8]) -> (Vec<u8>, u64) {
        let parts = Multipart {
            boundary: b"THE",
            content_type,
            total: body.len() as u64,
        };
        let mut out = Vec::new();
        for (index, range) in ranges.as_slice().iter().enumerate() {
            parts.write_part_head(index == 0, *range, &mut out);
            out.extend_from_slice(&body[range.first as usize..=range.last as usize]);
        }
        parts.write_end(&mut out);
        (out, parts.content_length(ranges))
    }

    #[test]
    fn the_type_of_the_answer_names_the_boundary() {
        let parts = Multipart {
            boundary: b"THE",
            content_type: None,
            total: 1,
        };
        let mut out = Vec::new();
        parts.write_content_type(&mut out);
        assert_eq!(out, b"multipart/byteranges; boundary=THE");
    }

    proptest! {
        /// Every byte that was asked for is sent, each once, and no other one; and the length of the answer is known
        /// before the answer is.
        #[test]
        fn bytes_are_sent_once(asked in proptest::collection::vec((0u64..60, 0u64..9), 1..12), typed: bool) {
            let members: Vec<_> = asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let value = format!("bytes={}", members.join(","));
            let total = 50;
            let is_asked = |at: u64| asked.iter().any(|(first, more)| (*first..=first + more).contains(&at));
            let selection = selected(b"GET", &[&value], 200, total);
            let chosen = match &selection {
                RangeSelection::Single(range) => vec![*range],
                RangeSelection::Several(ranges) => ranges.as_slice().to_vec(),
                _ => Vec::new(),
            };
            prop_assert!(selection != RangeSelection::Whole);
            for at in 0..total {
                let count = chosen.iter().filter(|range| (range.first..=range.last).contains(&at)).count();
                prop_assert_eq!(count, usize::from(is_asked(at)), "{} {}", at, value);
            }
            for (index, range) in chosen.iter().enumerate() {
                prop_assert!(chosen[..index].iter().all(|other| !other.touches(range)), "{:?}", chosen);
            }
            if let RangeSelection::Several(ranges) = &selection {
                let content_type = typed.then_some(&b"image/png"[..]);
                let (body, length) = written(content_type, ranges, &[b'x'; 50]);
                prop_assert_eq!(body.len() as u64, length);
            }
        }
    }
}
