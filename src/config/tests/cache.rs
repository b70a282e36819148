//! The cache: what its settings compile to, its defaults, its warnings, and what stays until the next start.

use std::time::Duration;

use super::parsed;
use super::snapshots::{AMPLE, MACHINE, snapshot};
use crate::cache::pattern::Pattern;
use crate::cache::policy::{
    Authorization, Bypass, ClientDirectives, Policy, Replaces, SetCookie, StatusField, TtlRules,
};
use crate::config::{ProcessFacts, Resolved, StartSettings, Stores, compile_beside};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::{CacheDisk, CacheOptions, Snapshot};
use crate::tls::TlsStore;

/// Every key of the cache, none at its default.
pub(super) const EVERY_CACHE_KEY: &str = r#"
[cache]
max_size = "512MiB"
name = "edge-1"
disk = { path = "/var/cache/palantir", max_bytes = "20GiB" }

[[routes]]
prefix = "/every"
backend_addrs = ["127.0.0.1:1"]
[routes.cache]
max_object = "1MiB"
ttl = { 404 = "30s", 200 = "10m", override = "all" }
heuristic = { percent = 20, max = "2h" }
set_cookie = "strip"
authorization = "checked_here"
error_ttl_max = 11
stale_if_unreachable = "2d"
stale_if_error = "1h"
stale_while_revalidate = "1m"
collapse_timeout = "2500ms"
uncacheable_memory = 0
stale_after = "250ms"
zone = "images"
ignore_query = ["utm_*", "fbclid"]
sort_query = true
key_headers = ["X-Tenant"]
vary = { ignore = ["User-Agent"], uncacheable = ["Cookie"] }
bypass = { cookies = ["session*"], headers = ["X-Preview"], paths = ["/cart*"] }
strip_cookies = ["_ga*"]
client_directives = "honour"
max_variants = 8
min_uses = 3
max_percent = 50
strip_targeted = true
forward_tags = true
status = "full"
targeted = ["Surrogate-Control"]
purge_method = { allow = ["10.0.0.0/8", "::1"] }
slice = "1MiB"

[[routes]]
prefix = "/off"
backend_addrs = ["127.0.0.1:2"]
"#;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn patterns(patterns: &[&str]) -> Vec<Pattern> {
    let patterns = patterns.iter().map(|pattern| Pattern::read(pattern));
    patterns.map(Option::unwrap).collect()
}

#[test]
fn every_key_takes_effect() {
    let snapshot = snapshot(EVERY_CACHE_KEY);
    let cache = CacheOptions {
        max_bytes: 512 << 20,
        name: "edge-1".to_owned(),
        disk: Some(CacheDisk {
            path: "/var/cache/palantir".into(),
            max_bytes: 20 << 30,
        }),
    };
    assert_eq!(snapshot.cache, Some(cache));
    let expected = Policy {
        name: "edge-1".to_owned(),
        zone: "images".to_owned(),
        max_percent: 50,
        max_object: 1 << 20,
        ttl: TtlRules {
            by_status: vec![(200, 600), (404, 30)],
            replaces: Replaces::Everything,
        },
        heuristic_percent: 20,
        heuristic_max: 7_200,
        error_ttl_max: 11,
        stale_if_unreachable: 172_800,
        stale_if_error: 3_600,
        stale_after: Some(Duration::from_millis(250)),
        stale_while_revalidate: 60,
        collapse_timeout: Duration::from_millis(2_500),
        uncacheable_memory: 0,
        set_cookie: SetCookie::Strip,
        min_uses: Some(3),
        ignore_query: patterns(&["utm_*", "fbclid"]),
        sort_query: true,
        key_headers: names(&["x-tenant"]),
        vary_ignore: names(&["user-agent"]),
        vary_uncacheable: names(&["cookie"]),
        max_variants: 8,
        bypass: Bypass {
            cookies: patterns(&["session*"]),
            headers: names(&["x-preview"]),
            paths: patterns(&["/cart*"]),
        },
        strip_cookies: patterns(&["_ga*"]),
        client_directives: ClientDirectives::Honour,
        targeted: names(&["surrogate-control"]),
        strip_targeted: true,
        status: StatusField::Full,
        authorization: Authorization::CheckedHere,
        forward_tags: true,
        purge_method: vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        slice: Some(1 << 20),
    };
    assert_eq!(snapshot.routes[0].cache.as_deref(), Some(&expected));
    assert_eq!(snapshot.routes[1].cache, None);
}

