//! Stored answers are validated with their backend before they are used again (RFC 9111 section 4.3).

use super::*;
use crate::support::nginx::Nginx;
use crate::support::place::free_addr;

/// Fields of a stale answer that can be validated.
const STALE: &str = "Cache-Control: max-age=0|ETag: \"one\"|X-First: 1";

#[test]
fn a_304_lets_the_stored_answer_be_used() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let first = client.get(&path, &[("x-want", STALE)]);
        assert!(first.parameter("stored").is_some(), "{first:?}");
        for _ in 0..2 {
            let second = client.get(&path, &[("x-want", STALE)]);
            assert_eq!(
                (second.status, &second.body),
                (200, &first.body),
                "{second:?}"
            );
            assert_eq!(second.parameter("fwd"), Some("stale"));
            assert_eq!(second.parameter("fwd-status"), Some("304"));
            assert_eq!(second.field("x-first"), Some("1"));
        }
        assert_eq!(requests_for(&origin, &path), 3);
    }
    let asked = origin.requests();
    let conditions: Vec<_> = asked
        .iter()
        .map(|one| one.head.field("if-none-match"))
        .collect();
    let own = Some("\"one\"");
    assert_eq!(conditions, [None, own, own, None, own, own]);
}

#[test]
fn a_backend_of_http_2_validates() {
    let addr = free_addr();
    let nginx = Nginx::start(&format!(
        "listen {addr} http2; location / {{ default_type text/plain; add_header Cache-Control max-age=0; }}"
    ));
    nginx.directory.write("file", "hello");
    let proxy = Proxy::start(&pooled("protocol = \"h2\"", "", "", &[addr]));
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        let first = client.get("/file", &[]);
        let second = client.get("/file", &[]);
        assert_eq!(
            (first.text(), second.text()),
            ("hello".into(), "hello".into())
        );
        assert_eq!(second.parameter("fwd-status"), Some("304"), "{second:?}");
        assert_eq!(second.number("content-length"), 5);
    }
    nginx.directory.write("file", "another");
    let changed = proxy.ask("GET /file HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(changed.text(), "another");
}

/// RFC 9111 sections 3.2 (MUST) and 4.3.4 (MUST): the fields of the 304 replace the stored ones, except for those of
/// the body.
#[test]
fn a_304_updates_the_stored_fields() {
    let origin = origin(
        |request, number| match request.head.field("if-none-match") {
            None => ok(
                &[
                    "Cache-Control: max-age=0",
                    "ETag: \"a\"",
                    "X-Kept: 1",
                    "X-New: 1",
                    "X-New: 2",
                    "Content-Type: text/x",
                ],
                &number.to_string(),
            ),
            Some(_) => message(
                304,
                &[
                    "Cache-Control: max-age=3600",
                    "ETag: \"a\"",
                    "X-New: 3",
                    "Content-Length: 99",
                    "Age: 7",
                    "Connection: x-gone",
                    "X-Gone: 1",
                ],
                None,
            ),
        },
    );
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let body = client.get(&path, &[]).body;
        let validated = client.get(&path, &[]);
        let hit = client.get(&path, &[]);
        assert!(
            !validated.is_hit() && hit.is_hit(),
            "{validated:?}, {hit:?}"
        );
        for answer in [validated, hit] {
            assert_eq!((answer.status, &answer.body), (200, &body), "{answer:?}");
            assert_eq!(answer.all("x-new"), ["3"]);
            assert_eq!(answer.field("x-kept"), Some("1"));
            assert_eq!(answer.field("x-gone"), None);
            assert_eq!(answer.field("cache-control"), Some("max-age=3600"));
            assert_eq!(answer.field("content-type"), Some("text/x"));
            assert_eq!(answer.number("content-length"), body.len() as i64);
            assert!((7..3600).contains(&answer.number("age")), "{answer:?}");
        }
    }
}

