//! Several answers for one URL (RFC 9111 section 4.1).

use super::*;

/// A field of requests with two values, and whether both are given one answer.
struct Pair {
    name: &'static str,
    one: Option<&'static str>,
    other: Option<&'static str>,
    is_same: bool,
}

fn pair(name: &'static str, one: &'static str, other: &'static str, is_same: bool) -> Pair {
    Pair {
        name,
        one: Some(one),
        other: Some(other),
        is_same,
    }
}

#[test]
fn the_fields_in_vary_select_the_answer() {
    let pairs = [
        pair("x-lang", "a", "b", false),
        pair("x-lang", "a", "a", true),
        pair("x-lang", "a, b", "a,b", true),
        pair("x-lang", "a, b", "b, a", false),
        pair("accept-encoding", "gzip, br", "br,  gzip", true),
        pair("accept-encoding", "gzip;q=1.0", "gzip", true),
        pair("accept-language", "de, en;q=0.5", "en;q=0.5,de", true),
        pair("accept-language", "de", "en", false),
        Pair {
            one: None,
            ..pair("x-lang", "", "a", false)
        },
        // RFC 9111 section 4.1: a field that is absent is absent from both.
        Pair {
            one: None,
            ..pair("x-lang", "", "", false)
        },
        Pair {
            one: None,
            other: None,
            ..pair("x-lang", "", "", true)
        },
    ];
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (number, pair) in pairs.iter().enumerate() {
            let path = format!("/{number}/{version:?}");
            let want = format!("Cache-Control: max-age=3600|Vary: {}", pair.name);
            let fields = |value: Option<&'static str>| {
                let own = value.map(|value| (pair.name, value));
                [("x-want", &*want)]
                    .into_iter()
                    .chain(own)
                    .collect::<Vec<_>>()
            };
            let first = client.get(&path, &fields(pair.one));
            let second = client.get(&path, &fields(pair.other));
            let told = format!("{version:?} {} {:?} {:?}", pair.name, pair.one, pair.other);
            assert_eq!(second.is_hit(), pair.is_same, "{told}: {second:?}");
            if !pair.is_same {
                assert_eq!(second.parameter("fwd"), Some("vary-miss"), "{told}");
            }
            // Both stay stored.
            for (value, body) in [(pair.one, &first.body), (pair.other, &second.body)] {
                let again = client.get(&path, &fields(value));
                assert!(again.is_hit() && again.body == *body, "{told}: {again:?}");
            }
        }
    }
}

#[test]
fn vary_with_a_star_is_not_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::One);
    for (number, vary) in ["Vary: *", "Vary: x-a, *", "Vary: x-a|Vary: *"]
        .into_iter()
        .enumerate()
    {
        let want = format!("Cache-Control: max-age=3600|{vary}");
        let fields = [("x-want", &*want)];
        let path = format!("/{number}");
        let first = client.get(&path, &fields);
        assert_eq!(first.parameter("stored"), None, "{first:?}");
        assert!(!client.get(&path, &fields).is_hit(), "{vary}");
    }
}

/// RFC 9111 sections 4 (MUST, c) and 4.1 (SHOULD): of several answers that match, the most recent one of those that say
/// what they vary by.
#[test]
fn the_most_recent_of_several_answers_that_match_is_used() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let (now, earlier) = (date(0), date(-1000));
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        let mut ask = |path: &str, want: &str, a: &str, b: &str| {
            let path = format!("/{path}/{version:?}");
            let want = format!("Cache-Control: max-age=7200|{want}");
            client.get(&path, &[("x-want", &*want), ("x-a", a), ("x-b", b)])
        };
        let first = ask("date", &format!("Vary: x-a|Date: {now}"), "1", "1");
        let second = ask("date", &format!("Vary: x-b|Date: {earlier}"), "2", "1");
        assert!(!second.is_hit(), "{second:?}");
        for _ in 0..2 {
            let found = ask("date", "", "1", "1");
            assert!(found.is_hit() && found.body == first.body, "{found:?}");
            assert_eq!(ask("date", "", "2", "1").body, second.body);
        }
        let varying = ask("vary", "Vary: x-a", "1", "");
        let plain = ask("vary", "X-Own: 1", "2", "");
        assert!(!plain.is_hit(), "{plain:?}");
        for _ in 0..2 {
            let found = ask("vary", "", "1", "");
            assert!(found.is_hit() && found.body == varying.body, "{found:?}");
            assert_eq!(ask("vary", "", "2", "").body, plain.body);
        }
    }
}

