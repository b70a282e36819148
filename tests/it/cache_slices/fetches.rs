//! The fetches of slices: shared by those who want the same, and no more than the client reads.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::*;
use crate::cache::Gate;
use crate::support::eventually;

#[test]
fn clients_share_the_fetches_of_slices() {
    let (gate, media) = (Gate::default(), Media::of(LENGTH));
    let opened = gate.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            opened.wait(1);
            if !link.try_send(media.answer(&request)) {
                return;
            }
        }
    });
    let settings = "slice = \"64KiB\", max_object = \"64KiB\", collapse_timeout = \"60s\"";
    let proxy = caching_with(&origin, settings);
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(get("/film"));
    }
    origin.wait_for_requests(1);
    thread::sleep(Duration::from_millis(300));
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert!(answer.complete && answer.body == bytes(LENGTH));
    }
    assert_eq!(asked(&origin, "range"), [0, 1, 2, 3].map(slice));
}

/// A client that reads nothing, and then leaves, has no more fetched than what lies between it and the store.
#[test]
fn a_client_that_leaves_ends_the_fetches() {
    const SLICES: usize = 40;
    let (origin, _) = origin_of(Media::of(SLICES << 20));
    let proxy = caching_with(&origin, "slice = \"1MiB\"");
    let mut client = proxy.client();
    client.send(get("/film"));
    let head = client.head();
    assert_eq!(head.status(), 200);
    let mut before = 0;
    eventually("the fetches stand still", || {
        thread::sleep(Duration::from_millis(500));
        let count = origin.count();
        std::mem::replace(&mut before, count) == count
    });
    let count = origin.count();
    assert!(count < SLICES * 3 / 4, "{count}");
    drop(client);
    thread::sleep(Duration::from_secs(1));
    assert!(
        origin.count() <= count + 1,
        "{} after {count}",
        origin.count()
    );
    let answer = proxy.ask(get("/film"));
    assert!(answer.complete && answer.body == bytes(SLICES << 20));
    assert!(origin.count() <= SLICES + 1, "what was fetched is stored");
}

#[test]
fn a_backend_that_fails_between_slices_cuts_the_answer() {
    let media = Media::of(LENGTH);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.field("range") == slice(2).as_deref() {
                return;
            }
            link.try_send(media.answer(&request));
        }
    });
    let proxy = caching(&origin);
    let cut = proxy.ask(get("/film"));
    assert!(!cut.complete && cut.body.len() <= 2 * SLICE);
    assert!(cut.body == bytes(LENGTH)[..cut.body.len()]);
    let part = proxy.ask(get_range("70000-70010"));
    assert!(part.body == bytes(LENGTH)[70_000..=70_010]);
}

#[test]
fn an_answer_in_slices_goes_on_while_the_process_drains() {
    const SLICES: usize = 40;
    let (origin, _) = origin_of(Media::of(SLICES << 20));
    let mut proxy = caching_with(&origin, "slice = \"1MiB\"");
    let mut client = proxy.client();
    client.send(get("/film"));
    let mut body = client.begin_answer().body;
    let before = origin.count();
    proxy.signal(libc::SIGTERM);
    thread::sleep(Duration::from_millis(500));
    body.extend(client.rest());
    assert!(body == bytes(SLICES << 20), "{} bytes", body.len());
    assert!(before < SLICES && origin.count() == SLICES);
    assert_eq!(proxy.wait_for_exit(), 0);
}

#[test]
fn stale_slices_answer_where_no_backend_does() {
    let fails = Arc::new(AtomicBool::new(false));
    let (has_failed, mut media) = (fails.clone(), Media::of(LENGTH));
    media.fields = "Cache-Control: max-age=1\r\n".to_owned();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if has_failed.load(SeqCst) || !link.try_send(media.answer(&request)) {
                return;
            }
        }
    });
    let proxy = caching(&origin);
    assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
    fails.store(true, SeqCst);
    thread::sleep(Duration::from_millis(2_500));
    for request in [get("/film"), get_range("0-")] {
        let stale = proxy.ask(request);
        assert!(stale.complete && stale.body == bytes(LENGTH));
    }
    let unknown = proxy.ask(get("/other"));
    assert_eq!(unknown.status(), 502);
}

#[test]
fn a_body_that_is_asked_for_too_seldom_is_not_sliced() {
    let (origin, _) = origin_of(Media::of(LENGTH));
    let settings = "slice = \"64KiB\", max_object = \"64KiB\", min_uses = 2";
    let proxy = caching_with(&origin, settings);
    for _ in 0..3 {
        assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
    }
    let expected = [None, slice(0), slice(1), slice(2), slice(3)];
    assert_eq!(asked(&origin, "range"), expected);
}
