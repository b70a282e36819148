//! The bytes of a representation that one stored part has: one range, which the stored head names. A part has the head
//! of a 200 with the whole representation, and a `Content-Range` beside it.

use crate::cache::partial::{Stretches, whole_head};
use crate::cache::stored_head;
use crate::http::range::{ByteRange, ContentRange};

/// The bytes that a stored part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The stored range.
    pub range: ByteRange,
    /// The length of the whole representation.
    pub total: u64,
}

/// The way in which a part is completed by another one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The range that is missing.
    pub missing: ByteRange,
    /// The stored part with the missing range.
    pub union: Extent,
}

impl Extent {
    /// The part below a stored head. `None`: the head is none of a part.
    pub fn of_head(head: &[u8]) -> Option<Extent> {
        let value = stored_head::find(head, "content-range")?;
        let ContentRange { range, total } = ContentRange::read(value)?;
        Some(Extent {
            range,
            total: total?,
        })
    }

    /// The first so many bytes of the part, at least 1 and at most all of them.
    pub fn shortened(&self, bytes: u64) -> Extent {
        let last = self.range.first + bytes.clamp(1, self.range.len()) - 1;
        Extent {
            range: ByteRange { last, ..self.range },
            ..*self
        }
    }

    /// Whether the part is the whole representation.
    pub fn is_whole(&self) -> bool {
        self.range.len() == self.total
    }

    /// The part as stretches of one range.
    pub fn stretches(&self) -> Option<Stretches> {
        Stretches::new(self.range, self.total)
    }

    /// How the part grows by a missing range. `None`: the range does not lie directly beside the part.
    pub fn completion(&self, missing: ByteRange) -> Option<Completion> {
        let is_behind = self.range.last.checked_add(1) == Some(missing.first);
        let is_before = missing.last.checked_add(1) == Some(self.range.first);
        (is_behind || is_before).then(|| Completion {
            missing,
            union: Extent {
                range: self.range.joined(&missing),
                ..*self
            },
        })
    }
}

impl Completion {
    /// Whether the missing range lies behind the stored part.
    pub fn is_behind(&self) -> bool {
        self.missing.last == self.union.range.last
    }
}

/// The head under which a part is stored. `head`: that of a 206 or of an incomplete 200, or a stored one.
pub fn part_head(head: &[u8], extent: &Extent) -> Vec<u8> {
    let mut out = whole_head(head, extent.total);
    if !extent.is_whole() {
        out.truncate(out.len() - 2);
        let content_range = ContentRange {
            range: extent.range,
            total: Some(extent.total),
        };
        let mut value = Vec::new();
        content_range.write(&mut value);
        stored_head::write_field(b"Content-Range", &value, &mut out);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> ByteRange {
        ByteRange { first, last }
    }

    fn extent(first: u64, last: u64, total: u64) -> Extent {
        Extent {
            range: range(first, last),
            total,
        }
    }

    #[test]
    fn a_head_of_a_part_tells_which_part() {
        let head =
            b"HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Range: bytes 0-1/9\r\n\r\n";
        let written = part_head(head, &extent(2, 5, 10));
        assert_eq!(
            written,
            b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\nContent-Range: bytes 2-5/10\r\n\r\n"
        );
        assert_eq!(Extent::of_head(&written), Some(extent(2, 5, 10)));
        // RFC 9110 section 15.3.7.3: parts that are complete are a 200.
        let whole = part_head(&written, &extent(0, 9, 10));
        assert_eq!(
            whole,
            b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n"
        );
        assert_eq!(Extent::of_head(&whole), None);
    }

    #[test]
    fn completions_table() {
        let rows = [
            (
                extent(0, 4, 10),
                range(5, 9),
                Some((extent(0, 9, 10), true)),
            ),
            (
                extent(0, 4, 10),
                range(5, 6),
                Some((extent(0, 6, 10), true)),
            ),
            (
                extent(4, 9, 10),
                range(0, 3),
                Some((extent(0, 9, 10), false)),
            ),
            (
                extent(4, 9, 10),
                range(2, 3),
                Some((extent(2, 9, 10), false)),
            ),
            (extent(4, 9, 10), range(0, 2), None),
            (extent(0, 4, 10), range(6, 9), None),
            (extent(3, 4, 10), range(0, 9), None),
        ];
        for (stored, missing, expected) in rows {
            let found = stored.completion(missing);
            let found = found.map(|completion| (completion.union, completion.is_behind()));
            assert_eq!(found, expected, "{stored:?} {missing:?}");
        }
    }

    #[test]
    fn a_part_is_shortened_to_what_came() {
        for (bytes, expected) in [(0, 3), (1, 3), (4, 6), (5, 7), (9, 7)] {
            let found = extent(3, 7, 10).shortened(bytes);
            assert_eq!(found, extent(3, expected, 10), "{bytes}");
        }
    }
}
