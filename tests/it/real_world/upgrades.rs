//! Upgrades other than a plain WebSocket: with a body, with several protocols, merely advertised, or to a protocol that
//! was not offered.

use std::time::Duration;

use crate::support::h2::answering::Answering;
use crate::support::h2::frame::get as h2_get;
use crate::support::proxy::route;
use crate::support::{Link, Origin, Proxy, eventually, get};

/// The request of `docker exec`: a POST with a body, which asks for a stream of bytes.
fn exec(framing: &str) -> String {
    format!(
        "POST /exec/1/start HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n{framing}\r\n\r\n"
    )
}

const SWITCHING: &str =
    "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nX-Stream: 1\r\n\r\n";

/// Switches behind the request, and sends back every byte that comes.
fn switching(link: &mut Link) {
    if link.request().is_some() {
        link.send(SWITCHING);
        while let Some(byte) = link.bytes(1) {
            link.send(byte);
        }
    }
}

#[test]
fn an_upgrade_keeps_its_body_and_its_tunnel() {
    let origin = Origin::start(switching);
    let proxy = Proxy::to(&[origin.addr]);
    let large = "x".repeat(300_000);
    let bodies = [
        ("Content-Length: 13", "{\"Tty\":false}".to_owned()),
        (
            "Transfer-Encoding: chunked",
            "5\r\n{\"Tty\r\n8\r\n\":false}\r\n0\r\n\r\n".to_owned(),
        ),
        ("Content-Length: 300000", large.clone()),
    ];
    for (framing, body) in bodies {
        let mut client = proxy.client();
        client.send(exec(framing));
        client.send(&body);
        let head = client.head();
        assert_eq!(head.status(), 101, "{framing}");
        assert_eq!(head.field("upgrade"), Some("tcp"));
        assert_eq!(head.field("x-stream"), Some("1"));
        client.send("ls\n");
        assert_eq!(client.bytes(3), b"ls\n");
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.field("upgrade"), Some("tcp"), "{framing}");
        assert_eq!(received.head.field("connection"), Some("upgrade"));
        let expected = if body == large {
            &large[..]
        } else {
            "{\"Tty\":false}"
        };
        assert_eq!(String::from_utf8_lossy(&received.body), expected);
    }
}

/// Bytes that a client sends behind the body belong to the tunnel once there is one. The backend gets none of them
/// before it has switched.
#[test]
fn bytes_behind_the_body_belong_to_the_tunnel() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            assert!(
                !link.request_within(Duration::from_millis(300)),
                "too early"
            );
            link.send(SWITCHING);
            let early = link.bytes(5).unwrap_or_default();
            link.send(early);
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(exec("Content-Length: 2") + "{}early");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.bytes(5), b"early");
}

/// If the backend declines the upgrade, the bytes behind the body are the next request.
#[test]
fn bytes_behind_the_body_are_the_next_request_without_a_tunnel() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(exec("Content-Length: 2") + "{}" + &get("/next"));
    assert_eq!(client.answer().text(), "plain");
    assert_eq!(client.answer().text(), "plain");
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, b"{}");
    assert_eq!(requests[1].head.first_line(), "GET /next HTTP/1.1");
}

/// A backend that switches before it has the whole request gets the rest of it, and then the bytes of the tunnel.
#[test]
fn a_backend_that_switches_early_gets_the_rest_of_the_body() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send(SWITCHING);
            let all = link.bytes(6 + 4).unwrap_or_default();
            link.send(all);
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(exec("Content-Length: 6") + "abc");
    eventually("the backend has the request", || origin.sent() > 0);
    client.send("deftcp!");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.bytes(10), b"abcdeftcp!");
}

