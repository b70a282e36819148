//! A body that changes: two states are never mixed, and what is stored of the old one goes.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::cache::{Asker, VERSIONS, path_of};

/// An origin whose body changes after so many answers.
fn changing(mut media: Media, after: usize) -> Origin {
    let count = AtomicUsize::new(0);
    let before = Media {
        body: media.body.clone(),
        etag: media.etag.clone(),
        fields: media.fields.clone(),
        ..media
    };
    media.change();
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let is_before = count.fetch_add(1, SeqCst) < after;
            let media = if is_before { &before } else { &media };
            if !link.try_send(media.answer(&request)) {
                return;
            }
        }
    })
}

#[test]
fn a_body_that_changes_under_way_is_cut_and_dropped() {
    for version in VERSIONS {
        for knows_if_match in [true, false] {
            let media = Media {
                knows_if_match,
                ..Media::of(LENGTH)
            };
            let mut expected = media.body.clone();
            expected.iter_mut().for_each(|byte| *byte ^= 0xff);
            let origin = changing(media, 2);
            let proxy = caching(&origin);
            let row = format!("{version:?} {knows_if_match}");
            let cut = Asker::new(&proxy, version).get("/film", &[]);
            assert!(!cut.complete, "{row}");
            assert!(cut.body.len() <= 2 * SLICE, "{row}: {}", cut.body.len());
            assert!(cut.body == bytes(LENGTH)[..cut.body.len()], "{row}");
            let count = origin.count();
            let whole = Asker::new(&proxy, version).get("/film", &[]);
            assert!(whole.complete && whole.body == expected, "{row}");
            assert_eq!(
                origin.count(),
                count + 1,
                "nothing of the old state is left, and slices that change under way are not asked for again"
            );
        }
    }
}

#[test]
fn a_length_that_changes_under_way_is_another_state() {
    let origin = Origin::start({
        let count = AtomicUsize::new(0);
        move |link| {
            while let Some(request) = link.request() {
                let mut media = Media::of(LENGTH);
                media.body.extend(vec![0; count.fetch_add(1, SeqCst)]);
                if !link.try_send(media.answer(&request)) {
                    return;
                }
            }
        }
    });
    let proxy = caching(&origin);
    let cut = proxy.ask(get("/film"));
    assert!(!cut.complete && cut.body.len() <= SLICE);
}

/// A stored slice of another state than the first one is fetched anew.
#[test]
fn a_stored_slice_of_another_state_does_not_count() {
    let (origin, media) = origin_of(Media::of(LENGTH));
    let proxy = caching(&origin);
    proxy.ask(get_range("140000-140009"));
    media.lock().unwrap().change();
    let expected = media.lock().unwrap().body.clone();
    let whole = proxy.ask(get("/film"));
    assert!(whole.complete && whole.body == expected);
    assert_eq!(asked(&origin, "range"), [2, 0, 1, 2, 3].map(slice));
    assert!(proxy.ask(get("/film")).body == expected);
    assert_eq!(origin.count(), 5);
}

/// RFC 9110 section 15.3.7.3 (MUST): parts are combined by a strong validator, and slices by a strong entity tag.
#[test]
fn slices_without_a_strong_tag_are_not_put_together() {
    let modified = "Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT\r\n";
    for (etag, further) in [("", ""), ("W/\"one\"", ""), ("", modified)] {
        let mut media = Media::of(LENGTH);
        media.etag = etag.to_owned();
        media.fields.push_str(further);
        let (origin, _) = origin_of(media);
        let proxy = caching(&origin);
        for _ in 0..2 {
            let answer = proxy.ask(get("/film"));
            assert!(answer.complete && answer.body == bytes(LENGTH), "{etag}");
        }
        let asked = asked(&origin, "range");
        assert_eq!(asked, [slice(0), None, None], "{etag} {further}");
    }
}

#[test]
fn slices_are_validated_one_by_one() {
    let mut media = Media::of(LENGTH);
    media.fields = "Cache-Control: no-cache\r\n".to_owned();
    let (origin, media) = origin_of(media);
    let proxy = caching(&origin);
    let tag = some("\"one\"");
    for round in 1..4 {
        assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
        assert_eq!(origin.count(), 4 * round);
    }
    assert_eq!(asked(&origin, "if-none-match")[4..], vec![tag; 8]);
    assert_eq!(asked(&origin, "range")[8..], [0, 1, 2, 3].map(slice));
    media.lock().unwrap().change();
    let expected = media.lock().unwrap().body.clone();
    assert!(proxy.ask(get("/film")).body == expected);
    assert_eq!(origin.count(), 16);
}

#[test]
fn purges_and_changes_reach_all_slices() {
    for request in ["PURGE /film", "POST /film", "DELETE /film"] {
        let (origin, media) = origin_of(Media::of(LENGTH));
        let proxy = caching(&origin);
        let film = get("/film");
        let other = get("/other");
        for request in [&film, &other] {
            assert!(proxy.ask(request).body == bytes(LENGTH));
        }
        let host = "HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
        let answer = proxy.ask(format!("{request} {host}"));
        assert_eq!(answer.status(), 200, "{request}");
        media.lock().unwrap().change();
        let expected = media.lock().unwrap().body.clone();
        assert!(proxy.ask(get_range("140000-140009")).body == expected[140_000..140_010]);
        assert!(proxy.ask(&film).body == expected, "{request}");
        assert!(proxy.ask(&other).body == bytes(LENGTH), "{request}");
        let requests = origin.requests();
        let is_get = |request: &&Received| request.head.first_line().starts_with("GET");
        let gets = requests.iter().filter(is_get);
        let films = gets.filter(|request| path_of(&request.head) == "/film");
        assert_eq!(films.count(), 8, "{request}");
    }
}

/// A 304 that is for none of the stored slices: the slice is asked for without conditions, and still as a slice.
#[test]
fn a_strange_304_does_not_widen_the_request() {
    let mut media = Media::of(LENGTH);
    media.fields = "Cache-Control: no-cache\r\n".to_owned();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let answer = match request.head.field("if-none-match") {
                Some(_) => b"HTTP/1.1 304 Not Modified\r\nETag: \"other\"\r\n\r\n".to_vec(),
                None => media.answer(&request),
            };
            if !link.try_send(answer) {
                return;
            }
        }
    });
    let proxy = caching(&origin);
    for _ in 0..2 {
        let answer = proxy.ask(get("/film"));
        assert!(answer.complete && answer.body == bytes(LENGTH));
    }
    let twice = [0, 0, 1, 1, 2, 2, 3, 3].map(slice);
    assert_eq!(asked(&origin, "range")[4..], twice);
}
