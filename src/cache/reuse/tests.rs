//! When an entry answers.

use proptest::prelude::*;

use super::{Reuse, Trouble, Why, may_serve_purged, may_serve_stale, reuse};
use crate::cache::facts::EntryFacts;
use crate::cache::policy::{ClientDirectives, Policy, Replaces, SetCookie};
use crate::cache::response::facts_of;
use crate::cache::sample::{NOW, asking, fields, policy, response};
use crate::cache::targeted::control_of;

/// The facts of a response to a plain request, whether it would be stored or not.
fn facts(policy: &Policy, status: u16, lines: &[&str]) -> EntryFacts {
    let fields = fields(lines);
    let control = control_of(policy, &fields);
    facts_of(
        &asking(policy, "GET", &[]),
        &response(status, &fields),
        &control,
    )
}

/// How the entry answers a request `secs` seconds after it was stored.
fn after(policy: &Policy, entry: &EntryFacts, request: &[&str], secs: u64) -> String {
    let asking = asking(policy, "GET", request);
    show(reuse(policy, entry, &asking, false, NOW + secs * 1_000))
}

fn show(reuse: Reuse) -> String {
    match reuse {
        Reuse::Fresh { ttl } => format!("fresh {ttl}"),
        Reuse::WhileRefreshing { ttl } => format!("refreshing {ttl}"),
        Reuse::Accepted { ttl } => format!("accepted {ttl}"),
        Reuse::Validate(why) => why.label().to_owned(),
    }
}

#[test]
fn responses_table() {
    // RFC 9111 section 4 (MUST NOT, d; MUST NOT, e): a stored response is reused without a validation only if it is
    // fresh and has no `no-cache`, or if stale use is permitted.
    let rows = [
        ("max-age=60", 0, "fresh 60"),
        ("max-age=60", 59, "fresh 1"),
        ("max-age=60", 60, "stale"),
        ("max-age=0", 0, "stale"),
        // RFC 9111 section 5.2.2.4 (MUST NOT): no-cache without names concerns every use.
        ("max-age=60, no-cache", 0, "no_cache"),
        ("max-age=60, no-cache=\"a\"", 0, "fresh 60"),
        // RFC 9111 section 5.2.2.5 (MUST NOT, b): what should not have been stored is not used either.
        ("max-age=60, no-store", 0, "forbidden"),
        ("max-age=60, private", 0, "forbidden"),
        ("max-age=60, must-revalidate", 59, "fresh 1"),
        ("max-age=60, must-revalidate", 60, "stale"),
        ("max-age=60, stale-while-revalidate=10", 60, "refreshing 0"),
        ("max-age=60, stale-while-revalidate=10", 69, "refreshing -9"),
        ("max-age=60, stale-while-revalidate=10", 70, "stale"),
        ("max-age=0, stale-while-revalidate=10", 5, "refreshing -5"),
        (
            "max-age=60, must-revalidate, stale-while-revalidate=10",
            60,
            "stale",
        ),
        (
            "max-age=60, proxy-revalidate, stale-while-revalidate=10",
            60,
            "stale",
        ),
        (
            "max-age=60, no-cache, stale-while-revalidate=10",
            60,
            "no_cache",
        ),
        ("s-maxage=60, stale-while-revalidate=10", 60, "refreshing 0"),
        ("s-maxage=60", 60, "stale"),
    ];
    let policy = policy();
    for (control, secs, expected) in rows {
        let line = format!("Cache-Control: {control}");
        let entry = facts(&policy, 200, &[&line]);
        assert_eq!(
            after(&policy, &entry, &[], secs),
            expected,
            "{control} {secs}"
        );
    }
}

#[test]
fn a_response_that_is_newer_than_the_clock_is_validated() {
    let policy = policy();
    let entry = facts(&policy, 200, &["Cache-Control: max-age=60"]);
    let asking = asking(&policy, "GET", &[]);
    let at = |now| show(reuse(&policy, &entry, &asking, false, now));
    assert_eq!(at(NOW - 60_000), "fresh 60");
    assert_eq!(at(NOW - 60_001), "stale");
    let is_served = may_serve_stale(&policy, &entry, &asking, Trouble::Unreachable, 0);
    assert!(is_served, "an old answer is better than none");
}

