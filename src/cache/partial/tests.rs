//! Parts of representations by tables, and stretches against their bytes one by one.

use proptest::prelude::*;

use super::*;

/// Names and values.
type Fields<'f> = &'f [(&'f str, &'f str)];
/// A status, fields, the bytes that came, and what they are.
type Part<'f> = (u16, Fields<'f>, u64, Result<(u64, u64), NotPartial>);

fn headers<'f>(fields: &[(&'f str, &'f str)]) -> Vec<Header<'f>> {
    let header = |&(name, value): &(&'f str, &'f str)| Header {
        name,
        value: value.as_bytes(),
    };
    fields.iter().map(header).collect()
}

fn stretches(ranges: &[(u64, u64)], total: u64) -> Stretches {
    let range = |&(first, last): &(u64, u64)| ByteRange { first, last };
    let mut stored = Stretches::new(range(&ranges[0]), total).unwrap();
    assert!(ranges[1..].iter().all(|pair| stored.add(range(pair))));
    stored
}

#[test]
fn parts_table() {
    const TAG: (&str, &str) = ("ETag", "\"a\"");
    const WEAK: (&str, &str) = ("ETag", "W/\"a\"");
    const MIDDLE: (&str, &str) = ("Content-Range", "bytes 4-8/10");
    let rows: [Part<'_>; 22] = [
        (206, &[MIDDLE], 5, Ok((4, 8))),
        (206, &[MIDDLE, TAG, ("Content-Length", "5")], 5, Ok((4, 8))),
        (206, &[("Content-Range", "bytes 0-9/10")], 10, Ok((0, 9))),
        // The connection ended early: what came can be completed by its strong validator only.
        (206, &[MIDDLE, TAG, ("Content-Length", "5")], 2, Ok((4, 5))),
        (206, &[MIDDLE], 2, Err(NotPartial::NoStrongValidator)),
        (206, &[MIDDLE, WEAK], 2, Err(NotPartial::NoStrongValidator)),
        (206, &[MIDDLE, TAG], 0, Err(NotPartial::Empty)),
        (206, &[MIDDLE], 6, Err(NotPartial::Disagreement)),
        (
            206,
            &[MIDDLE, ("Content-Length", "4")],
            4,
            Err(NotPartial::Disagreement),
        ),
        (
            206,
            &[MIDDLE, ("Content-Length", "+5")],
            5,
            Err(NotPartial::Disagreement),
        ),
        (
            206,
            &[("Content-Range", "bytes 4-8/*")],
            5,
            Err(NotPartial::UnknownTotal),
        ),
        (206, &[], 5, Err(NotPartial::ContentRange)),
        (206, &[MIDDLE, MIDDLE], 5, Err(NotPartial::ContentRange)),
        (
            206,
            &[("Content-Range", "items 4-8/10")],
            5,
            Err(NotPartial::ContentRange),
        ),
        (
            206,
            &[("Content-Range", "bytes 4-10/10")],
            7,
            Err(NotPartial::ContentRange),
        ),
        (
            206,
            &[MIDDLE, ("Content-Type", "Multipart/Byteranges; boundary=a")],
            5,
            Err(NotPartial::ContentRange),
        ),
        (200, &[TAG, ("Content-Length", "10")], 4, Ok((0, 3))),
        (200, &[("Content-Length", "10")], 10, Ok((0, 9))),
        (
            200,
            &[("Content-Length", "10")],
            4,
            Err(NotPartial::NoStrongValidator),
        ),
        (200, &[TAG], 4, Err(NotPartial::UnknownTotal)),
        (
            200,
            &[TAG, ("Content-Length", "10")],
            11,
            Err(NotPartial::Disagreement),
        ),
        (
            404,
            &[TAG, ("Content-Length", "10")],
            4,
            Err(NotPartial::Status),
        ),
    ];
    for (status, fields, received, expected) in rows {
        let found = part(status, &headers(fields), received);
        let expected = expected.map(|range| stretches(&[range], 10));
        assert_eq!(found, expected, "{status} {fields:?} {received}");
    }
}

/// RFC 9111 section 3.4: parts are joined under one strong validator only.
#[test]
fn combinations_table() {
    let start = stretches(&[(0, 4)], 10);
    let rows = [
        (
            "\"a\"",
            "\"a\"",
            stretches(&[(5, 9)], 10),
            Some(&[(0, 9)][..]),
        ),
        ("\"a\"", "\"a\"", stretches(&[(3, 6)], 10), Some(&[(0, 6)])),
        (
            "\"a\"",
            "\"a\"",
            stretches(&[(7, 8)], 10),
            Some(&[(0, 4), (7, 8)]),
        ),
        ("\"a\"", "\"a\"", stretches(&[(1, 2)], 10), Some(&[(0, 4)])),
        ("\"a\"", "\"a\"", stretches(&[(0, 9)], 10), Some(&[(0, 9)])),
        ("\"a\"", "\"b\"", stretches(&[(5, 9)], 10), None),
        ("W/\"a\"", "W/\"a\"", stretches(&[(5, 9)], 10), None),
        ("\"a\"", "", stretches(&[(5, 9)], 10), None),
        ("", "", stretches(&[(5, 9)], 10), None),
        ("\"a\"", "\"a\"", stretches(&[(5, 9)], 11), None),
    ];
    for (stored, newer, part, expected) in rows {
        let (stored, newer) = ([("ETag", stored)], [("ETag", newer)]);
        let (stored, newer) = (headers(&stored), headers(&newer));
        let (stored, newer) = (Validators::of(&stored), Validators::of(&newer));
        let found = combined((&start, &stored), (&part, &newer));
        let expected = expected.map(|ranges| stretches(ranges, 10));
        assert_eq!(found, expected, "{stored:?} {newer:?} {part:?}");
    }
}

