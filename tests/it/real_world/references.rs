//! References and cookies in the answers of backends that do not know the name by which their clients reach them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::support::h2::answering::Answering;
use crate::support::h2::frame::get as h2_get;
use crate::support::proxy::route;
use crate::support::trusted::Trusted;
use crate::support::{Client, Origin, Proxy, get};

/// A backend that answers with the lines that it was last told to send.
struct Telling {
    origin: Origin,
    lines: Arc<Mutex<String>>,
}

impl Telling {
    fn start() -> Telling {
        let lines = Arc::<Mutex<String>>::default();
        let told = lines.clone();
        let origin = Origin::start(move |link| {
            while link.request().is_some() {
                let lines = told.lock().unwrap().clone();
                link.send(format!(
                    "HTTP/1.1 302 Found\r\n{lines}Content-Length: 0\r\n\r\n"
                ));
            }
        });
        Telling { origin, lines }
    }

    fn addr(&self) -> SocketAddr {
        self.origin.addr
    }

    fn say(&self, lines: &str) {
        *self.lines.lock().unwrap() = lines.to_owned();
    }
}

/// The value of a rewritten field, for a client that asks `proxy` for `path`.
#[track_caller]
fn told(telling: &Telling, proxy: &Proxy, path: &str, name: &str, value: &str) -> String {
    telling.say(&format!("{name}: {value}\r\n"));
    let answer = proxy.ask(format!(
        "GET {path} HTTP/1.1\r\nHost: www.example:81\r\n\r\n"
    ));
    assert_eq!(answer.status(), 302);
    answer.field(name).unwrap_or_default().to_owned()
}

#[test]
fn the_backends_own_address_is_the_clients_word_for_it() {
    let telling = Telling::start();
    let addr = telling.addr();
    let proxy = Proxy::to(&[addr]);
    let rows = [
        (
            format!("http://{addr}/x?y=http://{addr}/#z"),
            format!("http://www.example:81/x?y=http://{addr}/#z"),
        ),
        (format!("HTTP://{addr}"), "http://www.example:81".to_owned()),
        (format!("//{addr}/x"), "//www.example:81/x".to_owned()),
        // All other references stay as they are.
        (format!("https://{addr}/x"), format!("https://{addr}/x")),
        (
            format!("http://{}/x", addr.ip()),
            format!("http://{}/x", addr.ip()),
        ),
        (
            format!("http://{addr}.evil.example/x"),
            format!("http://{addr}.evil.example/x"),
        ),
        (format!("http://u@{addr}/x"), format!("http://u@{addr}/x")),
        (
            "http://other.example/".to_owned(),
            "http://other.example/".to_owned(),
        ),
        ("/x".to_owned(), "/x".to_owned()),
        ("x?y".to_owned(), "x?y".to_owned()),
    ];
    for name in ["Location", "Content-Location"] {
        for (value, expected) in &rows {
            assert_eq!(
                &told(&telling, &proxy, "/", name, value),
                expected,
                "{name}"
            );
        }
    }
    let rows = [
        (
            format!("5; url=http://{addr}/x"),
            "5; url=http://www.example:81/x",
        ),
        (
            format!("0;URL='http://{addr}/x'"),
            "0;URL='http://www.example:81/x'",
        ),
        ("5".to_owned(), "5"),
        ("5; url=/x".to_owned(), "5; url=/x"),
    ];
    for (value, expected) in rows {
        assert_eq!(told(&telling, &proxy, "/", "Refresh", &value), expected);
    }
    // A client that names no host gets the path alone.
    telling.say(&format!("Location: http://{addr}/x\r\n"));
    let answer = proxy.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.field("location"), Some("/x"));
}

