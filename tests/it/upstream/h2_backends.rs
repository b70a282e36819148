//! Backends that speak HTTP/2 by prior knowledge: what clients of either version get from them. The backend is nginx.

use std::net::SocketAddr;
use std::thread;

use crate::support::h2::frame::{get, post, request};
use crate::support::nginx::Nginx;
use crate::support::place::free_addr;
use crate::support::proxy::list;
use crate::support::{Proxy, eventually};

/// nginx with these directives in its server block, at an address where it speaks HTTP/2 alone.
fn backend(server: &str) -> (Nginx, SocketAddr) {
    let addr = free_addr();
    let server = format!("listen {addr} http2; {server}");
    (Nginx::start(&server), addr)
}

/// A proxy whose one pool speaks HTTP/2, with further settings of the pool and of the route.
fn proxy(backends: &[SocketAddr], pool: &str, route: &str) -> Proxy {
    let backends = list(backends);
    Proxy::start(&format!(
        "workers = 1\n[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\nbackends = {backends}\n{pool}\n\
         [[routes]]\npool = \"h2\"\n{route}\n"
    ))
}

#[test]
fn clients_of_both_versions_are_served() {
    let (_nginx, addr) = backend(
        "location /say { return 200 \"$server_protocol $request_method $http_host $http_x_one\\n\"; }
         location /none { return 204; }
         location /moved { return 301 /say; }",
    );
    let proxy = proxy(&[addr], "", "host_header = \"preserve\"");
    let mut first = proxy.client();
    let mut second = proxy.h2();
    for _ in 0..3 {
        let answer =
            first.ask("GET /say HTTP/1.1\r\nHost: a.example\r\nX-One: 1\r\nTE: trailers\r\n\r\n");
        assert_eq!(answer.text(), "HTTP/2.0 GET a.example 1\n");
        let answer = second.ask(&get("/say", &[("x-one", "2")]));
        assert_eq!(answer.text(), "HTTP/2.0 GET test 2\n");
        let answer = second.ask(&request("HEAD", "/say", &[]));
        assert_eq!((answer.status(), answer.body.len()), (200, 0));
        assert_eq!(
            first.ask("HEAD /say HTTP/1.1\r\nHost: a\r\n\r\n").status(),
            200
        );
        assert_eq!(second.ask(&get("/none", &[])).status(), 204);
        assert_eq!(
            first.ask("GET /none HTTP/1.1\r\nHost: a\r\n\r\n").status(),
            204
        );
        assert_eq!(second.ask(&get("/moved", &[])).status(), 301);
    }
}