#[test]
fn defaults_of_the_operator_fill_what_the_response_leaves_open() {
    let mut policy = policy();
    policy.stale_while_revalidate = 10;
    let rows = [
        ("max-age=60", 69, "refreshing -9"),
        ("max-age=60", 70, "stale"),
        ("max-age=60, stale-while-revalidate=5", 66, "stale"),
        ("max-age=60, stale-while-revalidate=0", 60, "stale"),
        ("max-age=60, must-revalidate", 60, "stale"),
        ("s-maxage=60", 60, "stale"),
        ("max-age=0", 0, "stale"),
    ];
    for (control, secs, expected) in rows {
        let line = format!("Cache-Control: {control}");
        let entry = facts(&policy, 200, &[&line]);
        assert_eq!(
            after(&policy, &entry, &[], secs),
            expected,
            "{control} {secs}"
        );
    }
    let entry = facts(&policy, 503, &["Cache-Control: max-age=60"]);
    assert_eq!(after(&policy, &entry, &[], 9), "fresh 1");
    assert_eq!(after(&policy, &entry, &[], 10), "stale");
}

#[test]
fn demands_of_clients_table() {
    // RFC 9111 section 5.2.1: what clients ask for is obeyed within the bounds of the policy.
    let rows: [(&[&str], u64, &str, &str); 16] = [
        (
            &["Cache-Control: no-cache"],
            0,
            "client_no_cache",
            "client_no_cache",
        ),
        (
            &["Pragma: no-cache"],
            0,
            "client_no_cache",
            "client_no_cache",
        ),
        (
            &["Pragma: no-cache", "Cache-Control: foo"],
            0,
            "fresh 60",
            "fresh 60",
        ),
        (&["Pragma: foo"], 0, "fresh 60", "fresh 60"),
        (&["Cache-Control: max-age=0"], 0, "fresh 60", "fresh 60"),
        (
            &["Cache-Control: max-age=0"],
            1,
            "client_max_age",
            "client_max_age",
        ),
        (&["Cache-Control: max-age=x"], 1, "fresh 59", "fresh 59"),
        (&["Cache-Control: max-age=10"], 10, "fresh 50", "fresh 50"),
        (
            &["Cache-Control: max-age=10"],
            11,
            "client_max_age",
            "client_max_age",
        ),
        (&["Cache-Control: min-fresh=60"], 0, "fresh 60", "fresh 60"),
        (
            &["Cache-Control: min-fresh=60"],
            1,
            "client_min_fresh",
            "client_min_fresh",
        ),
        (&["Cache-Control: max-stale"], 61, "stale", "accepted -1"),
        (&["Cache-Control: max-stale=5"], 64, "stale", "accepted -4"),
        (&["Cache-Control: max-stale=5"], 65, "stale", "stale"),
        (&["Cache-Control: max-stale=0"], 60, "stale", "stale"),
        (
            &["Cache-Control: no-cache, max-stale"],
            61,
            "stale",
            "client_no_cache",
        ),
    ];
    let bounded = policy();
    let honour = Policy {
        client_directives: ClientDirectives::Honour,
        ..policy()
    };
    let ignore = Policy {
        client_directives: ClientDirectives::Ignore,
        ..policy()
    };
    let entry = facts(&bounded, 200, &["Cache-Control: max-age=60"]);
    for (request, secs, when_bounded, when_honoured) in rows {
        assert_eq!(
            after(&bounded, &entry, request, secs),
            when_bounded,
            "{request:?}"
        );
        assert_eq!(
            after(&honour, &entry, request, secs),
            when_honoured,
            "{request:?}"
        );
        let plain = after(&ignore, &entry, &[], secs);
        assert_eq!(after(&ignore, &entry, request, secs), plain, "{request:?}");
        let unheard = asking(&bounded, "GET", request).without_demands();
        let found = show(reuse(&bounded, &entry, &unheard, false, NOW + secs * 1_000));
        assert_eq!(found, plain, "{request:?}");
    }
}

#[test]
fn immutable_responses_are_not_validated_while_fresh() {
    // RFC 8246 section 2.1 (SHOULD): only no-cache of a client causes a validation of a fresh immutable response.
    let policy = policy();
    let entry = facts(&policy, 200, &["Cache-Control: max-age=60, immutable"]);
    let found = |line, secs| after(&policy, &entry, &[line], secs);
    assert_eq!(found("Cache-Control: max-age=0", 30), "fresh 30");
    assert_eq!(found("Cache-Control: no-cache", 30), "client_no_cache");
    assert_eq!(found("Cache-Control: max-age=0", 60), "stale");
}