#[test]
fn the_host_that_the_backend_was_sent_is_its_own() {
    let telling = Telling::start();
    let addr = telling.addr();
    let literal = route("/", &[addr]) + "host_header = \"app.internal\"\n";
    let proxy = Proxy::start(&literal);
    let rows = [
        (
            "http://app.internal/x".to_owned(),
            "http://www.example:81/x",
        ),
        (
            "http://APP.internal:80/x".to_owned(),
            "http://www.example:81/x",
        ),
        (format!("http://{addr}/x"), "http://www.example:81/x"),
        // For a client of HTTP the reference may name another service.
        (
            "https://app.internal/x".to_owned(),
            "https://app.internal/x",
        ),
        (
            "http://app.internal:8080/x".to_owned(),
            "http://app.internal:8080/x",
        ),
    ];
    for (value, expected) in rows {
        assert_eq!(told(&telling, &proxy, "/", "Location", &value), expected);
    }
    // Web servers write the port that they listen on behind whatever name they were asked by.
    let port = addr.port();
    for setting in ["app.internal", "app.internal:8080"] {
        let config = route("/", &[addr]) + &format!("host_header = \"{setting}\"\n");
        let proxy = Proxy::start(&config);
        for (value, expected) in [
            (
                format!("http://app.internal:{port}/dir/"),
                "http://www.example:81/dir/",
            ),
            (
                format!("//APP.internal:{port}/dir/"),
                "//www.example:81/dir/",
            ),
            (format!("http://{setting}/x"), "http://www.example:81/x"),
            (
                "http://app.internal:1/x".to_owned(),
                "http://app.internal:1/x",
            ),
        ] {
            let told = told(&telling, &proxy, "/", "Location", &value);
            assert_eq!(told, expected, "{setting}");
        }
        let refresh = format!("1;url=http://app.internal:{port}/x");
        let told = told(&telling, &proxy, "/", "Refresh", &refresh);
        assert_eq!(told, "1;url=http://www.example:81/x");
    }
    // If the backend gets the client's own `Host`, or if a setting says so, nothing changes.
    for setting in ["host_header = \"preserve\"\n", "rewrite_location = false\n"] {
        let proxy = Proxy::start(&(route("/", &[addr]) + setting));
        for value in [
            format!("http://{addr}/x"),
            "http://www.example:81/x".to_owned(),
        ] {
            assert_eq!(
                told(&telling, &proxy, "/", "Location", &value),
                value,
                "{setting}"
            );
        }
    }
}

/// References name the host by which the client of a trusted proxy has called that proxy.
#[test]
fn the_client_of_a_trusted_proxy_is_told_its_own_words() {
    let telling = Telling::start();
    let addr = telling.addr();
    let config = "trusted_proxies = [\"127.0.0.0/8\"]\n".to_owned() + &route("/", &[addr]);
    let lines = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
    for (config, expected) in [
        (config, "https://shop.example/x"),
        (route("/", &[addr]), "http://test/x"),
    ] {
        let proxy = Proxy::start(&config);
        telling.say(&format!("Location: http://{addr}/x\r\n"));
        let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
        assert_eq!(answer.field("location"), Some(expected));
    }
}

/// Of several proxies, the first is the one that the client spoke to; each of the others has added itself behind it.
#[test]
fn the_first_of_several_proxies_is_the_one_that_the_client_spoke_to() {
    let telling = Telling::start();
    let addr = telling.addr();
    telling.say(&format!("Location: http://{addr}/x\r\n"));
    let trusting = "trusted_proxies = [\"127.0.0.0/8\"]\n".to_owned() + &route("/", &[addr]);
    let (trusting, stranger) = (Proxy::start(&trusting), Proxy::to(&[addr]));
    let rows = [
        (
            "X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: out.example, mid.example\r\n",
            "https://out.example/x",
        ),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: out.example:81\r\nX-Forwarded-Host: mid.example\r\n",
            "https://out.example:81/x",
        ),
        ("X-Forwarded-Proto: , HTTPS\r\n", "https://in.example/x"),
        ("X-Forwarded-Proto: wss, https\r\n", "http://in.example/x"),
        ("X-Forwarded-Host: a b, c\r\n", "http://in.example/x"),
        // The port stands beside the host, or in a field of its own.
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: out.example\r\nX-Forwarded-Port: 8443, 80\r\n",
            "https://out.example:8443/x",
        ),
        (
            "X-Forwarded-Host: out.example:81\r\nX-Forwarded-Port: 8443\r\n",
            "http://out.example:81/x",
        ),
        (
            "X-Forwarded-Host: [::1]\r\nX-Forwarded-Port: 8080\r\n",
            "http://[::1]:8080/x",
        ),
        ("X-Forwarded-Port: 8080\r\n", "http://in.example:8080/x"),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n",
            "https://in.example/x",
        ),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 80\r\n",
            "https://in.example/x",
        ),
        ("X-Forwarded-Port: 8x\r\n", "http://in.example/x"),
        // The field of RFC 7239 counts where the older fields say nothing.
        (
            "Forwarded: for=_a;host=\"out.example:81\";proto=https, host=mid.example\r\n",
            "https://out.example:81/x",
        ),
        (
            "Forwarded: host=mid.example;proto=http\r\nX-Forwarded-Host: out.example\r\n\
             X-Forwarded-Proto: https\r\n",
            "https://out.example/x",
        ),
        ("Forwarded: host=\"a b\";proto=x\r\n", "http://in.example/x"),
    ];
    for (lines, expected) in rows {
        let request = format!("GET / HTTP/1.1\r\nHost: in.example\r\n{lines}\r\n");
        let answer = trusting.ask(&request);
        assert_eq!(answer.field("location"), Some(expected), "{lines}");
        let answer = stranger.ask(&request);
        assert_eq!(answer.field("location"), Some("http://in.example/x"));
    }
    let answer = trusting.h2().ask(&h2_get(
        "/",
        &[
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "out.example, mid.example"),
        ],
    ));
    assert_eq!(answer.field("location"), Some("https://out.example/x"));
}

