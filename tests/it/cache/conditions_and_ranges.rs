//! Conditions of clients and ranges, on stored answers (RFC 9110 sections 13 and 14).

use super::*;
use crate::support::origin::ok as plain;

const CHANGED: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
const SIZES: [usize; 3] = [26, 20_000, 3_000_000];

/// An origin whose paths name the length of the body. A request with a condition that only it can evaluate gets a 412,
/// and one with a range that should have been answered from the store gets a 418.
fn sized() -> Origin {
    Origin::start(|link| {
        while let Some(request) = link.request() {
            let head = &request.head;
            if head.field("if-match").is_some() || head.field("if-unmodified-since").is_some() {
                link.send(message(412, &["X-Origin: 1"], Some("")));
                continue;
            }
            let length: usize = path_of(head)[1..].parse().unwrap();
            let body = bytes(length);
            let text = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\nLast-Modified: {CHANGED}\r\n\
                 Date: {}\r\nContent-Type: text/x\r\nX-Own: 1\r\nContent-Length: {length}\r\n\r\n",
                date(0)
            );
            link.send([text.as_bytes(), &body].concat());
        }
    })
}

/// A proxy in front of it which has stored a body of each size, with connections of both versions.
fn stored() -> (Origin, Proxy, [Asker; 2]) {
    let origin = sized();
    let proxy = caching("", &[origin.addr]);
    let mut clients = VERSIONS.map(|version| Asker::new(&proxy, version));
    for size in SIZES {
        let whole = clients[0].get(&format!("/{size}"), &[]);
        assert!(whole.body == bytes(size), "{size}");
    }
    (origin, proxy, clients)
}

/// RFC 9111 section 4.3.2 (SHOULD, a): the conditions of clients are evaluated on what is stored.
#[test]
fn conditions_are_evaluated_on_stored_answers() {
    let rows = [
        (vec![("if-none-match", "\"a\"")], 304),
        (vec![("if-none-match", "W/\"a\"")], 304),
        (vec![("if-none-match", "\"b\", \"a\"")], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"b\"")], 200),
        (vec![("if-none-match", "a")], 200),
        (vec![("if-modified-since", CHANGED)], 304),
        (
            vec![("if-modified-since", "Sat, 29 Oct 2005 19:43:31 GMT")],
            304,
        ),
        (
            vec![("if-modified-since", "Saturday, 29-Oct-94 19:43:31 GMT")],
            304,
        ),
        (
            vec![("if-modified-since", "Fri, 28 Oct 1994 19:43:31 GMT")],
            200,
        ),
        (vec![("if-modified-since", "yesterday")], 200),
        // RFC 9110 section 13.1.3 (MUST, a): the date has no effect beside tags.
        (
            vec![("if-none-match", "\"b\""), ("if-modified-since", CHANGED)],
            200,
        ),
        (
            vec![
                ("if-none-match", "\"a\""),
                ("if-modified-since", "Fri, 28 Oct 1994 19:43:31 GMT"),
            ],
            304,
        ),
        // RFC 9110 section 13.2.2 (MUST): conditions come before ranges.
        (
            vec![("if-none-match", "\"a\""), ("range", "bytes=0-1")],
            304,
        ),
        (
            vec![("if-none-match", "\"b\""), ("range", "bytes=0-1")],
            206,
        ),
    ];
    let (origin, _proxy, clients) = stored();
    for mut client in clients {
        for size in SIZES {
            let path = format!("/{size}");
            for (fields, status) in &rows {
                let answer = client.get(&path, fields);
                assert_eq!(answer.status, *status, "{fields:?}");
                assert!(answer.is_hit(), "{fields:?}");
                let head = client.ask("HEAD", &path, fields);
                let expected = if *status == 206 { 200 } else { *status };
                assert_eq!((head.status, head.body.len()), (expected, 0), "{fields:?}");
                if *status == 304 {
                    // RFC 9110 section 15.4.5 (MUST).
                    assert_eq!(answer.body.len(), 0);
                    assert_eq!(answer.field("etag"), Some("\"a\""));
                    assert_eq!(answer.field("cache-control"), Some("max-age=3600"));
                    assert!(answer.field("date").is_some() && answer.field("age").is_some());
                    assert_eq!(answer.field("content-type"), None);
                    assert_eq!(answer.field("content-length"), None);
                }
            }
        }
    }
    assert_eq!(origin.count(), SIZES.len(), "no backend was asked again");
}

/// RFC 9111 section 4.3.2 (MUST NOT, a): If-Match and If-Unmodified-Since are for the origin server.
#[test]
fn conditions_for_the_backend_go_there() {
    let (origin, _proxy, clients) = stored();
    let mut asked = origin.count();
    for mut client in clients {
        for (name, value) in [("if-match", "\"a\""), ("if-unmodified-since", CHANGED)] {
            let answer = client.get("/26", &[(name, value)]);
            assert_eq!(
                (answer.status, answer.field("x-origin")),
                (412, Some("1")),
                "{answer:?}"
            );
            assert!(!answer.is_hit());
            asked += 1;
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.head.field(name), Some(value));
        }
        assert!(client.get("/26", &[]).is_hit(), "the stored answer stays");
    }
    assert_eq!(origin.count(), asked);
}

