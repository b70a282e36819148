//! Tables of the variants that requests select.

use proptest::prelude::*;

use super::{fields_of, matches, variant_of};
use crate::cache::not_stored::NotStored;
use crate::cache::policy::Policy;
use crate::cache::sample::{fields, policy};

/// The fields of a message.
type Lines = &'static [&'static str];

/// Whether a request with the fields `second` gets what was stored for one with the fields `first`.
fn selects(response: &[&str], first: &[&str], second: &[&str]) -> bool {
    let variant = variant_of(&policy(), &fields(response), &fields(first)).expect("a variant");
    matches(&variant, &fields(second))
}

#[test]
fn plain_fields_table() {
    // RFC 9111 sections 4 (MUST NOT, c) and 4.1 (MUST NOT): a variant is not used unless all selecting fields match.
    let rows: [(Lines, Lines, Lines, bool); 21] = [
        (&[], &["A: 1"], &["A: 2"], true),
        (&["Vary: a"], &["A: 1"], &["A: 1"], true),
        (&["Vary: A"], &["a: 1"], &["A: 2"], false),
        (&["Vary: a"], &["A: 1"], &[], false),
        (&["Vary: a"], &[], &["A: 1"], false),
        (&["Vary: a"], &[], &[], true),
        (&["Vary: a"], &[], &["A:"], false),
        (&["Vary: a"], &["A:"], &["A:"], true),
        (&["Vary: a, b"], &["A: 1", "B: 2"], &["B: 2", "A: 1"], true),
        (&["Vary: a, b"], &["A: 1", "B: 2"], &["A: 1", "B: 3"], false),
        (&["Vary: a", "Vary: b"], &["A: 1", "B: 2"], &["A: 1"], false),
        (&["Vary: a"], &["A: 1", "B: 2"], &["A: 1", "B: 3"], true),
        (&["Vary: a"], &["A: 1, 2"], &["A: 1", "A: 2"], true),
        (&["Vary: a"], &["A: 1, 2"], &["A: 1,2"], true),
        (&["Vary: a"], &["A: 1, 2"], &["A: 2, 1"], false),
        (&["Vary: a"], &["A: x"], &["A: X"], false),
        (&["Vary: a"], &["A: \"1, 2\""], &["A: \"1,2\""], false),
        (
            &["Vary: a"],
            &["A: \"1\\\", 2\""],
            &["A: \"1\\\",2\""],
            false,
        ),
        (
            &["Vary: cookie"],
            &["Cookie: a=1; b=2"],
            &["Cookie: a=1", "Cookie: b=2"],
            true,
        ),
        (
            &["Vary: cookie"],
            &["Cookie: a=1, b=2"],
            &["Cookie: a=1", "Cookie: b=2"],
            false,
        ),
        (&["Vary: a,, b,"], &["A: 1"], &["A: 1"], true),
    ];
    for (response, first, second, expected) in rows {
        let found = selects(response, first, second);
        assert_eq!(found, expected, "{response:?} {first:?} {second:?}");
    }
}

#[test]
fn weighted_fields_table() {
    let rows = [
        ("Accept-Language", "en, de", "de, en", true),
        ("Accept-Language", "en, de", "eN ,  De", true),
        ("Accept-Language", "en, de", "en, de, de", true),
        ("Accept-Language", "en, de", "en, de;q=0.9", false),
        (
            "Accept-Language",
            "en, de;q=0.9",
            "de;q=0.900, en;q=1.0",
            true,
        ),
        ("Accept-Language", "en;q=2", "en", false),
        ("Accept-Charset", "utf-8, x;q=0", "X;Q=0.0,UTF-8", true),
        (
            "Accept",
            "text/html, */*;q=0.8",
            "*/*;q=0.8, TEXT/html",
            true,
        ),
        ("Accept", "text/html;level=1", "text/html", false),
        (
            "Accept",
            "text/html;a=\"x,y\";q=0.5",
            "text/html; a=\"x,y\"; q=.5",
            false,
        ),
        (
            "Accept",
            "text/html;a=\"x,y\";q=0.5",
            "text/html; a=\"x,y\" ;q=0.50",
            true,
        ),
        ("Accept-Encoding", "gzip, br", "br,gzip", true),
        ("Accept-Encoding", "x-gzip", "gzip", true),
        ("Accept-Encoding", "gzip;q=0.5", "gzip;q=0.4", false),
    ];
    for (name, first, second, expected) in rows {
        let vary = format!("Vary: {name}");
        // A response that says nothing of its language, and is coded in two ways, is told by the request alone.
        let response = [vary.as_str(), "Content-Encoding: a, b"];
        let lines = [first, second].map(|value| format!("{name}: {value}"));
        let found = selects(&response, &[&lines[0]], &[&lines[1]]);
        assert_eq!(found, expected, "{name} {first} {second}");
    }
}

