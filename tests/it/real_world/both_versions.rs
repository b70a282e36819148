//! A message passes over both versions of HTTP, or over none: the bounds count what it says, not how it is packed.

use super::websockets_to_h2::BOTH;
use crate::support::h2::frame::{get, post};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

const LIMITS: &str = "[limits]\nrequest_head_bytes = 2048\nrequest_headers = 20\n";

fn proxy(limits: &str) -> (Origin, Proxy) {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&(limits.to_owned() + &route("/", &[origin.addr])));
    (origin, proxy)
}

/// Asks over both versions for the same; both must be answered so.
#[track_caller]
fn both(proxy: &Proxy, path: &str, fields: &[(&str, &str)], status: u16) {
    let mut lines = String::new();
    let cookies: Vec<&str> = fields
        .iter()
        .filter(|field| field.0 == "cookie")
        .map(|field| field.1)
        .collect();
    for (name, value) in fields.iter().filter(|field| field.0 != "cookie") {
        lines += &format!("{name}: {value}\r\n");
    }
    if !cookies.is_empty() {
        lines += &format!("cookie: {}\r\n", cookies.join("; "));
    }
    let written = proxy.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
    assert_eq!(
        written.status(),
        status,
        "HTTP/1.1, {} fields",
        fields.len()
    );
    let answer = proxy.h2().ask(&get(path, fields));
    assert_eq!(
        (answer.reset, answer.status()),
        (None, status),
        "HTTP/2, {} fields",
        fields.len()
    );
}

#[test]
fn a_browser_with_many_cookies_is_served() {
    let (origin, proxy) = proxy("");
    let crumbs: Vec<String> = (0..1_500)
        .map(|number| format!("name{number}=value{number}"))
        .collect();
    let fields: Vec<(&str, &str)> = crumbs.iter().map(|crumb| ("cookie", &crumb[..])).collect();
    both(&proxy, "/", &fields, 200);
    let received = origin.requests();
    let cookies: Vec<_> = received.iter().map(|one| one.head.all("cookie")).collect();
    assert_eq!(cookies[0], [crumbs.join("; ")]);
    assert_eq!(cookies[1], cookies[0]);
}

#[test]
fn fields_are_counted_alike() {
    let (_origin, proxy) = proxy(LIMITS);
    // With Host they are 20.
    both(&proxy, "/", &[("x", "y"); 19], 200);
    both(&proxy, "/", &[("x", "y"); 20], 431);
    let with_cookies = |others: usize| {
        let mut fields = vec![("x", "y"); others];
        fields.extend([("cookie", "a=b"); 30]);
        fields
    };
    both(&proxy, "/", &with_cookies(18), 200);
    both(&proxy, "/", &with_cookies(19), 431);
}

#[test]
fn bytes_are_counted_alike() {
    let (_origin, proxy) = proxy(LIMITS);
    let fixed = "GET / HTTP/1.1\r\nHost: test\r\nx: \r\n\r\n".len();
    let value = "v".repeat(2048 - fixed);
    both(&proxy, "/", &[("x", &value)], 200);
    both(&proxy, "/", &[("x", &(value.clone() + "v"))], 431);
    both(&proxy, "/p", &[("x", &value)], 431);
    let fixed = "GET / HTTP/1.1\r\nHost: test\r\ncookie: \r\n\r\n".len();
    let crumbs = vec![("cookie", "abc"); (2048 - fixed) / 5];
    both(&proxy, "/", &crumbs, 200);
    both(
        &proxy,
        "/",
        &[&crumbs[..], &[("cookie", "abcde")]].concat(),
        431,
    );
}

/// What is announced as the largest field section is never less than what passes.
#[test]
fn the_announced_size_holds() {
    let (_origin, proxy) = proxy(LIMITS);
    let mut client = proxy.h2();
    let crumbs = vec![("cookie", "a"); 600];
    assert_eq!(client.ask(&get("/", &crumbs)).status(), 200);
    let size: usize = get("/", &crumbs)
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum();
    let announced = client.settings[&6];
    assert!(announced as usize >= size, "{announced} < {size}");
}

