//! Requests that wait for another one which comes to no good end.

use std::time::Instant;

use super::collapsing::Crowd;
use super::*;
use crate::support::Link;

const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A client that asks first. It leaves when it is dropped by [`Leader::leave`].
enum Leader {
    One(Client),
    Two(Box<H2>, u32),
}

impl Leader {
    #[track_caller]
    fn ask(proxy: &Proxy, version: Version) -> Leader {
        match version {
            Version::One => {
                let mut client = proxy.client();
                client.send(REQUEST);
                Leader::One(client)
            }
            Version::Two => {
                let mut client = proxy.h2();
                let stream = client.begin(&frame::get("/", &[]), true);
                Leader::Two(client.into(), stream)
            }
        }
    }

    /// Reads the whole answer.
    #[track_caller]
    fn body(self) -> Vec<u8> {
        match self {
            Leader::One(mut client) => client.answer().body,
            Leader::Two(mut client, stream) => client.answer(stream).body,
        }
    }

    /// Leaves; a client of HTTP/2 keeps its connection.
    #[track_caller]
    fn leave(self) {
        match self {
            Leader::One(client) => client.leave(),
            Leader::Two(mut client, stream) => {
                client.send(frame::reset(stream, frame::code::CANCEL));
                client.is_alive();
            }
        }
    }
}

/// An origin whose answers have two parts, each behind a step of the gate.
fn two_parts(gate: &Gate, size: usize) -> Origin {
    let opened = gate.clone();
    Origin::start(move |link| {
        while link.request().is_some() {
            opened.wait(1);
            let body = bytes(size);
            link.send(format!("{HEAD}Content-Length: {size}\r\n\r\n"));
            link.send(&body[..size / 2]);
            opened.wait(2);
            if !link.try_send(&body[size / 2..]) {
                return;
            }
        }
    })
}

#[test]
fn a_leader_that_leaves_before_the_head_harms_nobody() {
    for version in VERSIONS {
        let gate = Gate::default();
        let origin = two_parts(&gate, 1_000);
        let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
        let leader = Leader::ask(&watched.proxy, version);
        origin.wait_for_requests(1);
        let crowd = Crowd::ask(&watched.proxy, 10, &[]);
        watched.wait_for_requests(crowd.len() + 1);
        leader.leave();
        // Whether the proxy knows of that when the answer comes makes no difference.
        std::thread::sleep(std::time::Duration::from_millis(100));
        gate.open();
        gate.open();
        for (status, body, complete) in crowd.answers() {
            assert_eq!((status, complete), (200, true), "{version:?}");
            assert!(body == bytes(1_000));
        }
        assert!(
            origin.count() <= 2,
            "{version:?}: {} requests",
            origin.count()
        );
    }
}

#[test]
fn a_leader_that_leaves_in_the_body_harms_nobody() {
    for version in VERSIONS {
        for size in [1_000, 3_000_000] {
            let gate = Gate::default();
            let origin = two_parts(&gate, size);
            let watched = Watched::start("", "collapse_timeout = '60s'", "", &[origin.addr]);
            let leader = Leader::ask(&watched.proxy, version);
            origin.wait_for_requests(1);
            let mut crowd = Crowd::ask(&watched.proxy, 10, &[]);
            watched.wait_for_requests(crowd.len() + 1);
            gate.open();
            let body = bytes(size);
            // The leader reads nothing, and small bodies do not wait for that.
            crowd.have(&body[..1_000.min(size / 2)], 0);
            leader.leave();
            gate.open();
            crowd.have(&body, 1_000.min(size / 2));
            assert_eq!(origin.count(), 1, "{version:?}");
            let again = watched.proxy.ask(REQUEST);
            assert!(
                again.body == body && origin.count() == 1,
                "{version:?}: it is stored"
            );
        }
    }
}

