//! Routing as tables, and the trees against the plain definition in `rule.rs`.

use proptest::prelude::*;

use super::*;
use crate::base::limits;

fn table(rules: &[(&str, &str)]) -> RouteTable {
    let owned: Vec<(Option<String>, String)> = rules
        .iter()
        .map(|&(host, prefix)| {
            (
                (!host.is_empty()).then(|| host.to_owned()),
                prefix.to_owned(),
            )
        })
        .collect();
    RouteTable::new(&owned)
}

/// Checks `(host, path, index of the expected rule)` rows.
fn check(rules: &[(&str, &str)], rows: &[(&str, &str, Option<u32>)]) {
    let table = table(rules);
    for &(host, path, expected) in rows {
        let found = table.find(host.as_bytes(), path.as_bytes());
        assert_eq!(found, expected.map(RouteId), "{host} {path}");
    }
}

#[test]
fn prefixes_match_at_segment_borders() {
    check(
        &[
            ("", "/api"),
            ("", "/api/v1/"),
            ("", "/static-files-of-the-site"),
            ("", "/ab/c"),
        ],
        &[
            ("", "/api", Some(0)),
            ("", "/api/", Some(0)),
            ("", "/api/x", Some(0)),
            ("", "/apix", None),
            ("", "/ap", None),
            ("", "/API", None),
            ("", "/api/v1", Some(1)),
            ("", "/api/v1/", Some(1)),
            ("", "/api/v1/users/7", Some(1)),
            ("", "/api/v10", Some(0)),
            ("", "/api//v1", Some(0)),
            ("", "/static-files-of-the-site", Some(2)),
            ("", "/static-files-of-the-site/logo.png", Some(2)),
            ("", "/static-files-of-the-sites", None),
            ("", "/static-files-of-the-sitE", None),
            ("", "/ab", None),
            ("", "/ab/c", Some(3)),
            ("", "/", None),
            ("", "", None),
        ],
    );
}

#[test]
fn the_root_takes_what_nothing_else_takes() {
    check(
        &[("", "/"), ("", "/a")],
        &[
            ("any.example", "/", Some(0)),
            ("", "/b", Some(0)),
            ("", "/a/b", Some(1)),
            ("", "*", Some(0)),
        ],
    );
}

#[test]
fn the_most_specific_host_comes_first() {
    check(
        &[
            ("", "/"),
            ("*.example.com", "/"),
            ("*.b.example.com", "/"),
            ("a.b.example.com", "/"),
            ("Example.COM.", "/"),
            ("[2001:db8::1]", "/"),
        ],
        &[
            ("a.b.example.com", "/x", Some(3)),
            ("A.B.eXample.com.", "/x", Some(3)),
            ("c.b.example.com", "/x", Some(2)),
            ("d.c.b.example.com", "/x", Some(2)),
            ("b.example.com", "/x", Some(1)),
            ("z.a.b.example.com", "/x", Some(2)),
            ("example.com", "/x", Some(4)),
            ("badexample.com", "/x", Some(0)),
            ("com", "/x", Some(0)),
            ("", "/x", Some(0)),
            ("[2001:DB8::1]", "/x", Some(5)),
            ("192.0.2.1", "/x", Some(0)),
        ],
    );
}

#[test]
fn a_host_without_a_matching_prefix_falls_back() {
    check(
        &[
            ("", "/any"),
            ("*.example.com", "/wild"),
            ("*.b.example.com", "/deep"),
            ("a.b.example.com", "/exact"),
            ("a.b.example.com", "/any/exact"),
        ],
        &[
            ("a.b.example.com", "/exact", Some(3)),
            ("a.b.example.com", "/deep", Some(2)),
            ("a.b.example.com", "/wild", Some(1)),
            ("a.b.example.com", "/any", Some(0)),
            ("a.b.example.com", "/any/exact", Some(4)),
            ("a.b.example.com", "/none", None),
            ("b.example.com", "/deep", None),
            ("b.example.com", "/wild", Some(1)),
            ("example.org", "/wild", None),
            ("example.org", "/any", Some(0)),
        ],
    );
}