#[test]
fn strict_responses_are_never_stale_for_clients() {
    let honour = Policy {
        client_directives: ClientDirectives::Honour,
        ..policy()
    };
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let line = format!("Cache-Control: max-age=60, {directive}");
        let entry = facts(&honour, 200, &[&line]);
        let request = ["Cache-Control: max-stale, stale-if-error=60"];
        // RFC 9111 sections 4.2.4 (MUST NOT, a), 5.2.2.2 (MUST NOT, a; MUST NOT, b), 5.2.2.8 (MUST NOT) and 5.2.2.10
        // (MUST NOT, a): these directives forbid stale use, whatever a client accepts.
        assert_eq!(after(&honour, &entry, &request, 61), "stale", "{directive}");
        let asking = asking(&honour, "GET", &request);
        let now = NOW + 61_000;
        assert!(!may_serve_stale(
            &honour,
            &entry,
            &asking,
            Trouble::Unreachable,
            now
        ));
    }
}

#[test]
fn soft_purges_make_stale() {
    let policy = policy();
    let asking = asking(&policy, "GET", &[]);
    let of = |control: &str, secs: u64| {
        let line = format!("Cache-Control: {control}");
        let entry = facts(&policy, 200, &[&line]);
        show(reuse(&policy, &entry, &asking, true, NOW + secs * 1_000))
    };
    assert_eq!(of("max-age=60", 0), "purged");
    assert_eq!(of("max-age=60", 60), "stale");
    assert_eq!(
        of("max-age=60, stale-while-revalidate=5", 0),
        "refreshing 0"
    );
    assert_eq!(
        of("max-age=60, stale-while-revalidate=5, must-revalidate", 0),
        "purged"
    );
    assert_eq!(of("max-age=60, no-cache", 0), "no_cache");
}

#[test]
fn new_settings_are_in_force_for_old_entries() {
    let permissive = Policy {
        set_cookie: SetCookie::Store,
        ..policy()
    };
    let lines = ["Set-Cookie: a=b", "Cache-Control: max-age=60"];
    let entry = facts(&permissive, 200, &lines);
    assert_eq!(after(&permissive, &entry, &[], 0), "fresh 60");
    assert_eq!(after(&policy(), &entry, &[], 0), "forbidden");
    let mut everything = policy();
    everything.ttl.by_status = vec![(200, 30)];
    everything.ttl.replaces = Replaces::Everything;
    let entry = facts(&everything, 200, &["Cache-Control: no-store, no-cache"]);
    assert_eq!(after(&everything, &entry, &[], 0), "fresh 30");
    assert_eq!(after(&policy(), &entry, &[], 0), "no_cache");
}

#[test]
fn stale_in_trouble_table() {
    let unreachable = Trouble::Unreachable;
    let bad = Trouble::Status(503);
    // RFC 5861 section 4, RFC 9111 section 4.2.4 (MUST NOT, b): stale is served within the window that is permitted.
    let rows = [
        ("max-age=60", unreachable, 61, true),
        ("max-age=60", unreachable, 60 + 86_399, true),
        ("max-age=60", unreachable, 60 + 86_400, false),
        ("max-age=60", bad, 59, true),
        ("max-age=60", bad, 61, false),
        ("max-age=60, stale-if-error=10", bad, 69, true),
        ("max-age=60, stale-if-error=10", bad, 70, false),
        ("max-age=60, stale-if-error=10", unreachable, 70, false),
        (
            "max-age=60, stale-if-error=10",
            Trouble::Status(500),
            69,
            true,
        ),
        (
            "max-age=60, stale-if-error=10",
            Trouble::Status(501),
            69,
            false,
        ),
        (
            "max-age=60, stale-if-error=10",
            Trouble::Status(404),
            69,
            false,
        ),
        ("max-age=60, no-cache", unreachable, 1, false),
        ("max-age=60, must-revalidate", unreachable, 60, false),
        (
            "max-age=60, must-revalidate, stale-if-error=10",
            unreachable,
            60,
            false,
        ),
        ("max-age=60, proxy-revalidate", unreachable, 60, false),
        ("s-maxage=60", unreachable, 60, false),
        ("s-maxage=60, stale-if-error=10", unreachable, 69, true),
        ("s-maxage=60, stale-if-error=10", bad, 70, false),
        ("s-maxage=60, stale-while-revalidate=10", bad, 69, true),
        (
            "s-maxage=60, stale-if-error=10, proxy-revalidate",
            bad,
            60,
            false,
        ),
    ];
    let policy = policy();
    let asking = asking(&policy, "GET", &["Cache-Control: stale-if-error=1000"]);
    for (control, trouble, secs, expected) in rows {
        let line = format!("Cache-Control: {control}");
        let entry = facts(&policy, 200, &[&line]);
        let found = may_serve_stale(&policy, &entry, &asking, trouble, NOW + secs * 1_000);
        assert_eq!(found, expected, "{control} {trouble:?} {secs}");
    }
}