#[test]
fn a_client_that_asks_first_is_told_to_send_its_body() {
    let origin = Origin::start(|link| {
        let Some(head) = link.head() else { return };
        link.send("HTTP/1.1 100 Continue\r\n\r\n");
        if link.body_of(head).is_some() {
            link.send(SWITCHING);
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(exec("Content-Length: 2\r\nExpect: 100-continue"));
    assert_eq!(client.head().status(), 100);
    client.send("{}");
    assert_eq!(client.head().status(), 101);
}

/// A backend must switch to a protocol that was offered. Otherwise it has not understood the request.
#[test]
fn a_backend_chooses_among_what_was_offered() {
    let rows = [
        ("a", "a", true),
        ("a/1, b", "B", true),
        ("a, b", "b, a", true),
        ("a", "b", false),
        ("a", "a/2", false),
        ("a, h2c", "h2c", false),
        ("a", "a, b", false),
    ];
    for (offered, chosen, is_proper) in rows {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {chosen}\r\n\r\nhello"
        );
        let origin = Origin::start(move |link| {
            if link.request().is_some() {
                link.send(&answer);
                link.rest();
            }
        });
        let proxy = Proxy::to(&[origin.addr]);
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: {offered}\r\n\r\n"
        ));
        let name = format!("{offered} → {chosen}");
        let head = client.head();
        if is_proper {
            assert_eq!(head.status(), 101, "{name}");
            assert_eq!(client.bytes(5), b"hello", "{name}");
        } else {
            assert_eq!(head.status(), 502, "{name}")
        }
    }
}

/// HTTP itself is no protocol to switch to, neither alone nor in a list.
#[test]
fn http_is_never_offered_to_a_backend() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let rows = [
        ("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", None),
        ("Upgrade: websocket, h2c\r\n", Some("websocket")),
        (
            "Upgrade: H2C,a/1 , HTTP/2.0\r\nUpgrade: b\r\n",
            Some("a/1, b"),
        ),
        ("Upgrade: HTTP/2.0\r\n", None),
    ];
    for (lines, expected) in rows {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n{lines}\r\n"
        );
        assert_eq!(proxy.ask(request).status(), 200, "{lines}");
        let head = origin.requests().pop().unwrap().head;
        assert_eq!(head.field("upgrade"), expected, "{lines}");
        assert_eq!(head.field("http2-settings"), None);
        assert_eq!(head.field("connection").is_some(), expected.is_some());
    }
}

/// A 426 names the protocol that the client has to switch to (RFC 9110 section 15.5.22).
#[test]
fn a_426_says_what_is_required() {
    let origin = Origin::answering(
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nwhat",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for (version, connection) in [("1.1", "upgrade"), ("1.0", "upgrade, close")] {
        let answer = client.ask(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n"));
        assert_eq!((answer.status(), answer.text().as_str()), (426, "what"));
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert_eq!(answer.field("connection"), Some(connection));
    }
    // HTTP/2 has no such fields (RFC 9113 section 8.2.2), and the client of the test refuses them.
    let answer = proxy.h2().ask(&h2_get("/", &[]));
    assert_eq!((answer.status(), answer.text().as_str()), (426, "what"));
}

/// In other answers the field only advertises protocols of the backend, but the client speaks to palantir.
#[test]
fn what_a_backend_advertises_stays_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: Upgrade, Keep-Alive\r\nUpgrade: h2,h2c\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask(get("/"));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("upgrade"), None);
    assert_eq!(answer.field("connection"), None);
}

/// A backend that speaks HTTP/2 only refuses the offer, and goes on with other requests.
#[test]
fn an_offer_to_a_backend_without_http1_is_a_failure_of_its_own() {
    let origin = Origin::start(|link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while let Some((stream, _)) = backend.request() {
            backend.answer(stream, "version2");
        }
    });
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + "protocol = \"h2\"\n"));
    for body in ["", "{}"] {
        let mut client = proxy.client();
        let answer = client.ask(format!(
            "POST /exec HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: tcp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status(), 502);
        assert_eq!(proxy.ask(get("/")).text(), "version2");
    }
}
