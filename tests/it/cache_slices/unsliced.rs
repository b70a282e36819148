//! Slices that cannot be had: an answer is cut once at most, and then the URL is asked for without slices.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::*;

/// An origin that has all slices but this one, for which it says something else.
fn lacking(
    number: usize,
    say: impl Fn(&Media, &Received) -> Vec<u8> + Send + Sync + 'static,
) -> Origin {
    let media = Media::of(LENGTH);
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let is_lacking = request.head.field("range") == slice(number).as_deref();
            let answer = if is_lacking {
                say(&media, &request)
            } else {
                media.answer(&request)
            };
            if !link.try_send(answer) {
                return;
            }
        }
    })
}

/// The answer of the origin with further lines in its head.
fn with_lines(media: &Media, request: &Received, lines: &str) -> Vec<u8> {
    let answer = media.answer(request);
    let at = answer.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    [&answer[..at], lines.as_bytes(), &answer[at..]].concat()
}

#[test]
fn a_slice_that_cannot_be_had_cuts_one_answer() {
    let statuses = [
        "301 Moved",
        "403 Forbidden",
        "404 Not Found",
        "410 Gone",
        "412 Other",
    ];
    let lines = [
        "Set-Cookie: a=b\r\n",
        "Cache-Control: private\r\n",
        "Vary: *\r\n",
        "Vary: Cookie\r\n",
    ];
    for is_later in [true, false] {
        for row in statuses.iter().chain(&lines).copied() {
            let is_status = statuses.contains(&row);
            let origin = lacking(1, move |media, request| {
                if is_status {
                    format!("HTTP/1.1 {row}\r\nContent-Length: 0\r\n\r\n").into()
                } else {
                    with_lines(media, request, row)
                }
            });
            let proxy = caching(&origin);
            if is_later {
                let cut = proxy.ask(get("/film"));
                let is_right = cut.body == bytes(LENGTH)[..cut.body.len()];
                assert!(!cut.complete && is_right, "{row}");
            } else {
                assert_eq!(proxy.ask(get_range("0-9")).body, bytes(10), "{row}");
                proxy.ask(get_with("Range: bytes=65536-131071\r\nCookie: c=d"));
            }
            for _ in 0..2 {
                let whole = proxy.ask(get("/film"));
                // Another status for a range that begins an answer is not remembered.
                if is_later || !is_status {
                    assert!(
                        whole.complete && whole.body == bytes(LENGTH),
                        "{row} {is_later}"
                    );
                }
            }
        }
    }
}

/// Two backends that have different states of the body.
#[test]
fn backends_at_odds_are_asked_without_slices() {
    let (one, _) = origin_of(Media::of(LENGTH));
    let mut media = Media::of(LENGTH);
    media.etag = "\"two\"".to_owned();
    let (two, _) = origin_of(media);
    let route = crate::support::proxy::route("/", &[one.addr, two.addr]);
    let proxy = Proxy::start(&format!(
        "workers = 2\n[cache]\nmax_bytes = \"64MiB\"\n{route}\
         cache = {{ slice = \"64KiB\", max_object = \"64KiB\" }}\n"
    ));
    let answers = (0..5).map(|_| proxy.ask(get("/film")));
    let cuts = answers.filter(|answer| !answer.complete).count();
    assert!(cuts <= 1, "{cuts} cuts");
}

#[test]
fn authorized_requests_are_not_sliced() {
    let mut media = Media::of(LENGTH);
    media.fields = "Cache-Control: max-age=60, public\r\n".to_owned();
    let (origin, _) = origin_of(media);
    let proxy = caching(&origin);
    assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
    let answer = proxy.ask(get_with("Authorization: Basic eDp5"));
    assert!(answer.complete && answer.body == bytes(LENGTH));
    assert_eq!(asked(&origin, "range")[4..], [None]);
}

#[test]
fn stale_slices_answer_while_they_are_refreshed() {
    let mut media = Media::of(LENGTH);
    media.fields = "Cache-Control: max-age=1, stale-while-revalidate=600\r\n".to_owned();
    let (origin, media) = origin_of(media);
    let proxy = caching(&origin);
    assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
    media.lock().unwrap().change();
    thread::sleep(Duration::from_millis(2_500));
    let stale = proxy.ask(get("/film"));
    assert!(stale.complete && stale.body == bytes(LENGTH));
    origin.wait_for_requests(8);
    assert_eq!(asked(&origin, "if-match")[4..], [None, None, None, None]);
}

#[test]
fn stale_slices_answer_where_a_backend_has_failed() {
    for more in ["", ", stale_if_unreachable = 0"] {
        let fails = Arc::new(AtomicBool::new(false));
        let (has_failed, mut media) = (fails.clone(), Media::of(LENGTH));
        media.fields = "Cache-Control: max-age=1, stale-if-error=600\r\n".to_owned();
        let origin = Origin::start(move |link| {
            while let Some(request) = link.request() {
                let failure = b"HTTP/1.1 503 Oh\r\nContent-Length: 4\r\n\r\noops".to_vec();
                let answer = if has_failed.load(SeqCst) {
                    failure
                } else {
                    media.answer(&request)
                };
                if !link.try_send(answer) {
                    return;
                }
            }
        });
        let cache = "slice = \"64KiB\", max_object = \"64KiB\"";
        let proxy = caching_with(&origin, &format!("{cache}{more}"));
        assert!(proxy.ask(get("/film")).body == bytes(LENGTH));
        fails.store(true, SeqCst);
        thread::sleep(Duration::from_millis(2_500));
        let stale = proxy.ask(get("/film"));
        assert!(stale.complete && stale.body == bytes(LENGTH), "{more}");
        let part = proxy.ask(get_range("70000-70009"));
        assert_eq!(
            (part.status(), &*part.body),
            (206, &bytes(LENGTH)[70_000..=70_009])
        );
    }
}
