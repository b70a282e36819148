//! Prefaces of HTTP/2 that break off, or come too slowly.

use std::thread::sleep;
use std::time::Duration;

use crate::support::h2::H2;
use crate::support::h2::frame::PREFACE;
use crate::support::tls::Front;
use crate::support::{Client, Origin};

/// A client that has named HTTP/2 gets no answer of HTTP/1.
#[test]
fn a_preface_that_breaks_off_gets_no_answer_of_http1() {
    let origin = Origin::saying("never");
    let config = format!(
        "workers = 1\n[timeouts]\nclient_header = 1\n{}",
        crate::support::proxy::route("/", &[origin.addr])
    );
    let front = Front::start("", &config);
    let mut clients: Vec<(usize, bool, Client)> = Vec::new();
    for length in [6, 10, 12, 16, 18, 23] {
        for finishes in [false, true] {
            let mut client = front.proxy.client();
            client.send(&PREFACE[..length]);
            if finishes {
                client.finish_sending();
            }
            clients.push((length, finishes, client));
        }
    }
    for (length, finishes, mut client) in clients {
        let rest = client.rest();
        let told = rest.escape_ascii();
        assert!(!rest.starts_with(b"HTTP/1"), "{length}, {finishes}: {told}");
    }
    // Bytes that may still be a method belong to HTTP/1.
    let mut client = front.proxy.client();
    client.send("PR");
    assert_eq!(client.answer().status(), 408);
    assert_eq!(origin.count(), 0);
}

/// Over TLS with ALPN there is no doubt about the protocol, and the time for its beginning holds all the same.
#[test]
fn a_preface_that_trickles_has_the_time_of_a_head() {
    let origin = Origin::saying("never");
    let config = format!(
        "workers = 1\n[timeouts]\nclient_header = 1\nclient_idle = 3000\n{}",
        crate::support::proxy::route("/", &[origin.addr])
    );
    let front = Front::start("", &config);
    let stream = front.dialer().offering(&["h2"]).connect(front.addr, "test");
    let mut client = H2::over(stream.unwrap());
    for byte in PREFACE {
        if !client.try_send([*byte]) {
            break;
        }
        sleep(Duration::from_millis(400));
    }
    front.wait_for_failures("head_timeout", 1);
}
