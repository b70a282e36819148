//! Tests of the store as a worker uses it.

mod disk;
mod handover;
mod parts;
mod passing;
mod room;
mod threads;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::cache::facts::EntryFacts;

const ANY: fn(&[u8]) -> bool = |_| true;

fn store(max_bytes: u64) -> Arc<CacheStore> {
    let settings = StoreSettings {
        max_bytes,
        cores: 2,
    };
    CacheStore::new(settings).unwrap()
}

fn facts(date: i64) -> EntryFacts {
    EntryFacts {
        date,
        status: 200,
        ..EntryFacts::default()
    }
}

/// A key as `cache::key` writes it.
fn key_of(url: &str, values: &[u8]) -> Vec<u8> {
    let mut key = url_of(url);
    key.extend_from_slice(values);
    key.extend_from_slice(&[0; 4]);
    key.extend_from_slice(&(url.len() as u32).to_be_bytes());
    key
}

fn url_of(url: &str) -> Vec<u8> {
    [b"\0\x04zone", url.as_bytes()].concat()
}

const SHARE: Share = Share {
    zone: 0,
    max_percent: 100,
    max_object: 8 << 20,
    max_variants: 4,
};

fn new_entry(length: Option<u64>) -> NewEntry<'static> {
    NewEntry {
        facts: facts(1),
        variant: b"",
        head: b"HTTP/1.1 200 OK\r\n\r\n",
        tags: b"",
        length,
        share: SHARE,
    }
}

fn begin(store: &Arc<CacheStore>, key: &[u8]) -> Ticket {
    store.begin_fetch(store.hash(key), key)
}

fn complete(fetch: Ticket, new: NewEntry<'_>, body: &[u8]) -> Result<Arc<Entry>, Unpublished> {
    let mut filling = fetch.store(new)?;
    filling.push(body)?;
    filling.finish(b"")
}

fn put(store: &Arc<CacheStore>, key: &[u8], body: &[u8]) -> Arc<Entry> {
    let new = new_entry(Some(body.len() as u64));
    complete(begin(store, key), new, body).unwrap()
}

fn get(store: &Arc<CacheStore>, key: &[u8]) -> Option<Arc<Entry>> {
    store.look_up(store.hash(key), key, ANY).entry
}

fn body_of(entry: &Entry) -> Vec<u8> {
    let pieces: Vec<&[u8]> = entry.pieces().collect();
    let mut read = Vec::new();
    while entry.read_at(read.len() as u64, &mut |bytes| {
        read.extend_from_slice(bytes)
    }) > 0
    {}
    assert_eq!(read, pieces.concat());
    read
}

#[test]
fn what_was_stored_is_found_whole() {
    let store = store(64 << 20);
    let small = vec![b's'; 1_000];
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for (at, body) in [&b""[..], b"x", &small, &large].into_iter().enumerate() {
        for length in [Some(body.len() as u64), None] {
            for trailers in [&b""[..], b"Grade: A\r\n"] {
                let key = format!("zone key {at} {length:?} {}", trailers.len()).into_bytes();
                let new = NewEntry {
                    variant: b"gzip",
                    tags: b"\0\x03one\0\x03two",
                    ..new_entry(length)
                };
                let mut filling = begin(&store, &key).store(new).unwrap();
                body.chunks(70_000)
                    .for_each(|part| filling.push(part).unwrap());
                filling.finish(trailers).unwrap();
                let entry = get(&store, &key).unwrap();
                assert_eq!(entry.key(), key);
                assert_eq!(entry.variant(), b"gzip");
                assert_eq!(entry.tags(), b"\0\x03one\0\x03two");
                assert_eq!(entry.head(), new.head);
                assert_eq!(entry.facts(), facts(1));
                assert_eq!(entry.body_len(), body.len() as u64);
                assert_eq!(body_of(&entry), *body);
                assert_eq!(entry.trailers(), trailers);
            }
        }
    }
    assert!(get(&store, b"zone key").is_none());
}

