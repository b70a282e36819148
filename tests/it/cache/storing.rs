//! Answers are stored or not by what the fields of request and answer say (RFC 9111 section 3).

use super::*;

/// Asks twice with these fields, and tells whether the second answer is the stored first one.
#[track_caller]
fn is_stored(client: &mut Asker, path: &str, fields: &[(&str, &str)]) -> bool {
    let first = client.get(path, fields);
    let second = client.get(path, fields);
    assert!(!first.is_hit(), "{first:?}");
    assert_eq!(
        first.parameter("stored").is_some(),
        second.is_hit(),
        "{first:?}, {second:?}"
    );
    assert_eq!(first.body == second.body, second.is_hit());
    second.is_hit()
}

#[test]
fn what_is_private_is_not_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let rows = [
        ("Cache-Control: max-age=3600", true),
        ("Cache-Control: max-age=3600, no-store", false),
        ("Cache-Control: no-store|Cache-Control: max-age=3600", false),
        ("Cache-Control: max-age=3600, private", false),
        ("Cache-Control: PRIVATE, max-age=3600", false),
        ("Cache-Control: public, private, max-age=3600", false),
        ("Cache-Control: max-age=3600|Set-Cookie: a=b", false),
        ("Cache-Control: max-age=3600|Pragma: no-cache", true),
        ("Cache-Control: max-age=3600|Warning: 110 - stale", true),
    ];
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (number, (want, expected)) in rows.iter().enumerate() {
            let path = format!("/{number}/{version:?}");
            let found = is_stored(&mut client, &path, &[("x-want", want)]);
            assert_eq!(found, *expected, "{version:?} {want}");
        }
    }
}

/// RFC 9111 sections 5.2.2.4 and 5.2.2.7 (MUST NOT, b): `private` and `no-cache` may name the fields that they are
/// about.
#[test]
fn named_fields_are_left_out_of_what_is_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        for directive in ["private", "no-cache"] {
            let path = format!("/{directive}/{version:?}");
            let mut client = Asker::new(&proxy, version);
            let want = format!(
                "Cache-Control: max-age=3600, {directive}=\"x-one, set-cookie\"|X-One: 1|X-Two: 2|Set-Cookie: a=b"
            );
            let first = client.get(&path, &[("x-want", &want)]);
            assert_eq!(
                (first.field("x-one"), first.field("set-cookie")),
                (Some("1"), Some("a=b"))
            );
            let second = client.get(&path, &[]);
            assert!(second.is_hit(), "{directive}: {second:?}");
            assert_eq!(
                (second.field("x-one"), second.field("set-cookie")),
                (None, None)
            );
            assert_eq!(second.field("x-two"), Some("2"));
        }
    }
}

/// RFC 9111 section 3.5 (MUST NOT): the answer to a request with credentials is for others only if it says so.
#[test]
fn authorization_needs_a_permission() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let rows = [
        ("max-age=3600", false),
        ("max-age=3600, proxy-revalidate", false),
        ("max-age=3600, public", true),
        ("max-age=3600, must-revalidate", true),
        ("s-maxage=3600", true),
    ];
    let secret = ("authorization", "Basic Zm9vOmJhcg==");
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (number, (directives, expected)) in rows.iter().enumerate() {
            let path = format!("/{number}/{version:?}");
            let want = format!("Cache-Control: {directives}");
            let want = ("x-want", &*want);
            client.get(&path, &[want, secret]);
            assert_eq!(
                client.get(&path, &[want]).is_hit(),
                *expected,
                "{directives}"
            );
        }
        // An answer that anybody may have is for those with credentials, too.
        let path = format!("/public/{version:?}");
        let want = ("x-want", "Cache-Control: max-age=3600");
        client.get(&path, &[want]);
        assert!(client.get(&path, &[want, secret]).is_hit());
    }
    let checked = caching("authorization = 'checked_here'", &[origin.addr]);
    let mut client = Asker::new(&checked, Version::One);
    let want = ("x-want", "Cache-Control: max-age=3600");
    client.get("/checked", &[want, secret]);
    assert!(
        client
            .get("/checked", &[want, ("authorization", "Basic other")])
            .is_hit()
    );
}

#[test]
fn set_cookie_is_refused_stripped_or_stored() {
    let origin = obedient();
    let want = (
        "x-want",
        "Cache-Control: max-age=3600|Set-Cookie: a=b|Set-Cookie: c=d|X-One: 1",
    );
    for (way, is_stored, stored) in [
        ("refuse", false, vec!["a=b", "c=d"]),
        ("strip", true, vec![]),
        ("store", true, vec!["a=b", "c=d"]),
    ] {
        let proxy = caching(&format!("set_cookie = '{way}'"), &[origin.addr]);
        for version in VERSIONS {
            let path = format!("/{way}/{version:?}");
            let mut client = Asker::new(&proxy, version);
            let first = client.get(&path, &[want]);
            // Where nobody gets the cookies, the first client does not get them either.
            let own = if way == "strip" {
                vec![]
            } else {
                vec!["a=b", "c=d"]
            };
            assert_eq!(
                first.all("set-cookie"),
                own,
                "{way}: the first of {version:?}"
            );
            let second = client.get(&path, &[want]);
            assert_eq!(second.is_hit(), is_stored, "{way}: {second:?}");
            assert_eq!(second.all("set-cookie"), stored, "{way}");
            assert_eq!(second.field("x-one"), Some("1"));
        }
    }
}