/// A backend may know from `X-Forwarded-Host` what its client calls it. The prefix it cannot know.
#[test]
fn a_backend_that_uses_the_clients_name_does_not_know_the_prefix() {
    let telling = Telling::start();
    let addr = telling.addr();
    let proxy = Proxy::start(&(route("/api", &[addr]) + "strip_prefix = true\n"));
    let rows = [
        ("http://www.example:81/x", "http://www.example:81/api/x"),
        ("//www.example:81/x", "//www.example:81/api/x"),
        // The client is to come back by another scheme, as it is told.
        ("https://www.example:81/x", "https://www.example:81/api/x"),
        ("http://www.example:81/api/x", "http://www.example:81/api/x"),
        ("http://www.example/x", "http://www.example/x"),
    ];
    for (value, expected) in rows {
        let told = told(&telling, &proxy, "/api/y", "Location", value);
        assert_eq!(told, expected);
    }
    // Without a prefix nothing is changed.
    for value in ["http://www.example:81/x", "https://www.example:81/x"] {
        assert_eq!(
            told(&telling, &Proxy::to(&[addr]), "/", "Location", value),
            value
        );
    }
}

#[test]
fn a_prefix_that_was_taken_off_is_put_back_on() {
    let telling = Telling::start();
    let addr = telling.addr();
    let stripping = route("/api", &[addr]) + "strip_prefix = true\n";
    let proxy = Proxy::start(&stripping);
    let rows = [
        (format!("http://{addr}/x"), "http://www.example:81/api/x"),
        (format!("http://{addr}"), "http://www.example:81/api"),
        (
            format!("http://{addr}/api/x"),
            "http://www.example:81/api/x",
        ),
        ("/x?y".to_owned(), "/api/x?y"),
        ("/".to_owned(), "/api/"),
        ("/api/x".to_owned(), "/api/x"),
        ("../x".to_owned(), "../x"),
        (
            "http://other.example/x".to_owned(),
            "http://other.example/x",
        ),
    ];
    for (value, expected) in rows {
        assert_eq!(
            told(&telling, &proxy, "/api/y", "Location", &value),
            expected
        );
    }
    assert_eq!(
        told(&telling, &proxy, "/api", "Refresh", "1;url=/x"),
        "1;url=/api/x"
    );
    let preserving = stripping + "host_header = \"preserve\"\n";
    let proxy = Proxy::start(&preserving);
    let rows = [
        ("http://www.example:81/x", "http://www.example:81/api/x"),
        ("/x", "/api/x"),
        ("http://www.example/x", "http://www.example/x"),
    ];
    for (value, expected) in rows {
        assert_eq!(
            told(&telling, &proxy, "/api/y", "Location", value),
            expected
        );
    }
    let off = Proxy::start(&(preserving + "rewrite_location = false\n"));
    assert_eq!(told(&telling, &off, "/api/y", "Location", "/x"), "/x");
}

