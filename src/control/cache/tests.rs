//! Purges, lists and explanations of a store with a few entries.

use std::path::Path;
use std::sync::Arc;

use httparse::Header;
use serde_json::json;

use super::entries::{EntryFilter, list};
use super::explain::{AskedRequest, explain};
use super::purge::{Purged, TooManyZones, purge};
use super::*;
use crate::base::limits;
use crate::cache::facts::{EntryFacts, LifetimeSource};
use crate::cache::tags::{Tags, named_tag};
use crate::config::{self, Machine};
use crate::shared::SharedStore;
use crate::shared::backend_table::BackendTables;
use crate::shared::cache::{CacheStore, NewEntry, PurgeEffect, Share, StoreSettings};
use crate::shared::slots::Slots;
use crate::tls::TlsStore;

const NOW: u64 = 1_000_000_000;

const CONFIG: &str = r#"
[cache]
max_size = "8MiB"
[[routes]]
prefix = "/"
backend_addrs = ["127.0.0.1:1"]
cache = { zone = "a", ignore_query = ["utm_*"] }
[[routes]]
prefix = "/b"
backend_addrs = ["127.0.0.1:1"]
cache = { zone = "b" }
[[routes]]
prefix = "/keyed"
backend_addrs = ["127.0.0.1:1"]
cache = { zone = "keyed", key_headers = ["X-Tenant"], bypass = { paths = ["/keyed/cart*"] } }
[[routes]]
prefix = "/plain"
backend_addrs = ["127.0.0.1:1"]
"#;

fn snapshot(text: &str) -> Snapshot {
    let config = config::parse(Path::new("c.toml"), text.to_owned()).unwrap();
    let machine = Machine {
        cpus: 1,
        descriptors: 65_536,
        memory_bytes: 1 << 30,
    };
    let stores = config::Stores {
        slots: &mut Slots::new(BackendTables::new(1)),
        tls_store: &mut TlsStore::default(),
    };
    config::compile(&config, &machine, &Default::default(), stores, 1).unwrap()
}

fn store() -> SharedStore {
    let settings = StoreSettings {
        max_bytes: 8 << 20,
        cores: 1,
    };
    CacheStore::new(settings).unwrap()
}

fn url(text: &str) -> NamedUrl {
    NamedUrl::read(text).unwrap()
}

/// Stores a response that is fresh for a minute, for a request with these fields.
fn put(store: &SharedStore, snapshot: &Snapshot, text: &str, fields: &[Header<'_>]) {
    let url = url(text);
    let policy = route_of(snapshot, &url).unwrap().cache.as_ref().unwrap();
    let mut key = Vec::new();
    url.write_key(policy, fields, &mut key);
    let tag = Header {
        name: "surrogate-key",
        value: b"tag",
    };
    let tags = Tags::of(&[tag], Vec::new).unwrap();
    let fetch = store.begin_fetch(store.hash(&key), &key);
    let filling = fetch.store(NewEntry {
        facts: EntryFacts {
            received: NOW,
            explicit: 60,
            source: LifetimeSource::MaxAge,
            status: 200,
            ..EntryFacts::default()
        },
        variant: b"",
        head: b"HTTP/1.1 200 OK\r\n\r\n",
        tags: tags.as_bytes(),
        length: Some(0),
        share: Share {
            zone: store.zone(&policy.zone),
            max_percent: 100,
            max_object: 1 << 20,
            max_variants: 4,
        },
    });
    filling.unwrap().finish(b"").unwrap();
}

/// The URLs of what is stored.
fn urls(store: &CacheStore, snapshot: &Snapshot) -> Vec<String> {
    let wanted = EntryFilter {
        limit: 100,
        ..EntryFilter::default()
    };
    let listed = list(store, snapshot, &wanted, NOW);
    let mut urls: Vec<_> = listed.entries.into_iter().map(|entry| entry.url).collect();
    urls.sort();
    urls
}

#[test]
fn purges_table() {
    const ALL: [&str; 4] = [
        "http://h/a?x=1",
        "http://h/b/1",
        "http://h/b/2",
        "http://h/keyed/1",
    ];
    let tag = named_tag(b"tag");
    type Row<'a> = (Purged, Option<&'a str>, &'a [&'a str], Option<u64>);
    let rows: [Row<'_>; 10] = [
        (
            Purged::Url(url("http://h/a?utm_b&x=1")),
            Some("a"),
            &ALL[1..],
            Some(1),
        ),
        (
            Purged::Url(url("http://h//a?x=1")),
            Some("a"),
            &ALL[1..],
            Some(1),
        ),
        (Purged::Url(url("http://h/a?x=1")), Some("b"), &ALL, Some(0)),
        (
            Purged::Url(url("http://h/b/1")),
            None,
            &[ALL[0], ALL[2], ALL[3]],
            None,
        ),
        (Purged::Url(url("http://h/keyed/1")), None, &ALL[..3], None),
        (
            Purged::Prefix(url("http://h/b/")),
            None,
            &[ALL[0], ALL[3]],
            None,
        ),
        (
            Purged::Prefix(url("http://h/")),
            Some("b"),
            &[ALL[0], ALL[3]],
            None,
        ),
        (Purged::Tag(tag), None, &[], None),
        (Purged::All, Some("a"), &ALL[1..], None),
        (Purged::All, None, &[], None),
    ];
    let snapshot = snapshot(CONFIG);
    for (purged, zone, left, entries) in rows {
        let store = store();
        let tenant = Header {
            name: "x-tenant",
            value: b"t",
        };
        for text in ALL {
            put(&store, &snapshot, text, &[tenant]);
        }
        assert_eq!(urls(&store, &snapshot), ALL);
        let outcome = purge(&store, &snapshot, &purged, zone, PurgeEffect::Hard).unwrap();
        assert!(outcome.number > 1, "{purged:?}");
        assert_eq!(outcome.entries, entries, "{purged:?}");
        assert_eq!(urls(&store, &snapshot), left, "{purged:?}");
    }
}

