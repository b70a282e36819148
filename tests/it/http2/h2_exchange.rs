//! Requests over HTTP/2, by prior knowledge, to backends that speak HTTP/1.1: what arrives on either side.

use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::h2::H2;
use crate::support::h2::frame::{self, PREFACE, code, get, post, request};
use crate::support::origin::{echoing, ok};
use crate::support::place::free_addr;
use crate::support::proxy::{command, route};
use crate::support::{Origin, Proxy};

const MIB: usize = 1 << 20;

/// Bytes of which each tells its place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

#[test]
fn a_get_becomes_http_1_1() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\n\r\nok");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let answer = client.ask(&get(
        "/a/b?c=d",
        &[("user-agent", "tester"), ("x-two", "2")],
    ));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.field("x-one"), Some("1"));
    assert_eq!(answer.field("content-length"), Some("2"));
    let received = origin.request();
    let head = &received.head;
    assert_eq!(head.first_line(), "GET /a/b?c=d HTTP/1.1");
    assert_eq!(head.field("user-agent"), Some("tester"));
    assert_eq!(head.field("x-two"), Some("2"));
    assert_eq!(head.field("x-forwarded-host"), Some("test"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert!(!head.text.contains("\r\n:"), "{}", head.text);
}

#[test]
fn the_authority_becomes_the_host() {
    let origin = Origin::saying("");
    let proxy =
        Proxy::start(&(route("/", &[origin.addr]) + "host_header = \"preserve\"\nvia = true\n"));
    let mut client = proxy.h2();
    let heads: [&[(&str, &str)]; 3] = [
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.example:81"),
            (":path", "/"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            ("host", "b.example"),
        ],
        &[
            (":path", "/"),
            (":authority", "c.example"),
            (":scheme", "http"),
            (":method", "GET"),
            ("host", "C.example:80"),
        ],
    ];
    for head in heads {
        let answer = client.ask(head);
        assert_eq!(answer.status(), 200);
        assert!(answer.field("via").unwrap().starts_with("1.1 "));
    }
    let requests = origin.requests();
    let hosts: Vec<_> = requests
        .iter()
        .map(|request| request.head.field("host").unwrap().to_ascii_lowercase())
        .collect();
    assert_eq!(hosts, ["a.example:81", "b.example", "c.example"]);
    for request in requests {
        let via = request.head.field("via").unwrap();
        assert!(via.starts_with("2 ") || via.starts_with("2.0 "), "{via}");
    }
}

#[test]
fn bodies_arrive_with_a_length_and_without() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let with = post("/", &[("content-length", "5")]);
    assert_eq!(client.ask_with(&with, b"hello").text(), "hello");
    assert_eq!(client.ask_with(&post("/", &[]), b"world").text(), "world");
    assert_eq!(client.ask_with(&post("/", &[]), b"").text(), "");
    assert_eq!(client.ask(&post("/", &[])).text(), "");
    let requests = origin.requests();
    assert_eq!(requests[0].head.field("content-length"), Some("5"));
    assert_eq!(requests[0].head.field("transfer-encoding"), None);
    assert_eq!(
        requests[1].head.field("transfer-encoding"),
        Some("chunked"),
        "{}",
        requests[1].head.text
    );
    assert_eq!(requests[1].head.field("content-length"), None);
    assert_eq!(requests[3].head.field("transfer-encoding"), None);
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&post("/", &[("te", "trailers")]), false);
    client.body(stream, b"body", false);
    client.trailers(stream, &[("x-checksum", "42")]);
    let answer = client.answer(stream);
    assert_eq!(answer.text(), "abc");
    assert_eq!(
        answer.trailers,
        Some(vec![("x-sum".to_owned(), "7".to_owned())])
    );
    let received = origin.request();
    assert_eq!(received.body, b"body");
    assert_eq!(received.trailers.to_ascii_lowercase(), "x-checksum: 42\r\n");
}

