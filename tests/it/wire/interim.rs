//! Interim answers, and clients that ask before they send their body.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::origin::ok;
use crate::support::{Link, Origin, Proxy, get};

#[test]
fn early_hints_come_before_the_answer() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.ask(get("/"));
        let links: Vec<_> = answer
            .interim
            .iter()
            .map(|head| head.field("link").unwrap())
            .collect();
        assert_eq!(links, ["</a.css>; rel=preload", "</b.css>; rel=preload"]);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    }
}

#[test]
fn an_http_1_0_client_sees_no_interim_answer() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let answer = proxy.ask("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert!(answer.interim.is_empty());
    assert_eq!(answer.text(), "ok");
}

const EXPECTING: &str =
    "POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

/// Says 100 to whoever expects it, then reads the body and answers with it.
fn welcoming(link: &mut Link) {
    while let Some(head) = link.head() {
        if head.field("expect") == Some("100-continue") {
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Some(request) = link.body_of(head) else {
            return;
        };
        link.send(ok(&String::from_utf8_lossy(&request.body)));
    }
}

#[test]
fn the_backend_is_asked_whether_to_go_on() {
    let origin = Origin::start(welcoming);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for body in ["hello", "world"] {
        client.send(EXPECTING);
        assert_eq!(client.head().status(), 100);
        client.send(body);
        assert_eq!(client.answer().text(), body);
    }
    assert_eq!(
        origin.requests()[0].head.field("expect"),
        Some("100-continue")
    );
}

#[test]
fn a_final_answer_instead_of_100_ends_the_exchange_without_the_body() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            assert!(link.rest().is_empty(), "a body came");
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(EXPECTING);
    let answer = client.answer();
    assert!(answer.interim.is_empty());
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // The client may or may not send its body now; either way the connection cannot be in doubt.
    assert_eq!(answer.field("connection"), Some("close"));
}

#[test]
fn a_client_need_not_wait_for_100() {
    let origin = Origin::start(welcoming);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.ask(format!("{EXPECTING}hello")).text(), "hello");
    }
}

#[test]
fn the_proxy_gives_the_permission_itself_where_it_is_told_to() {
    // A backend that knows nothing of 100.
    let origin = Origin::saying("done");
    let config = crate::support::proxy::route("/", &[origin.addr]) + "answer_continue = true\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(EXPECTING);
        assert_eq!(client.head().status(), 100);
        client.send("hello");
        assert_eq!(client.answer().text(), "done");
    }
    for request in origin.requests() {
        assert_eq!(request.head.field("expect"), None);
        assert_eq!(request.body, b"hello");
    }
}

#[test]
fn curl_waits_for_its_permission() {
    let origin = Origin::start(welcoming);
    let proxy = Proxy::to(&[origin.addr]);
    let body = "x".repeat(100_000);
    let mut curl = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--expect100-timeout",
            "15",
        ])
        .args(["-H", "Expect: 100-continue", "--data-binary", "@-"])
        .arg(format!("http://{}/", proxy.addr))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tests need curl; tests/all.sh installs it");
    curl.stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let output = curl.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert!(
        output.stdout == body.as_bytes(),
        "{} bytes came back",
        output.stdout.len()
    );
    assert_eq!(origin.request().head.field("expect"), Some("100-continue"));
}

/// Bytes that follow a part of a head become part of that head: a client that stopped reading there must not get
/// another one.
#[test]
fn nothing_follows_an_interim_answer_that_its_client_did_not_take() {
    let hint = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n",
        "h".repeat(60_000)
    );
    let origin = Origin::start(move |link| {
        while link.head().is_some() {
            for _ in 0..15 {
                link.try_send(&hint);
            }
            link.try_send(ok("ok"));
        }
    });
    let route = crate::support::proxy::route("/", &[origin.addr]);
    let config = "[timeouts]\nclient_idle = 1\n".to_owned() + &route;
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send(get("/").repeat(30));
    // Longer than the proxy waits for a client that takes nothing, and less than twice as long.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let all = client.rest();
    let text = String::from_utf8_lossy(&all);
    assert!(!text.contains("client_stalled"), "a head in a head");
}
