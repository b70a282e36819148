//! Stale answers: served while they are fetched anew, or while no better ones can be had (RFC 9111 section 4.2.4 and
//! RFC 5861).

use super::*;
use crate::support::Link;
use crate::support::place::listen;

/// Fields of an answer that has been stale for 100 seconds, with one more directive.
fn stale_for_100(directive: &str) -> String {
    format!("Cache-Control: max-age=3600{directive}|Age: 3700|ETag: \"a\"")
}

#[test]
fn a_stale_answer_is_refreshed_once_in_the_background() {
    for version in VERSIONS {
        for is_validated in [false, true] {
            let gate = Gate::default();
            let opened = gate.clone();
            let origin = origin(move |request, number| {
                let tag = if is_validated {
                    "ETag: \"a\""
                } else {
                    "X-None: 1"
                };
                if number == 1 {
                    let window = "Cache-Control: max-age=3600, stale-while-revalidate=600";
                    return ok(&[window, "Age: 3700", tag], "old");
                }
                opened.wait(1);
                assert_eq!(request.head.field("if-none-match").is_some(), is_validated);
                let fresh = ["Cache-Control: max-age=3600", tag];
                if is_validated {
                    message(304, &fresh, None)
                } else {
                    ok(&fresh, "new")
                }
            });
            let proxy = caching("", &[origin.addr]);
            let mut client = Asker::new(&proxy, version);
            client.get("/", &[]);
            for _ in 0..20 {
                let answer = client.get("/", &[]);
                assert_eq!((answer.status, answer.text().as_str()), (200, "old"));
                assert!(answer.is_hit() && answer.ttl() <= -100, "{answer:?}");
                assert!(answer.number("age") >= 3700);
            }
            origin.wait_for_requests(2);
            gate.open();
            let expected = if is_validated { "old" } else { "new" };
            eventually("the new answer is stored", || {
                client.get("/", &[]).ttl() > 0
            });
            let answer = client.get("/", &[]);
            assert_eq!((answer.text().as_str(), answer.is_hit()), (expected, true));
            assert_eq!(origin.count(), 2, "{version:?}");
        }
    }
}

/// A refresh that fails leaves the stale answer in its place, and is tried again.
#[test]
fn a_refresh_that_fails_changes_nothing() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |link: &mut Link| {
        while link.request().is_some() {
            match count.fetch_add(1, SeqCst) {
                0 => link.send(ok(
                    &[
                        "Cache-Control: max-age=3600, stale-while-revalidate=600",
                        "Age: 3700",
                    ],
                    "old",
                )),
                1 => return link.close(),
                2 => link.send(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 9\r\n\r\nne",
                ),
                _ => {
                    link.send(ok(&["Cache-Control: max-age=3600"], "new"));
                    continue;
                }
            }
            if count.load(SeqCst) == 3 {
                return link.close();
            }
        }
    });
    let proxy = Proxy::start(&pooled("", "", "retries = 0", &[origin.addr]));
    let mut client = Asker::new(&proxy, Version::One);
    let mut last = client.get("/", &[]);
    eventually("the new answer is there", || {
        last = client.get("/", &[]);
        assert_eq!((last.status, last.complete), (200, true), "{last:?}");
        assert!(["old", "new"].contains(&&*last.text()), "{last:?}");
        last.text() == "new"
    });
}

/// Whether a stale answer with these fields is served while it is refreshed.
#[track_caller]
fn is_served_stale(proxy: &Proxy, path: &str, want: &str) -> bool {
    let mut client = Asker::new(proxy, Version::One);
    let fields = [("x-want", want)];
    client.get(path, &fields);
    client.get(path, &fields).is_hit()
}

#[test]
fn the_window_for_refreshing_is_that_of_the_answer_or_of_the_settings() {
    let origin = obedient();
    let without = caching("", &[origin.addr]);
    let with = caching("stale_while_revalidate = '10m'", &[origin.addr]);
    for (number, (directive, expected)) in [
        ("", [false, true]),
        (", stale-while-revalidate=600", [true, true]),
        (", stale-while-revalidate=50", [false, false]),
        (", stale-while-revalidate=0", [false, false]),
        (", must-revalidate", [false, false]),
        (
            ", proxy-revalidate, stale-while-revalidate=600",
            [false, false],
        ),
        (", no-cache, stale-while-revalidate=600", [false, false]),
        (", s-maxage=3600", [false, false]),
        // RFC 5861: what is named beside s-maxage is permitted.
        (", s-maxage=3600, stale-while-revalidate=600", [true, true]),
    ]
    .into_iter()
    .enumerate()
    {
        let want = stale_for_100(directive);
        let path = format!("/{number}");
        let found = [&without, &with].map(|proxy| is_served_stale(proxy, &path, &want));
        assert_eq!(found, expected, "{want}");
    }
}

