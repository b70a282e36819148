//! Several requests on one connection.

use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, get};

/// Answers with the request line.
fn repeating() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            link.send(ok(request.head.first_line()));
        }
    })
}

#[test]
fn a_hundred_requests_in_one_write_are_answered_in_order() {
    let origin = repeating();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let requests: String = (0..100).map(|n| get(&format!("/{n}"))).collect();
    client.send(requests);
    for n in 0..100 {
        assert_eq!(client.answer().text(), format!("GET /{n} HTTP/1.1"));
    }
    assert_eq!(client.ask(get("/last")).text(), "GET /last HTTP/1.1");
    assert_eq!(origin.count(), 101);
}

#[test]
fn bodies_and_kinds_may_be_mixed() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let text = format!("{} {}", request.head.first_line(), request.body.len());
            if request.head.first_line().starts_with("HEAD") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")
            } else {
                link.send(ok(&text))
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let long = "y".repeat(40_000);
    client.send(format!(
        "POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc\
         GET /2 HTTP/1.1\r\nHost: test\r\n\r\n\
         HEAD /3 HTTP/1.1\r\nHost: test\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nT: u\r\n\r\n\
         POST /5 HTTP/1.1\r\nHost: test\r\nContent-Length: 40000\r\n\r\n{long}\
         \r\nGET /6 HTTP/1.1\r\nHost: test\r\n\r\n"
    ));
    assert_eq!(client.answer().text(), "POST /1 HTTP/1.1 3");
    assert_eq!(client.answer().text(), "GET /2 HTTP/1.1 0");
    assert_eq!(client.read_answer(true).field("content-length"), Some("77"));
    assert_eq!(client.answer().text(), "POST /4 HTTP/1.1 5");
    assert_eq!(client.answer().text(), "POST /5 HTTP/1.1 40000");
    assert_eq!(client.answer().text(), "GET /6 HTTP/1.1 0");
}

#[test]
fn own_answers_keep_their_place() {
    let origin = repeating();
    let proxy = Proxy::start(&route("/api", &[origin.addr]));
    let mut client = proxy.client();
    client.send([get("/api/1"), get("/none"), get("/api/2"), get("/none")].concat());
    assert_eq!(client.answer().text(), "GET /api/1 HTTP/1.1");
    assert_eq!(client.answer().status(), 404);
    assert_eq!(client.answer().text(), "GET /api/2 HTTP/1.1");
    assert_eq!(client.answer().status(), 404);
}

#[test]
fn a_bad_request_ends_what_good_ones_began() {
    let origin = repeating();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(
        [
            get("/1"),
            get("/2"),
            "GET /3 HTTP/1.1\r\n\r\n".to_owned(),
            get("/4"),
        ]
        .concat(),
    );
    assert_eq!(client.answer().text(), "GET /1 HTTP/1.1");
    assert_eq!(client.answer().text(), "GET /2 HTTP/1.1");
    assert_eq!(client.answer().status(), 400);
    client.ends();
    assert_eq!(origin.count(), 2);
}

#[test]
fn connection_close_is_the_last_word() {
    let origin = repeating();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let closing = "GET /2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    client.send([get("/1"), closing.to_owned(), get("/3")].concat());
    assert_eq!(client.answer().text(), "GET /1 HTTP/1.1");
    let answer = client.answer();
    assert_eq!(answer.text(), "GET /2 HTTP/1.1");
    assert_eq!(answer.field("connection"), Some("close"));
    client.ends();
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_connection_serves_as_many_requests_as_set() {
    let origin = repeating();
    let limits = "[limits]\nrequests_per_connection = 3\n";
    let proxy = Proxy::start(&(limits.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send([get("/1"), get("/2"), get("/3"), get("/4")].concat());
    assert_ne!(client.answer().field("connection"), Some("close"));
    assert_ne!(client.answer().field("connection"), Some("close"));
    assert_eq!(client.answer().field("connection"), Some("close"));
    client.ends();
    assert_eq!(origin.count(), 3);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let origin = repeating();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let answer = client.ask("GET /1 HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(answer.text(), "GET /1 HTTP/1.1");
    assert_eq!(answer.field("connection"), Some("close"));
    client.ends();

    let mut client = proxy.client();
    for n in 0..3 {
        let answer = client.ask(format!(
            "GET /{n} HTTP/1.0\r\nHost: test\r\nConnection: Keep-Alive\r\n\r\n"
        ));
        assert_eq!(answer.text(), format!("GET /{n} HTTP/1.1"));
        assert_eq!(
            answer
                .field("connection")
                .map(str::to_ascii_lowercase)
                .as_deref(),
            Some("keep-alive")
        );
    }
}

#[test]
fn backends_that_close_after_each_answer_are_no_trouble() {
    let origin = Origin::start(|link| {
        if let Some(request) = link.request() {
            let line = request.head.first_line();
            link.send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{line}",
                line.len()
            ));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for n in 0..50 {
        let answer = client.ask(get(&format!("/{n}")));
        assert_eq!(answer.text(), format!("GET /{n} HTTP/1.1"));
        assert_ne!(
            answer.field("connection"),
            Some("close"),
            "the client's connection is its own"
        );
    }
    let origin_10 = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::to(&[origin_10.addr]);
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.ask(get("/")).text(), "ok");
    }
}