#[test]
fn answers_without_content_have_none() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let answer = match request.head.first_line() {
                line if line.starts_with("HEAD") => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                }
                line if line.contains("204") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n",
            };
            link.send(answer);
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    for _ in 0..2 {
        let head = client.ask(&request("HEAD", "/", &[]));
        assert_eq!((head.status(), head.body.len()), (200, 0));
        assert_eq!(head.field("content-length"), Some("1000"));
        let none = client.ask(&get("/204", &[]));
        assert_eq!((none.status(), none.field("content-length")), (204, None));
        let same = client.ask(&get("/304", &[]));
        assert_eq!((same.status(), same.field("etag")), (304, Some("\"x\"")));
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn early_hints_come_before_the_answer() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.h2().ask(&get("/", &[]));
    let links: Vec<_> = answer.interim.iter().map(|fields| &fields[1].1).collect();
    assert_eq!(links, ["</a.css>; rel=preload", "</b.css>; rel=preload"]);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

#[test]
fn a_client_that_waits_for_100_is_told() {
    let origin = Origin::start(|link| {
        while let Some(head) = link.head() {
            let expected = head.field("expect").map(str::to_ascii_lowercase);
            assert_eq!(expected.as_deref(), Some("100-continue"));
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            let Some(request) = link.body_of(head) else {
                return;
            };
            link.send(ok(&String::from_utf8_lossy(&request.body)));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let fields = [("expect", "100-continue"), ("content-length", "5")];
    let stream = client.begin(&post("/", &fields), false);
    client.pump_until("100 arrives", |client| {
        let answer = client.answers.get(&stream);
        answer.is_some_and(|answer| !answer.interim.is_empty())
    });
    client.body(stream, b"hello", true);
    let answer = client.answer(stream);
    assert_eq!(answer.interim[0][0].1, "100");
    assert_eq!(answer.text(), "hello");
}

#[test]
fn an_answer_may_come_before_the_request_has_ended() {
    let origin = Origin::start(|link| {
        while link.head().is_some() {
            link.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntoo");
            link.finish_sending();
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&post("/", &[]), false);
    client.body(stream, b"the beginning", false);
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.text().as_str()), (413, "too"));
    // The rest is not wanted: the stream is reset without an error (RFC 9113 section 8.1).
    client.pump_until("the stream is reset", |client| {
        client.answers[&stream].reset == Some(code::NO_ERROR)
    });
    client.is_alive();
}

#[test]
fn large_bodies_pass_both_ways() {
    let sent = pattern(5 * MIB);
    let expected = sent.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            assert!(request.body == expected, "the body arrived changed");
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            ));
            link.send(&request.body);
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let length = sent.len().to_string();
    for fields in [&[][..], &[("content-length", length.as_str())]] {
        let answer = client.ask_with(&post("/", fields), &sent);
        assert_eq!(answer.status(), 200);
        assert!(answer.body == sent, "the body came back changed");
    }
}

#[test]
fn the_access_log_says_http_2() {
    let origin = Origin::saying("hello");
    for (format, expected) in [("json", "\"HTTP/2"), ("combined", "HTTP/2")] {
        let log = format!("[access_log]\npath = \"{{dir}}/access.log\"\nformat = \"{format}\"\n");
        let proxy = Proxy::start(&(log + &route("/api", &[origin.addr])));
        let mut client = proxy.h2();
        client.ask(&get("/api/x", &[("user-agent", "tester")]));
        client.ask(&get("/none", &[]));
        let lines = proxy.access_lines(2);
        for line in &lines {
            assert!(line.contains(expected), "{line}");
        }
        assert!(lines[0].contains("/api/x") && lines[0].contains("tester"));
        if format == "json" {
            let served: Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(served["status"], 200, "{served}");
            assert_eq!(served["response_bytes"], 5, "{served}");
            assert_eq!(served["host"], "test", "{served}");
            let refused: Value = serde_json::from_str(&lines[1]).unwrap();
            assert_eq!(refused["failure"], "no_route", "{refused}");
        }
    }
}

#[test]
fn own_answers_have_their_content() {
    let silent = Origin::start(|link| {
        link.request();
        link.rest();
    });
    let config = [
        "[timeouts]\nupstream_response = 0.3\n".to_owned(),
        route("/down", &[free_addr()]),
        route("/silent", &[silent.addr]),
    ];
    let proxy = Proxy::start(&config.concat());
    let mut client = proxy.h2();
    for (path, status) in [("/none", 404), ("/down", 502), ("/silent", 504)] {
        let plain = client.ask(&get(path, &[]));
        assert_eq!(plain.status(), status);
        assert!(!plain.body.is_empty() && !plain.reason().is_empty());
        let json = client.ask(&get(path, &[("accept", "application/json")]));
        assert_eq!(json.status(), status);
        assert_eq!(json.field("content-type"), Some("application/json"));
        let body: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!(body["status"], status, "{body}");
        let head = client.ask(&request("HEAD", path, &[]));
        assert_eq!((head.status(), head.body.len()), (status, 0));
        let sent = client.ask_with(&post(path, &[]), b"a body that nobody wants");
        assert_eq!(sent.status(), status);
    }
    client.is_alive();
}

#[test]
fn what_cannot_be_served_but_is_well_formed_is_answered() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let long = format!("/{}", "x".repeat(9000));
    let large = "x".repeat(40_000);
    let many: Vec<(&str, &str)> = std::iter::repeat_n(("x-many", "1"), 120).collect();
    let rows = [
        (get(&long, &[]), 414),
        (get("/", &[("x-large", &large)]), 431),
        (get("/", &many), 431),
        (request("TRACE", "/", &[]), 405),
        (get("/", &[("expect", "something")]), 417),
        (vec![(":method", "CONNECT"), (":authority", "a:443")], 405),
    ];
    for (fields, status) in rows {
        let answer = client.ask(&fields);
        assert_eq!(answer.status(), status, "{:?}", &fields[..2]);
    }
    assert_eq!(client.ask(&get("/", &[])).status(), 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_backend_that_breaks_off_resets_the_stream_alone() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/whole") {
                link.send(ok("whole"));
                continue;
            }
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part");
            return;
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let answer = client.ask(&get("/part", &[]));
    assert_eq!(answer.status(), 200);
    assert!(!answer.complete, "{answer:?}");
    assert!(
        matches!(answer.reset, Some(code::INTERNAL_ERROR | code::CANCEL)),
        "{answer:?}"
    );
    assert_eq!(client.ask(&get("/whole", &[])).text(), "whole");
}

#[test]
fn an_answer_until_close_is_complete_at_its_end() {
    let origin = Origin::start(|link| {
        link.request();
        link.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
    });
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.h2().ask(&get("/", &[]));
    assert!(answer.complete);
    assert_eq!(answer.text(), "until the end");
    assert_eq!(answer.field("connection"), None);
}

#[test]
fn cookies_in_pieces_become_one_field() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let cookies = [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2")];
    proxy.h2().ask(&get("/", &cookies));
    assert_eq!(origin.request().head.field("cookie"), Some("a=1; b=2"));
}

#[test]
fn an_upgrade_to_h2c_is_ignored() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.text().as_str()), (200, "plain"));
    assert!(answer.interim.is_empty());
    let head = origin.request().head;
    assert_eq!(head.field("upgrade"), None, "{}", head.text);
    assert_eq!(head.field("http2-settings"), None, "{}", head.text);
}

