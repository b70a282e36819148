//! Tables of what is stored.

use crate::cache::facts::EntryFacts;
use crate::cache::not_stored::NotStored;
use crate::cache::policy::{Authorization, ClientDirectives, Policy, Replaces, SetCookie};
use crate::cache::request::{Asking, Circumstances};
use crate::cache::response::Response;
use crate::cache::sample::{asking, fields, policy, response};
use crate::cache::targeted::control_of;

/// The label of the reason, or `stored`.
fn decide(policy: &Policy, request: &[&str], status: u16, lines: &[&str]) -> &'static str {
    let asking = asking(policy, "GET", request);
    label(of(policy, &asking, status, lines))
}

fn of(
    policy: &Policy,
    asking: &Asking,
    status: u16,
    lines: &[&str],
) -> Result<EntryFacts, NotStored> {
    storable(policy, asking, &response(status, &fields(lines)))
}

fn storable(
    policy: &Policy,
    asking: &Asking,
    response: &Response<'_>,
) -> Result<EntryFacts, NotStored> {
    let control = control_of(policy, response.fields);
    super::storable(policy, asking, response, &control)
}

fn label(result: Result<EntryFacts, NotStored>) -> &'static str {
    result.map_or_else(NotStored::label, |_| "stored")
}

#[test]
fn directives_of_responses_table() {
    // RFC 9111 section 5.2.2 (MUST): directives are obeyed. RFC 9111 section 3 (MUST NOT, g): without a lifetime or a
    // validator nothing is stored.
    let rows: [(&[&str], &str); 24] = [
        (&["Cache-Control: max-age=60"], "stored"),
        (&["Cache-Control: s-maxage=60"], "stored"),
        (&["Cache-Control: public, max-age=60"], "stored"),
        (&["Expires: Thu, 01 Jan 2026 00:01:00 GMT"], "stored"),
        (&["ETag: \"a\""], "stored"),
        (&["Last-Modified: Wed, 31 Dec 2025 00:00:00 GMT"], "stored"),
        (&["Cache-Control: no-cache", "ETag: \"a\""], "stored"),
        (
            &["Cache-Control: max-age=0, stale-while-revalidate=60"],
            "stored",
        ),
        // RFC 9111 sections 3 (MUST NOT, d) and 5.2.2.5 (MUST NOT, a; MUST NOT, c; MUST): no-store.
        (
            &["Cache-Control: max-age=60", "Cache-Control: no-store"],
            "no_store",
        ),
        (&["Cache-Control: NO-STORE"], "no_store"),
        (
            &["Cache-Control: max-age=60, foo=\"a, no-store"],
            "no_store",
        ),
        (
            &["Cache-Control: max-age=60, foo=\"a, no-store\""],
            "stored",
        ),
        // RFC 9111 sections 3 (MUST NOT, e) and 5.2.2.7 (MUST NOT, a): private, unless it names fields.
        (&["Cache-Control: private, max-age=60"], "private"),
        (&["Cache-Control: public, private, max-age=60"], "private"),
        (&["Cache-Control: private=\"x\", max-age=60"], "stored"),
        (&["Cache-Control: private=\"x y\", max-age=60"], "private"),
        (&["Cache-Control: private=\"\", max-age=60"], "private"),
        (
            &["Set-Cookie: a=b", "Cache-Control: max-age=60"],
            "set_cookie",
        ),
        (
            &[
                "Set-Cookie: a=b",
                "Cache-Control: max-age=60, private=\"set-cookie\"",
            ],
            "stored",
        ),
        (&["Vary: *", "Cache-Control: max-age=60"], "vary"),
        (&["Cache-Control: max-age=0"], "useless"),
        (&["Cache-Control: max-age=60", "Age: 60"], "useless"),
        (&["Cache-Control: no-cache, max-age=60"], "useless"),
        (&[], "useless"),
    ];
    for (lines, expected) in rows {
        assert_eq!(decide(&policy(), &[], 200, lines), expected, "{lines:?}");
    }
}