/// RFC 9111 section 4.3.1: Last-Modified as it came, where there is no tag.
#[test]
fn dates_validate_where_there_is_no_tag() {
    let changed = "Sat, 29 Oct 1994 19:43:31 GMT";
    let origin = origin(move |request, number| {
        let fields = [
            "Cache-Control: no-cache",
            "Last-Modified: Sat, 29 Oct 1994 19:43:31 GMT",
        ];
        match request.head.field("if-modified-since") {
            Some(date) if date == changed => message(304, &fields, None),
            Some(other) => panic!("another date: {other}"),
            None => ok(&fields, &number.to_string()),
        }
    });
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::Two);
    let first = client.get("/", &[]);
    let second = client.get("/", &[]);
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(second.parameter("fwd-status"), Some("304"), "{second:?}");
}

/// RFC 9111 section 4.3.1 (SHOULD): the date goes with the tag, for backends that know no tags.
#[test]
fn dates_and_tags_validate_together() {
    let origin = origin(|request, number| {
        let fields = [
            "Cache-Control: max-age=0",
            "ETag: \"a\"",
            "Last-Modified: Sat, 29 Oct 1994 19:43:31 GMT",
        ];
        match request.head.field("if-modified-since") {
            Some(_) => message(304, &fields, None),
            None => ok(&fields, &number.to_string()),
        }
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let first = client.get(&path, &[]);
        let second = client.get(&path, &[]);
        assert_eq!((second.status, &second.body), (200, &first.body));
        let asked = origin.requests().pop().unwrap();
        assert_eq!(asked.head.field("if-none-match"), Some("\"a\""));
        let changed = "Sat, 29 Oct 1994 19:43:31 GMT";
        assert_eq!(asked.head.field("if-modified-since"), Some(changed));
    }
}

/// RFC 9111 section 4.3.3 (MUST): a full answer to a validation is the answer, and replaces what was stored.
#[test]
fn another_answer_replaces_the_stored_one() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    client.get("/", &[("x-want", STALE)]);
    let new = [("x-want", "Cache-Control: max-age=3600|ETag: \"two\"")];
    let second = client.get("/", &new);
    assert_eq!(
        (second.text().as_str(), second.parameter("fwd")),
        ("2", Some("stale"))
    );
    let third = client.get("/", &new);
    assert_eq!((third.text().as_str(), third.is_hit()), ("2", true));
    // An answer that must not be stored ends what was stored.
    client.get("/gone", &[("x-want", STALE)]);
    client.get("/gone", &[("x-want", "Cache-Control: no-store")]);
    let last = client.get("/gone", &[("x-want", STALE)]);
    assert_eq!(last.status, 200);
}

/// The condition of a client is not the one of the cache: each gets its own answer.
#[test]
fn conditions_of_clients_do_not_hinder_a_validation() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let want = ("x-want", STALE);
        let first = client.get(&path, &[want]);
        // RFC 9111 section 4.3.2 (MUST): the client has another representation than the stored one, which still holds.
        let second = client.get(&path, &[want, ("if-none-match", "\"other\"")]);
        assert_eq!(
            (second.status, &second.body),
            (200, &first.body),
            "{second:?}"
        );
        // The client has the representation that still holds.
        let third = client.get(&path, &[want, ("if-none-match", "\"one\"")]);
        assert_eq!((third.status, third.body.len()), (304, 0), "{third:?}");
        // The client has an old representation, and there is a new one.
        let new = ("x-want", "Cache-Control: max-age=0|ETag: \"two\"");
        let fourth = client.get(&path, &[new, ("if-none-match", "\"one\"")]);
        assert_eq!(
            (fourth.status, fourth.field("etag")),
            (200, Some("\"two\"")),
            "{fourth:?}"
        );
    }
}

