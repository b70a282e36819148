//! A store that is full: answers are evicted, and whoever still reads one gets its bytes.

use std::thread;

use super::*;

const SIZE: usize = 400_000;

/// The body of a path: its own bytes for each number in the path.
fn body_of(path: &str) -> Vec<u8> {
    let seed: u8 = path
        .bytes()
        .fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let size = if path.starts_with("/large") {
        4_000_000
    } else {
        SIZE
    };
    let mut body = bytes(size);
    body.iter_mut().for_each(|byte| *byte ^= seed);
    body
}

fn origin_of_many() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let body = body_of(path_of(&request.head));
            link.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            link.send(&body);
        }
    })
}

/// A cache of a size that some twenty bodies fill.
fn small_cache(origin: &Origin) -> Proxy {
    let settings = settings("", &[origin.addr]).replace("64MiB", "16MiB");
    // Clients stand still for as long as a test takes.
    let patient = "[timeouts]\nclient_idle = 600\nclient_stream_stall = 600\n";
    Proxy::with_listener("min_rate_bytes = 0", &format!("{settings}{patient}"))
}

#[track_caller]
fn is_right(client: &mut Asker, path: &str) {
    let answer = client.get(path, &[]);
    assert!(
        answer.complete && answer.body == body_of(path),
        "{path}: {} bytes",
        answer.body.len()
    );
}

#[test]
fn a_full_store_serves_right_bytes() {
    let origin = origin_of_many();
    let proxy = small_cache(&origin);
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let mut client = Asker::new(&proxy, VERSIONS[number % 2]);
            thread::spawn(move || {
                for round in 0..60 {
                    is_right(&mut client, &format!("/{}", (round * (number + 3)) % 60));
                    is_right(&mut client, "/often");
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert!(
        origin.count() < 420,
        "what is asked for often stays: {} requests",
        origin.count()
    );
}

#[test]
fn a_reader_of_an_evicted_answer_gets_its_bytes() {
    for version in VERSIONS {
        let origin = origin_of_many();
        let proxy = small_cache(&origin);
        let mut client = Asker::new(&proxy, Version::One);
        is_right(&mut client, "/large");
        // Two clients begin to read the stored answer, and go on when it is evicted.
        let mut one = proxy.client();
        one.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(one.head().field("cache-status").unwrap().contains("; hit"));
        let mut two = proxy.h2();
        two.gives_credit = false;
        let stream = two.begin(&frame::get("/large", &[]), true);
        two.head(stream);
        let mut client = Asker::new(&proxy, version);
        for number in 0..120 {
            is_right(&mut client, &format!("/{number}"));
        }
        client.ask("POST", "/large", &[("content-length", "0")]);
        for number in 0..60 {
            is_right(&mut client, &format!("/more/{number}"));
        }
        let expected = body_of("/large");
        assert!(one.bytes(expected.len()) == expected, "{version:?}");
        two.gives_credit = true;
        two.credit(0, 8 << 20);
        two.credit(stream, 8 << 20);
        assert!(two.answer(stream).body == expected, "{version:?}");
    }
}

/// The kernel sends pages of the store by reference: it has taken a whole answer over when the answer is evicted, and
/// its client reads it after that.
#[test]
fn what_the_kernel_has_still_to_send_is_not_written_over() {
    let origin = origin_of_many();
    let proxy = small_cache(&origin);
    let mut client = Asker::new(&proxy, Version::One);
    let paths: Vec<_> = (0..8).map(|number| format!("/held/{number}")).collect();
    let readers: Vec<_> = paths
        .iter()
        .map(|path| {
            is_right(&mut client, path);
            let mut reader = proxy.client();
            reader.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
            let status = reader.head();
            assert!(status.field("cache-status").unwrap().contains("; hit"));
            reader
        })
        .collect();
    for path in &paths {
        client.ask("POST", path, &[("content-length", "0")]);
    }
    for number in 0..120 {
        is_right(&mut client, &format!("/{number}"));
    }
    for (path, mut reader) in paths.iter().zip(readers) {
        assert!(reader.bytes(SIZE) == body_of(path), "{path}");
    }
}

/// A store that has no room lets answers pass, whole.
#[test]
fn a_store_without_room_lets_answers_pass() {
    let origin = origin_of_many();
    let config = settings("max_percent = 1", &[origin.addr]).replace("64MiB", "16MiB");
    let proxy = Proxy::start(&config);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for path in ["/large", "/a", "/large", "/a"] {
            is_right(&mut client, path);
        }
    }
}
