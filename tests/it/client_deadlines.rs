//! When a client has to have done what, and from when that counts.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::h2::frame::{code, get};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

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
