//! Requests that have the same key, and requests that have not.

use proptest::prelude::*;

use super::*;
use crate::cache::sample;

fn parts<'a>(policy: &'a Policy, url: &'a str, fields: &'a [Header<'a>]) -> KeyParts<'a> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let at = rest.find('/').unwrap();
    let (host, port) = crate::http::host::split(&rest.as_bytes()[..at]).unwrap();
    let (path, query) = match rest[at..].split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (&rest[at..], None),
    };
    KeyParts {
        policy,
        scheme,
        host,
        port,
        path: path.as_bytes(),
        query,
        fields,
    }
}

fn key(parts: &KeyParts<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Key::write(parts, &mut out);
    out
}

#[test]
fn the_key_of_a_slice_is_one_of_the_url() {
    let mut policy = sample::policy();
    policy.key_headers = vec!["a".into(), "b".into()];
    for lines in [&[][..], &["A: 1"], &["A: 1", "B: slice 1/10"]] {
        let lines = sample::fields(lines);
        let whole = key(&parts(&policy, "http://h/x?y", &lines));
        let slice = Key::of_slice(&whole, 1, 10).unwrap();
        let (read, of_slice) = (Key::read(&whole).unwrap(), Key::read(&slice).unwrap());
        assert_eq!((of_slice.zone, of_slice.url), (read.zone, read.url));
        assert_eq!(of_slice.fields(), read.fields(), "{lines:?}");
        let others = [
            whole.clone(),
            Key::of_slice(&whole, 2, 10).unwrap(),
            Key::of_slice(&whole, 1, 100).unwrap(),
        ];
        assert!(!others.contains(&slice));
    }
    assert_eq!(Key::of_slice(b"\x00\x01", 1, 10), None);
}

/// The URL in the key of a request for a URL.
fn url(policy: &Policy, url: &str) -> String {
    let bytes = key(&parts(policy, url, &[]));
    let read = Key::read(&bytes).unwrap();
    assert_eq!(read.zone, policy.zone.as_bytes());
    String::from_utf8(read.url.to_vec()).unwrap()
}

#[test]
fn urls_table() {
    let policy = sample::policy();
    let rows = [
        ("https://a.test/", "https://a.test/"),
        ("https://A.Test./b?C", "https://a.test/b?C"),
        ("https://a.test:443/", "https://a.test/"),
        ("http://a.test:443/", "http://a.test:443/"),
        ("http://a.test:80/", "http://a.test/"),
        ("http://a.test:8080/", "http://a.test:8080/"),
        ("http://[2001:DB8:0:0::1]:80/", "http://[2001:db8::1]/"),
        (
            "http://[::FFFF:10.0.0.1]:81/",
            "http://[::ffff:10.0.0.1]:81/",
        ),
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("http://a.test/a?", "http://a.test/a?"),
        ("http://a.test/a", "http://a.test/a"),
        (
            "http://a.test/a//b/%2F?x=%41&&y",
            "http://a.test/a//b/%2F?x=%41&&y",
        ),
    ];
    for (asked, expected) in rows {
        assert_eq!(url(&policy, asked), expected);
    }
}

#[test]
fn queries_table() {
    let mut ignoring = sample::policy();
    let patterns = ["utm_*", "x"];
    ignoring.ignore_query = patterns.map(|text| Pattern::read(text).unwrap()).to_vec();
    let mut sorting = sample::policy();
    sorting.sort_query = true;
    let both = Policy {
        sort_query: true,
        ..ignoring.clone()
    };
    let rows = [
        (&ignoring, "?utm_source=a&b=c", "?b=c"),
        (&ignoring, "?b=c&utm_source=a&d", "?b=c&d"),
        (&ignoring, "?x", ""),
        (&ignoring, "?x=1&utm_y=2", ""),
        (&ignoring, "?", "?"),
        (&ignoring, "?xx=1&b=x&&", "?xx=1&b=x&&"),
        (&ignoring, "?UTM_source=a", "?UTM_source=a"),
        // A server that separates at `;` reads two parameters, of which one is not ignored.
        (&ignoring, "?utm_source=a;id=5", "?utm_source=a;id=5"),
        (&ignoring, "?a;b&x=1", "?a;b&x=1"),
        (&sorting, "?b=1&a=2", "?a=2&b=1"),
        (&sorting, "?b=2&a&b=1", "?a&b=2&b=1"),
        (&sorting, "?b&a=1&&", "?&&a=1&b"),
        (&sorting, "?", "?"),
        (&sorting, "?b=1;a=1&a=2", "?b=1;a=1&a=2"),
        (&both, "?z=1&x=2&a=3", "?a=3&z=1"),
    ];
    for (policy, query, expected) in rows {
        let asked = format!("http://a.test/{query}");
        assert_eq!(
            url(policy, &asked),
            format!("http://a.test/{expected}"),
            "{query}"
        );
    }
}

