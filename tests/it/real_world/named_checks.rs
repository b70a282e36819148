//! Health checks of backends that serve hosts by name: the request of a probe, its address, and its protocol.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use crate::support::managed::Managed;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::tls::{Authority, Server};
use crate::support::{Origin, Proxy, eventually, get};

/// A pool of this backend with this check, and a route with these settings. One probe decides the backend's state.
fn config(backend: SocketAddr, pool: &str, check: &str, route: &str) -> String {
    format!(
        "[[pools]]\nname = \"api\"\nbackends = [\"{backend}\"]\n{pool}\n\
         health_check = {{ interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1, {check} }}\n\
         [[routes]]\npool = \"api\"\n{route}\n"
    )
}

/// The first line and some fields of the first probe, as the backend has received them.
fn probed(check: &str, route: &str, names: &[&str]) -> (String, Vec<Option<String>>) {
    let origin = Origin::saying("fine");
    let _proxy = Proxy::start(&config(origin.addr, "", check, route));
    origin.wait_for_requests(1);
    let head = &origin.requests()[0].head;
    let own = origin.addr.to_string();
    let field = |name: &&str| Some(head.field(name)?.replace(&own, "its own address"));
    (
        head.first_line().to_owned(),
        names.iter().map(field).collect(),
    )
}

#[test]
fn a_probe_asks_what_the_check_says() {
    let named = "host_header = \"app.example.com\"";
    let rows = [
        ("path = \"/h\"", "", "GET /h", "its own address"),
        ("path = \"/h\"", named, "GET /h", "app.example.com"),
        (
            "path = \"/h\"",
            "host_header = \"preserve\"",
            "GET /h",
            "its own address",
        ),
        (
            "path = \"/h\", host = \"a.test:81\", method = \"OPTIONS\"",
            named,
            "OPTIONS /h",
            "a.test:81",
        ),
        (
            "path = \"/h\", host = \"[::1]\", method = \"HEAD\"",
            "",
            "HEAD /h",
            "[::1]",
        ),
    ];
    for (check, route, line, host) in rows {
        let (seen, fields) = probed(check, route, &["host", "content-length", "user-agent"]);
        assert_eq!(seen, format!("{line} HTTP/1.1"), "{check}");
        let palantir = Some("palantir".to_owned());
        assert_eq!(fields, [Some(host.to_owned()), None, palantir], "{check}");
    }
    let headers = "headers = { authorization = \"Bearer abc\", User-Agent = \"lb\", accept = \"text/plain\" }";
    let check = format!("path = \"/h?x=1\", method = \"POST\", {headers}");
    let names = ["authorization", "user-agent", "accept", "content-length"];
    let (seen, fields) = probed(&check, "", &names);
    assert_eq!(seen, "POST /h?x=1 HTTP/1.1");
    let expected = ["Bearer abc", "lb", "text/plain", "0"];
    assert_eq!(fields, expected.map(|value| Some(value.to_owned())));
}

/// A probe reads an answer as palantir reads the answer to a request: an answer that is only malformed is a success.
#[test]
fn an_answer_is_read_as_those_to_requests_are() {
    let answers = [
        "HTTP/1.1 200 OK\nContent-Length: 4\n\nfine",
        "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4 \r\nfine\r\n0\r\n\r\n",
    ];
    for answer in answers {
        let origin = Origin::answering(answer);
        for (strict, status) in [(false, 200), (true, 503)] {
            let pool = format!("strict_responses = {strict}");
            let check = "path = \"/h\", body_contains = \"fine\"";
            let proxy = Proxy::start(&config(origin.addr, &pool, check, ""));
            let expected = if strict { "is down" } else { "is up" };
            eventually(&format!("the backend {expected}: {answer:?}"), || {
                proxy.ask(get("/")).status() == status
            });
        }
    }
}

#[test]
fn an_address_of_ipv6_is_named_in_brackets() {
    let port = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let origin = Origin::start_at((Ipv6Addr::LOCALHOST, port).into(), |link| {
        while link.request().is_some() && link.try_send(ok("fine")) {}
    });
    let proxy = Proxy::start(&config(origin.addr, "", "path = \"/h\"", ""));
    origin.wait_for_requests(2);
    let host = origin.requests()[0].head.field("host").map(str::to_owned);
    assert_eq!(host, Some(format!("[::1]:{port}")));
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
}

