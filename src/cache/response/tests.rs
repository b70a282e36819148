//! Lifetimes and ages of responses.

use proptest::prelude::*;

use super::{Response, facts_of};
use crate::base::limits::CACHE_DELTA_SECONDS;
use crate::cache::facts::{EntryFacts, Flags};
use crate::cache::freshness::{age, lifetime, ttl};
use crate::cache::policy::{Policy, Replaces};
use crate::cache::sample::{NOW, asking, fields, policy, response};
use crate::cache::targeted::control_of;

const HOUR: u64 = 3_600_000;

fn facts(policy: &Policy, request: &[&str], status: u16, lines: &[&str]) -> EntryFacts {
    let fields = fields(lines);
    let control = control_of(policy, &fields);
    let asking = asking(policy, "GET", request);
    facts_of(&asking, &response(status, &fields), &control)
}

/// Source and seconds of the lifetime of a 200.
fn lives(policy: &Policy, lines: &[&str]) -> String {
    let lifetime = lifetime(policy, &facts(policy, &[], 200, lines));
    format!("{} {}", lifetime.source.label(), lifetime.secs)
}

#[test]
fn lifetimes_table() {
    // RFC 9111 section 4.2.1: s-maxage, max-age, Expires, heuristics, in this order.
    let rows: [(&[&str], &str); 23] = [
        (&[], "none 0"),
        (&["Cache-Control: max-age=5, s-maxage=7"], "s_maxage 7"),
        // RFC 9111 section 5.3 (MUST, c): s-maxage puts Expires out of force.
        (&["Cache-Control: s-maxage=7", "Expires: 0"], "s_maxage 7"),
        (
            &["Cache-Control: max-age=5", "Cache-Control: s-maxage=0"],
            "s_maxage 0",
        ),
        // RFC 9111 section 5.3 (MUST, b): max-age puts Expires out of force.
        (&["Cache-Control: max-age=5", "Expires: 0"], "max_age 5"),
        (
            &[
                "Cache-Control: max-age=0",
                "Expires: Thu, 01 Jan 2026 01:00:00 GMT",
            ],
            "max_age 0",
        ),
        (
            &[
                "Cache-Control: max-age=x",
                "Expires: Thu, 01 Jan 2026 01:00:00 GMT",
            ],
            "max_age 0",
        ),
        (&["Cache-Control: a=\"b, max-age=5"], "max_age 0"),
        (&["Expires: Thu, 01 Jan 2026 01:00:00 GMT"], "expires 3600"),
        (&["Expires: thu, 01 jan 2026 01:00:00 gmt"], "expires 3600"),
        (
            &["Expires: Thursday, 01-Jan-26 01:00:00 GMT"],
            "expires 3600",
        ),
        (
            &["Expires: Thu Jan  1 01:00:00 2026", "Date: foo"],
            "expires 3600",
        ),
        (&["Expires: Wed, 31 Dec 2025 23:00:00 GMT"], "expires 0"),
        // RFC 9111 section 5.3 (MUST, a): what is no date lies in the past.
        (&["Expires: 0"], "expires 0"),
        (&["Expires: "], "expires 0"),
        (
            &["Expires: -1", "Expires: Thu, 01 Jan 2026 01:00:00 GMT"],
            "expires 0",
        ),
        (
            &["Expires: Sun, 21 Nov 2286 04:46:39 GMT"],
            "expires 2147483648",
        ),
        (
            &["CDN-Cache-Control: max-age=9", "Cache-Control: s-maxage=5"],
            "targeted 9",
        ),
        (
            &[
                "CDN-Cache-Control: public",
                "Expires: Thu, 01 Jan 2026 01:00:00 GMT",
            ],
            "none 0",
        ),
        (
            &["CDN-Cache-Control: max-age=-9", "Cache-Control: max-age=5"],
            "targeted 0",
        ),
        (
            &["CDN-Cache-Control: max-age=999999999999"],
            "targeted 2147483648",
        ),
        (
            &["CDN-Cache-Control: max-age=1.0", "Cache-Control: max-age=5"],
            "max_age 5",
        ),
        (&["CDN-Cache-Control: max-age=1, max-age=3;x"], "targeted 3"),
    ];
    for (lines, expected) in rows {
        assert_eq!(lives(&policy(), lines), expected, "{lines:?}");
    }
}

