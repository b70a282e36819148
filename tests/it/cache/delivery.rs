//! Stored answers on their way to clients: over connections that stay or end, one behind the other, of every shape.

use super::*;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn requests_one_behind_the_other_are_answered_in_order() {
    let origin = origin(|request, _| {
        let fields = ["Cache-Control: max-age=3600"];
        ok(
            &fields[..usize::from(path_of(&request.head) != "/never")],
            path_of(&request.head),
        )
    });
    let proxy = caching("", &[origin.addr]);
    let targets = ["/a", "/b", "/never", "/a", "/c", "/never", "/b", "/a"];
    for _ in 0..3 {
        let mut client = proxy.client();
        let requests = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.send(requests.concat());
        for target in targets {
            assert_eq!(client.answer().text(), target);
        }
        let mut client = proxy.h2();
        let streams = targets.map(|target| client.begin(&frame::get(target, &[]), true));
        for (stream, target) in streams.into_iter().zip(targets) {
            assert_eq!(client.answer(stream).text(), target);
        }
    }
    assert_eq!(requests_for(&origin, "/a"), 1);
}

#[test]
fn connections_end_as_clients_want() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let want = "X-Want: Cache-Control: max-age=3600";
    proxy.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{want}\r\n\r\n"));
    for (request, ends) in [
        (REQUEST, false),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.0\r\nHost: test\r\n\r\n", true),
        (
            "GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
            false,
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: test\r\nRange: bytes=0-0\r\nConnection: close\r\n\r\n",
            true,
        ),
    ] {
        let mut client = proxy.client();
        for _ in 0..3 {
            let answer = client.ask(request);
            assert!(
                answer.field("cache-status").unwrap().contains("; hit"),
                "{request}: {answer:?}"
            );
            assert_eq!(
                answer.field("connection") == Some("close"),
                ends,
                "{request}"
            );
            if ends {
                client.ends();
                break;
            }
        }
    }
    assert_eq!(origin.count(), 1);
}

/// Answers without a body keep their shape.
#[test]
fn answers_without_a_body_are_stored_as_such() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for status in ["204", "301", "404"] {
            let path = format!("/{status}/{version:?}");
            let want = "Cache-Control: max-age=3600|Location: /there|X-Own: 1";
            let fields = [("x-want", want), ("x-status", status)];
            let first = client.get(&path, &fields);
            for method in ["GET", "HEAD", "GET"] {
                let hit = client.ask(method, &path, &[]);
                assert!(hit.is_hit(), "{hit:?}");
                assert_eq!(hit.status.to_string(), status);
                assert_eq!(
                    (hit.field("location"), hit.field("x-own")),
                    (Some("/there"), Some("1"))
                );
                if method == "GET" {
                    assert_eq!(hit.body, first.body, "{status}");
                }
                // RFC 9110 section 8.6 (MUST NOT): a 204 has no length.
                assert_eq!(
                    hit.field("content-length").is_none(),
                    status == "204",
                    "{hit:?}"
                );
            }
        }
    }
}

#[test]
fn large_heads_are_stored() {
    let origin = origin(|request, _| {
        let count: usize = path_of(&request.head)[1..].parse().unwrap();
        let mut fields = vec!["Cache-Control: max-age=3600".to_owned()];
        fields.extend((0..count).map(|number| format!("X-Field-{number}: {}", "v".repeat(200))));
        let fields: Vec<_> = fields.iter().map(|field| &**field).collect();
        ok(&fields, "hello")
    });
    let proxy = caching("", &[origin.addr]);
    for count in [1, 20, 50, 90] {
        let path = format!("/{count}");
        for version in VERSIONS {
            let mut client = Asker::new(&proxy, version);
            for _ in 0..3 {
                let answer = client.get(&path, &[]);
                assert_eq!(
                    (answer.status, answer.text().as_str()),
                    (200, "hello"),
                    "{count}"
                );
                for number in 0..count {
                    let value = answer.field(&format!("x-field-{number}"));
                    assert_eq!(value.map(str::len), Some(200), "{count} {number}");
                }
            }
        }
        assert_eq!(requests_for(&origin, &path), 1, "{count}");
    }
}

/// The body of a hit is as whole for a client that reads a little at a time.
#[test]
fn slow_readers_get_whole_bodies() {
    let size = 2_000_000;
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: {size}\r\n\r\n"
            ));
            link.send(bytes(size));
        }
    });
    let proxy = caching("", &[origin.addr]);
    let expected = bytes(size);
    assert!(proxy.ask(REQUEST).body == expected);
    let mut one = proxy.client();
    // Another request stands behind the first one all the time.
    one.send([REQUEST, REQUEST].concat());
    let mut two = proxy.h2();
    two.gives_credit = false;
    let stream = two.begin(&frame::get("/", &[]), true);
    for _ in 0..2 {
        one.head();
        for piece in expected.chunks(10_007) {
            assert!(one.bytes(piece.len()) == piece);
        }
    }
    while !two
        .answers
        .get(&stream)
        .is_some_and(|answer| answer.has_ended())
    {
        let before = two
            .answers
            .get(&stream)
            .map_or(0, |answer| answer.body.len());
        two.credit(0, 9_001);
        two.credit(stream, 9_001);
        two.pump_until("more comes", |client| {
            let answer = client.answers.get(&stream);
            answer.is_some_and(|answer| answer.body.len() > before || answer.has_ended())
        });
    }
    assert!(two.answers[&stream].body == expected);
    assert_eq!(origin.count(), 1);
}
