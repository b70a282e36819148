//! Empty lines before a request are ignored: some clients send one behind a body, long before their next request.

use std::time::{Duration, Instant};

use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy, get};

const TIMES: &str = "workers = 1\n[timeouts]\nclient_header = 0.5\nclient_idle = 2\n";

fn proxy(times: &str) -> (Origin, Proxy) {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&(times.to_owned() + &route("/", &[origin.addr])));
    (origin, proxy)
}

const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx";

#[test]
fn a_line_behind_a_body_brings_no_answer() {
    let (_origin, proxy) = proxy(TIMES);
    for behind in ["\r\n", "\r\n\r\n", "\r", "\n", "\n\n", "\r\n\n"] {
        let mut client = proxy.client();
        client.send(format!("{POST}{behind}"));
        assert_eq!(client.answer().text(), "ok", "{behind:?}");
        let begun = Instant::now();
        client.ends(); // The connection ends without an answer, after the idle time.
        assert!(
            begun.elapsed() > Duration::from_millis(1_000),
            "the idle time holds: {behind:?}"
        );
    }
}

#[test]
fn a_line_of_its_own_brings_no_answer() {
    let (_origin, proxy) = proxy(TIMES);
    let mut clients: Vec<Client> = ["\r\n", "\r", "\n", "\r\n\r\n\r\n", "\n\r\n\n"]
        .iter()
        .map(|bytes| {
            let mut client = proxy.client();
            client.send(bytes);
            client
        })
        .collect();
    clients.iter_mut().for_each(Client::ends);
    let mut client = proxy.client();
    client.send("\r\n");
    client.finish_sending();
    client.ends();
}

/// The request behind empty lines is served as if they had not come, however late it comes.
#[test]
fn the_request_behind_them_has_all_its_time() {
    let (origin, proxy) = proxy("workers = 1\n[timeouts]\nclient_header = 0.5\n");
    let mut client = proxy.client();
    for lines in ["", "\r\n", "\r\n\r\n", "\r", "\n", "\n\n"] {
        client.send(format!("{POST}{lines}"));
        assert_eq!(client.answer().text(), "ok", "{lines:?}");
        std::thread::sleep(Duration::from_millis(900)); // Longer than a head may take.
        let rest = if lines == "\r" { "\n" } else { "" };
        client.send(format!("{rest}{}", get("/")));
        assert_eq!(client.answer().text(), "ok", "{lines:?}");
    }
    client.send(format!("{POST}\r\n{POST}\r\n\r\n{}", get("/")));
    for _ in 0..3 {
        assert_eq!(client.answer().text(), "ok");
    }
    assert_eq!(origin.count(), 15);
}

/// A head that has begun still has its time-out, and the client gets a 408.
#[test]
fn a_head_that_has_begun_is_waited_for_no_longer_than_others() {
    let (_origin, proxy) = proxy(TIMES);
    let mut client = proxy.client();
    client.send("\r\nGET / HT");
    assert_eq!(client.answer().status(), 408);
}

#[test]
fn lines_without_end_end_the_connection() {
    let (origin, proxy) = proxy("");
    let mut client = proxy.client();
    client.try_send("\r\n".repeat(1_000));
    client.ends();
    let mut client = proxy.client();
    client.send(get("/"));
    assert_eq!(client.answer().text(), "ok");
    client.try_send("\r\n".repeat(1_000));
    client.ends();
    assert_eq!(origin.count(), 1);
}

/// A stop ends a connection with only empty lines without an answer.
#[test]
fn a_stop_is_silent() {
    let (_origin, mut proxy) = proxy("");
    let mut client = proxy.client();
    client.send(format!("{POST}\r\n"));
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(proxy.stop(), 0);
    client.ends();
}