#[test]
fn both_versions_come_to_one_address() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::to(&[origin.addr]);
    let mut first = proxy.client();
    let mut second = proxy.h2();
    for _ in 0..3 {
        assert_eq!(first.ask(crate::support::get("/")).text(), "hello");
        assert_eq!(second.ask(&get("/", &[])).text(), "hello");
    }
    // Not the preface, but it begins like it.
    for (bytes, status) in [
        (&b"PRI * HTTP/1.1\r\nHost: test\r\n\r\n"[..], 400),
        (
            b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
            200,
        ),
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        let rest = String::from_utf8_lossy(&client.head().text.into_bytes()).into_owned();
        assert!(rest.contains(&status.to_string()), "{rest}");
    }
}

#[test]
fn frames_may_come_byte_by_byte() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = H2::connect(proxy.addr);
    let bytes = [
        PREFACE.to_vec(),
        frame::settings(&[]),
        frame::headers(frame::flag::END_HEADERS, 1, frame::section(&post("/", &[]))),
        frame::data(0, 1, b"hello "),
        frame::data(frame::flag::END_STREAM, 1, b"world"),
    ];
    for byte in bytes.concat() {
        client.send([byte]);
        thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(client.answer(1).text(), "hello world");
}

#[test]
fn events_are_passed_on_at_once() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        link.request();
        link.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for _ in 0..3 {
            link.send("9\r\ndata: 1\n\n\r\n");
            let _ = wait.lock().unwrap().recv();
        }
        link.send("0\r\n\r\n");
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&get("/", &[]), true);
    for events in 1..=3 {
        client.pump_until("an event arrives", |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| answer.body.len() == 9 * events)
        });
        let_go.send(()).unwrap();
    }
    assert!(client.answer(stream).complete);
}

#[test]
fn a_listener_without_http_2_refuses_the_preface() {
    let origin = Origin::saying("hello");
    let addr = free_addr();
    let listener = format!("[[listeners]]\naddr = \"{addr}\"\nhttp2 = false\n");
    let config = listener + &route("/", &[origin.addr]);
    let proxy = Proxy::launch(command(), addr, &config);
    proxy.wait_until_it_accepts();
    let mut client = proxy.client();
    client.send(PREFACE);
    assert_eq!(client.answer().status(), 505);
    client.ends();
    assert_eq!(proxy.ask(crate::support::get("/")).text(), "hello");
}
