//! A request for a tunnel has no content, even if it names a length. A backend must not wait for a body that never
//! comes, and take the next client's request for that body.

use super::websockets_to_h2::{BOTH, KEY, connect, h2_route, is_echoed, is_echoed_on, upgrade};
use crate::support::h2::frame::get as h2_get;
use crate::support::h2::word;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, get};

const DECLINED: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";

#[test]
fn a_backend_of_http1_is_told_no_length_of_a_tunnel() {
    let origin = Origin::answering(DECLINED);
    let proxy = Proxy::start(&format!("workers = 1\n{}", route("/", &[origin.addr])));
    for (length, is_taken) in [("0", true), ("000", true), ("5", false), ("90", false)] {
        let mut attacker = proxy.h2();
        let before = origin.count();
        let mut fields = connect("websocket");
        fields.push(("content-length", length));
        let stream = attacker.begin(&fields, false);
        let answer = attacker.answer(stream);
        if is_taken {
            assert_eq!(answer.status(), 404, "{length}");
            let head = origin.requests().pop().unwrap().head;
            assert_eq!(head.field("content-length"), None, "{length}");
        } else {
            assert_eq!(word(answer.reset), "PROTOCOL_ERROR", "{length}")
        }
        // Neither the other streams of the connection nor other clients notice.
        assert_eq!(attacker.ask(&h2_get("/", &[])).text(), "no", "{length}");
        assert_eq!(proxy.ask(get("/other")).text(), "no", "{length}");
        assert_eq!(
            origin.count() - before,
            2 + usize::from(is_taken),
            "{length}"
        );
        let last = origin.requests().pop().unwrap();
        assert_eq!(last.head.first_line(), "GET /other HTTP/1.1", "{length}");
    }
}

/// A length would count the bytes of the WebSocket. A strict backend would end the whole connection at the first of
/// them.
#[test]
fn a_websocket_has_no_length() {
    let (origin, seen) = BOTH.start();
    let proxy = Proxy::start(&h2_route(origin.addr));
    let mut client = proxy.client();
    client.send(upgrade(&format!(
        "Content-Length: 0\r\nSec-WebSocket-Key: {KEY}\r\n"
    )));
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.field("content-length"), None);
    is_echoed(&mut client);
    let mut client = proxy.h2();
    let mut fields = connect("websocket");
    fields.push(("content-length", "0"));
    let stream = client.begin(&fields, false);
    is_echoed_on(&mut client, stream);
    assert_eq!(client.answers[&stream].field("content-length"), None);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for head in seen.iter() {
        assert!(
            head.starts_with("CONNECT ") && !head.contains("content-length"),
            "{head}"
        );
    }
}
