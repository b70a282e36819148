//! `/health` and `/ready` report threads that stand still, and report them well as soon as they work again.

use std::net::SocketAddr;

use crate::support::frozen::Frozen;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy, eventually};

fn ask(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer =
        Client::connect(admin).ask(format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    (answer.status(), answer.text())
}

#[test]
fn a_thread_that_stands_still_makes_palantir_unfit_for_as_long_as_it_does() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 2\n{}[admin]\nlisten_addr = \"{admin}\"\n",
        route("/", &[origin.addr])
    ));
    assert_eq!(
        ask(admin, "/health"),
        (200, "{\"status\":\"ok\"}".to_owned())
    );
    let rows = [
        ("worker-1", "worker 1 has stood still"),
        ("health", "the health thread has stood still"),
    ];
    for (thread, words) in rows {
        let frozen = Frozen::new(proxy.pid(), thread);
        for path in ["/health", "/ready"] {
            eventually("palantir is unfit", || {
                let (status, text) = ask(admin, path);
                status == 503 && text.contains("unfit") && text.contains(words)
            });
        }
        drop(frozen);
        // Even on a slow machine the thread soon gives a sign of life.
        eventually("palantir is fit again", || {
            ask(admin, "/health").0 == 200 && ask(admin, "/ready").0 == 200
        });
    }
}