/// RFC 9111 sections 4.3.4 (MUST) and 4.3.5 (SHOULD, a; MUST): each stored answer that a 304, or the answer to HEAD, is
/// for is updated.
#[test]
fn all_answers_that_match_are_updated() {
    let origin = origin(|request, _| {
        let newer = ["Cache-Control: max-age=3600", "ETag: \"same\"", "X-New: 1"];
        let head = &request.head;
        if head.first_line().starts_with("HEAD") {
            return message(200, &[&newer[..], &["Content-Length: 4"]].concat(), None);
        }
        match (head.field("if-none-match"), head.field("x-want")) {
            (Some(_), _) => message(304, &newer, None),
            (None, Some(vary)) => ok(
                &[vary, "Cache-Control: max-age=0", "ETag: \"same\""],
                "same",
            ),
            (None, None) => ok(&[], "other"),
        }
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        for method in ["GET", "HEAD"] {
            let path = format!("/{method}/{version:?}");
            let mut client = Asker::new(&proxy, version);
            let mut ask = |method: &str, a: &str, b: &str, more: &[(&str, &str)]| {
                client.ask(method, &path, &[&[("x-a", a), ("x-b", b)], more].concat())
            };
            ask("GET", "1", "1", &[("x-want", "Vary: x-a")]);
            ask("GET", "2", "1", &[("x-want", "Vary: x-b")]);
            assert_eq!(ask(method, "1", "1", &[]).status, 200);
            for (a, b) in [("1", "2"), ("2", "1"), ("1", "1")] {
                let found = ask("GET", a, b, &[]);
                assert!(
                    found.is_hit() && found.text() == "same",
                    "{a} {b}: {found:?}"
                );
                assert_eq!(found.field("x-new"), Some("1"));
            }
        }
    }
}

/// Several lines of `Vary` are one list.
#[test]
fn several_fields_and_lines_of_vary_count_together() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::Two);
    let want = (
        "x-want",
        "Cache-Control: max-age=3600|Vary: X-A|Vary: x-b, X-A",
    );
    let mut ask = |a, b| client.get("/", &[want, ("x-a", a), ("x-b", b)]);
    assert!(!ask("1", "1").is_hit());
    assert!(!ask("1", "2").is_hit());
    assert!(!ask("2", "1").is_hit());
    assert!(ask("1", "1").is_hit() && ask("1", "2").is_hit() && ask("2", "1").is_hit());
}

#[test]
fn settings_ignore_a_field_or_refuse_it() {
    let origin = obedient();
    let proxy = caching(
        "vary = { ignore = ['User-Agent'], uncacheable = ['Cookie'] }",
        &[origin.addr],
    );
    let mut client = Asker::new(&proxy, Version::One);
    let mut ask = |path, vary, field| {
        let want = format!("Cache-Control: max-age=3600|Vary: {vary}");
        client.get(path, &[("x-want", &want), field])
    };
    ask("/agent", "user-agent", ("user-agent", "a"));
    assert!(ask("/agent", "user-agent", ("user-agent", "b")).is_hit());
    ask("/cookie", "cookie", ("cookie", "a=b"));
    assert!(!ask("/cookie", "cookie", ("cookie", "a=b")).is_hit());
}

