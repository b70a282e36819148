//! What tells one stored answer from another one, and what is kept away from backends because it does not.

use super::*;
use crate::support::trusted::Trusted;

const WANT: &str = "X-Want: Cache-Control: max-age=3600\r\n";

/// Clients on this machine are proxies, whose fields pass.
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

/// Asks for a target of a host, and tells whether the answer came from the store.
#[track_caller]
fn is_hit(proxy: &Proxy, target: &str, host: &str, fields: &str) -> bool {
    let answer = proxy.ask(format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\n{WANT}{fields}\r\n"
    ));
    assert_eq!(answer.status(), 200, "{target} {host}: {answer:?}");
    answer
        .field("cache-status")
        .expect("Cache-Status")
        .contains("; hit")
}

#[test]
fn hosts_are_compared_in_one_form() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for (number, (one, other, is_same)) in [
        ("a.example", "A.EXAMPLE", true),
        ("a.example", "a.example:80", true),
        ("a.example", "a.example.", true),
        ("[::1]", "[0:0:0:0:0:0:0:1]", true),
        ("[2001:DB8::1]", "[2001:db8::1]:80", true),
        ("a.example", "a.example:443", false),
        ("a.example", "a.example:8080", false),
        ("a.example", "b.example", false),
        ("a.example", "a.example.example", false),
        ("1.2.3.4", "[::ffff:1.2.3.4]", false),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/{number}");
        assert!(!is_hit(&proxy, &target, one, ""));
        assert_eq!(is_hit(&proxy, &target, other, ""), is_same, "{one} {other}");
    }
    // The same in the form of HTTP/2, and as an absolute target.
    assert!(!is_hit(&proxy, "/form", "test", ""));
    assert!(
        proxy
            .h2()
            .ask(&frame::get("/form", &[]))
            .field("cache-status")
            .unwrap()
            .contains("; hit")
    );
    assert!(is_hit(&proxy, "http://TEST/form", "test", ""));
}

#[test]
fn the_scheme_is_a_part_of_the_key() {
    let origin = obedient();
    let trusted = Trusted::new();
    let addr = free_addr();
    let tls = format!(
        "[[listeners]]\naddr = \"{addr}\"\ntls = {{ certificates = [{{ cert = {:?}, key = {:?} }}] }}\n",
        trusted.cert(),
        trusted.key()
    );
    let proxy = Proxy::start(&format!("{TRUSTING}{}{tls}", settings("", &[origin.addr])));
    assert!(!is_hit(&proxy, "/", "test", ""));
    // A proxy that is trusted says what its client came by.
    assert!(!is_hit(&proxy, "/", "test", "X-Forwarded-Proto: https\r\n"));
    assert!(is_hit(&proxy, "/", "test", "X-Forwarded-Proto: https\r\n"));
    assert!(is_hit(&proxy, "/", "test", "X-Forwarded-Proto: http\r\n"));
    assert!(!is_hit(&proxy, "/", "test", "X-Forwarded-Host: other\r\n"));
    assert!(is_hit(&proxy, "/", "other", ""));
    // A stranger says what he likes.
    let strange = caching("", &[origin.addr]);
    assert!(!is_hit(&strange, "/", "test", ""));
    assert!(is_hit(
        &strange,
        "/",
        "test",
        "X-Forwarded-Proto: https\r\n"
    ));
}

#[test]
fn queries_count_as_they_are_forwarded() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let own = [
        "/a",
        "/a?",
        "/a?x",
        "/a?x=1",
        "/a?x=2",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/A",
        "/a/",
        "/a?X=1",
        "/a?x=%31",
    ];
    for target in own {
        assert!(!is_hit(&proxy, target, "test", ""), "{target}");
    }
    for target in own {
        assert!(is_hit(&proxy, target, "test", ""), "{target}");
    }
    let tidy = caching(
        "ignore_query = ['utm_*', 'gclid'], sort_query = true",
        &[origin.addr],
    );
    assert!(!is_hit(&tidy, "/a?b=2&a=1", "test", ""));
    for target in [
        "/a?a=1&b=2",
        "/a?utm_source=x&a=1&b=2",
        "/a?b=2&gclid=9&a=1&utm_x",
    ] {
        assert!(is_hit(&tidy, target, "test", ""), "{target}");
    }
    assert!(!is_hit(&tidy, "/a", "test", ""));
    assert!(is_hit(&tidy, "/a?utm_source=x", "test", ""));
    for target in ["/a?a=1", "/a?a=1&b=3", "/a?gclida=1&a=1&b=2"] {
        assert!(!is_hit(&tidy, target, "test", ""), "{target}");
    }
    // The backend gets what the client has sent.
    let asked: Vec<_> = origin
        .requests()
        .iter()
        .map(|one| path_of(&one.head).to_owned())
        .collect();
    assert!(asked.contains(&"/a?b=2&a=1".to_owned()), "{asked:?}");
}