/// RFC 9111 section 4.2.4 (MUST NOT, a): what a soft purge has made stale is stale also where no backend answers.
#[test]
fn soft_purges_count_in_trouble() {
    let policy = policy();
    let asking = asking(&policy, "GET", &[]);
    let rows = [
        ("max-age=60", true),
        ("max-age=60, must-revalidate", false),
        ("s-maxage=60", false),
        ("s-maxage=60, stale-if-error=5", true),
    ];
    for (control, expected) in rows {
        let line = format!("Cache-Control: {control}");
        let entry = facts(&policy, 200, &[&line]);
        let (trouble, now) = (Trouble::Unreachable, NOW + 1_000);
        let found = may_serve_purged(&policy, &entry, &asking, trouble, now);
        assert_eq!(found, expected, "{control}");
        assert!(
            may_serve_stale(&policy, &entry, &asking, trouble, now),
            "{control}"
        );
    }
}

#[test]
fn settings_and_clients_widen_the_window_in_trouble() {
    let mut honour = policy();
    honour.client_directives = ClientDirectives::Honour;
    honour.stale_if_error = 20;
    let line = "Cache-Control: max-age=60";
    let entry = facts(&honour, 200, &[line]);
    let found = |request: &str, secs: u64| {
        let asking = asking(&honour, "GET", &[request]);
        may_serve_stale(
            &honour,
            &entry,
            &asking,
            Trouble::Status(502),
            NOW + secs * 1_000,
        )
    };
    assert!(found("Accept: a", 79));
    assert!(!found("Accept: a", 80));
    assert!(found("Cache-Control: stale-if-error=30", 89));
    assert!(!found("Cache-Control: stale-if-error=30", 90));
    assert!(!found("Cache-Control: no-cache", 30));
    let error = facts(&honour, 500, &[line]);
    let asking = asking(&honour, "GET", &[]);
    let now = NOW + 10_000;
    assert!(!may_serve_stale(
        &honour,
        &error,
        &asking,
        Trouble::Unreachable,
        now
    ));
}

proptest! {
    #[test]
    fn strict_entries_answer_only_while_fresh(
        explicit in 0u32..200,
        windows in (0u32..200, 0u32..200),
        secs in 0u64..400,
        directive in prop::sample::select(vec!["must-revalidate", "proxy-revalidate"]),
    ) {
        let (refresh, error) = windows;
        let line = format!(
            "Cache-Control: max-age={explicit}, {directive}, stale-while-revalidate={refresh}, \
             stale-if-error={error}"
        );
        let mut policy = policy();
        policy.stale_while_revalidate = 1_000;
        policy.stale_if_error = 1_000;
        let entry = facts(&policy, 200, &[&line]);
        let asking = asking(&policy, "GET", &[]);
        let now = NOW + secs * 1_000;
        let is_fresh = u64::from(explicit) > secs;
        let answers = !matches!(reuse(&policy, &entry, &asking, false, now), Reuse::Validate(_));
        prop_assert_eq!(answers, is_fresh);
        let stale = may_serve_stale(&policy, &entry, &asking, Trouble::Unreachable, now);
        prop_assert_eq!(stale, is_fresh);
    }

    #[test]
    fn what_validates_for_a_client_answers_when_the_demand_is_dropped(
        client in "(no-cache|max-age=[0-9]{1,2}|min-fresh=[0-9]{1,2}|, ){0,3}",
        secs in 0u64..100,
    ) {
        let policy = policy();
        let entry = facts(&policy, 200, &["Cache-Control: max-age=50, stale-while-revalidate=20"]);
        let line = format!("Cache-Control: {client}");
        let asking = asking(&policy, "GET", &[&line]);
        let now = NOW + secs * 1_000;
        if let Reuse::Validate(why) = reuse(&policy, &entry, &asking, false, now) {
            let unheard = reuse(&policy, &entry, &asking.without_demands(), false, now);
            prop_assert_eq!(why.is_from_client(), !matches!(unheard, Reuse::Validate(_)));
            prop_assert_eq!(why.is_from_client(), why != Why::Stale);
        }
    }
}
