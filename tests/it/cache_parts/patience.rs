//! A slow validation gives way to the stale response, and what is wanted too seldom is not stored.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Object, caching, get_with, origin_of};
use crate::support::{Origin, PATIENCE, eventually, get};

/// An origin that answers at once at first, and then holds each answer back.
fn slow_origin(object: Object) -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel::<()>();
    let (wait, has_answered) = (Mutex::new(wait), Arc::new(AtomicBool::new(false)));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if has_answered.swap(true, SeqCst) {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(object.answer(&request));
        }
    });
    (origin, let_go)
}

#[test]
fn a_slow_validation_goes_on_without_its_client() {
    let mut object = Object::of(1_000);
    object.fields = "Cache-Control: max-age=1\r\n".to_owned();
    let (origin, let_go) = slow_origin(object);
    let proxy = caching(&origin, "stale_after = \"200ms\"");
    proxy.ask(get("/object"));
    sleep(Duration::from_millis(2_100));
    let began = Instant::now();
    let answer = proxy.ask(get("/object"));
    assert!(answer.field("cache-status").unwrap().contains("slow"));
    assert!(began.elapsed() >= Duration::from_millis(190));
    assert_eq!((answer.status(), origin.count()), (200, 2));
    let validation = &origin.requests()[1];
    assert_eq!(validation.head.field("if-none-match"), Some("\"one\""));
    let_go.send(()).unwrap();
    eventually("the stored response is fresh again", || {
        let answer = proxy.ask(get("/object"));
        answer.field("age") == Some("0")
    });
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 section 4.2.4 (MUST NOT, a): must-revalidate forbids a stale response, however slow the validation is.
#[test]
fn patience_is_no_permission() {
    let mut object = Object::of(1_000);
    object.fields = "Cache-Control: max-age=1, must-revalidate\r\n".to_owned();
    let (origin, let_go) = slow_origin(object);
    let proxy = caching(&origin, "stale_after = \"100ms\"");
    proxy.ask(get("/object"));
    sleep(Duration::from_millis(2_100));
    let mut client = proxy.client();
    client.send(get("/object"));
    origin.wait_for_requests(2);
    sleep(Duration::from_millis(500));
    let_go.send(()).unwrap();
    let answer = client.answer();
    assert!(!answer.field("cache-status").unwrap().contains("slow"));
    assert_eq!(answer.field("age"), Some("0"));
}

#[test]
fn what_is_wanted_too_seldom_is_not_stored() {
    let (origin, _) = origin_of(Object::of(1_000));
    let proxy = caching(&origin, "min_uses = 3");
    for (request, count) in [
        (get("/object"), 1),
        (get_with("If-None-Match: \"one\""), 2),
        (get("/object"), 3),
        (get("/object"), 3),
    ] {
        proxy.ask(request);
        assert_eq!(origin.count(), count);
    }
}