/// The behaviour of a backend that is asked for the second time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Refused,
    Closed,
    Reset,
    Silent,
    Garbage,
}

/// A proxy that has stored an answer with these fields, whose backend is then in trouble.
#[track_caller]
fn in_trouble(trouble: Trouble, cache: &str, want: &str) -> (Proxy, Option<Origin>) {
    let want: Vec<_> = want.split('|').map(str::to_owned).collect();
    let addr = free_addr();
    let origin = Origin::start_at(addr, move |link: &mut Link| {
        while let Some(request) = link.request() {
            if path_of(&request.head) == "/other" {
                link.send(ok(&[], "other"));
                continue;
            }
            if request.head.field("x-trouble").is_none() {
                let fields: Vec<_> = want.iter().map(|field| &**field).collect();
                link.send(ok(&fields, "stored"));
                continue;
            }
            match trouble {
                Trouble::Reset => link.reset_on_close(),
                Trouble::Silent => drop(link.rest()),
                Trouble::Garbage => link.send("no HTTP at all\r\n\r\n"),
                _ => link.close(),
            }
            return;
        }
    });
    let route = "retries = 0\ntimeouts = { upstream_response = 0.3 }";
    let proxy = Proxy::start(&pooled("", cache, route, &[addr]));
    assert_eq!(
        proxy
            .ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .text(),
        "stored"
    );
    let origin = (trouble != Trouble::Refused).then_some(origin);
    if trouble == Trouble::Refused {
        // Until nobody listens there, the proxy may still have its connection.
        drop(listen(addr));
    }
    (proxy, origin)
}

#[test]
fn a_stale_answer_is_served_where_no_answer_can_be_had() {
    use Trouble::*;
    for trouble in [Refused, Closed, Reset, Silent, Garbage] {
        let (proxy, _origin) = in_trouble(trouble, "", &stale_for_100(""));
        for version in VERSIONS {
            let mut client = Asker::new(&proxy, version);
            for round in 0..3 {
                let answer = client.get("/", &[("x-trouble", "1")]);
                let told = format!("{trouble:?} {version:?} {round}: {answer:?}");
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, "stored"),
                    "{told}"
                );
                assert!(answer.complete && answer.ttl() <= -100, "{told}");
                assert!(answer.number("age") >= 3700, "{told}");
                let head = client.ask("HEAD", "/", &[("x-trouble", "1")]);
                assert_eq!(
                    (head.status, head.number("content-length")),
                    (200, 6),
                    "{head:?}"
                );
            }
            // Nothing else is stored.
            let missing = client.get("/missing", &[("x-trouble", "1")]);
            assert!(missing.status >= 502, "{trouble:?}: {missing:?}");
        }
    }
}

/// RFC 9111 section 4.2.4 (MUST NOT, a; MUST NOT, b): not if that is forbidden, and not for longer than the settings
/// say.
#[test]
fn some_stale_answers_are_never_served() {
    for (cache, directive, is_served) in [
        ("", ", must-revalidate", false),
        ("", ", proxy-revalidate", false),
        ("", ", no-cache", false),
        ("", ", s-maxage=3600", false),
        ("", ", s-maxage=3600, stale-if-error=600", true),
        ("", ", must-revalidate, stale-if-error=600", false),
        ("stale_if_unreachable = '10m'", "", true),
        ("stale_if_unreachable = '1m'", "", false),
        ("stale_if_unreachable = '1m'", ", stale-if-error=600", true),
        ("", ", stale-if-error=50", false),
    ] {
        let (proxy, _origin) = in_trouble(Trouble::Closed, cache, &stale_for_100(directive));
        let answer = Asker::new(&proxy, Version::Two).get("/", &[("x-trouble", "1")]);
        // RFC 9111 section 5.2.2.2 (MUST; SHOULD): an error; it is a 502 since the backend broke off.
        let expected = if is_served { 200 } else { 502 };
        assert_eq!(answer.status, expected, "{cache} {directive}: {answer:?}");
    }
}

