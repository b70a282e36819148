//! When a client has to have done what, and from when that counts.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::h2::frame::{code, get};
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy};

/// PROXY header, first byte and head share one deadline, which counts from accept: who takes most of it for one step
/// has not the whole of it for the next.
#[test]
fn all_steps_to_the_first_head_share_one_deadline() {
    let origin = Origin::saying("");
    let addr = free_addr();
    let _proxy = Proxy::start(&format!(
        "[timeouts]\nclient_header = 20\n[[listeners]]\naddr = \"{addr}\"\nproxy_protocol = true\n{}",
        route("/", &[origin.addr])
    ));
    let begun = Instant::now();
    let mut silent = Client::connect(addr);
    let mut halfway = Client::connect(addr);
    thread::sleep(Duration::from_secs(14));
    for client in [&mut silent, &mut halfway] {
        client.send("PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\n");
    }
    halfway.send("GET / HTTP/1.1\r\n");
    assert_eq!(halfway.answer().status(), 408);
    assert!(silent.rest().is_empty());
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(32), "it took {taken:?}");
}

/// The head of a later request has its whole time from its first byte, however old the connection is.
#[test]
fn a_later_head_has_its_own_deadline() {
    let origin = Origin::saying("hello");
    let config = format!(
        "[timeouts]\nclient_header = 6\nclient_idle = 60\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(client.ask(request).text(), "hello");
    thread::sleep(Duration::from_secs(8));
    client.send(&request[..20]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(client.ask(&request[20..]).text(), "hello");
}

/// Short requests, with pauses in which no stream is open, keep a connection alive as long ones do.
#[test]
fn short_requests_are_activity() {
    let origin = Origin::saying("hello");
    let config = format!(
        "[timeouts]\nclient_idle = 4\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let mut client = proxy.h2();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        assert_eq!(client.ask(&get("/", &[])).text(), "hello");
        thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(client.goaways, []);
    assert_eq!(client.end(), Some(code::NO_ERROR), "in the end it is idle");
}
