//! The route that a request meets, and the path that is forwarded.

use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

/// A request with this Host and target.
fn request(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn the_most_specific_host_wins_then_the_longest_prefix() {
    let rows = [
        ("", "/"),
        ("", "/api"),
        ("", "/api/deep/"),
        ("api.example.com", "/"),
        ("api.example.com", "/api"),
        ("*.example.com", "/"),
        ("*.deep.example.com", "/"),
    ];
    let mut origins = Vec::new();
    let mut config = String::new();
    for (host, prefix) in rows {
        let origin = Origin::saying(&format!("{host}{prefix}"));
        config += &route(prefix, &[origin.addr]);
        if !host.is_empty() {
            config += &format!("host = \"{host}\"\n");
        }
        origins.push(origin);
    }
    let proxy = Proxy::start(&config);
    let table = [
        ("other.org", "/", "/"),
        ("other.org", "/x", "/"),
        ("other.org", "/api", "/api"),
        ("other.org", "/api/", "/api"),
        ("other.org", "/api/x", "/api"),
        ("other.org", "/api?q=1", "/api"),
        ("other.org", "/apix", "/"),
        ("other.org", "/api/deep/x", "/api/deep/"),
        ("other.org", "/api/deeper", "/api"),
        ("other.org", "/x/../api/y", "/api"),
        ("other.org", "/%2e/api/y", "/api"),
        ("other.org", "/api/%2E%2e/y", "/"),
        ("other.org", "/API", "/"),
        ("api.example.com", "/", "api.example.com/"),
        ("API.Example.COM", "/", "api.example.com/"),
        ("api.example.com:8080", "/", "api.example.com/"),
        ("api.example.com", "/api/x", "api.example.com/api"),
        ("api.example.com", "/api/deep/x", "api.example.com/api"),
        ("www.example.com", "/api", "*.example.com/"),
        ("a.deep.example.com", "/", "*.deep.example.com/"),
        ("a.b.example.com", "/", "*.example.com/"),
        ("example.com", "/", "/"),
        ("notexample.com", "/", "/"),
    ];
    let mut client = proxy.client();
    for (host, target, expected) in table {
        let answer = client.ask(request(host, target));
        assert_eq!(answer.text(), expected, "Host: {host}, {target}");
    }
}

#[test]
fn what_was_matched_is_what_is_forwarded() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    let table = [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/%2e%2E/c", "/a/c"),
        ("/a/%2e", "/a/"),
        ("/a/.b", "/a/.b"),
        ("/a/...", "/a/..."),
        ("/a%2Fb", "/a%2Fb"),
        ("/a?x=/../y", "/a?x=/../y"),
        ("/a?", "/a?"),
        ("/?a=%2e%2e/", "/?a=%2e%2e/"),
        ("http://test/x", "/x"),
        ("http://test", "/"),
        ("HTTP://TEST/x?y", "/x?y"),
    ];
    let mut client = proxy.client();
    for (target, expected) in table {
        assert_eq!(
            client.ask(request("test", target)).status(),
            200,
            "{target}"
        );
        let received = origin.requests().pop().unwrap();
        let expected = format!("GET {expected} HTTP/1.1");
        assert_eq!(received.head.first_line(), expected, "{target}");
    }
}

#[test]
fn a_path_that_climbs_above_the_root_is_refused() {
    let origin = Origin::saying("");
    let proxy = Proxy::to(&[origin.addr]);
    for target in [
        "/..",
        "/../x",
        "/a/../../x",
        "/%2e%2e/x",
        "/a/%2E./.%2e/x",
        "/.%2e",
    ] {
        let answer = proxy.ask(request("test", target));
        assert_eq!(answer.status(), 400, "{target}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn without_a_route_the_answer_is_404() {
    let origin = Origin::saying("");
    let config = route("/api", &[origin.addr]) + "host = \"known\"\n";
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for (host, target) in [("known", "/"), ("known", "/apix"), ("other", "/api")] {
        let answer = client.ask(request(host, target));
        assert_eq!(answer.status(), 404, "{host} {target}");
        answer.reason();
    }
    assert_eq!(client.ask(request("known", "/api")).status(), 200);
    assert_eq!(origin.count(), 1);
}

#[test]
fn pools_are_shared_by_the_routes_that_name_them() {
    let origin = Origin::saying("pooled");
    let proxy = Proxy::start(&format!(
        "[[pools]]\nname = \"api\"\nbackends = [{{ addr = \"{}\", weight = 2 }}]\n
         [[routes]]\nprefix = \"/a\"\npool = \"api\"\n
         [[routes]]\nprefix = \"/b\"\npool = \"api\"\nstrip_prefix = true\n",
        origin.addr
    ));
    let mut client = proxy.client();
    assert_eq!(client.ask(request("test", "/a/x")).text(), "pooled");
    assert_eq!(client.ask(request("test", "/b/x?y")).text(), "pooled");
    assert_eq!(client.ask(request("test", "/b")).text(), "pooled");
    assert_eq!(client.ask(request("test", "/b?y")).text(), "pooled");
    let lines: Vec<_> = origin.requests();
    let lines: Vec<_> = lines
        .iter()
        .map(|request| request.head.first_line())
        .collect();
    let expected = [
        "GET /a/x HTTP/1.1",
        "GET /x?y HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /?y HTTP/1.1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn backends_and_listeners_may_be_unix_sockets() {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    let directory = crate::support::place::Directory::new();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let tcp = crate::support::place::free_addr();
    let config = format!(
        "listen_addr = [\"{tcp}\", \"unix:{{dir}}/front.sock\"]\n
         [[routes]]\nprefix = \"/\"\nbackend_addrs = [\"unix:{}\"]\n",
        path.display()
    );
    let proxy = Proxy::launch(crate::support::proxy::command(), tcp, &config);
    proxy.wait_until_it_accepts();
    assert_eq!(proxy.ask(request("test", "/")).text(), "ok");
    let mut front = UnixStream::connect(proxy.directory.path().join("front.sock")).unwrap();
    front
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    front
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    front.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"),
        "{answer:?}"
    );
}