#[test]
fn a_url_of_very_many_zones_needs_the_name_of_its_zone() {
    let mut text = "[cache]\nmax_size = \"8MiB\"\n".to_owned();
    for zone in 0..=limits::CACHE_ZONES_AT_ONCE {
        text += &format!(
            "[[routes]]\nprefix = \"/{zone}\"\nbackend_addrs = [\"127.0.0.1:1\"]\ncache = {{ zone = \"z{zone}\" }}\n"
        );
    }
    let (store, snapshot) = (store(), snapshot(&text));
    let wanted = Purged::Url(url("http://h/1"));
    let asked = |zone| purge(&store, &snapshot, &wanted, zone, PurgeEffect::Hard);
    assert_eq!(asked(None), Err(TooManyZones));
    assert!(asked(Some("z1")).is_ok());
}

#[test]
fn entries_are_shown_with_what_people_can_read() {
    let (store, snapshot) = (store(), snapshot(CONFIG));
    let tenant = Header {
        name: "x-tenant",
        value: b"t",
    };
    put(&store, &snapshot, "http://h/keyed/1", &[tenant]);
    put(&store, &snapshot, "http://h/b/1", &[]);
    let wanted = EntryFilter {
        prefix: b"http://h/keyed/".to_vec(),
        limit: 10,
        ..EntryFilter::default()
    };
    let shown = list(&store, &snapshot, &wanted, NOW + 70_000);
    let mut shown = serde_json::to_value(&shown).unwrap();
    let bytes = shown["entries"][0]["bytes"].take();
    assert!(bytes.as_u64() > Some(0));
    let expected = json!({"entries": [{
        "url": "http://h/keyed/1", "zone": "keyed", "key_fields": [{"name": "x-tenant", "value": "t"}],
        "variant": [], "status": 200, "age": 70, "ttl": -10, "lifetime_source": "max_age", "bytes": null,
        "body_bytes": 0, "uses": 0, "state": "stale"}], "next": null});
    assert_eq!(shown, expected);
    let of_zone = EntryFilter {
        zone: Some("b"),
        limit: 10,
        ..EntryFilter::default()
    };
    let shown = list(&store, &snapshot, &of_zone, NOW);
    assert_eq!(shown.entries.len(), 1);
    assert_eq!(
        (shown.entries[0].ttl, shown.entries[0].state),
        (Some(60), "fresh")
    );
    // Another route takes the URL now, so that the entry is in no zone of its.
    let moved = self::snapshot(&CONFIG.replace("prefix = \"/b\"", "prefix = \"/c\""));
    let shown = list(&store, &moved, &of_zone, NOW);
    assert_eq!(
        (shown.entries[0].ttl, shown.entries[0].state),
        (None, "stored")
    );
}

