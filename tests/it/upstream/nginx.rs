//! A real nginx as the backend.

use std::process::Command;

use crate::support::nginx::Nginx;
use crate::support::{Proxy, get};

#[test]
fn files_ranges_and_conditions() {
    let nginx = Nginx::start("");
    let body: String = (0..200_000)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    nginx.directory.write("file.txt", &body);
    let proxy = Proxy::to(&[nginx.addr]);
    let mut client = proxy.client();
    let answer = client.ask(get("/file.txt"));
    assert_eq!((answer.status(), answer.text() == body), (200, true));
    let etag = answer.field("etag").unwrap().to_owned();
    let conditional =
        format!("GET /file.txt HTTP/1.1\r\nHost: test\r\nIf-None-Match: {etag}\r\n\r\n");
    assert_eq!(client.ask(conditional).status(), 304);
    let range = "GET /file.txt HTTP/1.1\r\nHost: test\r\nRange: bytes=1000-1999\r\n\r\n";
    let answer = client.ask(range);
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (206, &body[1000..2000])
    );
    let answer = client.ask("HEAD /file.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(answer.field("content-length"), Some("200000"));
    assert_eq!(client.ask(get("/none")).status(), 404);
    assert_eq!(client.ask(get("/file.txt")).text(), body);
}

#[test]
fn compressed_answers_come_in_chunks() {
    let nginx = Nginx::start("gzip on; gzip_types text/plain; gzip_min_length 1;");
    nginx
        .directory
        .write("file.txt", &"compress me ".repeat(10_000));
    let proxy = Proxy::to(&[nginx.addr]);
    let request = "GET /file.txt HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n";
    let answer = proxy.ask(request);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert!(answer.complete && answer.body.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn what_nginx_was_told() {
    let nginx = Nginx::start(
        "location / { return 200 \"$request_method $request_uri $http_host $http_x_forwarded_for $http_x_forwarded_proto\"; }",
    );
    let proxy = Proxy::to(&[nginx.addr]);
    let answer = proxy.ask("GET /a%20b?c HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(
        answer.text(),
        format!("GET /a%20b?c {} 127.0.0.1 http", nginx.addr)
    );
}

#[test]
fn bodies_that_are_too_large_for_nginx() {
    let nginx = Nginx::start("client_max_body_size 100k; location / { return 200 ok; }");
    let proxy = Proxy::to(&[nginx.addr]);
    for length in [1000, 300_000] {
        let head = format!("PUT /f HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        let mut client = proxy.client();
        client.try_send(head + &"x".repeat(length));
        let expected = if length > 102_400 { 413 } else { 200 };
        assert_eq!(client.answer().status(), expected, "{length} bytes");
    }
}

#[test]
fn connections_that_nginx_closes_cause_no_failure() {
    let nginx =
        Nginx::start("keepalive_requests 3; keepalive_timeout 1s; location / { return 200 ok; }");
    let proxy = Proxy::to(&[nginx.addr]);
    let mut client = proxy.client();
    for number in 0..200 {
        assert_eq!(client.ask(get("/")).text(), "ok", "request {number}");
    }
}

#[test]
fn curl_is_content() {
    let nginx = Nginx::start("location / { return 200 \"hello\\n\"; }");
    let proxy = Proxy::to(&[nginx.addr]);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
        .args([
            format!("http://{}/", proxy.addr),
            format!("http://{}/again", proxy.addr),
        ])
        .output()
        .expect("the tests need curl; tests/all.sh installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.stdout, b"hello\nhello\n");
}