/// RFC 9110 section 13.2.1 (MUST, a): what is wrong with a request counts before its conditions.
#[test]
fn a_request_that_is_refused_has_its_conditions_unread() {
    let (origin, proxy, _clients) = stored();
    for fault in ["Host: other\r\n", "Content-Length: x\r\n"] {
        let lines = format!("Host: test\r\n{fault}If-None-Match: *\r\n");
        let answer = proxy.ask(format!("GET /26 HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(answer.status(), 400, "{fault}");
    }
    assert_eq!(origin.count(), SIZES.len());
}

/// RFC 9110 section 13.2.1 (MUST NOT; MUST, c): without a cache the conditions are for the backend, which gets them.
#[test]
fn a_route_without_a_cache_passes_conditions_on() {
    let origin = obedient();
    let config = settings("", &[origin.addr]).replace("cache = { status = \"full\" }", "");
    let proxy = Proxy::start(&config);
    let want = ("x-want", "Cache-Control: max-age=3600|ETag: \"a\"");
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (name, value, status) in [
            ("if-none-match", "\"a\"", 304),
            ("if-none-match", "\"b\"", 200),
            ("if-match", "\"b\"", 200),
            ("if-modified-since", CHANGED, 200),
            ("if-unmodified-since", CHANGED, 200),
            ("if-range", "\"a\"", 200),
        ] {
            let answer = client.get("/", &[want, (name, value)]);
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.head.field(name), Some(value));
        }
    }
}

/// RFC 9110 section 14.2 (SHOULD, b; SHOULD, c): a part, or a 416 where no byte is meant.
#[test]
fn single_ranges_are_cut_from_stored_answers() {
    let (origin, _proxy, clients) = stored();
    for mut client in clients {
        for size in SIZES {
            let (path, whole) = (format!("/{size}"), bytes(size));
            let middle = size / 2;
            let rows = [
                ("bytes=0-0".to_owned(), 0..1),
                ("bytes=0-".to_owned(), 0..size),
                ("bytes=5-9".to_owned(), 5..10),
                (format!("bytes={middle}-"), middle..size),
                (
                    format!("bytes={}-{}", middle - 1, middle + 1),
                    middle - 1..middle + 2,
                ),
                (format!("bytes={}-{}", size - 1, size * 2), size - 1..size),
                ("bytes=-1".to_owned(), size - 1..size),
                (format!("bytes=-{}", size * 2), 0..size),
                ("BYTES=1-2".to_owned(), 1..3),
                // Neighbours and ranges that overlap are one.
                ("bytes=0-4, 3-9, 10-12".to_owned(), 0..13),
            ];
            for (range, expected) in rows {
                let answer = client.get(&path, &[("range", &range)]);
                // RFC 9111 section 3.3 (MUST NOT, c): a part says that it is one. RFC 9110 section 14.4 (SHOULD, b):
                // and how long the whole is.
                assert_eq!(answer.status, 206, "{size} {range}");
                let named = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
                assert_eq!(
                    answer.field("content-range"),
                    Some(&*named),
                    "{size} {range}"
                );
                assert_eq!(answer.number("content-length"), expected.len() as i64);
                assert!(answer.body == whole[expected], "{size} {range}");
                assert!(answer.is_hit());
                assert_eq!(answer.field("content-type"), Some("text/x"));
                assert_eq!(
                    (answer.field("etag"), answer.field("x-own")),
                    (Some("\"a\""), Some("1"))
                );
            }
            for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
                let answer = client.get(&path, &[("range", &range)]);
                assert_eq!(
                    (answer.status, answer.body.len()),
                    (416, 0),
                    "{size} {range}"
                );
                // RFC 9110 section 14.4 (SHOULD, c): the length of the whole.
                let named = format!("bytes */{size}");
                assert_eq!(answer.field("content-range"), Some(&*named));
            }
            // RFC 9110 section 14.2 (MUST, b): what is no range of bytes has no effect.
            for range in ["bytes=9-5", "lines=1-2", "bytes=a-b", "bytes"] {
                let answer = client.get(&path, &[("range", range)]);
                assert_eq!(answer.status, 200, "{size} {range}");
                assert!(answer.body == whole);
            }
        }
    }
    assert_eq!(origin.count(), SIZES.len());
}