#[test]
fn explanations_table() {
    let (store, snapshot) = (store(), snapshot(CONFIG));
    put(&store, &snapshot, "http://h/a", &[]);
    type Fields = &'static [(&'static str, &'static str)];
    type Expected = (&'static str, &'static str);
    let rows: [(&str, &str, Fields, u64, Expected); 11] = [
        ("GET", "http://h/a", &[], 0, ("hit", "max_age")),
        ("HEAD", "http://h/a?utm_x", &[], 0, ("hit", "max_age")),
        ("GET", "http://h//a", &[], 0, ("miss", "no_entry")),
        ("GET", "http://h/a", &[], 61, ("validate", "stale")),
        (
            "GET",
            "http://h/a",
            &[("If-Match", "\"a\"")],
            0,
            ("miss", "conditions"),
        ),
        (
            "GET",
            "http://h/a",
            &[("Cache-Control", "max-age=5")],
            6,
            ("validate", "client_max_age"),
        ),
        (
            "GET",
            "http://h/c",
            &[("Cache-Control", "only-if-cached")],
            0,
            ("not_cached", "no_entry"),
        ),
        ("POST", "http://h/a", &[], 0, ("invalidate", "method")),
        ("OPTIONS", "http://h/a", &[], 0, ("none", "method")),
        (
            "GET",
            "http://h/keyed/cart",
            &[],
            0,
            ("bypass", "bypass_path"),
        ),
        (
            "GET",
            "http://h/plain",
            &[],
            0,
            ("none", "route_without_cache"),
        ),
    ];
    for (method, text, fields, secs, expected) in rows {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let url = url(text);
        let asked = AskedRequest {
            method,
            url: &url,
            fields: &fields,
        };
        let found = explain(Some(&store), &snapshot, &asked, NOW + secs * 1_000);
        assert_eq!(
            (found.outcome, found.reason),
            expected,
            "{method} {text} {fields:?}"
        );
        assert_eq!(
            found.route.as_deref(),
            Some(snapshot_route(&snapshot, &url))
        );
        let has_entry = matches!(found.outcome, "hit" | "validate") || found.reason == "conditions";
        assert_eq!(found.entry.is_some(), has_entry, "{found:?}");
    }
    let without = explain(
        None,
        &snapshot,
        &AskedRequest {
            method: "GET",
            url: &url("http://h/a"),
            fields: &[],
        },
        NOW,
    );
    assert_eq!(without.reason, "route_without_cache");
}

fn snapshot_route<'s>(snapshot: &'s Snapshot, url: &NamedUrl) -> &'s str {
    &route_of(snapshot, url).unwrap().name
}

/// The background frees what was purged, and ends purges that concern nothing any more.
#[test]
fn ended_entries_are_swept() {
    let (store, snapshot) = (store(), snapshot(CONFIG));
    for n in 0..1_000 {
        put(&store, &snapshot, &format!("http://h/a/{n}"), &[]);
    }
    let slow: Arc<CacheStore> = store.clone();
    let fetch = slow.begin_fetch(1, b"slow");
    purge(
        &store,
        &snapshot,
        &Purged::Prefix(url("http://h/a/")),
        None,
        PurgeEffect::Hard,
    )
    .unwrap();
    assert_eq!(store.usage().entries, 1_000);
    while !store.sweep(limits::LISTED_AT_ONCE, NOW).is_done {}
    let usage = store.usage();
    assert_eq!((usage.entries, usage.purged), (0, 1_000));
    assert!(
        usage.standing_purges > 0,
        "a fetch from before the purge runs"
    );
    assert_eq!(store.sweeps(), 1);
    drop(fetch);
    let swept = store.sweep(limits::LISTED_AT_ONCE, NOW);
    assert!(
        swept.is_done && swept.seen == 0,
        "nothing is looked at twice"
    );
    assert_eq!(store.usage().standing_purges, 0);
}