#[test]
fn coded_responses_suit_those_who_like_the_coding_best() {
    let response = ["Vary: Accept-Encoding", "Content-Encoding: GZIP"];
    let rows = [
        ("gzip", true),
        ("br, gzip", true),
        ("gzip, deflate, br, zstd", true),
        ("X-GZIP", true),
        ("gzip;q=0.5", true),
        ("gzip;q=0.5, identity;q=0.1", true),
        ("br, gzip;q=0.9", false),
        ("gzip;q=0.5, identity", false),
        // RFC 9110 section 12.5.3: a coding with the weight 0 is not acceptable.
        ("gzip;q=0", false),
        ("gzip;q=0, *", false),
        ("*", false),
        ("br", false),
        ("identity", false),
        ("", false),
    ];
    for (accepted, expected) in rows {
        let line = format!("Accept-Encoding: {accepted}");
        let found = selects(&response, &["Accept-Encoding: gzip, deflate"], &[&line]);
        assert_eq!(found, expected, "{accepted}");
    }
    assert!(!selects(&response, &["Accept-Encoding: gzip"], &[]));
    let other = ["Vary: Accept-Encoding, a", "Content-Encoding: gzip"];
    let first = ["Accept-Encoding: gzip", "A: 1"];
    assert!(!selects(
        &other,
        &first,
        &["Accept-Encoding: br, gzip", "A: 2"]
    ));
}