/// The settings of a cache without any setting, as `CACHE.md` of the operator's documentation lists them.
#[test]
fn the_defaults_hold() {
    let snapshot = snapshot(
        "[cache]\nmax_size = '8MiB'\n[[pools]]\nname = 'api'\nbackends = ['127.0.0.1:1']\n\
         [[routes]]\npool = 'api'\ncache = {}\n",
    );
    let cache = snapshot.cache.as_ref().unwrap();
    assert_eq!((cache.name.as_str(), &cache.disk), ("palantir", &None));
    let expected = Policy {
        name: "palantir".to_owned(),
        zone: "api".to_owned(),
        max_percent: 100,
        max_object: 8 << 20,
        ttl: TtlRules::default(),
        heuristic_percent: 10,
        heuristic_max: 3_600,
        error_ttl_max: 10,
        stale_if_unreachable: 86_400,
        stale_if_error: 0,
        stale_after: None,
        stale_while_revalidate: 0,
        collapse_timeout: Duration::from_secs(5),
        uncacheable_memory: 120,
        set_cookie: SetCookie::Refuse,
        min_uses: None,
        ignore_query: Vec::new(),
        sort_query: false,
        key_headers: Vec::new(),
        vary_ignore: Vec::new(),
        vary_uncacheable: Vec::new(),
        max_variants: 64,
        bypass: Bypass::default(),
        strip_cookies: Vec::new(),
        client_directives: ClientDirectives::Bounded,
        targeted: names(&["palantir-cache-control", "cdn-cache-control"]),
        strip_targeted: false,
        status: StatusField::Brief,
        authorization: Authorization::Rfc,
        forward_tags: false,
        purge_method: Vec::new(),
        slice: None,
    };
    assert_eq!(snapshot.routes[0].cache.as_deref(), Some(&expected));
}

fn cached(settings: &str) -> String {
    format!(
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['127.0.0.1:1']\n[routes.cache]\n{settings}"
    )
}

fn policy(settings: &str) -> Policy {
    let snapshot = snapshot(&cached(settings));
    let cache = snapshot.routes[0].cache.as_deref();
    cache.unwrap().clone()
}

