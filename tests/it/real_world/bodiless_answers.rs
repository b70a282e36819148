//! Answers that have no body have none, whatever a backend says or sends behind them.

use super::backend_answers::config;
use crate::support::origin::ok;
use crate::support::{Origin, Proxy, get};

/// Bytes behind an answer without a body, whether they come at once or later, do not become the answer of the next
/// client.
#[test]
fn what_follows_an_answer_without_a_body_is_no_answer() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let heads = [
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n",
            poison.len()
        ),
        "HTTP/1.1 205 Reset Content\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 103 x\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
    ];
    for (head, behind) in heads.iter().flat_map(|head| [(head, ""), (head, poison)]) {
        let name = format!("{head}{behind}");
        let bytes = name.clone();
        let origin = Origin::start(move |link| {
            while let Some(request) = link.request() {
                if request.head.first_line().starts_with("GET /clean") {
                    link.send(ok("clean"));
                    continue;
                }
                link.send(&bytes);
                link.rest(); // Until the proxy has closed the connection.
                return;
            }
        });
        let proxy = Proxy::start(&config(&origin, ""));
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/odd")).text(), "", "{name:?}");
        origin.wait_for_ended(1);
        for _ in 0..3 {
            assert_eq!(client.ask(get("/clean")).text(), "clean", "{name:?}");
        }
        assert_eq!(origin.accepted(), 2, "{name:?}");
    }
}

/// HEAD keeps the length that a GET would have, and loses what cannot be relied on.
#[test]
fn answers_to_head_keep_a_good_length_alone() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let fields = match request.head.first_line() {
                "HEAD /good HTTP/1.1" => "Content-Length: 5\r\n",
                "HEAD /twice HTTP/1.1" => "Content-Length: 5\r\nContent-Length: 05\r\n",
                "HEAD /both HTTP/1.1" => "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                _ => "Content-Length: five\r\n",
            };
            link.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        }
    });
    let proxy = Proxy::start(&config(&origin, ""));
    let mut client = proxy.client();
    let rows = [
        ("/good", Some("5")),
        ("/twice", Some("5")),
        ("/both", None),
        ("/bad", None),
    ];
    for (path, length) in rows {
        let answer = client.ask(format!("HEAD {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(
            (answer.status(), answer.field("content-length")),
            (200, length),
            "{path}"
        );
        assert_eq!(answer.field("transfer-encoding"), None, "{path}");
    }
}
