//! A message passes over both versions of HTTP, or over none: the bounds count the content of a head, not its encoding.

use super::websockets_to_h2::BOTH;
use crate::support::h2::H2;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, get, post, setting};
use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

const LIMITS: &str = "[limits]\nrequest_head_bytes = 2048\nrequest_headers = 20\n";

fn proxy(limits: &str) -> (Origin, Proxy) {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&(limits.to_owned() + &route("/", &[origin.addr])));
    (origin, proxy)
}

/// Sends the same request over both versions. Both answers must have this status.
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
    // With `Host` there are 20 fields.
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

/// The announced size of a field section is never less than the size of a section that passes.
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
    // The connection stays open.
    assert_eq!(client.ask(&get("/", &[])).status(), 200);
}

/// The scheme and the host of an absolute target do not count as parts of its path.
#[test]
fn targets_are_counted_alike() {
    let (_origin, proxy) = proxy("[limits]\nrequest_target_bytes = 64\n");
    let ask = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        proxy.ask(head).status()
    };
    for (path, status) in [
        ("/".to_owned() + &"p".repeat(63), 200),
        ("/".to_owned() + &"p".repeat(64), 414),
    ] {
        both(&proxy, &path, &[], status);
        assert_eq!(ask(&format!("http://test{path}")), status);
        let long_host = "a".repeat(60) + ".example";
        assert_eq!(ask(&format!("https://{long_host}{path}")), status);
        assert_eq!(ask(&format!("http://test/?{}", &path[2..])), status);
        // The slash that stands for the empty path counts, too.
        assert_eq!(ask(&format!("http://test?{}", &path[2..])), status);
    }
    // A target that is too long is refused before its end has come.
    let mut client = proxy.client();
    client.send(format!("GET http://test/{}", "p".repeat(64)));
    assert_eq!(client.answer().status(), 414);
}

/// The bounds on the head of a request do not bind its trailers, which have their own bounds.
#[test]
fn trailers_are_counted_alike_under_small_heads() {
    let (_origin, proxy) = proxy("[limits]\nrequest_head_bytes = 256\nrequest_headers = 5\n");
    let mut client = proxy.h2();
    let value = "v".repeat(100);
    for (count, status) in [(64, 200), (65, 431)] {
        let lines = format!("t: {value}\r\n").repeat(count);
        let written = proxy.ask(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{lines}\r\n"
        ));
        assert_eq!(written.status(), status, "{count}");
        let stream = client.begin(&post("/", &[]), false);
        client.body(stream, b"x", false);
        client.trailers(stream, &vec![("t", &value[..]); count]);
        let answer = client.answer(stream);
        assert_eq!((answer.reset, answer.status()), (None, status), "{count}");
    }
    let announced = client.settings[&6] as usize;
    assert!(announced >= 64 * (value.len() + 33), "{announced}");
}

/// The bounds on an answer do not depend on the version that the backend speaks.
#[test]
fn answers_of_backends_are_counted_alike() {
    let fields_of = |path: &str| match path {
        "/many" => vec![("x", "y".to_owned()); 250],
        "/long" => vec![("x", "y".repeat(1_000)); 60],
        "/too-many" => vec![("x", "y".to_owned()); 257],
        _ => vec![("x", "y".repeat(1_000)); 66],
    };
    let written = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let path = request
                .head
                .first_line()
                .split(' ')
                .nth(1)
                .unwrap()
                .to_owned();
            let lines = fields_of(&path)
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .collect::<String>();
            link.try_send(format!("HTTP/1.1 204 No Content\r\n{lines}\r\n"));
        }
    });
    let framed = Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        for path in ["/many", "/long", "/too-many", "/too-long"] {
            let Some(stream) = backend.request() else {
                return;
            };
            let fields = fields_of(path);
            let mut all = vec![(":status", "204")];
            all.extend(fields.iter().map(|(name, value)| (*name, &value[..])));
            let section = frame::section(&all);
            let pieces: Vec<&[u8]> = section.chunks(16_000).collect();
            for (number, piece) in pieces.iter().enumerate() {
                let last = number + 1 == pieces.len();
                let flags = if last { flag::END_HEADERS } else { 0 };
                backend.send(match number {
                    0 => frame::headers(flags | flag::END_STREAM, stream, piece),
                    _ => frame::continuation(flags, stream, piece),
                });
            }
        }
        while backend.frame().is_some() {}
    });
    let proxy = Proxy::start(&format!(
        "workers = 1\n{}[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = [\"{}\"]\n\
         [[routes]]\nhost = \"h2\"\npool = \"h2\"\n",
        route("/", &[written.addr]),
        framed.addr
    ));
    let rows = [
        ("/many", 204),
        ("/long", 204),
        ("/too-many", 502),
        ("/too-long", 502),
    ];
    for (path, status) in rows {
        for host in ["test", "h2"] {
            let answer = proxy.ask(format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(answer.status(), status, "{path} of {host}");
        }
    }
}

/// Several `priority` fields form one list (RFC 9218 section 4): the later field does not replace the earlier one.
#[test]
fn priority_fields_are_one_list() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
            while link.try_send(&chunk) {}
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
    client.gives_credit = false;
    let idle = [("priority", "u=7"), ("priority", "i")];
    let patient = client.begin(&get("/", &idle), true);
    client.head(patient);
    client.pump_until("the connection's window is used up", |client| {
        client.answers[&patient].body.len() >= 65_535
    });
    let urgent = client.begin(&get("/", &[("priority", "u=5")]), true);
    client.head(urgent);
    // If the second field replaced the first one, the first stream would be urgent and would take all of these windows.
    for _ in 0..1_000 {
        if client.answers[&urgent].body.len() >= 10_000 {
            return;
        }
        client.credit(0, 1_000);
        let received = |client: &H2| -> usize {
            client
                .answers
                .values()
                .map(|answer| answer.body.len())
                .sum()
        };
        let before = received(&client);
        client.pump_until("the credit is used", |client| {
            received(client) >= before + 1_000
        });
    }
    panic!("the urgent stream has got nothing");
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