#[test]
fn fields_may_be_a_part_of_the_key() {
    let origin = obedient();
    let keyed = settings("key_headers = ['X-Country', 'X-Host']", &[origin.addr]);
    let proxy = Proxy::start(&format!("{TRUSTING}{keyed}"));
    assert!(!is_hit(&proxy, "/", "test", "X-Country: de\r\n"));
    assert!(is_hit(&proxy, "/", "test", "x-country: de\r\n"));
    for fields in [
        "X-Country: fr\r\n",
        "",
        "X-Country: \r\n",
        "X-Country: d\r\nX-Country: e\r\n",
        "X-Host: de\r\n",
    ] {
        assert!(!is_hit(&proxy, "/", "test", fields), "{fields:?}");
        assert!(is_hit(&proxy, "/", "test", fields), "{fields:?}");
    }
    // What is a part of the key may change the answer, so that the backend gets it.
    let last = origin.requests().pop().unwrap();
    assert_eq!(last.head.field("x-host"), Some("de"));
}

/// Fields by which backends answer for another URL are no part of the key, and so no backend gets them.
#[test]
fn unkeyed_fields_do_not_reach_the_backend() {
    let origin = obedient();
    no_evil_passes(
        &caching("", &[origin.addr]),
        &origin,
        &["X-Forwarded-Host", "Forwarded"],
    );
    // Proxies that are trusted may say which host was asked for, which then is a part of the key, and nothing else.
    no_evil_passes(
        &Proxy::start(&format!("{TRUSTING}{}", settings("", &[origin.addr]))),
        &origin,
        &[],
    );
}

#[track_caller]
fn no_evil_passes(proxy: &Proxy, origin: &Origin, more: &[&str]) {
    let names = [
        "X-Forwarded-Scheme",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method",
        "X-HTTP-Method-Override",
        "X-Method-Override",
    ];
    let names = [&names[..], more].concat();
    let evil: String = names
        .iter()
        .map(|name| format!("{name}: evil\r\n"))
        .collect();
    for (number, method) in ["GET", "HEAD"].into_iter().enumerate() {
        let request =
            format!("{method} /{number} HTTP/1.1\r\nHost: test\r\n{evil}X-Other: evil\r\n\r\n");
        assert_eq!(proxy.client().ask(request).status(), 200);
        let asked = origin.requests().pop().unwrap();
        for (name, value) in asked.head.fields() {
            assert!(
                !value.contains("evil") || name.eq_ignore_ascii_case("x-other"),
                "{name}: {value}"
            );
        }
    }
    let mut two = proxy.h2();
    let lower: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    let fields: Vec<_> = lower.iter().map(|name| (&**name, "evil")).collect();
    assert_eq!(two.ask(&frame::get("/2", &fields)).status(), 200);
    let asked = origin.requests().pop().unwrap();
    assert!(!asked.head.text.contains("evil"), "{}", asked.head.text);
}

#[test]
fn stripped_cookies_make_no_difference() {
    let origin = obedient();
    let proxy = caching("strip_cookies = ['_ga*']", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        let want = format!("Last-Modified: {}", date(-864_000));
        let mut ask = |path: &str, cookie| {
            let path = format!("{path}/{version:?}");
            client
                .get(&path, &[("x-want", &*want), ("cookie", cookie)])
                .is_hit()
        };
        // Without its cookie the request is nobody's own: heuristics count.
        assert!(!ask("/all", "_ga=1; _gat=2"));
        assert!(ask("/all", "_ga=3"));
        assert_eq!(origin.requests().pop().unwrap().head.field("cookie"), None);
        assert!(!ask("/some", "_ga=1; id=2; _gat=3;  x=y"));
        assert!(!ask("/some", "_ga=1; id=2"));
        let cookies: Vec<_> = origin.requests();
        let cookies = cookies
            .iter()
            .rev()
            .take(2)
            .map(|one| one.head.field("cookie").unwrap().to_owned());
        assert_eq!(cookies.collect::<Vec<_>>(), ["id=2", "id=2; x=y"]);
    }
}

#[test]
fn some_requests_bypass_the_cache() {
    let origin = obedient();
    let proxy = caching(
        "bypass = { cookies = ['session*'], headers = ['X-Preview'], paths = ['/cart*'] }",
        &[origin.addr],
    );
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        let path = format!("/page/{version:?}");
        let want = ("x-want", "Cache-Control: max-age=3600");
        for field in [
            ("cookie", "a=b; session_id=1"),
            ("x-preview", "1"),
            ("x-preview", ""),
        ] {
            for _ in 0..2 {
                let answer = client.get(&path, &[want, field]);
                assert_eq!(
                    answer.parameter("fwd"),
                    Some("bypass"),
                    "{field:?}: {answer:?}"
                );
                assert_eq!(answer.parameter("stored"), None);
            }
        }
        let cart = client.get("/cart/1", &[want]);
        assert_eq!(cart.parameter("fwd"), Some("bypass"));
        // Nothing of that was stored, and others are served from the store.
        assert!(!client.get(&path, &[want, ("cookie", "a=b")]).is_hit());
        assert!(client.get(&path, &[want]).is_hit());
        assert_eq!(
            client
                .get(&path, &[want, ("x-preview", "1")])
                .parameter("fwd"),
            Some("bypass")
        );
    }
}
