//! How long stored answers are fresh, by what backends say (RFC 9111 section 4.2, RFC 9213), and how old they are.

use super::*;

/// Fields of an answer, with which status it comes, and whether the second of two equal requests is answered by it.
struct Row {
    want: String,
    status: u16,
    is_reused: bool,
}

fn reused(want: &str) -> Row {
    Row {
        want: want.to_owned(),
        status: 200,
        is_reused: true,
    }
}

fn not_reused(want: &str) -> Row {
    Row {
        is_reused: false,
        ..reused(want)
    }
}

impl Row {
    fn with(self, status: u16) -> Row {
        Row { status, ..self }
    }
}

/// Asks twice for each row, by both versions, and compares.
#[track_caller]
fn check(cache: &str, fields: &[(&str, &str)], rows: &[Row]) {
    let origin = obedient();
    let proxy = caching(cache, &[origin.addr]);
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (number, row) in rows.iter().enumerate() {
            let path = format!("/{number}/{version:?}");
            let status = row.status.to_string();
            let own = [("x-want", &*row.want), ("x-status", &*status)];
            let fields = [&own, fields].concat();
            let first = client.get(&path, &fields);
            let second = client.get(&path, &fields);
            let told = format!(
                "{version:?} {} {}: {first:?}, {second:?}",
                row.status, row.want
            );
            assert_eq!(
                (first.status, second.status),
                (row.status, row.status),
                "{told}"
            );
            assert!(!first.is_hit(), "{told}");
            assert_eq!(second.is_hit(), row.is_reused, "{told}");
            assert_eq!(second.body == first.body, row.is_reused, "{told}");
            assert_eq!(
                requests_for(&origin, &path),
                2 - usize::from(row.is_reused),
                "{told}"
            );
        }
    }
}

/// RFC 9111 section 4.2.1: s-maxage, else max-age, else Expires; and section 5.3: a wrong date is one in the past.
#[test]
fn the_backend_says_how_long() {
    let (later, earlier) = (date(3600), date(-3600));
    check(
        "",
        &[],
        &[
            reused("Cache-Control: max-age=3600"),
            reused("Cache-Control: MAX-AGE=3600"),
            reused("Cache-Control: max-age=\"3600\""),
            reused("Cache-Control: max-age=99999999999999999999999999"),
            reused("Cache-Control: public, foo, bar=\"a, no-store\", max-age=3600"),
            reused("Cache-Control: foo|Cache-Control: max-age=3600"),
            reused("Cache-Control: s-maxage=3600, max-age=0"),
            reused(&format!("Expires: {later}")),
            reused("Cache-Control: max-age=3600|Expires: 0"),
            reused("Cache-Control: max-age=3600|Age: 1800"),
            reused("Cache-Control: max-age=36000|Age: x"),
            reused(&format!("Cache-Control: max-age=7200|Date: {earlier}")),
            reused(&format!("Cache-Control: max-age=3600|Date: {later}")),
            not_reused("Cache-Control: max-age=0"),
            not_reused("Cache-Control: max-age=-1"),
            not_reused("Cache-Control: max-age=1h"),
            not_reused("Cache-Control: max-age"),
            not_reused("Cache-Control: s-maxage=0, max-age=3600"),
            not_reused("Cache-Control: max-age=0, max-age=3600"),
            not_reused("Expires: 0"),
            not_reused("Expires: tomorrow"),
            not_reused(&format!("Expires: {earlier}")),
            not_reused(&format!("Cache-Control: max-age=0|Expires: {later}")),
            not_reused("Cache-Control: max-age=3600|Age: 3600"),
            not_reused("Cache-Control: max-age=3600|Age: 9223372036854775808"),
            not_reused(&format!("Cache-Control: max-age=3600|Date: {earlier}")),
            not_reused("Cache-Control: max-age=3600|Age: 5000, 0"),
            not_reused("X-Nothing: said"),
        ],
    );
}

/// RFC 9213 section 2.2: the first targeted field that is valid and not empty counts alone.
#[test]
fn targeted_fields_come_first() {
    let expires = date(3600);
    check(
        "",
        &[],
        &[
            reused("CDN-Cache-Control: max-age=3600|Cache-Control: no-store"),
            reused("CDN-Cache-Control: max-age=3600|Cache-Control: max-age=0"),
            reused("Palantir-Cache-Control: max-age=3600|CDN-Cache-Control: no-store"),
            reused("CDN-Cache-Control: |Cache-Control: max-age=3600"),
            reused("CDN-Cache-Control: =?|Cache-Control: max-age=3600"),
            reused("CDN-Cache-Control: max-age=\"60\"|Cache-Control: max-age=3600"),
            not_reused("CDN-Cache-Control: no-store|Cache-Control: max-age=3600"),
            not_reused("CDN-Cache-Control: max-age=0|Cache-Control: max-age=3600"),
            not_reused("Palantir-Cache-Control: no-store|CDN-Cache-Control: max-age=3600"),
            not_reused(&format!("CDN-Cache-Control: foo|Expires: {expires}")),
            not_reused("Surrogate-Control: max-age=3600|Cache-Control: no-store"),
        ],
    );
    check(
        "targeted = ['Surrogate-Control']",
        &[],
        &[
            reused("Surrogate-Control: max-age=3600|Cache-Control: no-store"),
            not_reused("CDN-Cache-Control: max-age=3600|Cache-Control: no-store"),
        ],
    );
}

