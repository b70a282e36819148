//! A backend switches to another protocol before it has the body of the request. The client never sends the rest of the
//! body as it should.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::support::proxy::route;
use crate::support::{Origin, Proxy, eventually};

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n";

/// A backend that switches as soon as it has a head. The second value is the text that it received behind the head.
fn switching_early() -> (Origin, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let told = seen.clone();
    let origin = Origin::start(move |link| {
        if link.head().is_some() && link.try_send(SWITCHING) {
            let rest = String::from_utf8_lossy(&link.rest()).into_owned();
            told.lock().unwrap().push_str(&rest);
        }
    });
    (origin, seen)
}

#[test]
fn a_body_that_fails_makes_no_tunnel() {
    let large = format!("3\r\nabc\r\n40\r\n{}\r\n0\r\n\r\n", "x".repeat(64));
    let rows = [
        ("3\r\nabc\r\nzz\r\nRAW", 400),
        (&large, 413),
        ("3\r\nabc\r\na\r\nde", 408),
    ];
    for (body, status) in rows {
        let (origin, seen) = switching_early();
        let config = format!(
            "{}limits = {{ request_body_bytes = 20 }}\ntimeouts = {{ client_body = 1 }}\n",
            route("/", &[origin.addr])
        );
        let proxy = Proxy::start(&config);
        let mut client = proxy.client();
        client.send(
            "POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        );
        eventually("the backend has switched", || origin.sent() > 0);
        client.send(body);
        assert_eq!(client.answer().status(), status, "{body:?}");
        client.try_send("MORE");
        origin.wait_for_ended(1);
        let seen = seen.lock().unwrap();
        assert!(!seen.contains("RAW") && !seen.contains("MORE"), "{seen:?}");
    }
}

/// The tunnel is not there yet, and the backend that is to be its other end is gone.
#[test]
fn a_switch_that_waits_for_the_body_is_cut_with_its_backend() {
    let is_well = Arc::new(AtomicBool::new(true));
    let (seen, switched) = (is_well.clone(), Arc::new(AtomicBool::new(false)));
    let told = switched.clone();
    let origin = Origin::start(move |link| {
        while let Some(head) = link.head() {
            if head.first_line().contains("/exec") {
                link.send(SWITCHING);
                told.store(true, SeqCst);
                drop(link.rest());
                return;
            }
            let status = if seen.load(SeqCst) {
                "200 OK"
            } else {
                "500 No"
            };
            link.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let proxy = Proxy::start(&format!(
        "[timeouts]\nclient_body = 3000\n[[pools]]\nname = \"api\"\non_unhealthy = \"cut\"\n\
         backends = [\"{}\"]\n\
         health_check = {{ path = \"/health\", interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1 }}\n\
         [[routes]]\npool = \"api\"\n",
        origin.addr
    ));
    let mut client = proxy.client();
    client.send(
        "POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\
         Content-Length: 100000\r\n\r\n",
    );
    client.send(vec![b'a'; 20_000]);
    eventually("the backend has switched", || switched.load(SeqCst));
    is_well.store(false, SeqCst);
    assert_eq!(client.answer().status(), 502);
    proxy.wait_for_log(&["request failed: backend_down"]);
}
