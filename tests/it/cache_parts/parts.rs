//! Parts of a representation: stored, answered from, and completed (RFC 9111 sections 3.3 and 3.4).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{Object, asked, caching, get_range, get_with, origin_of, pattern};
use crate::support::{Origin, eventually, get};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_stored_part_answers_ranges_within_it() {
    let (origin, _) = origin_of(Object::of(1_000));
    let proxy = caching(&origin, "");
    let answer = proxy.ask(get_range("200-299"));
    assert_eq!(
        (answer.status(), &answer.body[..]),
        (206, &pattern(1_000)[200..300])
    );
    for (range, first, last) in [("200-299", 200, 299), ("250-260", 250, 260)] {
        let answer = proxy.ask(get_range(range));
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.body, pattern(1_000)[first..=last]);
        let content_range = format!("bytes {first}-{last}/1000");
        assert_eq!(answer.field("content-range"), Some(&*content_range));
        assert!(answer.field("cache-status").unwrap().contains("hit"));
    }
    assert_eq!(origin.count(), 1);
}

/// RFC 9111 section 3.3 (MUST NOT, b): a part answers no request for the whole; what it lacks is asked for.
#[test]
fn what_a_part_lacks_is_asked_for() {
    // The stored range, the request, what is asked for then, and the bytes that the client gets.
    let rows = [
        ("0-399", "", some("bytes=400-"), 0..1_000),
        ("-400", "", some("bytes=0-599"), 0..1_000),
        ("0-399", "400-", some("bytes=400-"), 400..1_000),
        ("0-399", "300-499", some("bytes=400-499"), 300..500),
        ("600-999", "500-700", some("bytes=500-599"), 500..701),
        ("400-499", "", None, 0..1_000),
    ];
    for (stored, wanted, rest, bytes) in rows {
        let (origin, _) = origin_of(Object::of(1_000));
        let proxy = caching(&origin, "");
        proxy.ask(get_range(stored));
        let request = match wanted {
            "" => get("/object"),
            range => get_range(range),
        };
        for _ in 0..2 {
            let answer = proxy.ask(&request);
            let row = format!("{stored} {wanted}");
            assert_eq!(
                answer.status(),
                if wanted.is_empty() { 200 } else { 206 },
                "{row}"
            );
            assert!(answer.body == pattern(1_000)[bytes.clone()], "{row}");
            assert_eq!(
                asked(&origin, "range")[1..],
                *std::slice::from_ref(&rest),
                "{row}"
            );
            // RFC 9110 section 13.1.5 (MUST NOT, a): no If-Range without Range.
            let condition = rest.as_ref().map(|_| "\"one\"".to_owned());
            assert_eq!(asked(&origin, "if-range")[1..], [condition], "{row}");
        }
    }
}

/// RFC 9111 section 3.4: parts of different states are not joined. RFC 9110 section 14.3 (MUST NOT): the whole may come
/// where a range was asked for.
#[test]
fn a_changed_representation_replaces_its_part() {
    for ignores_if_range in [false, true] {
        let (origin, object) = origin_of(Object::of(1_000));
        let proxy = caching(&origin, "");
        proxy.ask(get_range("0-399"));
        {
            let mut object = object.lock().unwrap();
            object.etag = "\"two\"".to_owned();
            object.body.iter_mut().for_each(|byte| *byte ^= 0xff);
            object.ignores_if_range = ignores_if_range;
        }
        let expected = object.lock().unwrap().body.clone();
        let answer = proxy.ask(get("/object"));
        assert_eq!(answer.status(), 200);
        assert!(answer.body == expected, "no byte of the old state");
        let count = origin.count();
        assert_eq!(count, if ignores_if_range { 3 } else { 2 });
        assert!(proxy.ask(get("/object")).body == expected);
        assert_eq!(origin.count(), count, "the new state is stored");
    }
}