#[test]
fn a_body_that_is_not_as_announced_is_not_stored() {
    let store = store(4 << 20);
    let short = complete(begin(&store, b"short"), new_entry(Some(5)), b"four");
    assert_eq!(short.unwrap_err(), Unpublished::TooShort);
    let mut long = begin(&store, b"long").store(new_entry(Some(3))).unwrap();
    assert_eq!(long.push(b"four"), Err(NoRoom::TooLong));
    assert!(long.finish(b"").is_err());
    let mut large = begin(&store, b"large").store(new_entry(None)).unwrap();
    let pushed = (0..100).try_for_each(|_| large.push(&[0; 100_000]));
    assert!(pushed.is_err(), "more than the store or an object");
    drop(large);
    let too_large = begin(&store, b"large").store(new_entry(Some(9 << 20)));
    assert_eq!(too_large.unwrap_err(), NoRoom::TooLarge);
    drop(begin(&store, b"dropped").store(new_entry(None)).unwrap());
    for key in [&b"short"[..], b"long", b"large", b"dropped"] {
        assert!(get(&store, key).is_none());
    }
}

#[test]
fn the_variants_of_a_key_are_bounded_and_replace_each_other() {
    let store = store(4 << 20);
    let hash = store.hash(b"key");
    let variant = |name: &'static [u8], date: i64, body: &[u8]| {
        let new = NewEntry {
            variant: name,
            facts: facts(date),
            ..new_entry(Some(body.len() as u64))
        };
        complete(begin(&store, b"key"), new, body).unwrap()
    };
    let first = variant(b"a", 1, b"first");
    variant(b"b", 3, b"second");
    let found = store.look_up(hash, b"key", |variant| variant == b"a");
    assert_eq!(body_of(&found.entry.unwrap()), b"first");
    assert_eq!(found.other.unwrap().variant(), b"b");
    let again = variant(b"a", 2, b"again");
    assert_eq!(first.state(), EntryState::Dead);
    assert_eq!(again.state(), EntryState::Live);
    let found = store.look_up(hash, b"key", ANY);
    assert_eq!(found.entry.unwrap().variant(), b"b", "the newest first");
    assert_eq!(body_of(&found.further[0]), b"again");
    variant(b"c", 4, b"");
    variant(b"d", 5, b"");
    let late = variant(b"e", 0, b"");
    assert_eq!(again.state(), EntryState::Dead, "there are four at most");
    assert_eq!(
        late.state(),
        EntryState::Live,
        "what came last is not the one to go"
    );
    assert_eq!(store.usage().entries, 4);
}

#[test]
fn a_304_keeps_the_body_and_replaces_the_head() {
    let store = store(16 << 20);
    for body in [vec![b'a'; 100], vec![b'b'; 100_000]] {
        let old = put(&store, b"key", &body);
        let new = NewEntry {
            head: b"HTTP/1.1 200 OK\r\nAge: 0\r\n\r\n",
            ..new_entry(None)
        };
        let fresh = begin(&store, b"key").refresh(&old, new).unwrap();
        assert_eq!(old.state(), EntryState::Dead);
        drop(old);
        let found = get(&store, b"key").unwrap();
        assert!(Arc::ptr_eq(&found, &fresh));
        assert_eq!(found.head(), new.head);
        assert_eq!(body_of(&found), body);
    }
}

#[test]
fn a_304_brings_nothing_back_that_was_purged() {
    let store = store(16 << 20);
    let old = put(&store, b"key", b"body");
    let mut fetch = begin(&store, b"key");
    store.purge(Purge::All, PurgeEffect::Hard);
    fetch.note_sent();
    let refreshed = fetch.refresh(&old, new_entry(None));
    assert_eq!(refreshed.unwrap_err(), Unpublished::Purged);
    assert!(get(&store, b"key").is_none());
}

