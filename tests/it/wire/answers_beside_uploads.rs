//! Answers that come while the request is still being sent: each is with its client, whole, whatever becomes of the
//! rest of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, code, flag, kind, setting};
use crate::support::origin::ok;
use crate::support::proxy::{list, route};
use crate::support::{Client, Link, Origin, Proxy};

/// A backend that speaks HTTP/2 and takes no body before it says so; `answer` is called for each request.
fn backend(
    answer: impl Fn(&mut Backend, u32) + Send + Sync + 'static,
) -> (Origin, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let origin = Origin::start(move |link| {
        let shut = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let Some(mut backend) = Backend::greet(link, &shut) else {
            return;
        };
        while let Some(stream) = backend.request() {
            count.fetch_add(1, SeqCst);
            answer(&mut backend, stream);
        }
    });
    (origin, asked)
}

fn proxy(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "workers = 1\n[timeouts]\nupstream_response = 50\n[[pools]]\nname = \"h2\"\n\
         protocol = \"h2\"\nbackends = [\"{}\"]\n[[routes]]\npool = \"h2\"\n",
        origin.addr
    ))
}

/// The proxy has learnt that the windows are shut.
#[track_caller]
fn acquainted(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.ask(crate::support::get("/")).status(), 200);
    client
}

fn asking(method: &str, announced: usize, sent: &str) -> String {
    format!("{method} /body HTTP/1.1\r\nHost: test\r\nContent-Length: {announced}\r\n\r\n{sent}")
}

#[test]
fn a_backend_that_answers_without_the_body_is_heard() {
    let (origin, asked) = backend(|backend, stream| {
        backend.answer(stream, "early");
    });
    let proxy = proxy(&origin);
    let mut client = acquainted(&proxy);
    for method in ["POST", "PUT"] {
        let answer = client.ask(asking(method, 5, "hello"));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "early"),
            "{method}"
        );
    }
    assert_eq!(asked.load(SeqCst), 3, "each request once");
}

/// As a call does that streams both ways: the backend takes messages once its head is out.
#[test]
fn a_backend_may_take_the_body_behind_its_head() {
    let (origin, _) = backend(|backend, stream| {
        backend.head(stream, 0);
        backend.send(frame::window_update(stream, 5));
        while let Some(frame) = backend.frame() {
            if frame.kind == kind::DATA {
                assert_eq!(frame.payload, b"hello");
                assert!(frame.has(flag::END_STREAM));
                break;
            }
        }
        backend.send(frame::data(flag::END_STREAM, stream, "taken"));
    });
    let proxy = proxy(&origin);
    let mut client = proxy.client();
    // The first request goes out before the backend's settings have come, and has its body with it.
    for turn in 0..3 {
        let answer = client.ask(asking("POST", 5, "hello"));
        assert_eq!(answer.text(), "taken", "request {turn}");
    }
}

/// RFC 9113 section 8.1: a backend that has answered may have the rest of the request stopped by NO_ERROR.
#[test]
fn an_answer_counts_although_the_stream_is_reset_behind_it() {
    let (origin, asked) = backend(|backend, stream| {
        backend.answer(stream, "early");
        backend.send(frame::reset(stream, code::NO_ERROR));
    });
    let proxy = proxy(&origin);
    drop(acquainted(&proxy));
    for method in ["POST", "PUT"] {
        let mut client = proxy.client();
        client.send(asking(method, 100, "the rest is still to come"));
        let answer = client.answer();
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "early"),
            "{method}"
        );
    }
    assert_eq!(asked.load(SeqCst), 3, "each request once");
}

/// Answers for longer than the 4 seconds that somebody may be silent below, and receives no more than the head of the
/// request. A slow machine has these 4 seconds to begin with it.
fn dribbling(link: &mut Link) {
    if link.head().is_some() {
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            sleep(Duration::from_millis(300));
            link.send("x");
        }
    }
}

fn dribbled(timeouts: &str) -> (Proxy, Origin) {
    let origin = Origin::start(dribbling);
    let config = format!("[timeouts]\n{timeouts}\n{}", route("/", &[origin.addr]));
    (Proxy::start(&config), origin)
}