#[test]
fn expires_counts_from_the_date_of_the_backend() {
    let rows = [
        (
            "Thu, 01 Jan 2026 00:06:40 GMT",
            "Thu, 01 Jan 2026 00:05:00 GMT",
            "expires 0",
        ),
        (
            "Thu, 01 Jan 2026 00:05:00 GMT",
            "Thu, 01 Jan 2026 00:06:40 GMT",
            "expires 100",
        ),
        (
            "Wed, 31 Dec 2025 23:59:50 GMT",
            "Thu, 01 Jan 2026 00:00:10 GMT",
            "expires 20",
        ),
    ];
    for (date, expires, expected) in rows {
        let lines = [format!("Date: {date}"), format!("Expires: {expires}")];
        let lines = [lines[0].as_str(), lines[1].as_str()];
        assert_eq!(lives(&policy(), &lines), expected, "{lines:?}");
    }
}

#[test]
fn heuristics_table() {
    let changed = "Last-Modified: Wed, 31 Dec 2025 23:50:00 GMT";
    let long_ago = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT";
    // RFC 9111 section 4.2.2 (MUST NOT): no heuristics beside an explicit lifetime, nor for other statuses.
    let rows: [(u16, &[&str], &[&str], &str); 14] = [
        (200, &[], &[changed], "heuristic 60"),
        (200, &[], &[long_ago], "heuristic 3600"),
        (404, &[], &[changed], "heuristic 60"),
        (405, &[], &[changed], "heuristic 10"),
        (201, &[], &[changed], "none 0"),
        (502, &[], &[changed], "none 0"),
        (
            599,
            &[],
            &[changed, "Cache-Control: public"],
            "heuristic 10",
        ),
        (200, &[], &[changed, "Expires: 0"], "expires 0"),
        (
            200,
            &[],
            &["Last-Modified: Thu, 01 Jan 2026 01:00:00 GMT"],
            "none 0",
        ),
        (200, &[], &["Last-Modified: yesterday"], "none 0"),
        (200, &["Cookie: a=b"], &[changed], "none 0"),
        (
            200,
            &["Authorization: x"],
            &[changed, "Cache-Control: public"],
            "none 0",
        ),
        (200, &[], &[changed, "Set-Cookie: a=b"], "none 0"),
        (
            200,
            &[],
            &[changed, "Cache-Control: must-revalidate"],
            "heuristic 60",
        ),
    ];
    for (status, request, lines, expected) in rows {
        let policy = policy();
        let lifetime = lifetime(&policy, &facts(&policy, request, status, lines));
        let found = format!("{} {}", lifetime.source.label(), lifetime.secs);
        assert_eq!(found, expected, "{status} {request:?} {lines:?}");
    }
    let without = Policy {
        heuristic_percent: 0,
        ..policy()
    };
    assert_eq!(lives(&without, &[changed]), "heuristic 0");
}

#[test]
fn rules_and_caps_table() {
    let with = |replaces| {
        let mut policy = policy();
        policy.ttl.by_status = vec![(200, 60), (500, 60), (404, 60)];
        policy.ttl.replaces = replaces;
        policy
    };
    let nothing = with(Replaces::Nothing);
    let lifetimes = with(Replaces::Lifetimes);
    let rows: [(u16, &[&str], u32, u32); 7] = [
        (200, &[], 60, 60),
        (200, &["Cache-Control: max-age=5"], 5, 60),
        (200, &["Expires: 0"], 0, 60),
        (301, &["Cache-Control: max-age=5"], 5, 5),
        (500, &[], 10, 10),
        (404, &[], 60, 60),
        (403, &["Cache-Control: max-age=100"], 10, 10),
    ];
    for (status, lines, without, replaced) in rows {
        let of = |policy: &Policy| lifetime(policy, &facts(policy, &[], status, lines)).secs;
        assert_eq!(of(&nothing), without, "{status} {lines:?}");
        assert_eq!(of(&lifetimes), replaced, "{status} {lines:?}");
    }
}

