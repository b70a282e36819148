//! The answers that clients get of a body in slices.

use super::*;
use crate::cache::{Asker, VERSIONS};

#[test]
fn a_body_larger_than_what_is_stored_comes_from_slices() {
    for version in VERSIONS {
        let (origin, _) = origin_of(Media::of(LENGTH));
        let proxy = caching(&origin);
        for is_hit in [false, true] {
            let answer = Asker::new(&proxy, version).get("/film", &[]);
            assert_eq!((answer.status, answer.complete), (200, true), "{version:?}");
            assert_eq!(answer.number("content-length"), LENGTH as i64);
            assert_eq!(answer.field("content-range"), None);
            assert!(answer.body == bytes(LENGTH), "{version:?}");
            assert_eq!(answer.is_hit(), is_hit, "{version:?}");
            assert_eq!(asked(&origin, "range"), [0, 1, 2, 3].map(slice));
            // Each later slice must be of the state that the first one has.
            let tag = some("\"one\"");
            let expected = [None, tag.clone(), tag.clone(), tag];
            assert_eq!(asked(&origin, "if-match"), expected);
        }
    }
}

#[test]
fn a_length_of_whole_slices_has_no_further_slice() {
    for length in [2 * SLICE, SLICE + 1, SLICE, SLICE - 1, 1] {
        let (origin, _) = origin_of(Media::of(length));
        let proxy = caching(&origin);
        for _ in 0..2 {
            let answer = proxy.ask(get("/film"));
            assert_eq!(answer.status(), 200, "{length}");
            assert!(answer.body == bytes(length), "{length}");
            assert_eq!(answer.field("content-range"), None);
        }
        assert_eq!(origin.count(), length.div_ceil(SLICE), "{length}");
    }
}

#[test]
fn a_range_takes_the_slices_that_it_needs() {
    let last = LENGTH - 1;
    let rows: [(String, &[usize], usize, usize); 7] = [
        ("70000-70010".into(), &[1], 70_000, 70_010),
        ("65536-131071".into(), &[1], 65_536, 131_071),
        ("131000-131100".into(), &[1, 2], 131_000, 131_100),
        ("10-196700".into(), &[0, 1, 2, 3], 10, 196_700),
        ("131072-".into(), &[2, 3], 131_072, last),
        // Where the end is, the first slice tells.
        ("-10".into(), &[0, 3], LENGTH - 10, last),
        (format!("0-{}", 10 * LENGTH), &[0, 1, 2, 3], 0, last),
    ];
    for (range, slices, first, last) in rows {
        let (origin, _) = origin_of(Media::of(LENGTH));
        let proxy = caching(&origin);
        for _ in 0..2 {
            let answer = proxy.ask(get_range(&range));
            assert_eq!((answer.status(), answer.complete), (206, true), "{range}");
            assert!(answer.body == bytes(LENGTH)[first..=last], "{range}");
            let content_range = format!("bytes {first}-{last}/{LENGTH}");
            assert_eq!(answer.field("content-range"), Some(&*content_range));
            let slices: Vec<_> = slices.iter().copied().map(slice).collect();
            assert_eq!(asked(&origin, "range"), slices, "{range}");
        }
    }
}

/// RFC 9110 section 14.2 (SHOULD, c): a range behind the end gets a 416 with the length of the whole.
#[test]
fn a_range_behind_the_end_is_refused() {
    let (origin, _) = origin_of(Media::of(LENGTH));
    let proxy = caching(&origin);
    let content_range = format!("bytes */{LENGTH}");
    let refused = || {
        let answer = proxy.ask(get_range("300000-"));
        assert_eq!(answer.status(), 416);
        assert_eq!(answer.field("content-range"), Some(&*content_range));
    };
    refused();
    proxy.ask(get_range("0-0"));
    let count = origin.count();
    refused();
    assert_eq!(
        origin.count(),
        count,
        "the first slice tells where the end is"
    );
    assert_eq!(proxy.ask(get_range("0-0")).body, bytes(1));
}