#[test]
fn fields_of_the_key_tell_requests_apart() {
    let mut policy = sample::policy();
    policy.key_headers = vec!["x-a".into(), "x-b".into()];
    let requests: [&[&str]; 10] = [
        &[],
        &["X-A:"],
        &["X-B:"],
        &["X-A: 1"],
        &["x-b: 1"],
        &["X-A: 1", "X-B: 1"],
        &["X-A: 11"],
        &["X-A: 1", "X-A: 1"],
        &["X-A: 1, 1"],
        &["X-A:", "X-B:"],
    ];
    let keys = requests.map(|lines| key(&parts(&policy, "http://a.test/", &sample::fields(lines))));
    for (index, one) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(one), "{:?}", requests[index]);
    }
    let again = sample::fields(&["x-A: 1", "Other: 2"]);
    assert_eq!(key(&parts(&policy, "http://a.test/", &again)), keys[3]);
}

#[test]
fn zones_tell_requests_apart_and_prefixes_find_them() {
    let zoned = |zone: &str| Policy {
        zone: zone.into(),
        ..sample::policy()
    };
    let (a, ab) = (zoned("a"), zoned("ab"));
    let (one, other) = (
        key(&parts(&a, "http://b.test/c/d", &[])),
        key(&parts(&ab, "http://b.test/c/d", &[])),
    );
    let starts = |zone: &str, url: &str, key: &[u8]| {
        let mut prefix = Vec::new();
        Key::write_prefix(zone, url.as_bytes(), &mut prefix);
        key.starts_with(&prefix)
    };
    assert_ne!(one, other);
    assert!(starts("a", "http://b.test/c", &one) && starts("ab", "", &other));
    assert!(!starts("a", "http://b.test/c", &other) && !starts("a", "", &other));
    assert!(!starts("a", "https://b.test/", &one) && !starts("", "", &one));
}

#[test]
fn all_keys_of_a_url_begin_alike_and_tell_their_fields() {
    let policy = Policy {
        key_headers: vec!["x-a".into(), "x-b".into()],
        ..sample::policy()
    };
    type Row<'a> = (&'a [&'a str], [Option<&'a [u8]>; 2]);
    let rows: [Row<'_>; 3] = [
        (&[], [None, None]),
        (&["X-B: 1"], [None, Some(b"1")]),
        (&["X-A:", "X-B: 1", "X-B: 2"], [Some(b""), Some(b"1\n2")]),
    ];
    for (lines, expected) in rows {
        let fields = sample::fields(lines);
        let parts = parts(&policy, "http://a.test/x?y", &fields);
        let (key, mut start) = (key(&parts), Vec::new());
        Key::write_url(&parts, &mut start);
        assert!(key.starts_with(&start), "{lines:?}");
        let read = Key::read(&key).unwrap();
        assert_eq!(read.fields().as_deref(), Some(&expected[..]), "{lines:?}");
        assert_eq!(read.url, b"http://a.test/x?y");
    }
    let broken = Key {
        zone: b"",
        url: b"",
        values: b"\0\0\0\x09\0\0\0\x01",
    };
    assert_eq!(broken.fields(), None);
}

#[test]
fn bytes_that_are_no_key_are_told() {
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x00\x01",
        b"\x00\x05abc",
        b"\x00\x00\x00\x00\x00\x00",
        &[0xff; 40],
    ] {
        assert_eq!(Key::read(bytes), None, "{bytes:?}");
    }
}