#[test]
fn ages_table() {
    // RFC 9111 sections 4.2.3 and 5.1 (SHOULD, a; SHOULD, b): the first member of Age counts, and is ignored if it is
    // no number.
    let rows: [(&[&str], u32); 17] = [
        (&[], 0),
        (&["Age: 30"], 30),
        (&["Age: abc"], 0),
        (&["Age: -7200"], 0),
        (&["Age: 7200.0"], 0),
        (&["Age: 7200;foo=bar"], 0),
        (&["Age: 7200, 0"], 7_200),
        (&["Age: 0, 7200"], 0),
        (&["Age: 7200", "Age: 0"], 7_200),
        (&["Age: 0", "Age: 7200"], 0),
        (&["Age: 2147483647"], CACHE_DELTA_SECONDS - 1),
        (&["Age: 2147483649"], CACHE_DELTA_SECONDS),
        (&["Age: 9223372036854775808"], CACHE_DELTA_SECONDS),
        (&["Date: Wed, 31 Dec 2025 23:59:00 GMT"], 60),
        (&["Date: Wed, 31 Dec 2025 23:59:00 GMT", "Age: 90"], 90),
        (&["Date: Fri, 02 Jan 2026 00:00:00 GMT", "Age: 5"], 5),
        (
            &["Date: Sat, 01 Jan 1600 00:00:00 GMT"],
            CACHE_DELTA_SECONDS,
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(
            age(&facts(&policy(), &[], 200, lines), NOW),
            expected,
            "{lines:?}"
        );
    }
}

#[test]
fn ages_grow_in_milliseconds() {
    let policy = policy();
    let fields = fields(&["Age: 10", "Cache-Control: max-age=20"]);
    let slow = Response {
        requested: NOW - 1_500,
        ..response(200, &fields)
    };
    let control = control_of(&policy, &fields);
    let entry = facts_of(&asking(&policy, "GET", &[]), &slow, &control);
    // RFC 9111 section 4.2.3 (MUST): the delay of the response counts, and the time in the cache.
    let rows = [(0, 11), (499, 11), (500, 12), (8_499, 19), (8_500, 20)];
    for (millis, expected) in rows {
        assert_eq!(age(&entry, NOW + millis), expected, "{millis}");
        assert_eq!(ttl(&policy, &entry, NOW + millis), 20 - i64::from(expected));
    }
    // A clock that was set back does not make the response younger than it was.
    assert_eq!(age(&entry, NOW - HOUR), 11);
}

#[test]
fn validators_table() {
    let rows: [(&str, bool); 6] = [
        ("ETag: \"a\"", true),
        ("ETag: W/\"a\"", true),
        ("ETag: \"", false),
        ("ETag: a", false),
        ("Last-Modified: Wed, 31 Dec 2025 23:50:00 GMT", true),
        ("Last-Modified: now", false),
    ];
    for (line, expected) in rows {
        let entry = facts(&policy(), &[], 200, &[line]);
        assert_eq!(entry.has_validator(), expected, "{line}");
        assert_eq!(entry.flags.has(Flags::VALIDATOR), expected, "{line}");
    }
}

proptest! {
    #[test]
    fn ages_never_shrink_and_never_overflow(
        told in "[0-9]{0,22}",
        date in 0u64..253_402_300_800,
        delay in 0u64..100_000,
        first in any::<u64>(),
        second in any::<u64>(),
    ) {
        let date = String::from_utf8(crate::http::date::imf_fixdate(date).to_vec()).expect("a date");
        let lines = [format!("Age: {told}"), format!("Date: {date}")];
        let fields = fields(&[&lines[0], &lines[1]]);
        let policy = policy();
        let sent = Response { requested: NOW - delay, ..response(200, &fields) };
        let control = control_of(&policy, &fields);
        let entry = facts_of(&asking(&policy, "GET", &[]), &sent, &control);
        let (earlier, later) = (first.min(second), first.max(second));
        prop_assert!(age(&entry, earlier) <= age(&entry, later));
        prop_assert!(age(&entry, later) <= CACHE_DELTA_SECONDS);
        prop_assert!(age(&entry, earlier) as u64 >= delay / 1_000);
        prop_assert!(ttl(&policy, &entry, later) <= 0);
    }

    #[test]
    fn kept_facts_are_the_same(
        lines in prop::collection::vec(
            "(Age: [0-9]{1,12}|ETag: \"x\"|Set-Cookie: a=b|Expires: 0|Cache-Control: \
             (no-cache|public|private|no-store|max-age=[0-9]{1,11}|s-maxage=[0-9]|immutable|\
             stale-if-error=[0-9]{1,12}|stale-while-revalidate=[0-9]|must-revalidate))",
            0..6,
        ),
        status in 100u16..600,
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let entry = facts(&policy(), &["Cookie: a=b"], status, &lines);
        prop_assert_eq!(EntryFacts::from_bytes(&entry.to_bytes()), Some(entry));
    }

    #[test]
    fn any_kept_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), EntryFacts::BYTES)) {
        let bytes: [u8; EntryFacts::BYTES] = bytes.try_into().expect("the size of facts");
        if let Some(entry) = EntryFacts::from_bytes(&bytes) {
            prop_assert!(age(&entry, u64::MAX) <= CACHE_DELTA_SECONDS);
            ttl(&policy(), &entry, 0);
        }
    }
}