/// RFC 9111 section 3.4 (MUST): the fields of the part that comes update those of the stored one.
#[test]
fn the_fields_of_a_later_part_count() {
    let mut object = Object::of(1_000);
    object.fields += "X-Version: 1\r\n";
    let (origin, object) = origin_of(object);
    let proxy = caching(&origin, "");
    proxy.ask(get_range("0-399"));
    let mut later = object.lock().unwrap();
    later.fields = later.fields.replace("X-Version: 1", "X-Version: 2");
    drop(later);
    for _ in 0..2 {
        let whole = proxy.ask(get("/object"));
        assert!(whole.body == pattern(1_000));
        assert_eq!(whole.field("x-version"), Some("2"));
    }
    assert_eq!(origin.count(), 2);
}

/// RFC 9110 section 14.4 (MUST NOT, a; SHOULD, a): a part in a unit that palantir does not know passes, and is not
/// stored. RFC 9111 section 3.3 (MUST NOT, a).
#[test]
fn a_part_in_an_unknown_unit_passes() {
    let origin = Origin::answering(
        "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n\
         Content-Range: items 0-1/9\r\nContent-Length: 2\r\n\r\nab",
    );
    let proxy = caching(&origin, "");
    let request = get_with("Range: items=0-1");
    for count in 1..3 {
        let answer = proxy.ask(&request);
        assert_eq!((answer.status(), &*answer.text()), (206, "ab"));
        assert_eq!(answer.field("content-range"), Some("items 0-1/9"));
        assert_eq!(origin.count(), count);
    }
}

/// RFC 9111 section 4.3.2 (MUST NOT, b): a part is validated for a range within it, and for nothing else. RFC 9111
/// section 3.3 (MUST NOT, b): a part that was validated is still a part.
#[test]
fn the_tag_of_a_part_is_sent_for_what_the_part_has() {
    let mut object = Object::of(1_000);
    object.fields = "Cache-Control: max-age=0\r\n".to_owned();
    let (origin, _) = origin_of(object);
    let proxy = caching(&origin, "");
    proxy.ask(get_range("200-599"));
    let own = some("\"one\"");
    for _ in 0..2 {
        let part = proxy.ask(get_range("210-220"));
        assert_eq!(
            (part.status(), &part.body[..]),
            (206, &pattern(1_000)[210..=220])
        );
        assert_eq!(part.field("content-range"), Some("bytes 210-220/1000"));
    }
    assert_eq!(asked(&origin, "if-none-match"), [None, own.clone(), own]);
    assert_eq!(
        proxy.ask(get_range("600-699")).body,
        pattern(1_000)[600..700]
    );
    assert!(proxy.ask(get("/object")).body == pattern(1_000));
    assert_eq!(asked(&origin, "if-none-match")[3..], [None, None]);
}

#[test]
fn a_part_without_a_strong_validator_is_not_completed() {
    let mut object = Object::of(1_000);
    object.etag = "W/\"one\"".to_owned();
    let (origin, _) = origin_of(object);
    let proxy = caching(&origin, "");
    proxy.ask(get_range("0-399"));
    assert_eq!(proxy.ask(get_range("10-20")).body, pattern(1_000)[10..=20]);
    assert_eq!(origin.count(), 1);
    assert!(proxy.ask(get("/object")).body == pattern(1_000));
    assert_eq!(asked(&origin, "range"), [some("bytes=0-399"), None]);
}

#[test]
fn a_body_that_was_cut_is_completed() {
    let (has_cut, object) = (AtomicBool::new(false), Object::of(100_000));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let answer = object.answer(&request);
            if !has_cut.swap(true, SeqCst) {
                link.send(&answer[..50_000]);
                return;
            }
            link.send(&answer);
        }
    });
    let proxy = caching(&origin, "");
    let cut = proxy.ask(get("/object"));
    assert!(!cut.complete);
    let got = cut.body.len();
    eventually("the part is stored", || {
        let first = proxy.ask(get_range("0-9"));
        first.body == pattern(100_000)[..10] && first.field("age").is_some()
    });
    let count = origin.count();
    let whole = proxy.ask(get("/object"));
    assert!(whole.body == pattern(100_000));
    assert_eq!(
        asked(&origin, "range")[count..],
        [some(&format!("bytes={got}-"))]
    );
    assert!(proxy.ask(get("/object")).body == pattern(100_000));
    assert_eq!(origin.count(), count + 1);
}
