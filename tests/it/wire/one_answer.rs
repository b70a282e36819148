//! A request has one final answer, whole or visibly cut, and one thing after the other is written to its client.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::h2::frame::get as h2_get;
use crate::support::h2::word;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Client, Origin, Proxy, get};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const GOOD: &str = "4\r\ngood\r\n";
const BAD: &str = "zz\r\nbad\r\n";

/// Sends the first part of an answer, and the second part when it is told to.
fn in_two_parts(first: String, second: String) -> (Origin, Sender<()>) {
    let (tell, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |link| {
        if link.request().is_some() {
            link.send(&first);
            if !second.is_empty() && told.lock().unwrap().recv().is_ok() {
                link.send(&second);
                link.rest();
            }
        }
    });
    (origin, tell)
}

fn heads(bytes: &[u8]) -> usize {
    bytes.windows(9).filter(|at| at == b"HTTP/1.1 ").count()
}

/// Bytes before a malformed piece may be waiting to be sent when the malformed piece is found: no other answer may take
/// its place then.
#[test]
fn a_bad_chunk_behind_good_ones_begins_no_second_answer() {
    let later = format!("{GOOD}{BAD}");
    let (origin, tell) = in_two_parts(format!("{CHUNKED}{GOOD}"), later);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(get("/"));
    let head = client.head();
    assert_eq!(head.status(), 200);
    assert_eq!(client.bytes(9), GOOD.as_bytes());
    tell.send(()).unwrap();
    let rest = client.rest();
    assert_eq!(heads(&rest), 0, "{}", String::from_utf8_lossy(&rest));
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "an answer cut short is whole"
    );
}

#[test]
fn a_bad_chunk_behind_more_than_a_block_begins_no_second_answer() {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let (origin, _tell) = in_two_parts(format!("{CHUNKED}{}{BAD}", chunk.repeat(9)), String::new());
    let proxy = Proxy::to(&[origin.addr]);
    for _ in 0..10 {
        let mut client = proxy.client();
        client.send(get("/"));
        let all = client.rest();
        assert_eq!(heads(&all), 1, "{}", String::from_utf8_lossy(&all));
        assert!(!all.ends_with(b"0\r\n\r\n"), "an answer cut short is whole");
    }
}

/// Over HTTP/2 a head cannot be taken back, although its body was found to be malformed in the same moment.
#[test]
fn a_bad_chunk_resets_the_stream_whose_head_is_sent() {
    let (origin, _tell) = in_two_parts(format!("{CHUNKED}{GOOD}{BAD}"), String::new());
    let good = Origin::saying("never");
    let proxy = Proxy::to(&[origin.addr, good.addr]);
    let mut client = proxy.h2();
    for _ in 0..4 {
        let stream = client.begin(&h2_get("/", &[]), true);
        let answer = client.answer(stream);
        match answer.text().as_str() {
            "never" => assert!(answer.complete),
            text => {
                assert!("good".starts_with(text), "{answer:?}");
                assert_eq!(word(answer.reset), "INTERNAL_ERROR", "{answer:?}");
            }
        }
    }
}

/// Nothing of a body is given away before there is a connection to take it: an upload can still go to another backend.
#[test]
fn an_upload_goes_to_the_backend_that_can_be_reached() {
    const BYTES: usize = 400_000;
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            link.send(ok(&request.body.len().to_string()));
        }
    });
    let over_h2 = Proxy::to(&[origin.addr]);
    let body = vec![b'x'; BYTES];
    let whole = [
        format!("Content-Length: {BYTES}\r\n\r\n").into_bytes(),
        body.clone(),
    ]
    .concat();
    let size = format!("Transfer-Encoding: chunked\r\n\r\n{BYTES:x}\r\n");
    let chunked = [size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for (protocol, addr) in [("h1", origin.addr), ("h2", over_h2.addr)] {
        let config = route("/", &[free_addr(), addr]) + &format!("protocol = \"{protocol}\"\n");
        for upload in [&whole, &chunked, &whole, &chunked] {
            // A proxy for each: there are few retries at the beginning.
            let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
            let mut client = proxy.client();
            client.send("POST / HTTP/1.1\r\nHost: test\r\n");
            client.send(upload);
            let answer = client.answer();
            assert_eq!(answer.status(), 200, "{protocol}: {answer:?}");
            assert_eq!(answer.text(), BYTES.to_string(), "{protocol}");
            let status = client.ask(get("/")).status();
            assert!([200, 502].contains(&status), "{protocol}: {status}");
        }
    }
}

/// The answer that a backend gives before it has the body comes while the client is still told to send it.
#[test]
fn an_early_answer_follows_100_continue() {
    let origin = Origin::start(|link| {
        while link.head().is_some() {
            link.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let config = route("/", &[origin.addr]) + "answer_continue = true\n";
    let front = Front::start("", &("workers = 1\n".to_owned() + &config));
    let request =
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for round in 0..60 {
        check_early(front.client(), request, &front.proxy, round);
        check_early(front.proxy.client(), request, &front.proxy, round);
    }
}

#[track_caller]
fn check_early<S>(mut client: Client<S>, request: &str, proxy: &Proxy, round: u64)
where
    S: std::io::Read + Write,
{
    client.send(request);
    // A core that comes late finds the backend's answer when it has just begun to tell the client.
    std::thread::sleep(Duration::from_micros(37 * round));
    proxy.stand_still();
    std::thread::sleep(Duration::from_millis(2));
    proxy.go_on();
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
    assert_eq!(answer.interim.len(), 1, "{answer:?}");
}