/// RFC 9111 section 4.2.2: where nothing is said, the time since the last change counts, for some statuses.
#[test]
fn old_answers_are_fresh_by_heuristics() {
    let old = format!("Last-Modified: {}", date(-864_000));
    let cookie = format!("{old}|Set-Cookie: a=b");
    let rows = [
        reused(&old),
        reused(&old).with(203),
        reused(&old).with(301),
        reused(&old).with(404),
        reused(&old).with(410),
        not_reused(&old).with(201),
        not_reused(&old).with(302),
        not_reused(&cookie),
        not_reused(&format!("Last-Modified: {}", date(0))),
        not_reused("Last-Modified: long ago"),
    ];
    check("", &[], &rows);
    check("heuristic = { percent = 0 }", &[], &[not_reused(&old)]);
    // Nobody else gets what was made for one client.
    for personal in [("cookie", "a=b"), ("authorization", "Basic abc")] {
        check("", &[personal], &[not_reused(&old)]);
    }
}

#[test]
fn statuses_have_their_own_rules() {
    let hour = "Cache-Control: max-age=3600";
    let statuses = [
        200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451,
    ];
    let kept: Vec<_> = statuses.map(|status| reused(hour).with(status)).into();
    check("error_ttl_max = '1h'", &[], &kept);
    let errors: Vec<_> = [400, 403, 500, 501, 503]
        .map(|status| reused(hour).with(status))
        .into();
    check("error_ttl_max = '1h'", &[], &errors);
    let aged = "Cache-Control: max-age=3600|Age: 20";
    let capped: Vec<_> = [400, 403, 500, 503]
        .map(|status| not_reused(aged).with(status))
        .into();
    check("", &[], &capped);
    // RFC 6585 and RFC 9110: these speak of one request alone.
    let own: Vec<_> = [407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511]
        .map(|status| not_reused(hour).with(status))
        .into();
    check("error_ttl_max = '1h'", &[], &own);
    // RFC 9111 section 5.2.2.3: must-understand puts no-store out of force where the status is understood.
    let understood = "Cache-Control: no-store, must-understand, max-age=3600";
    check(
        "",
        &[],
        &[reused(understood), not_reused(understood).with(299)],
    );
    check(
        "",
        &[],
        &[not_reused("Cache-Control: must-understand, max-age=3600").with(299)],
    );
}

/// RFC 9111 section 4.2.3: an answer is as old as its backend, its way and its stay here have made it.
#[test]
fn ages_add_up() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    let (half, later) = (date(-1800), date(3600));
    for (number, (want, age)) in [
        ("Age: 1000", 1000),
        (&format!("Date: {half}"), 1800),
        (&format!("Age: 1000|Date: {half}"), 1800),
        (&format!("Age: 2000|Date: {half}"), 2000),
        (&format!("Age: 1000|Date: {later}"), 1000),
        ("X-Age: none", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let want = format!("Cache-Control: max-age=7200|{want}");
        for version in VERSIONS {
            let began = std::time::Instant::now();
            let path = format!("/{number}/{version:?}");
            let mut client = Asker::new(&proxy, version);
            let first = client.get(&path, &[("x-want", &want)]);
            let second = client.get(&path, &[]);
            let most = age + began.elapsed().as_secs() as i64 + 1;
            // RFC 9111 section 4 (MUST, a): a stored answer has one Age, which says how old it is.
            let found = second.number("age");
            assert!(
                (age..=most).contains(&found),
                "{want}: {first:?}, {second:?}"
            );
            assert_eq!(found + second.ttl(), 7200, "{second:?}");
            // RFC 9110 section 6.6.1 (MUST): the date is that of the backend.
            assert_eq!((first.all("date").len(), second.all("date").len()), (1, 1));
            if want.contains("Date") {
                assert_eq!(second.field("date"), first.field("date"));
            }
        }
    }
}

#[test]
fn head_is_answered_from_what_get_has_stored() {
    let origin = obedient();
    let proxy = caching("", &[origin.addr]);
    for version in VERSIONS {
        let path = format!("/{version:?}");
        let mut client = Asker::new(&proxy, version);
        let want = ("x-want", "Cache-Control: max-age=3600|Content-Type: text/x");
        // An answer to HEAD has no body that could be stored.
        assert!(!client.ask("HEAD", &path, &[want]).is_hit());
        assert!(!client.ask("HEAD", &path, &[want]).is_hit());
        let whole = client.get(&path, &[want]);
        assert!(!whole.is_hit(), "{whole:?}");
        let head = client.ask("HEAD", &path, &[]);
        assert!(head.is_hit(), "{head:?}");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.number("content-length"), whole.body.len() as i64);
        assert_eq!(head.field("content-type"), Some("text/x"));
        assert_eq!(client.get(&path, &[]).body, whole.body);
    }
}