#[test]
fn a_client_that_stops_sending_gets_the_answer_that_has_begun() {
    let (proxy, _origin) = dribbled("client_body = 4");
    let mut client = proxy.client();
    client.send(asking("POST", 100_000, "a part"));
    assert_eq!(client.answer().text(), "x".repeat(20));
}

#[test]
fn a_backend_that_stops_receiving_may_go_on_answering() {
    let (proxy, _origin) = dribbled("upstream_response = 4");
    let mut client = proxy.client();
    client.send(asking("POST", 90_000_000, ""));
    let mut sender = Client::over(client.stream.try_clone().unwrap());
    let sending = std::thread::spawn(move || sender.try_send(vec![b'x'; 90_000_000]));
    assert_eq!(client.answer().text(), "x".repeat(20));
    drop((client, proxy));
    sending.join().unwrap();
}

/// However long the client took to send the request.
#[test]
fn the_time_for_the_answer_begins_when_the_request_has_ended() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            sleep(Duration::from_secs(2));
            link.send(ok("in time"));
        }
    });
    let timeouts = "[timeouts]\nupstream_response = 8\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send(asking("POST", 20_000, &"x".repeat(19_999)));
    sleep(Duration::from_secs(7));
    client.send("x");
    assert_eq!(client.answer().text(), "in time");
}

/// While the client waits for the backend's permission, the time is the backend's.
#[test]
fn a_client_that_waits_for_permission_is_not_too_slow() {
    let origin = Origin::start(|link| {
        while let Some(head) = link.head() {
            sleep(Duration::from_secs(7));
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            if link.body_of(head).is_none() {
                return;
            }
            link.send(ok("permitted"));
        }
    });
    let timeouts = "[timeouts]\nclient_body = 5\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "permitted");
}

/// A client that is told to go on and does not, or waits for that for ever, has no backend ejected for its silence.
#[test]
fn a_client_that_asks_for_permission_and_is_silent_is_nobodys_failure() {
    // The backend has 50 seconds to give its permission, if it does so.
    for (is_permitted, wait) in [(true, 50), (false, 2)] {
        let serve = move |link: &mut Link| {
            while let Some(head) = link.head() {
                if is_permitted {
                    link.send("HTTP/1.1 100 Continue\r\n\r\n");
                }
                if link.body_of(head).is_none() || !link.try_send(ok("")) {
                    return;
                }
            }
        };
        let origins = [Origin::start(serve), Origin::start(serve)];
        let config = format!(
            "[timeouts]\nconnect = 50\nclient_body = 1\nupstream_response = {wait}\n\
             {}outlier = {{ consecutive_failures = 2, eject_secs = 600 }}\n",
            route("/", &[origins[0].addr, origins[1].addr])
        );
        let proxy = Proxy::start(&config);
        let mut clients: Vec<_> = (0..12).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(
                "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            );
        }
        for client in &mut clients {
            if is_permitted {
                assert_eq!(client.head().status(), 100);
            }
            let expected = if is_permitted { 408 } else { 504 };
            assert_eq!(client.answer().status(), expected);
        }
        assert!(
            !proxy.log().contains("consecutive failures"),
            "{}",
            proxy.log()
        );
    }
}

/// Whole requests of which a backend takes nothing are its failures.
#[test]
fn a_backend_that_takes_no_request_is_blamed() {
    let origins = [backend(|_, _| ()).0, backend(|_, _| ()).0];
    let proxy = Proxy::start(&format!(
        "workers = 1\n[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = {}\n\
         outlier = {{ consecutive_failures = 2, eject_secs = 600 }}\n[[routes]]\npool = \"h2\"\ntimeout = 1\n",
        list(&[origins[0].addr, origins[1].addr])
    ));
    // Of two backends, one is left.
    for _ in 0..4 {
        let status = proxy.ask(asking("POST", 5, "hello")).status();
        assert!([504, 503].contains(&status), "{status}");
    }
    proxy.wait_for_log(&["2 consecutive failures"]);
}
