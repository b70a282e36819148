//! Requests that come together share one send on one connection to a backend, and none of them suffers for another.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use crate::support::h2::H2;
use crate::support::h2::frame::{flag, get, headers, post, reset, section};
use crate::support::origin::{Link, ok};
use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy};

/// A client whose worker has an idle connection to the origin.
fn warm(proxy: &Proxy) -> H2 {
    let mut client = proxy.h2();
    assert_eq!(client.ask(&get("/warm", &[])).status(), 200);
    client
}

/// Requests that arrive at once: their streams.
fn at_once(client: &mut H2, requests: &[Vec<(&str, &str)>]) -> Vec<u32> {
    let mut bytes = Vec::new();
    let mut streams = Vec::new();
    for request in requests {
        let stream = client.next_stream();
        bytes.extend(headers(flag::WHOLE, stream, section(request)));
        streams.push(stream);
    }
    client.send(bytes);
    streams
}

/// Answers with the target of the request.
fn saying_target(link: &mut Link) {
    while let Some(request) = link.request() {
        let target = target(request.head.first_line());
        link.send(ok(&target));
    }
}

/// Does the same, but answers one target only when it is let go.
fn holding(held: &'static str) -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            let target = target(request.head.first_line());
            if target == held {
                let _ = wait.lock().unwrap().recv();
            }
            if !link.try_send(ok(&target)) {
                return;
            }
        }
    });
    (origin, let_go)
}

fn target(line: &str) -> String {
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The fewest connections that 20 requests at once went out on, of many rounds: a backend is given more at once by and by, and
/// on a busy machine some of its answers come late.
fn fewest_connections(setting: &str) -> usize {
    let connections = AtomicUsize::new(0);
    let origin = Origin::start(move |link| {
        let own = connections.fetch_add(1, SeqCst);
        while let Some(request) = link.request() {
            let target = target(request.head.first_line());
            link.send(ok(&format!("{own} {target}")));
        }
    });
    let proxy = Proxy::start(&format!("{}{setting}", route("/", &[origin.addr])));
    let mut client = warm(&proxy);
    let paths: Vec<String> = (0..20).map(|index| format!("/{index}")).collect();
    let requests: Vec<_> = paths.iter().map(|path| get(path, &[])).collect();
    let mut round = || {
        let mut used = BTreeSet::new();
        let streams = at_once(&mut client, &requests);
        for (path, stream) in paths.iter().zip(streams) {
            let answer = client.answer(stream);
            let text = answer.text();
            let (own, target) = text.split_once(' ').expect("the connection and the target");
            assert_eq!((answer.status(), target), (200, path.as_str()));
            used.insert(own.to_owned());
        }
        used.len()
    };
    (0..20).map(|_| round()).min().unwrap()
}

#[test]
fn requests_that_come_together_share_connections() {
    let rows = [("pipelining = 1\n", 20), ("pipelining = 4\n", 5), ("", 2)];
    for (setting, fewest) in rows {
        let is_so = || fewest_connections(setting) == fewest;
        assert!((0..8).any(|_| is_so()), "{setting}");
    }
}

/// What must not be sent twice, or could be read differently by two parsers, has a connection of its own.
#[test]
fn what_never_shares() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let is_head = request.head.first_line().starts_with("HEAD");
            link.send(ok(if is_head { "" } else { "x" }));
        }
    });
    let head = [
        (":method", "HEAD"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    type Row = (
        &'static str,
        Vec<(&'static str, &'static str)>,
        &'static str,
    );
    let rows: [Row; 3] = [
        ("POST", post("/", &[("content-length", "0")]), ""),
        ("HEAD", head.to_vec(), ""),
        ("no retries", get("/", &[]), "retries = 0\n"),
    ];
    for (name, request, setting) in rows {
        let proxy = Proxy::start(&format!("{}{setting}", route("/", &[origin.addr])));
        let mut client = warm(&proxy);
        let before = origin.accepted();
        let streams = at_once(&mut client, &vec![request; 4]);
        for stream in streams {
            assert_eq!(client.answer(stream).status(), 200, "{name}");
        }
        assert_eq!(origin.accepted() - before, 3, "{name}");
    }
}

#[test]
fn a_slow_answer_holds_no_other_up() {
    let (origin, let_go) = holding("/slow");
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = warm(&proxy);
    let requests = [get("/slow", &[]), get("/a", &[]), get("/b", &[])];
    let streams = at_once(&mut client, &requests);
    assert_eq!(client.answer(streams[1]).text(), "/a");
    assert_eq!(client.answer(streams[2]).text(), "/b");
    // From now on each has a connection of its own.
    let before = origin.count();
    let more = at_once(&mut client, &[get("/c", &[]), get("/d", &[])]);
    assert_eq!(client.answer(more[0]).text(), "/c");
    assert_eq!(client.answer(more[1]).text(), "/d");
    assert_eq!(origin.count(), before + 2);
    let_go.send(()).unwrap();
    assert_eq!(client.answer(streams[0]).text(), "/slow");
}

#[test]
fn a_connection_that_ends_loses_no_request() {
    let endings: [fn(&mut Link); 3] = [
        |link| link.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        |link| link.send(ok("ok")),
        |link| link.send("HTTP/1.1 200 OK\r\n\r\nok"),
    ];
    for end in endings {
        let origin = Origin::start(move |link| {
            // The first answer is followed by another, which is the last.
            let mut left = 2;
            while link.request().is_some() {
                left -= 1;
                if left == 0 {
                    return end(link);
                }
                link.send(ok("ok"));
            }
        });
        let proxy = Proxy::to(&[origin.addr]);
        let mut client = warm(&proxy);
        let streams = at_once(&mut client, &vec![get("/", &[]); 5]);
        for stream in streams {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.text()), (200, "ok".to_owned()));
        }
    }
}