#[test]
fn bodies_pass_in_both_directions() {
    let (nginx, addr) = backend(
        "client_max_body_size 100m; client_body_in_file_only off;
         location / { dav_methods PUT; create_full_put_path on; }",
    );
    let proxy = proxy(&[addr], "", "");
    let body: Vec<u8> = (0..3_000_000u32).map(|place| (place % 251) as u8).collect();
    let length = body.len().to_string();
    let mut second = proxy.h2();
    let put = request("PUT", "/two", &[]);
    assert_eq!(second.ask_with(&put, &body).status(), 201);
    assert!(second.ask(&get("/two", &[])).body == body, "it changed");
    let mut first = proxy.client();
    first.send(format!(
        "PUT /one HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    ));
    first.send(&body);
    assert_eq!(first.answer().status(), 201);
    assert!(first.ask("GET /one HTTP/1.1\r\nHost: a\r\n\r\n").body == body);
    first.send("PUT /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(100_000) {
        first.send(format!("{:x}\r\n", piece.len()));
        first.send(piece);
        first.send("\r\n");
    }
    first.send("0\r\n\r\n");
    assert_eq!(first.answer().status(), 201);
    assert!(std::fs::read(nginx.directory.path().join("chunked")).unwrap() == body);
}

/// The trailers of HTTP/2 can stand behind a body whose length was said before.
#[test]
fn trailers_pass_with_and_without_a_length() {
    let (nginx, addr) = backend(
        "add_trailer x-sum 7 always;
         location /length { default_type text/plain; try_files /file =404; }
         location /chunked { default_type text/plain; ssi on; ssi_types text/plain; try_files /file =404; }",
    );
    nginx.directory.write("file", "hello");
    let proxy = proxy(&[addr], "", "");
    let mut client = proxy.h2();
    for (path, length) in [("/chunked", None), ("/length", Some("5"))] {
        let answer = client.ask(&get(path, &[("te", "trailers")]));
        assert_eq!(answer.text(), "hello", "{path}");
        assert_eq!(answer.field("content-length"), length);
        let sum = ("x-sum".to_owned(), "7".to_owned());
        assert_eq!(answer.trailers, Some(vec![sum]), "{path}");
    }
    let answer = proxy.ask("GET /chunked HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.trailers.to_ascii_lowercase(), "x-sum: 7\r\n");
}

#[test]
fn many_requests_share_few_connections() {
    let (_nginx, addr) =
        backend("http2_max_concurrent_streams 128; location / { return 200 \"$connection\\n\"; }");
    let proxy = proxy(&[addr], "", "");
    let mut connections = std::collections::BTreeSet::new();
    let mut client = proxy.h2();
    let streams: Vec<u32> = (0..100)
        .map(|_| client.begin(&get("/", &[]), true))
        .collect();
    for stream in streams {
        connections.insert(client.answer(stream).text());
    }
    assert!(connections.len() <= 4, "{connections:?}");
}

/// A backend that allows few streams, and ends its connections after few requests: nobody notices.
#[test]
fn limits_of_the_backend_are_kept() {
    let (_nginx, addr) = backend(
        "http2_max_concurrent_streams 3; keepalive_requests 20;
         location / { return 200 \"hello\\n\"; }",
    );
    let proxy = proxy(&[addr], "", "");
    let mut client = proxy.h2();
    for _ in 0..5 {
        let streams: Vec<u32> = (0..60)
            .map(|_| client.begin(&get("/", &[]), true))
            .collect();
        for stream in streams {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello\n"));
        }
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.client();
            thread::spawn(move || {
                for _ in 0..100 {
                    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(answer.text(), "hello\n");
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_backend_that_ends_is_a_bad_gateway_until_it_is_back() {
    let (nginx, addr) = backend("location / { return 200 hello; }");
    let proxy = proxy(&[addr], "", "retries = 0");
    let mut client = proxy.h2();
    assert_eq!(client.ask(&get("/", &[])).text(), "hello");
    drop(nginx);
    eventually("the end is noticed", || {
        client.ask(&get("/", &[])).status() == 502
    });
    let answer = client.ask_with(&post("/", &[]), b"body");
    assert_eq!(answer.status(), 502);
    let _nginx = Nginx::start(&format!(
        "listen {addr} http2; location / {{ return 200 again; }}"
    ));
    eventually("it is back", || {
        let answer = client.ask(&get("/", &[]));
        answer.status() == 200 && answer.text() == "again"
    });
}

/// A backend that speaks HTTP/1.1 alone does not understand the preface.
#[test]
fn a_backend_of_another_version_is_a_bad_gateway() {
    let nginx = Nginx::start("location / { return 200 hello; }");
    let proxy = proxy(&[nginx.addr], "", "retries = 0");
    let mut client = proxy.h2();
    assert_eq!(client.ask(&get("/", &[])).status(), 502);
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 502);
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    let (nginx, addr) = backend("location / { }");
    let file = std::fs::File::create(nginx.directory.path().join("large")).unwrap();
    file.set_len(512 << 20).unwrap();
    let proxy = proxy(&[addr], "", "");
    let mut warm = proxy.h2();
    warm.ask(&get("/none", &[]));
    let before = proxy.peak_memory();
    let mut client = proxy.h2();
    client.gives_credit = false;
    let streams: Vec<u32> = (0..20)
        .map(|_| client.begin(&get("/large", &[]), true))
        .collect();
    for stream in streams {
        client.head(stream);
    }
    thread::sleep(std::time::Duration::from_secs(2));
    // Others are served over the same connections to the backend.
    assert_eq!(warm.ask(&get("/none", &[])).status(), 404);
    let grown = proxy.peak_memory().saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
}