/// Each variant has its own tag, and each is validated with it.
#[test]
fn variants_are_validated_one_by_one() {
    let origin = origin(|request, number| {
        let lang = request.head.field("x-lang").unwrap_or("none");
        let tag = format!("\"{lang}\"");
        let field = format!("ETag: {tag}");
        let fields = ["Cache-Control: max-age=0", "Vary: X-Lang", &field];
        match request.head.field("if-none-match") {
            Some(named) if named == tag => message(304, &fields, None),
            _ => ok(&fields, &format!("{lang} {number}")),
        }
    });
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let mut ask = |lang| client.get(&path, &[("x-lang", lang)]);
        let (german, english) = (ask("de"), ask("en"));
        assert_ne!(german.body, english.body);
        for (lang, first) in [("de", &german), ("en", &english), ("de", &german)] {
            let again = ask(lang);
            assert_eq!((again.status, &again.body), (200, &first.body), "{again:?}");
            assert_eq!(again.parameter("fwd-status"), Some("304"), "{again:?}");
        }
    }
}

#[test]
fn the_number_of_variants_is_bounded() {
    let origin = obedient();
    let proxy = caching("max_variants = 4", &[origin.addr]);
    let mut client = Asker::new(&proxy, Version::Two);
    let want = ("x-want", "Cache-Control: max-age=3600|Vary: x-lang");
    for number in 0..50 {
        assert!(
            !client
                .get("/", &[want, ("x-lang", &number.to_string())])
                .is_hit()
        );
    }
    let hits: Vec<_> = (0..50)
        .filter(|number: &i32| {
            let wish = ("cache-control", "only-if-cached");
            let lang = number.to_string();
            client.get("/", &[wish, ("x-lang", &lang)]).status == 200
        })
        .collect();
    assert!((1..=4).contains(&hits.len()), "{hits:?}");
    assert!(hits.contains(&49), "the newest is there: {hits:?}");
}

/// A client gets no coding that it does not accept, whoever asked before.
#[test]
fn codings_are_those_that_the_client_accepts() {
    let origin = origin(|request, _| {
        let accepted = request.head.field("accept-encoding").unwrap_or_default();
        let is_accepted = |coding: &str| {
            let mut members = accepted.split(',').map(str::trim);
            members.any(|member| {
                let (name, weight) = member.split_once(";q=").unwrap_or((member, "1"));
                name == coding && weight != "0"
            })
        };
        let fields = ["Cache-Control: max-age=3600", "Vary: Accept-Encoding"];
        match ["br", "gzip"]
            .into_iter()
            .find(|coding| is_accepted(coding))
        {
            Some(coding) => ok(
                &[&fields[..], &[&format!("Content-Encoding: {coding}")]].concat(),
                coding,
            ),
            None => ok(&fields, "plain"),
        }
    });
    let proxy = caching("", &[origin.addr]);
    let wishes = [
        ("", vec!["plain"]),
        ("gzip", vec!["gzip", "plain"]),
        ("gzip, br", vec!["gzip", "br", "plain"]),
        ("br;q=1.0,gzip;q=0.5", vec!["gzip", "br", "plain"]),
        ("gzip;q=0", vec!["plain"]),
        ("gzip;q=0, br", vec!["br", "plain"]),
        ("br, identity;q=0", vec!["br"]),
        ("deflate", vec!["plain"]),
    ];
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (first, (early, _)) in wishes.iter().enumerate() {
            for (second, (late, accepted)) in wishes.iter().enumerate() {
                let path = format!("/{first}/{second}/{version:?}");
                client.get(&path, &[("accept-encoding", early)]);
                for _ in 0..2 {
                    let answer = client.get(&path, &[("accept-encoding", late)]);
                    let coding = answer.field("content-encoding").unwrap_or("plain");
                    assert!(accepted.contains(&coding), "{early:?} {late:?}: {answer:?}");
                    assert_eq!(answer.text(), coding);
                }
            }
        }
    }
}
