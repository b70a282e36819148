//! A listener with `redirect_to_https` serves nothing in cleartext.

use std::net::SocketAddr;

use crate::support::h2::H2;
use crate::support::h2::frame::get as h2_get;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy};

/// A proxy with a listener that redirects, and the address of that listener. With `preserve`, requests that reached the
/// backend would keep their own `Host`.
fn start(origin: &Origin, more: &str) -> (Proxy, SocketAddr) {
    let redirecting = free_addr();
    let config = format!(
        "[[listeners]]\naddr = \"{redirecting}\"\nredirect_to_https = true\n{more}{}",
        route("/", &[origin.addr])
    );
    (Proxy::start(&config), redirecting)
}

/// The status and the `Location` of the answer.
#[track_caller]
fn answer(addr: SocketAddr, request: &str) -> (u16, Option<String>) {
    let answer = Client::connect(addr).ask(request);
    let location = answer.field("location").map(str::to_owned);
    (answer.status(), location)
}

#[test]
fn no_request_passes() {
    let origin = Origin::saying("in cleartext");
    let (_proxy, addr) = start(&origin, "");
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let rows = [
        (
            "GET /a?b HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
            308,
            "https://test/a?b",
        ),
        (
            "GET / HTTP/1.1\r\nHost: test:8080\r\n\r\n".to_owned(),
            308,
            "https://test/",
        ),
        (
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(),
            308,
            "https://[::1]/",
        ),
        (
            "GET / HTTP/1.0\r\nHost: test\r\n\r\n".to_owned(),
            308,
            "https://test/",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
            308,
            "https://test",
        ),
        (
            "GET http://test/x HTTP/1.0\r\n\r\n".to_owned(),
            308,
            "https://test/x",
        ),
        (
            "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
            308,
            "https://test/x",
        ),
        (
            format!("GET /ws HTTP/1.1\r\nHost: test\r\n{upgrade}\r\n"),
            308,
            "https://test/ws",
        ),
        // There is no URL to redirect these requests to.
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 400, ""),
        (
            "POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
            400,
            "",
        ),
        ("OPTIONS * HTTP/1.0\r\n\r\n".to_owned(), 400, ""),
        (
            "GET /.well-known/acme-challenge/x HTTP/1.0\r\n\r\n".to_owned(),
            400,
            "",
        ),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400, ""),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n".to_owned(), 400, ""),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, ""),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n".to_owned(), 400, ""),
        (
            "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n".to_owned(),
            405,
            "",
        ),
    ];
    for (request, status, location) in rows {
        let location = (!location.is_empty()).then(|| location.to_owned());
        assert_eq!(answer(addr, &request), (status, location), "{request}");
    }
    let answer = Client::connect(addr).ask("GET / HTTP/1.0\r\n\r\n");
    assert!(
        answer
            .field("proxy-status")
            .unwrap()
            .contains("missing_host"),
        "{answer:?}"
    );
    assert_eq!(origin.count(), 0);
}

#[test]
fn no_stream_passes() {
    let origin = Origin::saying("in cleartext");
    let (_proxy, addr) = start(&origin, "");
    let mut client = H2::start(addr, &[]);
    let answer = client.ask(&h2_get("/a?b", &[]));
    let host = "https://";
    assert_eq!(answer.status(), 308);
    let location = answer.field("location").unwrap();
    assert!(
        location.starts_with(host) && location.ends_with("/a?b"),
        "{location}"
    );
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "test:80"),
        (":path", "/chat"),
    ];
    let stream = client.begin(&connect, false);
    let answer = client.head(stream);
    assert_eq!(
        (answer.status(), answer.field("location")),
        (308, Some("https://test/chat"))
    );
    client.is_alive();
    assert_eq!(origin.count(), 0);
}

/// HTTPS may have another port than its usual one.
#[test]
fn the_port_is_a_setting() {
    let origin = Origin::saying("");
    let rows = [("443", "https://test/x"), ("8443", "https://test:8443/x")];
    for (port, location) in rows {
        let (_proxy, addr) = start(&origin, &format!("https_port = {port}\n"));
        let request = "GET /x HTTP/1.1\r\nHost: test:80\r\n\r\n";
        assert_eq!(answer(addr, request), (308, Some(location.to_owned())));
    }
    assert_eq!(origin.count(), 0);
}