/// A request: scheme, host, port, path, query, and the values of one field.
type Sent = (
    bool,
    String,
    Option<u16>,
    String,
    Option<String>,
    Vec<String>,
);

/// Requests of few letters, so that two of them are often alike but for one byte.
fn sent() -> impl Strategy<Value = Sent> {
    (
        any::<bool>(),
        prop::sample::select(vec!["a", "a.b", "ab", "A", "a.", "[::1]", "[0::1]", "[::]"])
            .prop_map(str::to_owned),
        prop::sample::select(vec![None, Some(80), Some(443), Some(8), Some(1)]),
        "/[a/?:\u{e9}]{0,3}",
        proptest::option::of("[a=&;?/]{0,3}"),
        proptest::collection::vec("[a/]{0,2}", 0..3),
    )
}

/// The words that the backend is told: the request target, Host and X-Forwarded-Host, X-Forwarded-Proto, fields.
fn forwarded(request: &Sent) -> (String, Vec<u8>, &'static str, &[String]) {
    let (is_https, host, port, path, query, values) = request;
    let scheme = if *is_https { "https" } else { "http" };
    let mut authority = Vec::new();
    write_authority(scheme, host.as_bytes(), *port, &mut authority);
    let query = query
        .as_ref()
        .map_or(String::new(), |query| format!("?{query}"));
    (format!("{path}{query}"), authority, scheme, values)
}

fn key_of(policy: &Policy, request: &Sent) -> Vec<u8> {
    let (is_https, host, port, path, query, values) = request;
    let fields = values.iter().map(|value| Header {
        name: "X-A",
        value: value.as_bytes(),
    });
    let fields: Vec<_> = fields.collect();
    key(&KeyParts {
        policy,
        scheme: if *is_https { "https" } else { "http" },
        host: host.as_bytes(),
        port: *port,
        path: path.as_bytes(),
        query: query.as_ref().map(String::as_bytes),
        fields: &fields,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// RFC 9111 section 4 (MUST NOT, a): two requests share a key exactly if the backend is told the same of both.
    #[test]
    fn keys_are_shared_by_equal_requests_only(one in sent(), other in sent(), is_field_keyed: bool) {
        let mut policy = sample::policy();
        if is_field_keyed {
            policy.key_headers = vec!["x-a".into()];
        }
        let (mut first, mut second) = (forwarded(&one), forwarded(&other));
        if !is_field_keyed {
            (first.3, second.3) = (&[], &[]);
        }
        let is_shared = key_of(&policy, &one) == key_of(&policy, &other);
        prop_assert_eq!(is_shared, first == second, "{:?} {:?}", first, second);
    }

    /// Ignored and sorted parameters change nothing but themselves.
    #[test]
    fn queries_keep_what_counts(names in proptest::collection::vec("[abx]{0,2}", 0..6), seed: u64) {
        let mut policy = sample::policy();
        policy.ignore_query = vec![Pattern::read("x*").unwrap()];
        policy.sort_query = true;
        let numbered = names.iter().enumerate();
        let mut parameters: Vec<_> = numbered.map(|(index, name)| format!("{name}={index}")).collect();
        let ask = |parameters: &[String]| url(&policy, &format!("http://h/?{}", parameters.join("&")));
        let before = ask(&parameters);
        let kept = parameters.iter().filter(|text| !text.starts_with('x'));
        for parameter in kept {
            prop_assert!(before.contains(parameter.as_str()), "{} {}", before, parameter);
        }
        prop_assert!(!before.contains("?x") && !before.contains("&x"), "{}", before);
        prop_assert!(before.matches('=').count() <= names.len());
        // Parameters of different names may change their places.
        if parameters.len() > 1 {
            let at = seed as usize % (parameters.len() - 1);
            if names[at] != names[at + 1] {
                parameters.swap(at, at + 1);
                prop_assert_eq!(ask(&parameters), before);
            }
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>) {
        let _ = Key::read(&bytes);
    }
}