#[test]
fn statuses_table() {
    let fresh = ["Cache-Control: max-age=60"];
    let known = ["Cache-Control: max-age=60, no-store, must-understand"];
    let tagged = ["ETag: \"a\""];
    // RFC 9111 section 3 (MUST NOT, b; MUST NOT, c; MUST NOT, g): no interim status, no 304, no 206 that is not joined;
    // with must-understand no status that is not understood; without a lifetime few statuses. RFC 9111 section 5.2.2.3
    // (SHOULD, b): no-store beside must-understand does not count where the status is understood.
    let rows = [
        (200, "stored", "stored", "stored"),
        (204, "stored", "stored", "stored"),
        (206, "partial", "partial", "partial"),
        (299, "stored", "not_understood", "no_lifetime"),
        (302, "stored", "stored", "no_lifetime"),
        (304, "status", "status", "status"),
        (103, "status", "status", "status"),
        (404, "stored", "stored", "stored"),
        (403, "stored", "stored", "no_lifetime"),
        (412, "status", "status", "status"),
        (416, "status", "status", "status"),
        (429, "status", "status", "status"),
        (501, "stored", "stored", "stored"),
        (503, "stored", "stored", "no_lifetime"),
        (599, "stored", "not_understood", "no_lifetime"),
    ];
    for (status, explicit, understood, nothing) in rows {
        assert_eq!(decide(&policy(), &[], status, &fresh), explicit, "{status}");
        assert_eq!(
            decide(&policy(), &[], status, &known),
            understood,
            "{status}"
        );
        assert_eq!(decide(&policy(), &[], status, &tagged), nothing, "{status}");
    }
    let public = ["Cache-Control: public", "ETag: \"a\""];
    assert_eq!(decide(&policy(), &[], 599, &public), "stored");
}

#[test]
fn authorization_needs_permission() {
    // RFC 9111 sections 3 (MUST NOT, f) and 3.5 (MUST NOT): a response to a request with `Authorization` needs
    // permission to be shared.
    let rows = [
        ("Cache-Control: max-age=60", "authorization"),
        ("Cache-Control: max-age=60, public", "stored"),
        ("Cache-Control: max-age=60, must-revalidate", "stored"),
        (
            "Cache-Control: max-age=60, proxy-revalidate",
            "authorization",
        ),
        ("Cache-Control: s-maxage=60", "stored"),
        ("CDN-Cache-Control: max-age=60, public", "stored"),
    ];
    let checked = Policy {
        authorization: Authorization::CheckedHere,
        ..policy()
    };
    for (line, expected) in rows {
        let request = ["Authorization: Basic x"];
        assert_eq!(
            decide(&policy(), &request, 200, &[line]),
            expected,
            "{line}"
        );
        assert_eq!(decide(&checked, &request, 200, &[line]), "stored", "{line}");
        let circumstances = Circumstances {
            is_identified: true,
            is_near_bounds: false,
        };
        let identified = Asking::new(&policy(), "GET", &[], circumstances);
        let result = of(&policy(), &identified, 200, &[line]);
        assert_eq!(label(result), expected, "{line}");
    }
}

#[test]
fn requests_table() {
    let fresh = ["Cache-Control: max-age=60"];
    // RFC 9111 section 5.2.1.5 (MUST NOT, a; MUST NOT, b; MUST): a response to a request with no-store is not stored.
    let no_store = ["Cache-Control: no-store"];
    assert_eq!(
        decide(&policy(), &no_store, 200, &fresh),
        "request_no_store"
    );
    let ignoring = Policy {
        client_directives: ClientDirectives::Ignore,
        ..policy()
    };
    assert_eq!(decide(&ignoring, &no_store, 200, &fresh), "stored");
    assert_eq!(
        decide(&policy(), &["Range: bytes=0-1"], 200, &fresh),
        "stored"
    );
    let cookie = ["Cookie: a=b"];
    assert_eq!(decide(&policy(), &cookie, 200, &fresh), "stored");
    assert_eq!(
        decide(&policy(), &cookie, 200, &["ETag: \"a\""]),
        "no_lifetime"
    );
    let public = ["Cache-Control: public", "ETag: \"a\""];
    assert_eq!(decide(&policy(), &cookie, 200, &public), "stored");
}

#[test]
fn methods_table() {
    let policy = policy();
    let fresh = fields(&["Cache-Control: max-age=60"]);
    let dated = fields(&["ETag: \"a\""]);
    // RFC 9111 section 3 (MUST NOT, a): of the methods that the cache knows, GET has its responses stored. RFC 9110
    // section 9.3.3: a POST is stored with explicit freshness and its target as Content-Location alone.
    let rows = [
        ("GET", 200, false, &fresh, "stored"),
        ("HEAD", 200, false, &fresh, "method"),
        ("POST", 200, true, &fresh, "stored"),
        ("POST", 200, false, &fresh, "method"),
        ("POST", 200, true, &dated, "method"),
        ("POST", 201, true, &fresh, "method"),
        ("PUT", 200, true, &fresh, "method"),
        ("get", 200, true, &fresh, "method"),
    ];
    for (method, status, is_at_target, fields, expected) in rows {
        let asking = asking(&policy, method, &[]);
        let mut response = response(status, fields);
        response.is_at_target = is_at_target;
        let result = storable(&policy, &asking, &response);
        assert_eq!(label(result), expected, "{method} {status}");
    }
}

