//! Where bodies end, in both directions.

use crate::support::head::Framing;
use crate::support::origin::ok;
use crate::support::{Origin, Proxy, get};

#[test]
fn request_bodies_by_length_and_in_chunks() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for length in [0, 1, 1000, 16_384, 100_000, 1_000_000] {
        let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let head = format!("POST /l HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(
            client.ask([head.as_bytes(), &body].concat()).status(),
            200,
            "{length}"
        );
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.framing(), Framing::Length(length), "{length}");
        assert!(
            received.body == body,
            "{length} bytes by length arrived changed"
        );

        let mut chunked =
            b"POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for (number, chunk) in body.chunks(7777).enumerate() {
            let line = [
                format!("{:x}\r\n", chunk.len()),
                format!("{:X};n={number};q=\"a b\"\r\n", chunk.len()),
            ];
            chunked.extend_from_slice(line[number % 2].as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"000;last\r\nX-Sum: 12\r\nx-other:a\r\n\r\n");
        assert_eq!(client.ask(&chunked).status(), 200, "{length} in chunks");
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.framing(), Framing::Chunked, "{length}");
        assert!(
            received.body == body,
            "{length} bytes in chunks arrived changed"
        );
        let trailers = received.trailers.replace(": ", ":");
        assert_eq!(trailers, "X-Sum:12\r\nx-other:a\r\n", "{length}");
    }
}

#[test]
fn response_bodies_by_length_in_chunks_and_until_close() {
    let body: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    let content = body.clone();
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                "GET /length HTTP/1.1" => {
                    link.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                        content.len()
                    ));
                    link.send(&content);
                }
                "GET /chunks HTTP/1.1" => {
                    link.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
                    );
                    for chunk in content.chunks(4321) {
                        link.send(
                            [
                                format!("{:X};ext=1\r\n", chunk.len()).as_bytes(),
                                chunk,
                                b"\r\n",
                            ]
                            .concat(),
                        );
                    }
                    link.send("0;last\r\nX-Sum: 12\r\n\r\n");
                }
                _ => {
                    link.send("HTTP/1.1 200 OK\r\nX: until close\r\n\r\n");
                    link.send(&content);
                    return;
                }
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let answer = client.ask(get("/length"));
    assert_eq!(answer.head.framing(), Framing::Length(body.len() as u64));
    assert!(answer.complete && answer.body == body, "by length");

    let answer = client.ask(get("/chunks"));
    assert_eq!(answer.head.framing(), Framing::Chunked);
    assert_eq!(answer.field("trailer"), Some("X-Sum"));
    assert_eq!(answer.trailers, "X-Sum: 12\r\n");
    assert!(answer.complete && answer.body == body, "in chunks");

    let answer = client.ask(get("/close"));
    assert_eq!(
        answer.head.framing(),
        Framing::Chunked,
        "until close becomes chunked"
    );
    assert!(answer.complete && answer.body == body, "until close");

    // An HTTP/1.0 client knows no chunks.
    for target in ["/chunks", "/close"] {
        let mut client = proxy.client();
        let answer = client.ask(format!(
            "GET {target} HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n"
        ));
        assert_eq!(answer.head.framing(), Framing::Absent, "{target}");
        assert_eq!(
            answer.field("connection").unwrap_or("close"),
            "close",
            "{target}"
        );
        assert!(answer.body == body, "{target} for HTTP/1.0");
        client.ends();
    }
    let answer = proxy.ask("GET /length HTTP/1.0\r\nHost: test\r\n\r\n");
    assert!(
        answer.complete && answer.body == body,
        "by length for HTTP/1.0"
    );
}

#[test]
fn answers_without_a_body() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let line = request.head.first_line().to_owned();
            link.send(match line.split(' ').nth(1).unwrap() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_owned(),
                "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                "/neither" => "HTTP/1.1 200 OK\r\nX: y\r\n\r\n".to_owned(),
                "/204" => "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n".to_owned(),
                "/304" => {
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"
                        .to_owned()
                }
                "/zero" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => ok("after"),
            });
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let head = |target: &str| format!("HEAD {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let rows = [
        (head("/length"), 200, Some("1000")),
        (head("/chunked"), 200, None),
        (head("/neither"), 200, None),
        (head("/204"), 204, None),
        (get("/204"), 204, None),
        (get("/304"), 304, Some("1000")),
        (get("/zero"), 200, Some("0")),
    ];
    for (request, status, length) in rows {
        let answer = client.ask(&request);
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.field("content-length"), length, "{request}");
        assert_eq!(answer.text(), "", "{request}");
        // Nothing of a body came with it: the next answer on the connection is its own.
        assert_eq!(client.ask(get("/after")).text(), "after", "after {request}");
    }
}

#[test]
fn bytes_that_arrive_one_by_one() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                          3;e\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n";
            for byte in answer.bytes() {
                link.send([byte]);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    for _ in 0..3 {
        let request = "POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4\r\nwxyz\r\n1;e\r\n!\r\n0\r\nX-U: 2\r\n\r\n";
        for byte in request.bytes() {
            client.send([byte]);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let answer = client.answer();
        assert_eq!(
            (answer.text().as_str(), answer.trailers.as_str()),
            ("abcde", "X-T: 1\r\n")
        );
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.body, b"wxyz!");
        assert_eq!(received.trailers, "X-U: 2\r\n");
    }
}

#[test]
fn what_a_client_sends_early_of_its_body_is_forwarded_before_the_rest_comes() {
    let (sender, first_part) = std::sync::mpsc::channel();
    let origin = Origin::start(move |link| {
        while let Some(head) = link.head() {
            let part = match head.framing() {
                Framing::Chunked => link.bytes(10).unwrap(),
                _ => link.bytes(5).unwrap(),
            };
            sender.send(String::from_utf8(part).unwrap()).unwrap();
            match head.framing() {
                Framing::Chunked => link.bytes(15).unwrap(),
                _ => link.bytes(99_995).unwrap(),
            };
            link.send(ok("done"));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    let arrived = || first_part.recv_timeout(crate::support::PATIENCE).unwrap();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello");
    assert_eq!(arrived(), "hello");
    client.send("x".repeat(99_995));
    assert_eq!(client.answer().text(), "done");
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    assert_eq!(arrived(), "5\r\nhello\r\n");
    client.send("5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn what_a_backend_sends_early_of_its_body_is_forwarded_before_the_rest_comes() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            let _ = wait.lock().unwrap().recv_timeout(crate::support::PATIENCE);
            link.send("5\r\nworld\r\n0\r\n\r\n");
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(get("/"));
    assert_eq!(client.begin_answer().head.framing(), Framing::Chunked);
    assert_eq!(client.bytes(10), b"5\r\nhello\r\n");
    go_on.send(()).unwrap();
    assert_eq!(client.bytes(15), b"5\r\nworld\r\n0\r\n\r\n");
}