/// A client that follows and reads nothing holds nobody up.
#[test]
fn a_follower_that_does_not_read_holds_nobody_up() {
    let (gate, size) = (Gate::default(), 8_000_000);
    let opened = gate.clone();
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            opened.wait(1);
            link.send(format!("{HEAD}Content-Length: {size}\r\n\r\n"));
            link.send(bytes(size));
        }
    });
    let cache = "max_object = '16MiB', collapse_timeout = '60s'";
    let watched = Watched::start("", cache, "", &[origin.addr]);
    let mut leader = watched.proxy.client();
    leader.send(REQUEST);
    origin.wait_for_requests(1);
    let mut slow = watched.proxy.client();
    slow.send(REQUEST);
    let mut other = watched.proxy.client();
    other.send(REQUEST);
    watched.wait_for_requests(3);
    gate.open();
    let expected = bytes(size);
    assert!(leader.answer().body == expected);
    assert!(other.answer().body == expected);
    assert!(slow.answer().body == expected);
    assert_eq!(origin.count(), 1);
}

/// The first request fails, so that one of the others asks in its place.
#[test]
fn a_backend_that_fails_before_the_head_is_asked_again() {
    let gate = Gate::default();
    let (opened, count) = (gate.clone(), AtomicUsize::new(0));
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            if count.fetch_add(1, SeqCst) == 0 {
                opened.wait(1);
                return link.close();
            }
            link.send(ok(&["Cache-Control: max-age=3600"], "hello"));
        }
    });
    let watched = Watched::start(
        "",
        "collapse_timeout = '60s'",
        "retries = 0",
        &[origin.addr],
    );
    let mut leader = watched.proxy.client();
    leader.send(REQUEST);
    origin.wait_for_requests(1);
    let crowd = Crowd::ask(&watched.proxy, 10, &[]);
    watched.wait_for_requests(crowd.len() + 1);
    gate.open();
    assert_eq!(leader.answer().status(), 502);
    let answers = crowd.answers();
    let served = answers
        .iter()
        .filter(|(status, body, _)| *status == 200 && body == b"hello");
    assert_eq!(served.count(), answers.len(), "{answers:?}");
    assert!(origin.count() <= 4, "{} requests", origin.count());
}

/// The beginning of a body whose end does not come.
fn beginning(chunked: bool) -> &'static str {
    if chunked {
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    } else {
        "Content-Length: 100\r\n\r\nhello"
    }
}

/// A client that has a part of the body learns that the rest is missing, and nothing is stored.
#[test]
fn a_backend_that_fails_in_the_body_truncates_for_all() {
    for chunked in [false, true] {
        let gate = Gate::default();
        let (opened, count) = (gate.clone(), AtomicUsize::new(0));
        let origin = Origin::start(move |link: &mut Link| {
            while link.request().is_some() {
                if count.fetch_add(1, SeqCst) > 0 {
                    link.send(ok(&["Cache-Control: max-age=3600"], "whole"));
                    continue;
                }
                opened.wait(1);
                link.send(format!("{HEAD}{}", beginning(chunked)));
                opened.wait(2);
                return link.close();
            }
        });
        let watched = Watched::start(
            "",
            "collapse_timeout = '60s'",
            "retries = 0",
            &[origin.addr],
        );
        let crowd = Crowd::ask(&watched.proxy, 10, &[]);
        watched.wait_for_requests(crowd.len());
        gate.open();
        gate.open();
        for (status, body, complete) in crowd.answers() {
            let is_cut = status == 200 && b"hello".starts_with(&body) && !complete;
            let is_other = status == 200 && body == b"whole" && complete;
            assert!(
                is_cut || is_other || status == 502,
                "{status} {complete} {body:?}"
            );
        }
        assert_eq!(watched.proxy.ask(REQUEST).text(), "whole");
    }
}

