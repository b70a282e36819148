//! Requests that are tried again on another backend, and requests that are not.

use std::time::Instant;

use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Link, Origin, Proxy, get};

/// Reads a request and closes without an answer.
fn hang_up(link: &mut Link) {
    link.request();
}

const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_failed_connect_is_tried_on_another_backend() {
    let origin = Origin::saying("alive");
    let proxy = Proxy::to(&[free_addr(), origin.addr]);
    // Nothing was sent yet, so anything may be tried again.
    assert_eq!(proxy.ask(get("/")).text(), "alive");
    assert_eq!(proxy.ask(POST).text(), "alive");
    assert_eq!(proxy.ask(POST).text(), "alive");
    let bodies = origin
        .requests()
        .into_iter()
        .filter(|request| request.body == b"hello")
        .count();
    assert_eq!(bodies, 2);
}

#[test]
fn retries_may_be_forbidden() {
    let origin = Origin::saying("alive");
    let config = route("/", &[free_addr(), origin.addr]) + "retries = 0\n";
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
    let statuses: Vec<_> = (0..10).map(|_| proxy.ask(get("/")).status()).collect();
    // From the first failure on, no request is sent there.
    assert_eq!(
        statuses.iter().filter(|status| **status == 502).count(),
        1,
        "{statuses:?}"
    );
}

#[test]
fn idempotent_requests_are_repeated_and_others_are_not() {
    // One backend hangs up on `/fatal`, always on a new connection.
    let fatal = Origin::start(|link| {
        let Some(request) = link.request() else {
            return;
        };
        if !request.head.first_line().contains(" /fatal ") {
            link.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let alive = Origin::saying("");
    let config = route("/", &[fatal.addr, alive.addr]);
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
    // Each request that goes well earns a fifth of a retry.
    let mut client = proxy.client();
    for _ in 0..80 {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    let at_fatal = || {
        fatal
            .requests()
            .iter()
            .filter(|one| one.head.text.contains(" /fatal "))
            .count()
    };
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        for _ in 0..2 {
            let answer = client.ask(format!("{method} /fatal HTTP/1.1\r\nHost: test\r\n\r\n"));
            assert_eq!(answer.status(), 200, "{method}");
        }
    }
    let post = POST.replace(" / ", " /fatal ");
    let put = post.replace("POST", "PUT"); // The small body of a PUT is kept.
    for _ in 0..2 {
        assert_eq!(client.ask(&put).status(), 200, "PUT");
    }
    assert!(at_fatal() >= 5, "{} attempts began there", at_fatal());

    // The bytes of these may have been processed.
    let patch = "PATCH /fatal HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n".to_owned();
    for request in [post, patch] {
        let before = fatal.count() + alive.count();
        let statuses = [proxy.ask(&request).status(), proxy.ask(&request).status()];
        assert!(
            statuses.contains(&200) && statuses.contains(&502),
            "{statuses:?} for {request}"
        );
        assert_eq!(
            fatal.count() + alive.count(),
            before + 2,
            "{request} was sent again"
        );
    }
}

#[test]
fn attempts_are_bounded() {
    let dying: Vec<_> = (0..4).map(|_| Origin::start(hang_up)).collect();
    let addrs: Vec<_> = dying.iter().map(|origin| origin.addr).collect();
    let proxy = Proxy::start(&(route("/", &addrs) + "retries = 2\n"));
    assert_eq!(proxy.ask(get("/")).status(), 502);
    let counts: Vec<_> = dying.iter().map(Origin::count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
    assert!(
        counts.iter().all(|count| *count <= 1),
        "each on another backend: {counts:?}"
    );
}

#[test]
fn retries_are_a_small_part_of_all_requests() {
    let dying: Vec<_> = (0..3).map(|_| Origin::start(hang_up)).collect();
    let addrs: Vec<_> = dying.iter().map(|origin| origin.addr).collect();
    let proxy = Proxy::start(&(route("/", &addrs) + "retries = 5\n"));
    let begin = Instant::now();
    let requests = 300;
    let mut client = proxy.client();
    for _ in 0..requests {
        assert_eq!(client.ask(get("/")).status(), 502);
    }
    let attempts: usize = dying.iter().map(Origin::count).sum();
    // A fifth of the requests, three a second, and what the budget holds when it is full.
    let seconds = begin.elapsed().as_secs() as usize + 1;
    let most = requests + requests / 5 + 3 * seconds + 50;
    assert!(
        attempts <= most,
        "{attempts} attempts for {requests} requests"
    );
    assert!(attempts > requests, "some were tried again");
}

#[test]
fn a_kept_connection_that_died_becomes_no_failure() {
    // Closes each connection as soon as its first answer is out, without having said so.
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(ok("alive"));
            link.close();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for number in 0..50 {
        assert_eq!(client.ask(get("/")).text(), "alive", "GET {number}");
        origin.wait_for_ended(2 * number + 1);
        assert_eq!(client.ask(POST).text(), "alive", "POST {number}");
    }
}

#[test]
fn a_reused_connection_that_closes_on_the_request_is_replaced() {
    // The second request of each connection is read and never answered: it may have crossed the backend's close.
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(ok("alive"));
            link.request();
        }
    });
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    for number in 0..4 {
        assert_eq!(client.ask(get("/")).text(), "alive", "request {number}");
    }
}

#[test]
fn a_body_that_was_sent_is_not_sent_again_after_a_byte_of_the_answer() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Le");
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    assert_eq!(proxy.ask(POST).status(), 502);
    assert_eq!(origin.count(), 1);
}

#[test]
fn one_deadline_holds_for_all_attempts() {
    let silent: Vec<_> = (0..3)
        .map(|_| {
            Origin::start(|link| {
                link.request();
                link.rest();
            })
        })
        .collect();
    let addrs: Vec<_> = silent.iter().map(|origin| origin.addr).collect();
    // Three attempts of 0.6 s would fit into the answers' time, but not into the exchange's.
    let settings = "retries = 9\ntimeout = 1\ntimeouts = { upstream_response = 0.6 }\n";
    let proxy = Proxy::start(&(route("/", &addrs) + settings));
    assert_eq!(proxy.ask(get("/")).status(), 504);
    let attempts: usize = silent.iter().map(Origin::count).sum();
    assert!(attempts <= 2, "{attempts} attempts");
}