#[test]
fn trailers_are_counted_alike() {
    // Bounds on heads do not bind them.
    for limits in ["", LIMITS] {
        let (_origin, proxy) = proxy(limits);
        count_trailers(&proxy);
    }
}

#[track_caller]
fn count_trailers(proxy: &Proxy) {
    let mut client = proxy.h2();
    let rows = [
        (1, 8_000, true),
        (1, 9_000, false),
        (64, 1, true),
        (65, 1, false),
        (150, 1, false),
        (64, 200, false),
    ];
    for (count, length, passes) in rows {
        let value = "v".repeat(length);
        let lines = format!("t: {value}\r\n").repeat(count);
        let written = proxy.ask(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{lines}\r\n"
        ));
        assert_eq!(
            written.status(),
            if passes { 200 } else { 431 },
            "{count} of {length}"
        );
        let stream = client.begin(&post("/", &[]), false);
        client.body(stream, b"x", false);
        client.trailers(stream, &vec![("t", &value[..]); count]);
        let answer = client.answer(stream);
        assert_eq!(
            (answer.reset, answer.status()),
            (None, written.status()),
            "{count} of {length}"
        );
        let said = written.field("proxy-status");
        assert_eq!(answer.field("proxy-status"), said, "{count} of {length}");
    }
    // The connection goes on.
    assert_eq!(client.ask(&get("/", &[])).status(), 200);
}

/// A second name of the host that is empty names nothing.
#[test]
fn an_empty_host_beside_another_names_nothing() {
    let (origin, proxy) = proxy("");
    let written = proxy.ask("GET http://a.example/ HTTP/1.1\r\nHost:\r\n\r\n");
    let mut fields = get("/", &[("host", ""), ("cookie", "a=b"), ("cookie", "c=d")]);
    for (name, value) in &mut fields {
        if *name == ":authority" {
            *value = "a.example";
        }
    }
    let answer = proxy.h2().ask(&fields);
    assert_eq!((written.status(), answer.status()), (200, 200));
    for request in origin.requests() {
        let head = &request.head;
        assert_eq!(head.all("host").len(), 1, "{}", head.text);
        assert_eq!(head.field("x-forwarded-host"), Some("a.example"));
    }
    fields.push(("host", ""));
    assert_eq!(proxy.h2().ask(&fields).status(), 400);
    let without: Vec<_> = fields
        .iter()
        .filter(|(name, _)| *name != ":authority")
        .copied()
        .collect();
    assert_eq!(
        proxy.h2().ask(&without[..without.len() - 1]).status(),
        proxy.ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").status()
    );
}

/// A scheme has no case (RFC 3986 section 3.1).
#[test]
fn schemes_are_compared_without_case() {
    let (_origin, proxy) = proxy("");
    for (scheme, status) in [("HTTP", 200), ("Http", 200), ("hTTps", 200), ("ftp", 400)] {
        let mut fields = get("/", &[]);
        for (name, value) in &mut fields {
            if *name == ":scheme" {
                *value = scheme;
            }
        }
        assert_eq!(proxy.h2().ask(&fields).status(), status, "{scheme}");
    }
    let written = proxy.ask("GET HTTP://test/ HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(written.status(), 200);
}

/// Control bytes of cookies that a listener tolerates reach backends of both versions whole.
#[test]
fn a_tolerated_cookie_keeps_its_last_byte() {
    let (origin, seen) = BOTH.start();
    let cookie = "a=\x0bb\x0c";
    for protocol in ["h1", "h2"] {
        let route = route("/", &[origin.addr]) + &format!("protocol = \"{protocol}\"\n");
        let proxy = Proxy::with_listener("tolerate = [\"control_bytes\"]", &route);
        let text = format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n");
        assert_eq!(proxy.ask(text).status(), 200);
        let asked = get("/", &[("cookie", cookie)]);
        assert_eq!(proxy.h2().ask(&asked).status(), 200);
        for _ in 0..2 {
            let head = seen.lock().unwrap().pop().unwrap();
            assert!(head.contains(&format!("ookie: {cookie}\r\n")), "{head:?}");
        }
    }
}