#[test]
fn without_a_rule_for_any_host_others_have_no_route() {
    check(
        &[("api.example.com", "/")],
        &[
            ("api.example.com", "/", Some(0)),
            ("example.com", "/", None),
            ("", "/", None),
        ],
    );
    check(&[], &[("api.example.com", "/", None)]);
}

#[test]
fn hosts_and_paths_longer_than_any_rule_are_no_matter() {
    let long_host = format!("{}a.example.com", "x.".repeat(5_000));
    let long_label = format!("{}.example.com", "x".repeat(5_000));
    let long_path = format!("/api{}", "/segment".repeat(5_000));
    check(
        &[("*.example.com", "/api"), ("", "/")],
        &[
            (&long_host, "/api", Some(0)),
            (&long_label, &long_path, Some(0)),
            (&"x".repeat(5_000), "/api", Some(1)),
        ],
    );
}

#[test]
fn the_longest_host_there_can_be_has_a_route() {
    let longest = format!(
        "{}.{}.{}.{}",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    assert_eq!(longest.len(), limits::HOST_BYTES);
    let longer = format!("e{longest}");
    check(
        &[(&longest, "/"), ("", "/")],
        &[
            (&longest, "/", Some(0)),
            (&longer, "/", Some(1)),
            (&longest[1..], "/", Some(1)),
        ],
    );
}

#[test]
fn of_equal_rules_the_first_counts() {
    check(&[("", "/a"), ("", "/a/")], &[("", "/a", Some(0))]);
}

#[test]
fn explain_gives_each_route_its_reason() {
    let table = table(&[
        ("", "/"),
        ("a.b", "/x"),
        ("a.b", "/x/y"),
        ("a.c", "/x"),
        ("a.b", "/z"),
    ]);
    let outcomes = |host: &str, path: &str| -> Vec<RouteOutcome> {
        let explained = table.explain(host.as_bytes(), path.as_bytes());
        explained.into_iter().map(|(_, outcome)| outcome).collect()
    };
    assert_eq!(
        outcomes("A.b.", "/x/y/z"),
        [
            RouteOutcome::LostByHost(RouteId(2)),
            RouteOutcome::LostByPrefix(RouteId(2)),
            RouteOutcome::Chosen,
            RouteOutcome::OtherHost,
            RouteOutcome::OtherPrefix,
        ]
    );
    assert_eq!(outcomes("a.b", "/none")[0], RouteOutcome::Chosen);
    assert_eq!(outcomes("a.b", "/none")[1], RouteOutcome::OtherPrefix);
}

/// Few and short labels, so that rules and requests meet often; one is longer than a word.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("segment1"),
        Just("segment-12"),
        Just("segment-13")
    ]
    .prop_map(str::to_owned)
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 0..4).prop_map(|labels| labels.join("."))
}

fn path() -> impl Strategy<Value = String> {
    let end = prop_oneof![Just(""), Just("/"), Just("c")];
    (prop::collection::vec(label(), 0..4), end)
        .prop_map(|(labels, end)| format!("/{}{end}", labels.join("/")))
}

fn rule() -> impl Strategy<Value = (Option<String>, String)> {
    let pattern = (host(), any::<bool>()).prop_map(|(host, wildcard)| match host {
        host if host.is_empty() => None,
        host if wildcard => Some(format!("*.{host}")),
        host => Some(host),
    });
    (pattern, path())
}

proptest! {
    #[test]
    fn the_trees_find_what_the_rules_say(
        rules in prop::collection::vec(rule(), 0..40),
        requests in prop::collection::vec((host(), path()), 1..40),
    ) {
        let table = RouteTable::new(&rules);
        for (host, path) in requests {
            let explained = table.explain(host.as_bytes(), path.as_bytes());
            let chosen = explained.iter().find(|(_, outcome)| *outcome == RouteOutcome::Chosen);
            let found = table.find(host.as_bytes(), path.as_bytes());
            prop_assert_eq!(found, chosen.map(|(id, _)| *id), "{} {}", host, path);
        }
    }
}