/// RFC 9111 section 3.1 (MUST; MUST NOT, a): everything is stored but what belongs to the connection.
#[test]
fn fields_of_the_connection_are_not_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let want = "Cache-Control: max-age=3600|Connection: x-hop|X-Hop: 1|Keep-Alive: timeout=5|X-Odd:  two  words |\
                    X-Twice: 1|X-Twice: 2|Link: </a>; rel=b|Server: own|Content-Language: de|\
                    Proxy-Authenticate: Basic|Proxy-Authentication-Info: a|X-Empty:";
        let first = client.get(&path, &[("x-want", want)]);
        let second = client.get(&path, &[]);
        assert!(second.is_hit());
        for gone in [
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
        ] {
            assert_eq!(second.field(gone), None, "{gone}");
        }
        assert_eq!(second.all("x-twice"), ["1", "2"]);
        for kept in [
            "x-odd",
            "link",
            "server",
            "content-language",
            "x-empty",
            "content-length",
            // RFC 9111 section 5.2 (MUST): the directives are for the next cache, too.
            "cache-control",
        ] {
            assert_eq!(second.field(kept), first.field(kept), "{kept}");
            assert!(second.field(kept).is_some(), "{kept}");
        }
    }
}

/// RFC 9110 section 9.3.3: an answer to POST that stands for its target is stored as the one to GET.
#[test]
fn a_post_that_stands_for_its_target_may_be_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    let own = "Cache-Control: max-age=3600|Content-Location: /d";
    client.ask("POST", "/d", &[("x-want", own), ("content-length", "0")]);
    assert!(client.get("/d", &[]).is_hit());
    for (path, want) in [
        ("/a", "Cache-Control: max-age=3600"),
        (
            "/b",
            "Cache-Control: max-age=3600|Content-Location: /elsewhere",
        ),
        ("/c", "Content-Location: /c"),
    ] {
        client.ask("POST", path, &[("x-want", want), ("content-length", "0")]);
        assert!(!client.get(path, &[]).is_hit(), "{want}");
    }
}

/// Interim answers are for the client that asked; what is stored is the final answer.
#[test]
fn interim_answers_are_not_stored() {
    let origin = origin(|_, number| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nCache-Control: max-age=1\r\n\r\n";
        early.to_owned() + &ok(&["Cache-Control: max-age=3600"], &number.to_string())
    });
    let proxy = caching("", &[origin.addr]);
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut client = proxy.client();
    let first = client.ask(request);
    assert_eq!((first.text().as_str(), first.interim.len()), ("1", 1));
    assert_eq!(first.interim[0].status(), 103);
    let second = client.ask(request);
    assert_eq!((second.text().as_str(), second.interim.len()), ("1", 0));
    assert_eq!(second.field("link"), None);
    assert_eq!(origin.count(), 1);
}

/// Cache-poisoned denial of service: an error that a large head has caused is not for others.
#[test]
fn errors_of_requests_near_the_bounds_are_not_stored() {
    let origin = obedient();
    let proxy = caching("error_ttl_max = '1h'", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    let fill = "x".repeat(30_500);
    let fields = [
        ("x-want", "Cache-Control: max-age=3600"),
        ("x-status", "400"),
        ("x-fill", &*fill),
    ];
    let first = client.get("/", &fields);
    assert!(first.parameter("stored").is_none(), "{:?}", first.cache());
    assert!(!client.get("/", &fields[..2]).is_hit());
    assert!(client.get("/", &fields[..2]).is_hit());
}

/// Tags are for caches, and only for those that the settings want to have them; so are targeted fields.
#[test]
fn fields_for_caches_do_not_reach_clients() {
    let origin = obedient();
    let tags = ["surrogate-key", "cache-tag", "cdn-cache-control"];
    let want = "Surrogate-Key: one two|Cache-Tag: three|CDN-Cache-Control: max-age=0|ETag: \"a\"";
    for (cache, kept) in [
        ("strip_targeted = true", vec![]),
        (
            "forward_tags = true, strip_targeted = true",
            vec!["surrogate-key", "cache-tag"],
        ),
        ("", vec!["cdn-cache-control"]),
    ] {
        let proxy = caching(cache, &[origin.addr]);
        for version in VERSIONS {
            let path = format!("/{version:?}");
            let mut client = Asker::new(&proxy, version);
            for number in 0..3 {
                let answer = client.get(&path, &[("x-want", want)]);
                let found: Vec<_> = tags
                    .into_iter()
                    .filter(|tag| answer.field(tag).is_some())
                    .collect();
                assert_eq!(found, kept, "{cache}: answer {number}: {answer:?}");
            }
        }
    }
}