#[test]
fn another_port_may_tell_of_a_backend() {
    let (serving, telling) = (
        Origin::saying("served"),
        Origin::answering("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
    );
    // Both origins have the same address and different ports.
    assert_eq!(serving.addr.ip(), telling.addr.ip());
    let check = format!("path = \"/h\", port = {}", telling.addr.port());
    let proxy = Proxy::start(&config(serving.addr, "", &check, ""));
    proxy.wait_for_log(&[
        &serving.addr.to_string(),
        "to=\"unhealthy\"",
        "answered 503",
    ]);
    assert_eq!(serving.count(), 0);
    let host = telling.requests()[0].head.field("host").map(str::to_owned);
    assert_eq!(host, Some(serving.addr.to_string()));
    // Nobody listens at this port. A probe that only connects uses the port, too.
    let nobody = free_addr();
    let check = format!("tcp = true, port = {}", nobody.port());
    let proxy = Proxy::start(&config(serving.addr, "", &check, ""));
    proxy.wait_for_log(&[
        &serving.addr.to_string(),
        "to=\"unhealthy\"",
        "connection refused",
    ]);
}

#[test]
fn the_body_must_contain_a_text() {
    let long = "x".repeat(200_000) + "ready";
    let bodies = [
        ("ready".to_owned(), None),
        ("already here".to_owned(), None),
        (
            "not yet".to_owned(),
            Some("the body does not contain \\\"ready\\\""),
        ),
        (String::new(), Some("the body does not contain")),
        (long, Some("the first 32 KiB of the body do not contain")),
    ];
    for (body, expected) in bodies {
        let pieces: String = body
            .as_bytes()
            .chunks(3)
            .take(20_000)
            .map(|piece| {
                format!(
                    "{:x}\r\n{}\r\n",
                    piece.len(),
                    String::from_utf8_lossy(piece)
                )
            })
            .collect();
        let answers = [
            ok(&body),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n"),
        ];
        for answer in answers {
            let origin = Origin::answering(answer);
            let check = "path = \"/h\", body_contains = \"ready\"";
            let proxy = Proxy::start(&config(origin.addr, "", check, ""));
            match expected {
                Some(words) => proxy.wait_for_log(&["to=\"unhealthy\"", "answered 200", words]),
                None => {
                    origin.wait_for_requests(2);
                    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
                }
            }
        }
    }
    // A body that breaks off is a failure, unless the end of the connection is its end.
    for (answer, is_well) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno", false),
        ("HTTP/1.1 200 OK\r\n\r\nalready", true),
    ] {
        let origin = Origin::start(move |link| {
            if link.request().is_some() {
                link.send(answer);
            }
        });
        let check = "path = \"/h\", body_contains = \"ready\"";
        let proxy = Proxy::start(&config(origin.addr, "", check, ""));
        if is_well {
            origin.wait_for_requests(2)
        } else {
            proxy.wait_for_log(&["unhealthy", "closed before the end of the body"])
        }
        assert_eq!(proxy.log().contains("unhealthy"), !is_well);
    }
}

#[test]
fn a_probe_may_have_tls_of_its_own_or_none() {
    let authority = Authority::new();
    let directory = Directory::new();
    let ca = directory.write("ca.pem", &authority.pem());
    let own = format!("tls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let secure = || {
        Server::new(&authority.issue(&["a.example"]))
            .start(|link| while link.request().is_some() && link.try_send(ok("fine")) {})
    };
    let (plain, secured) = (Origin::saying("fine"), secure());
    let port = |origin: &Origin| format!("port = {}", origin.addr.port());
    let rows = [
        // Requests in cleartext and probes over TLS at another port, and the reverse.
        (
            plain.addr,
            "",
            format!("path = \"/h\", {}, {own}", port(&secured)),
            &secured,
        ),
        (
            secured.addr,
            &*own,
            format!("path = \"/h\", {}, tls = false", port(&plain)),
            &plain,
        ),
    ];
    for (backend, pool, check, told) in rows {
        let before = told.count();
        let proxy = Proxy::start(&config(backend, pool, &check, ""));
        told.wait_for_requests(before + 2);
        assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
        assert_eq!(
            proxy.ask(crate::support::get("/")).text(),
            "fine",
            "{check}"
        );
    }
    // The probe's own TLS settings can make it fail where requests would succeed. A probe that only connects makes a
    // handshake.
    let rows = [
        "path = \"/h\", tls = true".to_owned(),
        "tcp = true, tls = { verify = true, server_name = \"a.example\" }".to_owned(),
        format!("tcp = true, tls = {{ ca = {ca:?}, server_name = \"b.example\" }}"),
    ];
    for check in rows {
        let proxy = Proxy::start(&config(secured.addr, &own, &check, ""));
        proxy.wait_for_log(&["to=\"unhealthy\"", "no TLS"]);
    }
    let check = format!("tcp = true, tls = {{ ca = {ca:?}, server_name = \"a.example\" }}");
    let before = secured.accepted();
    let proxy = Proxy::start(&config(secured.addr, &own, &check, ""));
    eventually("it is probed", || secured.accepted() >= before + 2);
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
}

#[test]
fn a_changed_check_is_in_force_at_once_and_its_secrets_are_not_shown() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let line = request.head.first_line().to_owned();
            match line.split(' ').nth(1) {
                Some("/hangs") => drop(link.rest()),
                Some("/ill") => {
                    link.try_send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
                }
                _ => drop(link.try_send(ok("fine"))),
            }
        }
    });
    let managed = Managed::start("", &config(origin.addr, "", "path = \"/hangs\"", ""));
    let patch = |check: &str| {
        // The next probe by this check would come an hour later, and the probe that hangs has as much time.
        let check = format!(
            "{{\"health_check\":{{\"interval_secs\":3600,\"timeout_secs\":3600,\"unhealthy_after\":1,\"healthy_after\":1,{check}}}}}"
        );
        let answer = managed.ask("PATCH /pools/api", &[], &check);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    };
    origin.wait_for_requests(1);
    patch("\"path\":\"/hangs\",\"host\":\"b.test\"");
    origin.wait_for_requests(2);
    patch("\"path\":\"/ill\"");
    managed
        .proxy
        .wait_for_log(&["to=\"unhealthy\"", "answered 500"]);
    patch("\"path\":\"/well\",\"headers\":{\"authorization\":\"Bearer abcdef\",\"x-a\":\"b\"}");
    managed
        .proxy
        .wait_for_log(&["to=\"healthy\"", "answered 200"]);
    let shown = &managed.get("/pools/api")["health_check"];
    assert_eq!(shown["headers"]["authorization"], "***");
    assert_eq!(shown["headers"]["x-a"], "b");
    let config = managed.ask("GET /config", &[], "").text();
    assert!(
        !config.contains("abcdef") && config.contains("x-a"),
        "{config}"
    );
    assert!(!managed.proxy.log().contains("abcdef"));
}
