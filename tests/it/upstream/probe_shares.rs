//! A pool whose probes hang delays the probes of no other pool.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::origin::ok;
use crate::support::proxy::{command, descriptors};
use crate::support::{Link, Origin, Proxy};

#[test]
fn a_pool_whose_probes_hang_delays_no_other_pool() {
    // Backends that accept and never answer, at enough addresses to fill all probes that may be under way.
    let silent = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let hanging: Vec<String> = (1..=200)
        .map(|host| format!("\"127.0.1.{host}:{port}\""))
        .collect();
    let origin = Origin::start(|link: &mut Link| {
        while link.request().is_some() {
            link.send(ok("well"));
        }
    });
    let mut few = command();
    descriptors(&mut few, 400); // A sixteenth of the descriptors is for probes.
    let proxy = Proxy::start_as(
        few,
        &format!(
            "workers = 1\n[[pools]]\nname = \"hanging\"\nbackends = [{}]\n\
             health_check = {{ path = \"/\", interval_secs = 1, timeout_secs = 600 }}\n\
             [[pools]]\nname = \"well\"\nbackends = [\"{}\"]\n\
             health_check = {{ path = \"/\", interval_secs = 0.2, timeout_secs = 60 }}\n\
             [[routes]]\nprefix = \"/hanging\"\npool = \"hanging\"\n[[routes]]\npool = \"well\"\n",
            hanging.join(", "),
            origin.addr
        ),
    );
    // All probes of the first pool are under way, and will be for ten minutes.
    origin.wait_for_requests(1);
    std::thread::sleep(Duration::from_secs(3));
    let (before, since) = (origin.count(), Instant::now());
    origin.wait_for_requests(before + 20);
    assert!(since.elapsed() < Duration::from_secs(60));
    drop(proxy);
}