#[test]
fn over_tls_and_http2_the_same_is_told() {
    let telling = Telling::start();
    let addr = telling.addr();
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[addr]));
    for scheme in ["http", "https"] {
        telling.say(&format!("Location: {scheme}://{addr}/x\r\n"));
        let fields = h2_get("/", &[]);
        let (_, authority) = fields
            .iter()
            .find(|(name, _)| *name == ":authority")
            .unwrap();
        let answer = trusted.h2(&proxy).ask(&fields);
        let expected = format!("https://{authority}/x");
        assert_eq!(answer.field("location"), Some(&expected[..]), "{scheme}");
    }
    // A long name is kept as well as a short one.
    let proxy = Proxy::to(&[addr]);
    telling.say(&format!("Location: http://{addr}/x\r\n"));
    let host = ["a"; 100].join(".");
    let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(
        answer.field("location"),
        Some(&format!("http://{host}/x")[..])
    );
}

/// The answers of a backend of HTTP/2 are rewritten in the same way.
#[test]
fn a_backend_of_http2_is_rewritten_too() {
    let origin = Origin::start(|link| {
        let stream = link.stream.try_clone().unwrap();
        let addr = stream.local_addr().unwrap();
        let mut backend = Answering::over(stream);
        while let Some((stream, _)) = backend.request() {
            backend.answer_with(stream, 302, &[("location", &format!("http://{addr}/x"))]);
        }
    });
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + "protocol = \"h2\"\n"));
    let mut client: Client = proxy.client();
    let answer = client.ask(get("/"));
    assert_eq!(answer.field("location"), Some("http://test/x"));
}

/// An answer that ends with its head over HTTP/2 gets a `Content-Length` of 0 over HTTP/1.1, where a client would wait
/// for a body.
#[test]
fn an_answer_without_a_body_ends_for_every_client() {
    let origin = Origin::start(|link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while let Some((stream, path)) = backend.request() {
            let status = path.trim_start_matches('/').parse().unwrap();
            backend.answer_with(stream, status, &[("x-kept", "1")]);
        }
    });
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + "protocol = \"h2\"\n"));
    let mut client: Client = proxy.client();
    for (status, length) in [(200, Some("0")), (404, Some("0")), (204, None), (304, None)] {
        let answer = client.ask(get(&format!("/{status}")));
        assert_eq!(answer.status(), status);
        assert_eq!(answer.field("content-length"), length, "{status}");
    }
    let answer = client.ask("HEAD /200 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(answer.field("content-length"), None);
    let answer = proxy.h2().ask(&h2_get("/200", &[]));
    assert!(answer.complete && answer.field("content-length").is_none());
}

#[test]
fn cookies_are_changed_by_setting() {
    let telling = Telling::start();
    let settings = "cookie_domain = { \".app.internal\" = \"www.example\", \"old.internal\" = \"\" }\n\
                    cookie_path = { \"/app\" = \"/\", \"/\" = \"/api/\" }\n";
    telling.say(
        "Set-Cookie: a=/app; Path=/app/x; Domain=app.internal; Secure\r\n\
         set-cookie: b=\"Domain=app.internal\"; DOMAIN=.APP.internal; path=/\r\n\
         Set-Cookie: c=1; domain=old.internal; HttpOnly\r\nSet-Cookie: d=2\r\n",
    );
    let changed = [
        "a=/app; Path=/x; Domain=www.example; Secure",
        "b=\"Domain=app.internal\"; DOMAIN=www.example; path=/api",
        "c=1; HttpOnly",
        "d=2",
    ];
    let proxy = Proxy::start(&(route("/", &[telling.addr()]) + settings));
    let answer = proxy.ask(get("/"));
    assert_eq!(answer.head.all("set-cookie"), changed);
    let answer = proxy.h2().ask(&h2_get("/", &[]));
    let cookies = answer
        .fields
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    assert!(cookies.map(|(_, value)| value.as_str()).eq(changed));
    // Without a setting the cookies pass as they are.
    let answer = Proxy::to(&[telling.addr()]).ask(get("/"));
    let first = "a=/app; Path=/app/x; Domain=app.internal; Secure";
    assert_eq!(answer.head.all("set-cookie")[0], first);
}
