//! Requests that two parsers could take apart in two ways. Whatever the proxy answers, the request hidden inside must
//! never reach the backend as one of its own.

use crate::support::{Origin, Proxy, get};

/// The request that hides in the bodies.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";

/// Sends the bytes, ends the sending side and waits until the proxy has ended the connection.
fn deliver(proxy: &Proxy, bytes: &str) -> String {
    let mut client = proxy.client();
    client.try_send(bytes);
    client.finish_sending();
    String::from_utf8_lossy(&client.rest()).into_owned()
}

#[test]
fn obfuscated_transfer_codings_hide_no_request() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-encoding: CHUNKED",
        "transfer-encoding: chunKed ",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
        "Transfer-Encoding: chunked\r\nConnection: Content-Length",
    ];
    for coding in codings {
        let chunked_inside = format!("0\r\n\r\n{HIDDEN}");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{coding}\r\n\r\n",
            chunked_inside.len()
        );
        let answer = deliver(&proxy, &format!("{head}{chunked_inside}"));
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 501 "),
            "{coding:?} was answered {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{coding:?}: {answer:?}"
        );
        assert_eq!(origin.count(), 0, "{coding:?}");
    }
}

#[test]
fn lengths_hide_no_request() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let length = HIDDEN.len();
    let fields = [
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length : {length}"),
        format!("Content-Length: {length}\u{0}"),
        format!("Content-Length:\r\n {length}"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: {length};"),
        format!("X: y\nContent-Length: {length}"),
    ];
    for field in fields {
        let answer = deliver(
            &proxy,
            &format!("POST / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n{HIDDEN}"),
        );
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{field:?} was answered {answer:?}"
        );
        assert_eq!(origin.count(), 0, "{field:?}");
    }
}

#[test]
fn a_body_stays_a_body_whatever_connection_names() {
    for options in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "close, Content-Length",
    ] {
        let origin = Origin::saying("");
        let proxy = Proxy::to(&[origin.addr]);
        let length = HIDDEN.len();
        deliver(
            &proxy,
            &format!(
                "POST /open HTTP/1.1\r\nHost: test\r\nConnection: {options}\r\n\
                 Content-Length: {length}\r\n\r\n{HIDDEN}"
            ),
        );
        deliver(
            &proxy,
            &format!(
                "POST /open HTTP/1.1\r\nHost: test\r\nConnection: {options}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n"
            ),
        );
        for received in origin.requests() {
            assert_eq!(
                received.head.first_line(),
                "POST /open HTTP/1.1",
                "Connection: {options}"
            );
            assert_eq!(received.body, HIDDEN.as_bytes(), "Connection: {options}");
            assert!(
                received.head.field("host").is_some(),
                "Connection: {options}"
            );
        }
    }
}

#[test]
fn bodies_of_methods_that_need_none_stay_bodies() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PURGE"] {
        let head = format!(
            "{method} /open HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
            HIDDEN.len()
        );
        assert_eq!(proxy.ask(head + HIDDEN).status(), 200, "{method}");
        let received = origin.requests().pop().unwrap();
        assert_eq!(
            received.head.first_line(),
            format!("{method} /open HTTP/1.1")
        );
        assert_eq!(received.body, HIDDEN.as_bytes(), "{method}");
    }
}

#[test]
fn trailers_bring_no_framing_and_no_routing() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let trailers = [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: other",
        "Connection: close",
        "X-Forwarded-For: 1.2.3.4",
        "Authorization: x",
    ];
    for trailer in trailers {
        let answer = proxy.ask(format!(
            "POST /open HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{trailer}\r\n\r\n"
        ));
        match answer.status() {
            400 => {}
            200 => {
                let received = origin.requests().pop().unwrap();
                assert_eq!(received.trailers, "", "{trailer:?} was passed on");
            }
            status => panic!("{trailer:?} was answered {status}"),
        }
    }
}

#[test]
fn what_follows_a_refused_request_is_not_served() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let answer = deliver(
        &proxy,
        &format!("GET / HTTP/1.1\r\nX : y\r\nHost: test\r\n\r\n{HIDDEN}"),
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer:?}");
    let mut client = proxy.client();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n{HIDDEN}"
    ));
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer:?}");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_backend_cannot_answer_a_request_that_was_not_asked() {
    // Bytes behind a complete answer belong to nobody: the connection is given up, the next client gets its own answer.
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst\
                   HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                "GET /poison HTTP/1.1" => link.send(answers),
                _ => link.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"),
            }
        }
    });
    let proxy = Proxy::start(&format!(
        "workers = 1\n{}",
        crate::support::proxy::route("/", &[origin.addr])
    ));
    for _ in 0..10 {
        assert_eq!(proxy.ask(get("/poison")).text(), "first");
        let answer = proxy.ask(get("/clean"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "clean"));
    }
}