#[test]
fn bounds_table() {
    let policy = policy();
    let fresh = fields(&["Cache-Control: max-age=60"]);
    let rows = [
        (200, Some(8 << 20), true, "stored"),
        (200, Some((8 << 20) + 1), false, "too_large"),
        (200, None, false, "stored"),
        (400, None, false, "stored"),
        (400, None, true, "near_bounds"),
        (404, None, true, "near_bounds"),
        (500, None, true, "stored"),
    ];
    for (status, length, is_near_bounds, expected) in rows {
        let circumstances = Circumstances {
            is_identified: false,
            is_near_bounds,
        };
        let asking = Asking::new(&policy, "GET", &[], circumstances);
        let mut response = response(status, &fresh);
        response.length = length;
        let result = storable(&policy, &asking, &response);
        assert_eq!(label(result), expected, "{status} {length:?}");
    }
}

#[test]
fn rules_of_the_operator_table() {
    let with = |replaces, set_cookie| {
        let mut policy = policy();
        policy.ttl.by_status = vec![(200, 60), (403, 5)];
        policy.ttl.replaces = replaces;
        policy.set_cookie = set_cookie;
        policy
    };
    let nothing = with(Replaces::Nothing, SetCookie::Refuse);
    let lifetimes = with(Replaces::Lifetimes, SetCookie::Refuse);
    let everything = with(Replaces::Everything, SetCookie::Refuse);
    let rows: [(u16, &[&str], [&str; 3]); 8] = [
        (200, &[], ["stored", "stored", "stored"]),
        (403, &[], ["stored", "stored", "stored"]),
        (202, &[], ["no_lifetime", "no_lifetime", "no_lifetime"]),
        (
            200,
            &["Cache-Control: max-age=0"],
            ["useless", "stored", "stored"],
        ),
        (
            200,
            &["Cache-Control: no-cache"],
            ["useless", "stored", "stored"],
        ),
        (
            200,
            &["Cache-Control: no-store"],
            ["no_store", "no_store", "stored"],
        ),
        (
            200,
            &["Cache-Control: private"],
            ["private", "private", "stored"],
        ),
        (
            200,
            &["Set-Cookie: a=b"],
            ["set_cookie", "set_cookie", "stored"],
        ),
    ];
    for (status, lines, expected) in rows {
        let policies = [&nothing, &lifetimes, &everything];
        let found = policies.map(|policy| decide(policy, &[], status, lines));
        assert_eq!(found, expected, "{status} {lines:?}");
    }
    let fresh = ["Set-Cookie: a=b", "Cache-Control: max-age=60"];
    for set_cookie in [SetCookie::Strip, SetCookie::Store] {
        let policy = with(Replaces::Nothing, set_cookie);
        assert_eq!(decide(&policy, &[], 200, &fresh), "stored");
    }
    let everything = decide(&everything, &["Authorization: x"], 200, &[]);
    assert_eq!(everything, "authorization");
}

#[test]
fn targeted_fields_table() {
    // RFC 9213 section 2.2 (MUST): the first targeted field that is valid and not empty counts alone.
    let rows: [(&[&str], &str); 9] = [
        (
            &["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"],
            "stored",
        ),
        (
            &["CDN-Cache-Control: private", "Cache-Control: max-age=60"],
            "private",
        ),
        (
            &["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"],
            "no_store",
        ),
        (
            &["CDN-Cache-Control: ", "Cache-Control: no-store"],
            "no_store",
        ),
        (
            &[
                "CDN-Cache-Control: max-age=60, &&&",
                "Cache-Control: no-store",
            ],
            "no_store",
        ),
        (
            &[
                "CDN-Cache-Control: max-age=\"60\"",
                "Cache-Control: no-store",
            ],
            "no_store",
        ),
        (
            &[
                "Palantir-Cache-Control: max-age=6",
                "CDN-Cache-Control: no-store",
            ],
            "stored",
        ),
        (
            &[
                "Palantir-Cache-Control: max-age =6",
                "CDN-Cache-Control: no-store",
            ],
            "no_store",
        ),
        (
            &[
                "CDN-Cache-Control: max-age=0",
                "Expires: Thu, 01 Jan 2027 00:00:00 GMT",
            ],
            "useless",
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(decide(&policy(), &[], 200, lines), expected, "{lines:?}");
    }
}

#[test]
fn labels_differ() {
    let mut labels: Vec<&str> = NotStored::ALL.map(NotStored::label).to_vec();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), NotStored::ALL.len());
}