#[test]
fn plain_responses_suit_those_who_accept_no_more_codings() {
    let rows = [
        (Some("gzip, br"), Some("gzip"), true),
        (Some("gzip, br"), Some(""), true),
        (Some("gzip, br"), None, true),
        (Some("gzip, br"), Some("gzip, zstd"), false),
        (Some("gzip, br"), Some("gzip, zstd;q=0"), true),
        (Some("gzip, br"), Some("*"), false),
        // RFC 9110 section 12.5.3: identity and * with the weight 0 exclude a response without coding.
        (Some("gzip, br"), Some("gzip, identity;q=0"), false),
        (Some("gzip, br"), Some("gzip, *;q=0"), false),
        (Some("gzip, br"), Some("gzip, identity, *;q=0"), true),
        (Some("gzip;q=0"), Some("gzip"), false),
        (Some("identity, gzip;q=0.1"), Some("gzip"), false),
        (None, Some("gzip"), false),
        (None, Some("identity"), true),
        (None, None, true),
    ];
    for (first, second, expected) in rows {
        let line = |value: Option<&str>| value.map(|value| format!("Accept-Encoding: {value}"));
        let (first, second) = (line(first), line(second));
        let found = selects(
            &["Vary: accept-encoding"],
            &first.iter().map(String::as_str).collect::<Vec<_>>(),
            &second.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        assert_eq!(found, expected, "{first:?} {second:?}");
    }
}

#[test]
fn languages_suit_those_who_like_them_best() {
    let response = ["Vary: Accept-Language", "Content-Language: de"];
    let rows = [
        ("fr;q=0.5, de;q=1.0", true),
        ("de", true),
        ("DE, en;q=0.9", true),
        ("de, fr", false),
        ("fr, de;q=0.5", false),
        ("de;q=0", false),
        ("de-CH", false),
        ("*", false),
    ];
    for (accepted, expected) in rows {
        let line = format!("Accept-Language: {accepted}");
        let found = selects(&response, &["Accept-Language: en, de"], &[&line]);
        assert_eq!(found, expected, "{accepted}");
    }
    let several = ["Vary: Accept-Language", "Content-Language: de, en"];
    let first = ["Accept-Language: fr"];
    assert!(!selects(&several, &first, &["Accept-Language: de"]));
}

#[test]
fn refused_variants_table() {
    let policy = Policy {
        vary_ignore: vec!["user-agent".into()],
        vary_uncacheable: vec!["cookie".into()],
        ..policy()
    };
    // RFC 9111 section 4.1: `*` never matches, wherever it stands.
    let rows: [(&[&str], &str); 9] = [
        (&["Vary: *"], "vary"),
        (&["Vary: *, *"], "vary"),
        (&["Vary: ", "Vary: *"], "vary"),
        (&["Vary: , *"], "vary"),
        (&["Vary: a, *"], "vary"),
        (&["Vary: a b"], "vary"),
        (&["Vary: a, COOKIE"], "vary"),
        (&["Vary: a, User-Agent"], "stored"),
        (&["Vary: "], "stored"),
    ];
    for (lines, expected) in rows {
        let result = variant_of(&policy, &fields(lines), &[]);
        let found = result.map_or_else(NotStored::label, |_| "stored");
        assert_eq!(found, expected, "{lines:?}");
    }
    let ignored = fields(&["Vary: User-Agent"]);
    assert_eq!(
        variant_of(&policy, &ignored, &fields(&["User-Agent: a"])),
        Ok(Vec::new())
    );
}

#[test]
fn variants_are_bounded() {
    let names: Vec<String> = (0..33).map(|number| format!("n{number}")).collect();
    let of = |count: usize, length: usize| {
        let vary = format!("Vary: {}", names[..count].join(","));
        let value = format!("n0: {}", "x".repeat(length));
        variant_of(&policy(), &fields(&[&vary]), &fields(&[&value]))
    };
    assert!(of(32, 10).is_ok());
    assert_eq!(of(33, 10), Err(NotStored::VariantTooLong));
    assert!(of(1, 4_000).is_ok());
    assert_eq!(of(1, 4_096), Err(NotStored::VariantTooLong));
    let long = |start: u32| {
        let members: Vec<String> = (start..start + 40)
            .map(|number| format!("l{number}"))
            .collect();
        format!("Accept-Language: {}", members.join(","))
    };
    let vary = ["Vary: Accept-Language"];
    assert!(selects(&vary, &[&long(0)], &[&long(0)]));
    assert!(!selects(&vary, &[&long(0)], &[&long(1)]));
}

proptest! {
    #[test]
    fn a_request_selects_its_own_variant(
        name in prop::sample::select(vec![
            "accept", "accept-charset", "accept-encoding", "accept-language", "cookie", "x",
        ]),
        values in prop::collection::vec("[ -~]{0,40}", 0..4),
        coding in "(gzip|br|identity|)",
    ) {
        let lines: Vec<String> = values.iter().map(|value| format!("{name}:{value}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let vary = format!("Vary: {name}");
        let content = format!("Content-Encoding: {coding}");
        let response = [vary.as_str(), content.as_str()];
        prop_assert!(selects(&response, &lines, &lines));
    }

    #[test]
    fn other_values_of_unknown_fields_do_not_match(one in "[!-~]{1,20}", other in "[!-~]{1,20}") {
        prop_assume!(one != other);
        let lines = [one, other].map(|value| format!("x: {value}"));
        prop_assert!(!selects(&["Vary: x"], &[&lines[0]], &[&lines[1]]));
    }

    #[test]
    fn any_bytes_are_read_without_harm(
        variant in prop::collection::vec(any::<u8>(), 0..64),
        value in "[ -~]{0,40}",
    ) {
        let line = format!("accept-encoding:{value}");
        matches(&variant, &fields(&[&line]));
    }
}

#[test]
fn the_fields_of_a_variant_are_told() {
    let response = fields(&["Vary: b, A"]);
    let variant = variant_of(&policy(), &response, &fields(&["A: 1, 2"])).unwrap();
    let expected: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1,2")), (b"b", None)];
    assert_eq!(fields_of(&variant), expected);
    assert_eq!(fields_of(b""), []);
}