/// RFC 9111 section 5.2.1.5: the answer to such a request is not stored, and what is stored already stays.
#[test]
fn requests_whose_answers_are_not_stored_end_nothing() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let want = ("x-want", STALE);
    for version in VERSIONS {
        for own in [("cache-control", "no-store"), ("authorization", "Basic x")] {
            let path = format!("/{}/{version:?}", own.0);
            let mut client = Asker::new(&proxy, version);
            let first = client.get(&path, &[want]);
            for fields in [&[want, own][..], &[want]] {
                let again = client.get(&path, fields);
                assert_eq!((again.status, &again.body), (200, &first.body), "{again:?}");
                assert_eq!(again.parameter("fwd-status"), Some("304"), "{again:?}");
            }
        }
    }
}

/// RFC 9111 section 4.3.4 (MUST NOT): a 304 for something that is not stored validates nothing, and a client that sent
/// no condition cannot do anything with it.
#[test]
fn a_304_for_another_representation_is_not_passed_on() {
    let origin = origin(
        |request, number| match request.head.field("if-none-match") {
            Some(_) => message(
                304,
                &["ETag: \"strange\"", "Cache-Control: max-age=3600"],
                None,
            ),
            None => ok(
                &["Cache-Control: max-age=0", "ETag: \"a\""],
                &number.to_string(),
            ),
        },
    );
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        client.get(&path, &[]);
        let answer = client.get(&path, &[]);
        assert!(
            answer.status == 200 && !answer.body.is_empty(),
            "{answer:?}"
        );
        assert!(!client.get(&path, &[]).is_hit());
    }
}

/// A 304 to a request whose condition the cache has passed on belongs to the client.
#[test]
fn a_304_for_a_client_is_its_own() {
    let origin = origin(
        |request, number| match request.head.field("if-none-match") {
            Some(tag) => message(
                304,
                &[&format!("ETag: {tag}"), "Cache-Control: max-age=3600"],
                None,
            ),
            None => ok(
                &["Cache-Control: no-store", "ETag: \"b\""],
                &number.to_string(),
            ),
        },
    );
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        for _ in 0..2 {
            let answer = client.get(&path, &[("if-none-match", "\"a\"")]);
            assert_eq!((answer.status, answer.is_hit()), (304, false), "{answer:?}");
        }
        // No 304 was stored as an answer.
        let whole = client.get(&path, &[]);
        assert_eq!((whole.status, whole.is_hit()), (200, false), "{whole:?}");
    }
}

/// RFC 9111 section 4.3.5 (SHOULD, a; MUST): the answer to HEAD updates what is stored, or shows that it has changed.
#[test]
fn head_updates_or_ends_what_is_stored() {
    let origin = origin(|request, number| {
        let head = &request.head;
        let tag = ["ETag: \"a\"", "ETag: \"b\""][usize::from(head.field("x-new").is_some())];
        let number = format!("X-Number: {number}");
        if head.first_line().starts_with("HEAD") {
            let fields = [
                tag,
                "Cache-Control: max-age=3600",
                "Content-Length: 5",
                &number,
            ];
            return message(200, &fields, None);
        }
        ok(&[tag, "Cache-Control: max-age=0", &number], "hello")
    });
    let proxy = caching("client_directives = 'honour'", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        assert_eq!(client.get(&path, &[]).text(), "hello");
        let head = client.ask("HEAD", &path, &[]);
        assert_eq!((head.status, head.number("content-length")), (200, 5));
        assert!(!head.is_hit());
        // The stored answer has taken over the fields, and is fresh now.
        let hit = client.get(&path, &[]);
        assert!(hit.is_hit() && hit.text() == "hello", "{hit:?}");
        assert_eq!(hit.field("x-number"), head.field("x-number"));
        // With another tag the stored answer has ended, and is not asked about any more.
        let new = [("x-new", "1"), ("cache-control", "no-cache")];
        assert_eq!(client.ask("HEAD", &path, &new).field("etag"), Some("\"b\""));
        let whole = client.get(&path, &new[..1]);
        assert!(!whole.is_hit(), "{whole:?}");
        assert_eq!(whole.field("etag"), Some("\"b\""));
        let last = origin.requests().pop().unwrap();
        assert_eq!(last.head.field("if-none-match"), None, "{last:?}");
    }
}