#[test]
fn values_table() {
    type Row = (&'static str, fn(&mut Policy));
    let rows: [Row; 9] = [
        (
            "stale_after = 'off'\nslice = 'off'\npurge_method = 'off'",
            |_| {},
        ),
        ("ttl = {}", |_| {}),
        ("ttl = { override = false }", |_| {}),
        ("ttl = { override = true }", |policy| {
            policy.ttl.replaces = Replaces::Lifetimes;
        }),
        ("ttl = { 599 = 0, 301 = 1.0, 200 = '365d' }", |policy| {
            policy.ttl.by_status = vec![(200, 31_536_000), (301, 1), (599, 0)];
        }),
        ("heuristic = { percent = 0 }", |policy| {
            policy.heuristic_percent = 0;
        }),
        ("targeted = []", |policy| policy.targeted = Vec::new()),
        (
            "set_cookie = 'store'\nclient_directives = 'ignore'",
            |policy| {
                policy.set_cookie = SetCookie::Store;
                policy.client_directives = ClientDirectives::Ignore;
            },
        ),
        ("status = 'off'", |policy| policy.status = StatusField::Off),
    ];
    for (settings, change) in rows {
        let mut expected = policy("");
        // The pool of a route's own has the name of the route.
        assert_eq!(expected.zone, "/");
        change(&mut expected);
        assert_eq!(policy(settings), expected, "{settings}");
    }
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = parsed(text).unwrap().warnings(&AMPLE);
    warnings.iter().map(|note| note.to_string()).collect()
}

#[test]
fn what_gives_one_client_what_is_anothers_is_warned_of() {
    let rows = [
        ("", None),
        ("ttl = { 200 = 1, override = true }", None),
        (
            "ttl = { 200 = 1, override = 'all' }",
            Some(
                "6:7: routes[0].cache.ttl = { 200 = 1, override = 'all' }: override = \"all\" stores responses that are for one client alone (private, no-store, Set-Cookie), and gives them to every client",
            ),
        ),
        ("set_cookie = 'strip'", None),
        (
            "set_cookie = 'store'",
            Some(
                "6:14: routes[0].cache.set_cookie = 'store': every client gets the cookies that the backend has set for the first one",
            ),
        ),
        (
            "authorization = 'checked_here'",
            Some(
                "6:17: routes[0].cache.authorization = 'checked_here': every client that palantir lets in gets the response to the first one, whoever that was",
            ),
        ),
        (
            "client_directives = 'ignore'",
            Some(
                "6:21: routes[0].cache.client_directives = 'ignore': no client can ask for a response that is newer than the stored one",
            ),
        ),
        ("client_directives = 'honour'", None),
        (
            "max_object = '9MiB'",
            Some(
                "6:14: routes[0].cache.max_object = '9MiB': is more than the whole cache has (max_size of [cache])",
            ),
        ),
        (
            "purge_method = { allow = ['10.0.0.1/8'] }",
            Some(
                "6:27: routes[0].cache.purge_method.allow[0] = '10.0.0.1/8': stands for all of 10.0.0.0/8",
            ),
        ),
    ];
    for (settings, expected) in rows {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(warnings(&cached(settings)), expected, "{settings}");
    }
    // A default that is larger than the cache is nobody's mistake.
    assert!(warnings(&cached("").replace("8MiB", "4MiB")).is_empty());
}

#[test]
fn a_cache_that_no_route_uses_is_warned_of() {
    let text = "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['127.0.0.1:1']\n";
    let expected = "1:1: cache: nothing is cached: no route has a cache of its own (cache = {})";
    assert_eq!(warnings(text), [expected]);
}

/// The cache takes a part of the memory, and the rest of the process has its bound beside that.
#[test]
fn the_process_has_what_the_cache_leaves() {
    let with = |memory: &str| {
        cached("").replace("8MiB", "256MiB") + &format!("[limits]\nmemory = {memory}\n")
    };
    let left = (MACHINE.memory_bytes - (256 << 20)) / 100 * 75;
    assert_eq!(snapshot(&with("0")).memory_bytes, left);
    assert_eq!(snapshot(&with("'512MiB'")).memory_bytes, 512 << 20);
    assert!(warnings(&with("0")).is_empty() && warnings(&with("'768MiB'")).is_empty());
    let expected = "2:12: cache.max_size = '256MiB': with the 838860800 bytes that the process may use besides (limits.memory) this is more than the 1073741824 bytes of memory that it may have";
    assert_eq!(warnings(&with("'800MiB'")), [expected]);
}

/// The snapshot that a process which was started with the first text makes of the second.
fn reloaded(first: &str, second: &str) -> Snapshot {
    let (first, second) = (parsed(first).unwrap(), parsed(second).unwrap());
    let process = ProcessFacts {
        machine: &MACHINE,
        start: &StartSettings::of(&first.settings, &MACHINE),
    };
    let mut slots = Slots::new(BackendTables::new(1));
    let stores = Stores {
        slots: &mut slots,
        tls_store: &mut TlsStore::default(),
    };
    compile_beside(&second, &process, &Resolved::new(), stores, 1).unwrap()
}

#[test]
fn the_cache_of_the_process_stays_until_the_next_start() {
    let small = cached("max_variants = 1");
    let large = cached("max_variants = 2").replace("8MiB'", "16MiB'\nname = 'other'");
    let snapshot = reloaded(&small, &large);
    let cache = snapshot.cache.unwrap();
    assert_eq!(
        (cache.max_bytes, cache.name.as_str()),
        (8 << 20, "palantir")
    );
    let policy = snapshot.routes[0].cache.as_deref().unwrap();
    assert_eq!((policy.max_variants, policy.name.as_str()), (2, "palantir"));
    // A process without a cache gets none by a reload, and one with a cache keeps it.
    let none = "[[routes]]\nbackend_addrs = ['127.0.0.1:1']\n";
    let snapshot = reloaded(none, &small);
    assert!(snapshot.cache.is_none() && snapshot.routes[0].cache.is_none());
    let snapshot = reloaded(&small, none);
    assert!(snapshot.cache.is_some() && snapshot.routes[0].cache.is_none());
}
