//! Slices: a large representation is fetched and stored in parts of one size, slice number n having the bytes from
//! n times the size on. Each slice is a stored part with a key of its own, and parts of two states of the
//! representation are never put together.

use std::ops::Range;

use httparse::Header;

use crate::cache::extent::Extent;
use crate::cache::validators::Validators;
use crate::http::fields::values;
use crate::http::range::{ByteRange, RangeSpec, specs};

/// The division of representations into slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slicing {
    size: u64,
}

impl Slicing {
    /// Slices of so many bytes, at least 1.
    pub fn new(size: u64) -> Slicing {
        Slicing { size: size.max(1) }
    }

    /// The bytes of a slice that is not the last one.
    pub fn size(self) -> u64 {
        self.size
    }

    /// The number of the slice that has a byte.
    pub fn number_of(self, offset: u64) -> u64 {
        offset / self.size
    }

    /// The bytes of a slice, as they are asked for. The representation may end before them.
    pub fn range(self, number: u64) -> ByteRange {
        let first = number.saturating_mul(self.size);
        ByteRange {
            first,
            last: first.saturating_add(self.size - 1),
        }
    }

    /// Whether a part is this slice, with all bytes that the representation has of it.
    pub fn is_slice(self, number: u64, part: &Extent) -> bool {
        let whole = self.range(number);
        let end = part.total.saturating_sub(1);
        part.range.first == whole.first && part.range.last == whole.last.min(end)
    }

    /// The bytes of a slice that belong to a range of the representation, counted from the first byte of the slice.
    /// The range and the slice have a byte in common.
    pub fn share(self, number: u64, wanted: ByteRange) -> Range<u64> {
        let slice = self.range(number);
        let first = wanted.first.max(slice.first);
        let last = wanted.last.min(slice.last);
        first - slice.first..(last + 1).saturating_sub(slice.first)
    }

    /// The number of the slice with which an answer probably begins: if the length of the representation is known,
    /// another one may turn out to be the first. `None`: something else than one range of bytes is asked for.
    pub fn start(self, fields: &[Header<'_>]) -> Option<u64> {
        let mut lines = values(fields, "range");
        let value = match (lines.next(), lines.next()) {
            (None, _) => return Some(0),
            (Some(value), None) => value,
            _ => return None,
        };
        let mut specs = specs(value)?;
        match (specs.next(), specs.next()) {
            (_, Some(_)) => None,
            (Some(RangeSpec::Between(range)), None) => Some(self.number_of(range.first)),
            (Some(RangeSpec::From(first)), None) => Some(self.number_of(first)),
            (Some(RangeSpec::Suffix(_)) | None, None) => Some(0),
        }
    }
}

/// Whether two parts are of the same state of a representation: they share a strong entity tag, and a length.
pub fn is_same(one: (&Extent, &Validators<'_>), other: (&Extent, &Validators<'_>)) -> bool {
    let ((part, own), (other_part, other)) = (one, other);
    // RFC 9110 section 15.3.7.3 (MUST): parts are combined only if they share a strong validator.
    let has_tag = own.strong_etag().is_some();
    has_tag && own.share_strong(other) && part.total == other_part.total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::sample::fields;

    fn extent(first: u64, last: u64, total: u64) -> Extent {
        Extent {
            range: ByteRange { first, last },
            total,
        }
    }

    #[test]
    fn slices_of_a_representation_table() {
        let slicing = Slicing::new(10);
        // The number, the part, and whether the part is the slice of that number.
        let rows = [
            (0, extent(0, 9, 100), true),
            (0, extent(0, 9, 10), true),
            (0, extent(0, 6, 7), true),
            (0, extent(0, 6, 8), false),
            (0, extent(0, 8, 100), false),
            (0, extent(0, 19, 100), false),
            (3, extent(30, 39, 100), true),
            (3, extent(30, 34, 35), true),
            (3, extent(30, 34, 36), false),
            (3, extent(31, 39, 100), false),
            (2, extent(30, 39, 100), false),
        ];
        for (number, part, expected) in rows {
            assert_eq!(
                slicing.is_slice(number, &part),
                expected,
                "{number} {part:?}"
            );
        }
    }

    #[test]
    fn the_first_slice_table() {
        let slicing = Slicing::new(10);
        let rows: [(&[&str], Option<u64>); 10] = [
            (&[], Some(0)),
            (&["Range: bytes=0-"], Some(0)),
            (&["Range: bytes=9-10"], Some(0)),
            (&["Range: bytes=10-10"], Some(1)),
            (&["Range: bytes=25-"], Some(2)),
            (&["Range: bytes=-3"], Some(0)),
            (&["Range: bytes=1-2, 30-31"], None),
            (&["Range: lines=20-21"], None),
            (&["Range: bytes=x"], None),
            (&["Range: bytes=20-", "Range: bytes=30-"], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(slicing.start(&fields(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn parts_of_one_state_table() {
        const EARLY: &str = "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT";
        const LATER: &str = "Last-Modified: Thu, 01 Jan 1970 00:00:02 GMT";
        const DATE: &str = "Date: Thu, 01 Jan 1970 00:09:00 GMT";
        let rows: [(&[&str], &[&str], bool); 10] = [
            (&["ETag: \"a\""], &["ETag: \"a\""], true),
            (&["ETag: \"a\""], &["ETag: \"b\""], false),
            (&["ETag: \"a\"", EARLY], &["ETag: \"a\"", LATER], true),
            (&["ETag: \"a\""], &["ETag: W/\"a\""], false),
            (&["ETag: \"a\""], &[], false),
            (&["ETag: W/\"a\""], &["ETag: W/\"a\""], false),
            (&["ETag: W/\"a\"", EARLY], &["ETag: W/\"a\"", LATER], false),
            (&[EARLY, DATE], &[EARLY, DATE], false),
            (&[EARLY], &[LATER], false),
            (&[], &[], false),
        ];
        for (one, other, expected) in rows {
            let (of_one, of_other) = (fields(one), fields(other));
            let (of_one, of_other) = (Validators::of(&of_one), Validators::of(&of_other));
            let (first, second) = (extent(0, 9, 20), extent(10, 19, 20));
            let found = is_same((&first, &of_one), (&second, &of_other));
            assert_eq!(found, expected, "{one:?} {other:?}");
            let longer = extent(10, 19, 21);
            assert!(!is_same((&first, &of_one), (&longer, &of_other)));
        }
    }

    proptest! {
        #[test]
        fn the_shares_of_slices_are_the_range(
            size in 1_u64..50,
            first in 0_u64..1_000,
            len in 1_u64..1_000,
        ) {
            let slicing = Slicing::new(size);
            let wanted = ByteRange { first, last: first + len - 1 };
            let mut at = wanted.first;
            for number in slicing.number_of(wanted.first)..=slicing.number_of(wanted.last) {
                let share = slicing.share(number, wanted);
                prop_assert!(!share.is_empty() && share.end <= size);
                prop_assert_eq!(slicing.range(number).first + share.start, at);
                at = slicing.range(number).first + share.end;
            }
            prop_assert_eq!(at, wanted.last + 1);
        }
    }
}