#[test]
fn several_ranges_come_in_parts() {
    let (_origin, _proxy, clients) = stored();
    for mut client in clients {
        for size in SIZES {
            let whole = bytes(size);
            let (far, last) = (size - 6, size - 1);
            let range = format!("bytes=0-3, 10-11, {far}-");
            let answer = client.get(&format!("/{size}"), &[("range", &range)]);
            assert_eq!(answer.status, 206, "{size}");
            assert_eq!(answer.field("content-range"), None);
            assert_eq!(answer.number("content-length"), answer.body.len() as i64);
            let kind = answer.field("content-type").unwrap();
            let boundary = kind
                .strip_prefix("multipart/byteranges; boundary=")
                .expect(kind);
            let mut expected = Vec::new();
            for (first, end) in [(0, 3), (10, 11), (far, last)] {
                let start = if expected.is_empty() { "" } else { "\r\n" };
                let head = format!(
                    "{start}--{boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes {first}-{end}/{size}\r\n\r\n"
                );
                expected.extend_from_slice(head.as_bytes());
                expected.extend_from_slice(&whole[first..=end]);
            }
            expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            assert!(answer.body == expected, "{size}");
        }
        // A thousand ranges are no more than the whole.
        let many: Vec<_> = (0..1000)
            .map(|at| format!("{}-{}", at * 3, at * 3))
            .collect();
        let answer = client.get("/20000", &[("range", &format!("bytes={}", many.join(",")))]);
        assert_eq!((answer.status, answer.body.len()), (200, 20_000));
    }
}

/// RFC 9110 section 13.1.5 (MUST, c; MUST, d; SHOULD): a range counts only for the representation that the client
/// means, by a strong validator.
#[test]
fn if_range_decides_about_the_range() {
    let (origin, _proxy, clients) = stored();
    for mut client in clients {
        for (condition, status) in [
            ("\"a\"", 206),
            (CHANGED, 206),
            ("\"b\"", 200),
            ("W/\"a\"", 200),
            ("a", 200),
            ("Sat, 29 Oct 2005 19:43:31 GMT", 200),
        ] {
            let fields = [("range", "bytes=1-2"), ("if-range", condition)];
            let answer = client.get("/26", &fields);
            assert_eq!(answer.status, status, "{condition}: {answer:?}");
            assert!(answer.is_hit());
            // RFC 9110 section 14.2 (MUST, a): a range has no effect with HEAD.
            assert_eq!(client.ask("HEAD", "/26", &fields).status, 200);
            // RFC 9110 section 13.1.5 (MUST, a): If-Range has no effect without Range.
            assert_eq!(client.get("/26", &fields[1..]).status, 200);
        }
    }
    assert_eq!(origin.count(), SIZES.len());
}

/// A range of what is not stored goes to the backend as it is, and its answer is passed on.
#[test]
fn a_range_of_what_is_not_stored_goes_to_the_backend() {
    let origin = origin(|request, _| match request.head.field("range") {
        Some(_) => message(
            206,
            &[
                "Cache-Control: max-age=3600",
                "ETag: \"a\"",
                "Content-Range: bytes 1-2/26",
            ],
            Some("bc"),
        ),
        None => ok(
            &["Cache-Control: max-age=3600", "ETag: \"a\""],
            "abcdefghijklmnopqrstuvwxyz",
        ),
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let part = client.get(&path, &[("range", "bytes=1-2")]);
        assert_eq!((part.status, part.text().as_str()), (206, "bc"), "{part:?}");
        assert_eq!(part.field("content-range"), Some("bytes 1-2/26"));
        // A part is never taken for the whole.
        let whole = client.get(&path, &[]);
        assert_eq!((whole.status, whole.body.len()), (200, 26), "{whole:?}");
        let part = client.get(&path, &[("range", "bytes=3-4")]);
        assert_eq!(
            (part.text().as_str(), part.is_hit()),
            ("de", true),
            "{part:?}"
        );
    }
}

/// A stale answer is validated, and then answers the range.
#[test]
fn a_range_of_a_stale_answer_is_cut_after_its_validation() {
    let origin = origin(|request, _| {
        let fields = ["Cache-Control: max-age=0", "ETag: \"a\""];
        match request.head.field("if-none-match") {
            Some(_) => message(304, &fields, None),
            None => ok(&fields, "abcdefghijklmnopqrstuvwxyz"),
        }
    });
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    client.get("/", &[]);
    let part = client.get("/", &[("range", "bytes=1-2")]);
    assert_eq!((part.status, part.text().as_str()), (206, "bc"), "{part:?}");
    let head = client.ask("HEAD", "/", &[("range", "bytes=1-2")]);
    assert_eq!(
        (head.status, head.number("content-length")),
        (200, 26),
        "{head:?}"
    );
}

#[test]
fn an_empty_stored_body_has_no_ranges() {
    let origin =
        Origin::answering(plain("").replace("\r\n\r\n", "\r\nCache-Control: max-age=60\r\n\r\n"));
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        client.get("/", &[]);
        let answer = client.get("/", &[("range", "bytes=0-5")]);
        assert!(
            matches!(answer.status, 200 | 416) && answer.body.is_empty(),
            "{answer:?}"
        );
        assert!(answer.is_hit());
    }
}