#[test]
fn purges_are_in_force_at_once() {
    let url = url_of("/a");
    let purges = [
        (Purge::All, 4),
        (Purge::Prefix(&url), 3),
        (Purge::Url(&url), 2),
        (Purge::Tag(b"tred"), 2),
        (Purge::Tag(b"tre"), 0),
    ];
    let entries: [(Vec<u8>, &[u8]); 4] = [
        (key_of("/a", b""), b""),
        (key_of("/a", b"value"), b"\0\x04tred"),
        (key_of("/a/2", b""), b"\0\x05tblue\0\x04tred"),
        (key_of("/b", b""), b"\0\x07tredder"),
    ];
    for (purge, count) in purges {
        for effect in [PurgeEffect::Hard, PurgeEffect::Soft] {
            let store = store(4 << 20);
            for (key, tags) in &entries {
                let new = NewEntry {
                    tags,
                    ..new_entry(Some(0))
                };
                complete(begin(&store, key), new, b"").unwrap();
            }
            let before = store.purge_number();
            assert_eq!(store.purge(purge, effect), before + 1);
            let found: Vec<_> = entries.iter().map(|(key, _)| get(&store, key)).collect();
            let is_stale = |entry: &&Arc<Entry>| entry.state() == EntryState::Stale;
            let (stale, live) = (
                found.iter().flatten().filter(is_stale).count(),
                found.iter().flatten().count(),
            );
            match effect {
                PurgeEffect::Hard => assert_eq!((stale, live), (0, 4 - count), "{purge:?}"),
                PurgeEffect::Soft => assert_eq!((stale, live), (count, 4), "{purge:?}"),
            }
            let new = put(&store, &entries[0].0, b"");
            assert_eq!(
                new.state(),
                EntryState::Live,
                "what came after is not purged"
            );
            while !store.sweep(10, 0).is_done {}
            assert_eq!(store.usage().standing_purges, 0);
        }
    }
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_fresh_after_it() {
    let store = store(4 << 20);
    let (hard, soft) = (begin(&store, b"hard"), begin(&store, b"soft"));
    let (invalidated, mut renewed) = (begin(&store, b"post"), begin(&store, b"post"));
    let other = begin(&store, b"other");
    store.purge(Purge::Prefix(b"ha"), PurgeEffect::Hard);
    store.purge(Purge::Prefix(b"so"), PurgeEffect::Soft);
    store.invalidate(store.hash(b"post"), b"post");
    renewed.note_sent();
    while !store.sweep(1_000, 0).is_done {}
    assert_eq!(
        store.usage().standing_purges,
        2,
        "fetches run that they concern"
    );
    let new = new_entry(Some(0));
    assert_eq!(complete(hard, new, b"").unwrap_err(), Unpublished::Purged);
    assert_eq!(complete(soft, new, b"").unwrap().state(), EntryState::Stale);
    let refused = complete(invalidated, new, b"").unwrap_err();
    assert_eq!(refused, Unpublished::Invalidated);
    assert!(complete(renewed, new, b"").is_ok());
    assert!(complete(other, new, b"").is_ok());
    store.purge(Purge::Url(b"none"), PurgeEffect::Hard);
    while !store.sweep(1_000, 0).is_done {}
    assert_eq!(store.usage().standing_purges, 0);
}

#[derive(Debug)]
struct CountedWake(Arc<AtomicU64>);

impl Wake for CountedWake {
    fn wake(&self, _: u64) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn one_fetch_serves_those_who_want_the_same() {
    let store = store(4 << 20);
    let wakes = Arc::new(AtomicU64::new(0));
    store.register_core(1, CountedWake(wakes.clone()));
    let hash = store.hash(b"key");
    let join = |variant: Option<&[u8]>, now: u64| store.join(hash, b"key", variant, now);
    let Joined::Lead(fetch) = join(None, 1_000) else {
        panic!("the first one fetches")
    };
    let Joined::Follow(follower) = join(Some(b"gzip"), 1_000) else {
        panic!("the second one waits")
    };
    assert!(matches!(follower.outcome(), Outcome::Undecided));
    follower.wait(1);
    let new = NewEntry {
        variant: b"br",
        ..new_entry(Some(6))
    };
    let mut filling = fetch.store(new).unwrap();
    assert_eq!(wakes.load(SeqCst), 1);
    let Outcome::Storable(entry) = follower.outcome() else {
        panic!("it is stored")
    };
    filling.push(b"abc").unwrap();
    assert_eq!(wakes.load(SeqCst), 1, "nobody has asked again");
    assert_eq!((follower.filled(), follower.end()), (3, FillEnd::Open));
    assert_eq!(filling.fill().unwrap().followers(), 1);
    // A request for another variant than the one that comes fetches that one; one that does not know looks.
    let Joined::Lead(other) = join(Some(b"gzip"), 1_000) else {
        panic!("nobody fetches that variant")
    };
    assert!(matches!(join(Some(b"gzip"), 1_000), Joined::Follow(_)));
    assert!(matches!(join(Some(b"br"), 1_000), Joined::Follow(_)));
    assert!(matches!(join(None, 1_000), Joined::Follow(_)));
    follower.wait(1);
    filling.push(b"def").unwrap();
    assert_eq!(wakes.load(SeqCst), 2);
    filling.finish(b"").unwrap();
    assert_eq!(follower.end(), FillEnd::Complete);
    assert_eq!(body_of(&entry), b"abcdef");
    drop(follower);
    other.uncacheable(5_000);
    assert!(matches!(join(None, 4_999), Joined::Alone(_)));
    assert_eq!(store.look_up(hash, b"key", ANY).uncacheable_until, 5_000);
    let Joined::Lead(gone) = join(None, 5_000) else {
        panic!("the time is over")
    };
    let Joined::Follow(follower) = join(None, 5_000) else {
        panic!("it runs")
    };
    drop(gone);
    assert!(matches!(follower.outcome(), Outcome::Gone));
    assert!(matches!(join(None, 5_000), Joined::Lead(_)));
}

#[test]
fn nobody_follows_what_was_asked_for_before_a_purge_or_an_invalidation() {
    let store = store(4 << 20);
    let key = key_of("/a", b"");
    let hash = store.hash(&key);
    let join = || store.join(hash, &key, None, 0);
    let first = join();
    assert!(matches!(join(), Joined::Follow(_)));
    store.purge(Purge::Prefix(b"other"), PurgeEffect::Hard);
    assert!(
        matches!(join(), Joined::Follow(_)),
        "the purge is of other keys"
    );
    store.purge(Purge::Url(&url_of("/a")), PurgeEffect::Soft);
    let second = join();
    assert!(matches!(second, Joined::Lead(_)));
    assert!(matches!(join(), Joined::Follow(_)));
    store.invalidate(hash, &key);
    assert!(matches!(join(), Joined::Lead(_)));
    drop((first, second));
}

#[test]
fn entries_are_listed_in_parts() {
    let store = store(16 << 20);
    for n in 0..1_000u32 {
        let entry = put(&store, format!("a/{n}").as_bytes(), &vec![0; n as usize]);
        if n == 500 {
            entry.note_used();
        }
        put(&store, format!("b/{n}").as_bytes(), b"");
    }
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let part = store.list(|key| key.starts_with(b"a/"), cursor, 7, 1_000);
        assert!(part.entries.len() <= 7);
        seen.extend(part.entries.into_iter().map(|entry| entry.key));
        match part.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_000);
    let largest = store.first_in(Order::Largest, 2);
    assert!(largest[0].cost >= largest[1].cost && largest[1].body > 950);
    assert_eq!(store.first_in(Order::MostUsed, 1)[0].key, b"a/500");
}
