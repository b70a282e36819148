//! Slices that are still coming: who waits for them, and what happens meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::scope;

use super::*;
use crate::cache::Watched;
use crate::support::{Client, eventually, when_still};

/// A backend that answers each request for a slice with a whole of unknown length.
#[test]
fn a_whole_that_turns_out_too_large_is_asked_for_without_slices() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = [b"10000\r\n", &bytes(SLICE)[..], b"\r\n"].concat();
            let answer = [head.as_bytes(), &chunk.repeat(5), b"0\r\n\r\n"].concat();
            if !link.try_send(answer) {
                return;
            }
        }
    });
    let proxy = caching(&origin);
    for _ in 0..3 {
        let answer = proxy.ask(get("/film"));
        assert!(answer.complete && answer.body == bytes(SLICE).repeat(5));
    }
    assert_eq!(asked(&origin, "range"), [slice(0), None, None]);
}

/// The first slice ends after the second one was refused: the URL is asked for without slices all the same.
#[test]
fn a_slice_that_began_before_does_not_bring_slices_back() {
    let has_refused = AtomicBool::new(false);
    let media = Media::of(LENGTH);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let range = request.head.field("range").map(str::to_owned);
            let answer = media.answer(&request);
            let sent = if range == slice(0) {
                // The second slice is asked for when more than half of the first one has come.
                let (most, rest) = answer.split_at(answer.len() - 1_000);
                link.try_send(most) && {
                    eventually("the second slice is refused", || has_refused.load(SeqCst));
                    link.try_send(rest)
                }
            } else if range.is_some() {
                has_refused.store(true, SeqCst);
                link.try_send("HTTP/1.1 412 Other\r\nContent-Length: 0\r\n\r\n")
            } else {
                link.try_send(&answer)
            };
            if !sent {
                return;
            }
        }
    });
    let proxy = caching(&origin);
    assert!(!proxy.ask(get("/film")).complete);
    for _ in 0..3 {
        let whole = proxy.ask(get("/film"));
        assert!(whole.complete && whole.body == bytes(LENGTH));
    }
}

/// The tags of a response are not known before its head has come.
#[test]
fn a_request_after_a_purge_by_tag_does_not_get_what_was_asked_for_before() {
    let let_go = Arc::new(AtomicBool::new(false));
    let (may_go, count) = (let_go.clone(), AtomicUsize::new(0));
    let mut old = Media::of(LENGTH);
    old.fields += "Surrogate-Key: x\r\n";
    let mut new = Media::of(LENGTH);
    new.change();
    let expected = new.body.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let media = if count.fetch_add(1, SeqCst) == 0 {
                eventually("the answer is let go", || may_go.load(SeqCst));
                &old
            } else {
                &new
            };
            if !link.try_send(media.answer(&request)) {
                return;
            }
        }
    });
    let cache =
        "slice = \"64KiB\", max_object = \"64KiB\", purge_method = { allow = [\"127.0.0.0/8\"] }";
    let watched = Watched::start("", cache, "", &[origin.addr]);
    let mut before = watched.proxy.client();
    before.send(get_range("0-9"));
    origin.wait_for_requests(1);
    let purge = "PURGE /film HTTP/1.1\r\nHost: test\r\nCache-Tag: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(watched.proxy.ask(purge).status(), 200);
    let mut after = watched.proxy.client();
    after.send(get("/film"));
    watched.wait_for_requests(2);
    let_go.store(true, SeqCst);
    assert_eq!(before.answer().body, bytes(10));
    let answer = after.answer();
    assert!(answer.complete && answer.body == expected);
}

/// A client that still reads an old state is cut, and costs the new state nothing.
#[test]
fn readers_of_an_old_state_do_not_touch_the_new_one() {
    let (origin, media) = origin_of(Media::of(300 * SLICE));
    let proxy = caching(&origin);
    let mut old = proxy.client();
    old.send(get("/film"));
    assert_eq!(old.head().status(), 200);
    assert_eq!(old.bytes(SLICE), bytes(SLICE));
    when_still(|| origin.count() as u64);
    media.lock().unwrap().change();
    let purge = "PURGE /film HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.ask(purge).status(), 200);
    let expected = media.lock().unwrap().body.clone();
    let whole = proxy.ask(get("/film"));
    assert!(whole.complete && whole.body == expected);
    assert!(old.rest().len() < 299 * SLICE, "the old state goes on");
    let count = origin.count();
    let whole = proxy.ask(get("/film"));
    assert!(whole.complete && whole.body == expected);
    assert_eq!(origin.count(), count, "the new state was stored");
}

/// Many variants of one slice are fetched at once, more than are kept for those who ask for the same.
#[test]
fn many_variants_at_once_are_all_answered() {
    const CLIENTS: usize = 40;
    let seconds = AtomicUsize::new(0);
    let mut media = Media::of(2 * SLICE);
    media.fields += "Vary: Accept-Encoding\r\n";
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.field("range") == slice(1).as_deref() {
                seconds.fetch_add(1, SeqCst);
                eventually("all ask for the second slice", || {
                    seconds.load(SeqCst) >= CLIENTS
                });
            }
            if !link.try_send(media.answer(&request)) {
                return;
            }
        }
    });
    let proxy = caching_with(
        &origin,
        "slice = \"64KiB\", max_object = \"64KiB\", max_variants = 64",
    );
    let addr = proxy.addr;
    // The fields that the first slice varies by are known when the second one is asked for.
    for number in 0..CLIENTS {
        let request = get_with(&format!("Range: bytes=0-9\r\nAccept-Encoding: x-{number}"));
        assert_eq!(proxy.ask(request).body, bytes(10));
    }
    let whole = AtomicUsize::new(0);
    scope(|scope| {
        for number in 0..CLIENTS {
            let whole = &whole;
            scope.spawn(move || {
                let request = get_with(&format!("Accept-Encoding: x-{number}"));
                let answer = Client::connect(addr).ask(request);
                let is_whole = answer.complete && answer.body == bytes(2 * SLICE);
                whole.fetch_add(usize::from(is_whole), SeqCst);
            });
        }
    });
    assert_eq!(whole.into_inner(), CLIENTS);
}