#[test]
fn conditions_are_evaluated_against_a_slice() {
    let (origin, _) = origin_of(Media::of(LENGTH));
    let proxy = caching(&origin);
    let unchanged = proxy.ask(get_with("If-None-Match: \"one\""));
    assert_eq!((unchanged.status(), unchanged.body.len()), (304, 0));
    let changed = proxy.ask(get_with("If-None-Match: \"two\""));
    assert!(changed.status() == 200 && changed.body == bytes(LENGTH));
    let same = "Range: bytes=70000-70009\r\nIf-Range: \"one\"";
    let part = proxy.ask(get_with(same));
    assert_eq!((part.status(), part.body.len()), (206, 10));
    // RFC 9110 section 13.1.5 (MUST, a): the whole of another state, and not the range.
    let whole = proxy.ask(get_with(&same.replace("one", "two")));
    assert!(whole.status() == 200 && whole.body == bytes(LENGTH));
    assert_eq!(asked(&origin, "range"), [0, 1, 2, 3].map(slice));
    assert_eq!(asked(&origin, "if-none-match"), [None, None, None, None]);
}

#[test]
fn several_ranges_pass() {
    let (origin, _) = origin_of(Media::of(LENGTH));
    let proxy = caching(&origin);
    assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
    let unknown = proxy.ask(get_with("Range: items=1-2"));
    assert_eq!(unknown.status(), 200);
    assert!(unknown.body == bytes(LENGTH));
    assert_eq!(origin.count(), 5);
}

#[test]
fn a_backend_without_ranges_is_passed_on() {
    for (max_object, counts) in [("1MiB", [1, 1]), ("64KiB", [2, 3])] {
        let mut media = Media::of(LENGTH);
        media.knows_ranges = false;
        let (origin, _) = origin_of(media);
        let settings = format!("slice = \"64KiB\", max_object = \"{max_object}\"");
        let proxy = caching_with(&origin, &settings);
        for count in counts {
            let answer = proxy.ask(get("/film"));
            assert!(answer.status() == 200 && answer.body == bytes(LENGTH));
            // A body that is not stored is not asked for in slices again.
            assert_eq!(origin.count(), count, "{max_object}");
        }
        let part = proxy.ask(get_range("70000-70010"));
        match max_object {
            "1MiB" => assert!(part.body == bytes(LENGTH)[70_000..=70_010]),
            _ => assert!(part.status() == 200 && part.body == bytes(LENGTH)),
        }
    }
}

#[test]
fn other_statuses_are_passed_on() {
    let origin = Origin::answering(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nnone",
    );
    let proxy = caching(&origin);
    for _ in 0..2 {
        let answer = proxy.ask(get("/film"));
        assert_eq!((answer.status(), &*answer.text()), (404, "none"));
        assert_eq!(origin.count(), 1, "the answer is stored as any is");
    }
    let origin = Origin::answering("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops");
    let proxy = caching(&origin);
    for request in [get("/film"), get_range("70000-")] {
        let answer = proxy.ask(request);
        assert_eq!((answer.status(), &*answer.text()), (500, "oops"));
    }
}

/// The head of a request in slices is gone when its answer is.
#[test]
fn a_connection_goes_on_behind_an_answer_in_slices() {
    let (origin, _) = origin_of(Media::of(LENGTH));
    let proxy = caching(&origin);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for range in [
            "bytes=70000-70010",
            "bytes=-10",
            "bytes=0-",
            "bytes=900000-",
        ] {
            let answer = client.get("/film", &[("range", range)]);
            let status = if range == "bytes=900000-" { 416 } else { 206 };
            assert_eq!((answer.status, answer.complete), (status, true), "{range}");
            let whole = client.get("/film", &[]);
            assert_eq!((whole.status, whole.complete), (200, true), "{version:?}");
            assert!(whole.body == bytes(LENGTH), "{version:?} {range}");
        }
    }
    assert_eq!(origin.count(), 4);
    let mut client = proxy.client();
    client.send(format!("{}{}", get("/new"), get_range("0-9")));
    assert!(client.answer().body == bytes(LENGTH));
    assert_eq!(client.answer().body, bytes(10));
}
