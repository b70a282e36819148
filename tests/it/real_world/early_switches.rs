//! A backend switches to another protocol before it has the body of the request. The client never sends the rest of the
//! body as it should.

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