#[test]
fn a_client_that_leaves_takes_nobody_with_it() {
    let (origin, let_go) = holding("/left");
    let proxy = Proxy::to(&[origin.addr]);
    // First in line, and in the middle.
    for paths in [["/left", "/a", "/b"], ["/a", "/left", "/b"]] {
        let mut client = warm(&proxy);
        let streams = at_once(&mut client, &paths.map(|path| get(path, &[])));
        origin.wait_for_requests(2);
        for (path, stream) in paths.iter().zip(&streams) {
            if *path == "/left" {
                client.send(reset(*stream, 8));
            }
        }
        for (path, stream) in paths.iter().zip(&streams) {
            if *path != "/left" {
                assert_eq!(client.answer(*stream).text(), *path);
            }
        }
        let_go.send(()).unwrap();
    }
}

/// A backend that gives a body to an answer that has none could write the next one's answer with it.
#[test]
fn an_answer_with_more_than_it_may_have_is_nobody_elses() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let target = target(request.head.first_line());
            let sent = match target.as_str() {
                "/lie" => link.try_send(format!("HTTP/1.1 304 Not Modified\r\n\r\n{}", ok("evil"))),
                _ => link.try_send(ok(&target)),
            };
            if !sent {
                return;
            }
        }
    });
    for _ in 0..4 {
        let proxy = Proxy::to(&[origin.addr]);
        let mut client = warm(&proxy);
        let requests = [get("/lie", &[]), get("/a", &[]), get("/b", &[])];
        let streams = at_once(&mut client, &requests);
        assert_eq!(client.answer(streams[0]).status(), 304);
        assert_eq!(client.answer(streams[1]).text(), "/a");
        assert_eq!(client.answer(streams[2]).text(), "/b");
    }
}

/// Bodies of all sizes, in an order that puts large ones before small ones.
#[test]
fn large_and_small_answers_in_one_line() {
    let sizes = [10, 100_000, 0, 4096, 4097, 1_000_000, 1];
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            let size = target(request.head.first_line())[1..].parse().unwrap_or(0);
            if !link.try_send(ok(&"x".repeat(size))) {
                return;
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = warm(&proxy);
    for _ in 0..4 {
        let paths = sizes.map(|size| format!("/{size}"));
        let requests: Vec<_> = paths.iter().map(|path| get(path, &[])).collect();
        let streams = at_once(&mut client, &requests);
        for (size, stream) in sizes.iter().zip(streams) {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.body.len()), (200, *size));
        }
    }
}

#[test]
fn clients_of_http1_share_too_and_get_their_own_answers() {
    let origin = Origin::start(saying_target);
    let proxy = Proxy::start(&format!("workers = 1\n{}", route("/", &[origin.addr])));
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(proxy.addr)).collect();
    for round in 0..10 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(format!("GET /{round}/{index} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().text(), format!("/{round}/{index}"));
        }
    }
}
