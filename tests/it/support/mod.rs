//! The ground that the tests stand on: the proxy as a process, a client and an origin that speak in exact bytes, and
//! nginx.

pub mod admin;
pub mod browser;
pub mod client;
pub mod frozen;
pub mod h2;
pub mod head;
pub mod installed;
pub mod lineage;
pub mod load;
pub mod managed;
pub mod nginx;
pub mod odd_authority;
pub mod origin;
pub mod pebble;
pub mod peer;
pub mod place;
pub mod process;
pub mod proxy;
pub mod shim;
pub mod tls;
pub mod trusted;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

pub use client::{Answer, Client};
pub use lineage::Lineage;
pub use origin::{Link, Origin};
pub use proxy::Proxy;

/// How long a test waits for what must come. Far more than anything takes, so that a noisy machine fails no test; what
/// does not come fails loudly.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, looking again and again. For what no event announces; fails with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "this did not become true: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a count stands still for half a second, and gives it.
#[track_caller]
pub fn when_still(mut count: impl FnMut() -> u64) -> u64 {
    let mut last = count();
    let mut looks = 0;
    eventually("the flow stands still", || {
        thread::sleep(Duration::from_millis(100));
        let now = count();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        looks == 5
    });
    last
}

/// A GET request without further fields.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The text of the metrics at the management API `admin`.
#[track_caller]
pub fn metrics(admin: SocketAddr) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let answer = Client::connect(admin).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.text()
}
