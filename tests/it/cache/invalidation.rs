//! Requests that may change something end what is stored (RFC 9111 section 4.4, RFC 9875).

use std::thread;

use super::*;

const HOUR: (&str, &str) = ("x-want", "Cache-Control: max-age=3600");

/// Stores an answer for a path, does something, and tells whether the answer is still used.
#[track_caller]
fn stays(client: &mut Asker, path: &str, act: impl FnOnce(&mut Asker)) -> bool {
    client.get(path, &[HOUR]);
    assert!(client.get(path, &[HOUR]).is_hit(), "{path}");
    act(client);
    client.get(path, &[HOUR]).is_hit()
}

/// RFC 9111 section 4.4 (MUST): a success of such a method invalidates its URL.
#[test]
fn methods_that_change_something_invalidate() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (method, status, expected) in [
            ("POST", "200", false),
            ("PUT", "204", false),
            ("PUT", "201", false),
            ("DELETE", "200", false),
            ("PATCH", "200", false),
            ("PURPLE", "200", false),
            ("POST", "303", false),
            ("POST", "307", false),
            ("POST", "400", true),
            ("PUT", "404", true),
            ("DELETE", "500", true),
            ("OPTIONS", "200", true),
        ] {
            let path = format!("/{method}/{status}/{version:?}");
            let found = stays(&mut client, &path, |client| {
                let fields = [("content-length", "0"), ("x-status", status)];
                // RFC 9111 section 4 (MUST, b): the answer is that of the backend.
                let answer = client.ask(method, &path, &fields);
                assert_eq!(answer.status.to_string(), status, "{method}");
            });
            assert_eq!(found, expected, "{version:?} {method} {status}");
        }
    }
}

/// RFC 9111 section 4.4 (MUST NOT): what Location and Content-Location name, if it is of the same origin.
#[test]
fn references_of_the_same_origin_are_invalidated() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    for (number, (reference, expected)) in [
        ("Location: /PATH", false),
        ("Content-Location: /PATH", false),
        ("Location: http://test/PATH", false),
        ("Location: http://TEST:80/PATH", false),
        ("Location: //test/PATH", false),
        ("Location: ../x/../PATH", false),
        ("Location: http://other/PATH", true),
        ("Location: http://test:81/PATH", true),
        ("Location: https://test/PATH", true),
        ("Location: /PATH/more", true),
        ("X-Location: /PATH", true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("named{number}");
        let want = reference.replace("PATH", &name);
        let found = stays(&mut client, &format!("/{name}"), |client| {
            let fields = [
                ("content-length", "0"),
                ("x-status", "201"),
                ("x-want", &*want),
            ];
            client.ask("POST", "/form/fill", &fields);
        });
        assert_eq!(found, expected, "{want}");
    }
}

/// Every variant goes, and other hosts keep theirs.
#[test]
fn all_variants_of_the_url_are_invalidated_and_nothing_else() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = proxy.client();
    let mut ask = |method: &str, host: &str, target: &str, lang: &str| {
        let answer = client.ask(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Lang: {lang}\r\nContent-Length: 0\r\n\
             X-Want: Cache-Control: max-age=3600|Vary: x-lang\r\n\r\n"
        ));
        answer
            .field("cache-status")
            .is_some_and(|status| status.contains("; hit"))
    };
    for (host, target) in [("a", "/"), ("b", "/"), ("a", "/?x"), ("a", "/y")] {
        for lang in ["de", "en"] {
            ask("GET", host, target, lang);
            assert!(ask("GET", host, target, lang));
        }
    }
    ask("POST", "a", "/", "fr");
    for (host, target) in [("b", "/"), ("a", "/?x"), ("a", "/y")] {
        assert!(
            ask("GET", host, target, "de") && ask("GET", host, target, "en"),
            "{host} {target}"
        );
    }
    assert!(!ask("GET", "a", "/", "de") && !ask("GET", "a", "/", "en"));
}

/// RFC 9875: an unsafe request may invalidate groups of answers of its origin.
#[test]
fn groups_are_invalidated_together() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = proxy.client();
    let mut ask = |method: &str, host: &str, target: &str, want: &str| {
        let answer = client.ask(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nX-Want: {want}\r\n\r\n"
        ));
        answer
            .field("cache-status")
            .is_some_and(|status| status.contains("; hit"))
    };
    let groups = [
        ("/1", "\"one\""),
        ("/2", "\"one\", \"two\""),
        ("/3", "\"two\";x=1, \"three\""),
        ("/4", "\"ONE\""),
    ];
    let many: Vec<_> = (0..32).map(|number| format!("\"{number:032}\"")).collect();
    let many = many.join(", ");
    let groups = groups
        .into_iter()
        .chain([("/5", &*many)])
        .collect::<Vec<_>>();
    for host in ["a", "b"] {
        for (target, groups) in &groups {
            let want = format!("Cache-Control: max-age=3600|Cache-Groups: {groups}");
            ask("GET", host, target, &want);
            assert!(ask("GET", host, target, &want), "{host} {target}");
        }
    }
    // RFC 9875 section 3 (MUST): ignored on the answers to safe methods.
    ask("GET", "a", "/safe", "Cache-Group-Invalidation: \"one\"");
    assert!(ask("GET", "a", "/1", ""));
    ask("POST", "a", "/form", "Cache-Group-Invalidation: \"one\"");
    let left = |ask: &mut dyn FnMut(&str, &str) -> bool, host: &str| {
        ["/1", "/2", "/3", "/4", "/5"].map(|target| ask(host, target))
    };
    let mut get = |host: &str, target: &str| ask("GET", host, target, "");
    assert_eq!(left(&mut get, "a"), [false, false, true, true, true]);
    assert_eq!(left(&mut get, "b"), [true; 5]);
    let last = format!("Cache-Group-Invalidation: \"two\", \"{:032}\"", 31);
    ask("POST", "b", "/form", &last);
    let mut get = |host: &str, target: &str| ask("GET", host, target, "");
    assert_eq!(left(&mut get, "b"), [true, false, false, true, false]);
}