/// RFC 9111 section 3.3 (MUST NOT, b): an incomplete response answers requests for ranges within, and no other ones.
#[test]
fn answers_table() {
    let stored = stretches(&[(2, 4), (7, 8)], 10);
    let rows = [
        (Some("bytes=2-4"), true, "2-4"),
        (Some("bytes=3-3"), true, "3-3"),
        (Some("bytes=8-8,3-4"), true, "8-8+3-4"),
        (Some("bytes=10-"), true, "none"),
        (Some("bytes=0-3"), true, "missing 0-1"),
        (Some("bytes=4-6"), true, "missing 5-6"),
        (Some("bytes=3-7"), true, "missing 5-6"),
        (Some("bytes=5-"), true, "missing 5-9"),
        (Some("bytes=7-"), true, "missing 9-9"),
        (Some("bytes=-2"), true, "missing 9-9"),
        (Some("bytes=0-0,9-9"), true, "missing 0-9"),
        (Some("bytes=2-4"), false, "missing 0-9"),
        (Some("lines=2-4"), true, "missing 0-9"),
        (None, true, "missing 0-9"),
    ];
    for (range, counts, expected) in rows {
        let fields: Vec<_> = range.iter().map(|range| ("Range", *range)).collect();
        let found = from_parts(&stored, b"GET", &headers(&fields), counts);
        assert_eq!(shown(&found), expected, "{range:?}");
    }
    let head = from_parts(&stored, b"HEAD", &headers(&[("Range", "bytes=2-4")]), true);
    assert_eq!(shown(&head), "missing 0-9");
    // Of a representation that is complete everything is answered, as from a 200.
    let whole = stretches(&[(0, 9)], 10);
    assert!(whole.is_complete() && !stored.is_complete());
    assert_eq!(
        from_parts(&whole, b"GET", &[], true),
        FromParts::Answer(RangeSelection::Whole)
    );
}

fn shown(found: &FromParts) -> String {
    let one = |range: &ByteRange| format!("{}-{}", range.first, range.last);
    match found {
        FromParts::Missing(range) => format!("missing {}", one(range)),
        FromParts::Answer(RangeSelection::Whole) => "whole".to_owned(),
        FromParts::Answer(RangeSelection::Unsatisfiable) => "none".to_owned(),
        FromParts::Answer(RangeSelection::Single(range)) => one(range),
        FromParts::Answer(RangeSelection::Several(ranges)) => ranges
            .as_slice()
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join("+"),
    }
}

#[test]
fn what_is_missing_is_asked_for() {
    for (first, last, expected) in [(5, 9, "bytes=5-"), (5, 8, "bytes=5-8"), (0, 0, "bytes=0-0")] {
        let mut out = Vec::new();
        write_range(ByteRange { first, last }, 10, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn parts_are_stored_under_the_head_of_the_whole() {
    let head = b"HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Length: 5\r\n\
        content-range: bytes 4-8/10\r\nContent-Digest: sha-256=:eA==:\r\nContent-MD5: eA==\r\nDate: x\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nDate: x\r\nContent-Length: 10\r\n\r\n";
    assert_eq!(String::from_utf8(whole_head(head, 10)).unwrap(), expected);
}

#[test]
fn stretches_are_bounded() {
    let apart = |count: u64| (0..count).map(|at| (3 * at, 3 * at)).collect::<Vec<_>>();
    let most = limits::CACHE_STRETCHES as u64;
    let full = stretches(&apart(most), 1_000);
    let mut fuller = full;
    assert!(!fuller.add(ByteRange {
        first: 900,
        last: 900
    }));
    assert_eq!(fuller, full, "nothing has changed");
    assert!(
        fuller.add(ByteRange { first: 1, last: 1 }),
        "a longer stretch is no further one"
    );
    assert!(
        fuller.add(ByteRange {
            first: 0,
            last: 999
        }) && fuller.is_complete()
    );
    assert_eq!(Stretches::new(ByteRange { first: 0, last: 10 }, 10), None);
}

proptest! {
    /// Stretches have exactly the bytes that were added, in ascending order and as few ranges as possible.
    #[test]
    fn stretches_are_the_sum_of_their_parts(
        parts in proptest::collection::vec((0u64..40, 0u64..6), 1..10), wanted in (0u64..40, 0u64..10))
    {
        let total = 50;
        let ranges: Vec<_> = parts.iter().map(|(first, more)| (*first, first + more)).collect();
        let stored = stretches(&ranges, total);
        let is_added = |at: u64| ranges.iter().any(|(first, last)| (*first..=*last).contains(&at));
        for at in 0..total {
            prop_assert_eq!(stored.has(&ByteRange { first: at, last: at }), is_added(at), "{}", at);
        }
        for pair in stored.as_slice().windows(2) {
            prop_assert!(pair[0].last + 1 < pair[1].first, "{:?}", stored);
        }
        let wanted = ByteRange { first: wanted.0, last: wanted.0 + wanted.1 };
        let mut lacking = (wanted.first..=wanted.last).filter(|at| !is_added(*at));
        let first = lacking.next();
        let last = lacking.next_back().or(first);
        let expected = first.zip(last).map(|(first, last)| ByteRange { first, last });
        prop_assert_eq!(stored.missing(wanted), expected);
        prop_assert_eq!(stored.has(&wanted), expected.is_none());
    }
}