#[test]
fn errors_are_replaced_by_stale_answers_where_that_is_allowed() {
    let origin = obedient();
    let without = caching("", &[origin.addr]);
    let with = caching("stale_if_error = '10m'", &[origin.addr]);
    let rows = [
        ("", [false, true]),
        (", stale-if-error=600", [true, true]),
        (", stale-if-error=50", [false, false]),
        (", must-revalidate, stale-if-error=600", [false, false]),
        (", s-maxage=3600", [false, false]),
        (", no-cache", [false, false]),
    ];
    for (number, (directive, expected)) in rows.into_iter().enumerate() {
        let want = stale_for_100(directive);
        for (proxy, expected) in [(&without, expected[0]), (&with, expected[1])] {
            for version in VERSIONS {
                let mut client = Asker::new(proxy, version);
                let path = format!("/{number}/{version:?}");
                let body = client.get(&path, &[("x-want", &want)]).body;
                for status in ["500", "502", "503", "504"] {
                    let answer = client.get(&path, &[("x-status", status)]);
                    assert_eq!(
                        answer.status == 200,
                        expected,
                        "{want} {status}: {answer:?}"
                    );
                    if expected {
                        assert_eq!(answer.body, body);
                        assert_eq!(answer.parameter("fwd-status"), Some(status), "{answer:?}");
                    }
                }
                for status in ["501", "403", "429"] {
                    let answer = client.get(&path, &[("x-status", status)]);
                    assert_eq!(answer.status.to_string(), status, "{answer:?}");
                }
            }
        }
    }
}

/// Where no backend is healthy, the stale answer comes at once; one request per key and second tries.
#[test]
fn a_pool_without_a_healthy_backend_serves_what_is_stale() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_healthy = healthy.clone();
    let origin = origin(move |request, _| {
        let is_healthy = is_healthy.load(SeqCst);
        match path_of(&request.head) {
            "/health" if is_healthy => ok(&[], "fine"),
            "/health" => message(503, &[], Some("")),
            "/other" => ok(&["Cache-Control: no-store"], "other"),
            _ => ok(
                &["Cache-Control: max-age=3600", "Age: 3700", "ETag: \"a\""],
                "stored",
            ),
        }
    });
    let check = "health_check = { path = \"/health\", interval_secs = 0.2, timeout_secs = 50, unhealthy_after = 1, \
                 healthy_after = 1 }";
    let proxy = Proxy::start(&pooled(check, "", "", &[origin.addr]));
    eventually("the backend is used", || {
        proxy.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n").status() == 200
    });
    healthy.store(false, SeqCst);
    eventually("the backend is down", || {
        proxy
            .ask("GET /other HTTP/1.1\r\nHost: test\r\n\r\n")
            .status()
            == 503
    });
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for _ in 0..20 {
            let answer = client.get("/", &[]);
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "stored"),
                "{answer:?}"
            );
            assert!(answer.ttl() <= -100, "{answer:?}");
        }
    }
}

/// Fresh answers need no backend at all.
#[test]
fn a_fresh_answer_needs_no_backend() {
    let (proxy, _) = in_trouble(
        Trouble::Refused,
        "",
        "Cache-Control: max-age=3600, must-revalidate",
    );
    for version in VERSIONS {
        let answer = Asker::new(&proxy, version).get("/", &[]);
        assert!(answer.is_hit() && answer.text() == "stored", "{answer:?}");
    }
}

/// HEAD and ranges are answered from what is stale, and do not keep it from being refreshed for others.
#[test]
fn head_and_ranges_are_answered_while_a_refresh_runs() {
    let origin = origin(|_, number| match number {
        1 => ok(
            &[
                "Cache-Control: max-age=3600, stale-while-revalidate=600",
                "Age: 3700",
                "ETag: \"a\"",
            ],
            "old body",
        ),
        _ => ok(&["Cache-Control: max-age=3600", "ETag: \"b\""], "new body"),
    });
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    client.get("/", &[]);
    let part = client.get("/", &[("range", "bytes=0-2")]);
    assert_eq!(
        (part.status, part.text().as_str()),
        (206, "old"),
        "{part:?}"
    );
    let head = client.ask("HEAD", "/", &[]);
    assert_eq!(
        (head.status, head.number("content-length")),
        (200, 8),
        "{head:?}"
    );
    eventually("the new answer is stored", || {
        client.get("/", &[]).text() == "new body"
    });
}