/// However late a follower looks at a fetch that failed at once, a part is never taken for the whole.
#[test]
fn a_part_is_never_taken_for_the_whole() {
    for chunked in [false, true] {
        let origin = Origin::start(move |link| {
            link.request();
            link.send(format!("{HEAD}{}", beginning(chunked)));
        });
        let proxy = Proxy::start(&pooled(
            "",
            "collapse_timeout = '60s'",
            "retries = 0",
            &[origin.addr],
        ));
        for _ in 0..20 {
            for (status, body, complete) in Crowd::ask(&proxy, 10, &[]).answers() {
                let is_cut = status == 200 && b"hello".starts_with(&body) && !complete;
                assert!(is_cut || status == 502, "{status} {complete} {body:?}");
            }
        }
    }
}

#[test]
fn a_request_waits_for_another_one_for_a_bounded_time() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = origin(move |_, number| {
        if number == 1 {
            opened.wait(1);
        }
        ok(&["Cache-Control: max-age=3600"], &number.to_string())
    });
    let watched = Watched::start("", "collapse_timeout = '1s'", "", &[origin.addr]);
    for version in VERSIONS {
        let mut leader = watched.proxy.client();
        if version == Version::One {
            leader.send(REQUEST);
            origin.wait_for_requests(1);
        }
        let began = Instant::now();
        let mut client = Asker::new(&watched.proxy, version);
        let answer = client.get("/", &[]);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "2"),
            "{answer:?}"
        );
        let waited = began.elapsed().as_millis();
        assert!(waited >= 1_000 || version == Version::Two, "{waited} ms");
    }
    gate.open();
}

/// A body without a length that outgrows what may be stored: nobody is given a part for the whole.
#[test]
fn a_body_that_outgrows_the_store_is_never_cut_in_silence() {
    let (gate, size) = (Gate::default(), 400_000);
    let opened = gate.clone();
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            opened.wait(1);
            link.send(format!(
                "{HEAD}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n"
            ));
            link.send(bytes(size));
            link.send("\r\n0\r\n\r\n");
        }
    });
    let watched = Watched::start(
        "",
        "collapse_timeout = '60s', max_object = '100KiB'",
        "",
        &[origin.addr],
    );
    let crowd = Crowd::ask(&watched.proxy, 10, &[]);
    watched.wait_for_requests(crowd.len());
    gate.open();
    let expected = bytes(size);
    let answers = crowd.answers();
    for (status, body, complete) in &answers {
        assert_eq!(*status, 200);
        assert!(if *complete {
            *body == expected
        } else {
            expected.starts_with(body)
        });
    }
    assert!(
        answers.iter().any(|(.., complete)| *complete),
        "the first one has it all"
    );
    let later = watched.proxy.ask(REQUEST);
    assert!(later.complete && later.body == expected);
}

/// A client that asks first and reads nothing holds up none of those who follow, whose answers need not wait for it.
#[test]
fn a_leader_that_does_not_read_holds_nobody_up() {
    for version in VERSIONS {
        for framing in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
            let (gate, size) = (Gate::default(), 8_000_000);
            let opened = gate.clone();
            let origin = Origin::start(move |link| {
                while link.request().is_some() {
                    opened.wait(1);
                    link.send(format!("{HEAD}{framing}\r\n\r\n"));
                    if framing.starts_with("Transfer") {
                        link.send(format!("{size:x}\r\n"));
                        link.send(bytes(size));
                        link.send("\r\n0\r\n\r\n");
                    } else {
                        link.send(bytes(size));
                    }
                }
            });
            let cache = "max_object = '16MiB', collapse_timeout = '60s'";
            let watched = Watched::start("", cache, "", &[origin.addr]);
            let leader = Leader::ask(&watched.proxy, version);
            origin.wait_for_requests(1);
            let crowd = Crowd::ask(&watched.proxy, 4, &[]);
            watched.wait_for_requests(crowd.len() + 1);
            gate.open();
            let expected = bytes(size);
            for (status, body, complete) in crowd.answers() {
                assert_eq!((status, complete), (200, true), "{version:?} {framing}");
                assert!(body == expected, "{version:?} {framing}");
            }
            assert_eq!(origin.count(), 1, "{version:?} {framing}");
            assert!(leader.body() == expected, "{version:?} {framing}");
        }
    }
}
