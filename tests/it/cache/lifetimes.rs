//! Lifetimes by the settings of a route, and what clients may ask for.

use std::time::Instant;

use super::*;

/// Asks twice with these fields, and tells whether the second answer is the stored first one.
#[track_caller]
fn is_reused(proxy: &Proxy, path: &str, fields: &[(&str, &str)]) -> bool {
    let mut client = Asker::new(proxy, Version::One);
    assert!(!client.get(path, fields).is_hit());
    client.get(path, fields).is_hit()
}

#[test]
fn lifetimes_of_the_settings_count_where_the_backend_says_nothing() {
    let origin = obedient();
    let rows = [
        ("", [true, true, true]),
        ("Cache-Control: max-age=0", [false, true, true]),
        ("Cache-Control: no-cache", [false, true, true]),
        ("Expires: 0", [false, true, true]),
        ("Cache-Control: private", [false, false, true]),
        ("Cache-Control: no-store", [false, false, true]),
        ("Set-Cookie: a=b", [false, false, true]),
        ("Vary: *", [false, false, false]),
    ];
    for (at, way) in ["", ", override = true", ", override = 'all'"]
        .into_iter()
        .enumerate()
    {
        let cache = format!("ttl = {{ 200 = '1h', 404 = '30m'{way} }}");
        let proxy = caching(&cache, &[origin.addr]);
        for (number, (want, expected)) in rows.iter().enumerate() {
            let found = is_reused(&proxy, &format!("/{number}"), &[("x-want", want)]);
            assert_eq!(found, expected[at], "{want} with {cache}");
        }
        // No other status is concerned.
        let fields = [("x-want", "Cache-Control: max-age=0"), ("x-status", "301")];
        assert!(!is_reused(&proxy, "/other", &fields));
        let mut client = Asker::new(&proxy, Version::Two);
        client.get("/none", &[("x-status", "404")]);
        let stored = client.get("/none", &[("x-status", "404")]);
        assert!(
            stored.is_hit() && (1..=1800).contains(&stored.ttl()),
            "{stored:?}"
        );
    }
}

/// The cookies of an answer that is stored against its will are no part of what is stored.
#[test]
fn override_all_stores_no_cookies_of_strangers() {
    let origin = obedient();
    let proxy = caching("ttl = { 200 = '1h', override = 'all' }", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    let first = client.get("/", &[("x-want", "Set-Cookie: a=b|Cache-Control: private")]);
    assert_eq!(first.field("set-cookie"), Some("a=b"));
    let second = client.get("/", &[]);
    assert!(
        second.is_hit() && second.field("set-cookie").is_none(),
        "{second:?}"
    );
}

/// RFC 9111 section 5.2.1.7 (SHOULD): what is not stored gets a 504.
#[test]
fn only_if_cached_asks_no_backend() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let wish = ("cache-control", "only-if-cached");
        let missing = client.get(&path, &[wish]);
        assert_eq!(missing.status, 504);
        assert_eq!(requests_for(&origin, &path), 0);
        client.get(&path, &[("x-want", "Cache-Control: max-age=3600")]);
        let stored = client.get(&path, &[wish]);
        assert!(stored.is_hit() && stored.status == 200, "{stored:?}");
    }
}

#[test]
fn no_store_of_a_request_keeps_its_answer_out() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::Two);
    let hour = ("x-want", "Cache-Control: max-age=3600");
    for _ in 0..2 {
        // RFC 9111 section 5.2.1.5 (MUST NOT, a): neither answer is stored.
        let wish = ("cache-control", "no-store, max-stale=5, foo=\"bar\"");
        assert!(!client.get("/", &[hour, wish]).is_hit());
        // RFC 9111 section 5.2 (MUST): the backend gets the directives as they came.
        let asked = origin.requests().pop().unwrap();
        assert_eq!(asked.head.field(wish.0), Some(wish.1));
    }
    assert!(!client.get("/", &[hour]).is_hit());
    assert!(client.get("/", &[hour]).is_hit());
}

/// With the default, clients can cause at most one question to the backend per key and second.
#[test]
fn wishes_of_clients_are_bounded() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let hour = ("x-want", "Cache-Control: max-age=3600|Age: 10");
    let wishes = ["no-cache", "max-age=0", "min-fresh=7200"];
    for (number, wish) in wishes.into_iter().enumerate() {
        let path = format!("/{number}");
        let mut client = Asker::new(&proxy, VERSIONS[number % 2]);
        client.get(&path, &[hour]);
        let began = Instant::now();
        for _ in 0..30 {
            let answer = client.get(&path, &[hour, ("cache-control", wish)]);
            assert_eq!(answer.status, 200);
        }
        let asked = requests_for(&origin, &path) - 1;
        let most = began.elapsed().as_secs() as usize + 2;
        assert!((1..=most).contains(&asked), "{wish}: {asked} questions");
    }
    let mut client = Asker::new(&proxy, Version::One);
    client.get("/pragma", &[hour]);
    let answer = client.get("/pragma", &[hour, ("pragma", "no-cache")]);
    assert_eq!(answer.parameter("fwd"), Some("request"), "{answer:?}");
}

#[test]
fn wishes_of_clients_are_obeyed_or_ignored_as_the_settings_say() {
    let origin = obedient();
    let honouring = caching("client_directives = 'honour'", &[origin.addr]);
    let ignoring = caching("client_directives = 'ignore'", &[origin.addr]);
    let hour = ("x-want", "Cache-Control: max-age=3600|Age: 100");
    for wish in ["no-cache", "max-age=50", "min-fresh=3590"] {
        let path = format!("/{wish}");
        for (proxy, is_obeyed) in [(&honouring, true), (&ignoring, false)] {
            let mut client = Asker::new(proxy, Version::One);
            client.get(&path, &[hour]);
            for _ in 0..3 {
                let answer = client.get(&path, &[hour, ("cache-control", wish)]);
                assert_eq!(answer.is_hit(), !is_obeyed, "{wish}: {answer:?}");
                let reason = is_obeyed.then_some("request");
                assert_eq!(answer.parameter("fwd"), reason, "{wish}");
            }
            // A wish that the entry fulfils is no reason to ask.
            for wish in ["max-age=3000", "min-fresh=60"] {
                assert!(client.get(&path, &[hour, ("cache-control", wish)]).is_hit());
            }
        }
    }
    // RFC 8246 section 2.1: what never changes is not asked for because of an age.
    let mut client = Asker::new(&honouring, Version::One);
    let want = ("x-want", "Cache-Control: max-age=3600, immutable|Age: 100");
    client.get("/immutable", &[want]);
    assert!(
        client
            .get("/immutable", &[want, ("cache-control", "max-age=0")])
            .is_hit()
    );
    // RFC 9111 section 5.2.1.2: a client may take what is stale.
    let old = (
        "x-want",
        "Cache-Control: max-age=3600|Age: 3700|ETag: \"a\"",
    );
    client.get("/old", &[old]);
    let taken = client.get("/old", &[old, ("cache-control", "max-stale=1000")]);
    assert!(taken.is_hit() && taken.ttl() <= -100, "{taken:?}");
    let fresher = client.get("/old", &[old, ("cache-control", "max-stale=10")]);
    assert_eq!(fresher.parameter("fwd"), Some("stale"), "{fresher:?}");
}