/// A validation may put a stored answer into further groups.
#[test]
fn a_304_adds_to_the_groups() {
    let origin = origin(|request, number| {
        let head = &request.head;
        if head.first_line().starts_with("POST") {
            let group = format!(
                "Cache-Group-Invalidation: \"{}\"",
                head.field("x-group").unwrap()
            );
            return ok(&[&group], "");
        }
        match head.field("if-none-match") {
            Some(_) => message(
                304,
                &[
                    "Cache-Control: max-age=3600",
                    "ETag: \"a\"",
                    "Cache-Groups: \"new\"",
                ],
                None,
            ),
            None => ok(
                &[
                    "Cache-Control: max-age=0",
                    "ETag: \"a\"",
                    "Cache-Groups: \"old\"",
                ],
                &number.to_string(),
            ),
        }
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (group, stays) in [("other", true), ("new", false)] {
            let path = format!("/{group}/{version:?}");
            client.get(&path, &[]);
            assert_eq!(client.get(&path, &[]).parameter("fwd-status"), Some("304"));
            assert!(client.get(&path, &[]).is_hit());
            client.ask(
                "POST",
                "/form",
                &[("content-length", "0"), ("x-group", group)],
            );
            assert_eq!(client.get(&path, &[]).is_hit(), stays, "{group}");
        }
    }
}

/// The origin counts the changes, and answers with their number.
fn counting() -> (Origin, Arc<AtomicUsize>) {
    let changes = Arc::new(AtomicUsize::new(0));
    let own = changes.clone();
    let origin = origin(move |request, _| {
        if request.head.first_line().starts_with("POST") {
            return ok(&[], &(own.fetch_add(1, SeqCst) + 1).to_string());
        }
        let fields = ["Cache-Control: max-age=3600"];
        ok(&fields, &own.load(SeqCst).to_string())
    });
    (origin, changes)
}

/// The number of changes that an answer tells of.
#[track_caller]
fn number_of(answer: &Reply) -> usize {
    let number = answer.text().parse();
    number.unwrap_or_else(|_| panic!("{answer:?}"))
}

/// A client that asks after a change was answered gets the state after the change, on every worker and connection.
#[test]
fn no_stale_hit_after_a_change() {
    let (origin, changes) = counting();
    let proxy = caching("", &[origin.addr]);
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|number| {
            let mut client = Asker::new(&proxy, VERSIONS[number % 2]);
            let (is_over, answered) = (is_over.clone(), changes.clone());
            thread::spawn(move || {
                let mut asked = 0;
                while !is_over.load(SeqCst) {
                    // Nobody is told of more than what has happened, nor of less than was answered before.
                    let found = number_of(&client.get("/", &[]));
                    assert!(found <= answered.load(SeqCst));
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let mut clients: Vec<_> = (0..8)
        .map(|number| Asker::new(&proxy, VERSIONS[number % 2]))
        .collect();
    for round in 1..=100 {
        let poster = round % clients.len();
        let posted = clients[poster].ask("POST", "/", &[("content-length", "0")]);
        assert_eq!(posted.text(), round.to_string());
        for (number, client) in clients.iter_mut().enumerate() {
            let found = number_of(&client.get("/", &[]));
            assert_eq!(found, round, "client {number} after the change by {poster}");
        }
    }
    is_over.store(true, SeqCst);
    let asked: usize = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    assert!(origin.count() < asked + 900, "some came from the store");
}

/// An answer that was asked for before a change is not stored after the change, and no later client gets it.
#[test]
fn a_fetch_under_way_is_not_stored_after_a_change() {
    for version in VERSIONS {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = origin(move |request, number| {
            if number == 1 {
                opened.wait(1);
            }
            let method = &request.head.first_line()[..4];
            ok(
                &["Cache-Control: max-age=3600"],
                &format!("{method}{number}"),
            )
        });
        let proxy = caching("collapse_timeout = '60s'", &[origin.addr]);
        let mut early = proxy.client();
        early.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        origin.wait_for_requests(1);
        let mut client = Asker::new(&proxy, version);
        assert_eq!(
            client.ask("POST", "/", &[("content-length", "0")]).status,
            200
        );
        // A request that comes after the change does not wait for an answer that may be older.
        let late = client.get("/", &[]);
        assert_eq!(late.text(), "GET 3", "{late:?}");
        gate.open();
        assert_eq!(early.answer().text(), "GET 1");
        let later = client.get("/", &[]);
        assert_ne!(later.text(), "GET 1", "{later:?}");
    }
}

/// A change that comes while a body is on its way keeps the body out of the store.
#[test]
fn a_body_under_way_is_not_stored_after_a_change() {
    let gate = Gate::default();
    let opened = gate.clone();
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let number = count.fetch_add(1, SeqCst) + 1;
            link.send(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 6\r\n\r\nbody ",
            );
            if number == 1 {
                opened.wait(1);
            }
            link.send(number.to_string());
        }
    });
    let proxy = caching("collapse_timeout = '60s'", &[origin.addr]);
    let mut early = proxy.client();
    early.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    early.head();
    assert_eq!(early.bytes(5), b"body ");
    let mut client = Asker::new(&proxy, Version::Two);
    client.ask("DELETE", "/", &[]);
    assert_eq!(client.get("/", &[]).text(), "body 3");
    gate.open();
    assert_eq!(early.bytes(1), b"1");
    assert_eq!(client.get("/", &[]).text(), "body 3");
}
