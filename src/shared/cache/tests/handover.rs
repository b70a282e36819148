//! Tests of a store that one process hands to the next. Two stores with the same memory stand for two processes.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::time::Timespec;

use super::*;

const BYTES: u64 = 4 << 20;
const AT_ONCE: Option<Timespec> = Some(Timespec {
    tv_sec: 0,
    tv_nsec: 0,
});

fn settings() -> StoreSettings {
    StoreSettings {
        max_bytes: BYTES,
        cores: 2,
    }
}

fn next_of(store: &CacheStore) -> (Arc<CacheStore>, Rebuilt) {
    let HandedStore {
        memory,
        readers,
        state,
    } = store.freeze().unwrap();
    CacheStore::from_memfd(memory, settings(), readers, state).unwrap()
}

/// The body of a key, of a length that makes it one block with its head, one part, or several parts.
fn body(n: usize) -> Vec<u8> {
    let length = [0, 10, 5_000, 40_000, 300_000][n % 5] + n;
    (0..length).map(|at| (at * 31 + n) as u8).collect()
}

fn key(n: usize) -> Vec<u8> {
    key_of(&format!("/{n}"), b"")
}

/// Stores so many entries, some of a length that is not known at first, some with trailers.
fn fill(store: &Arc<CacheStore>, count: usize) {
    for n in 0..count {
        let body = body(n);
        let length = (n % 3 > 0).then_some(body.len() as u64);
        let new = NewEntry {
            tags: b"\0\x03tag",
            ..new_entry(length)
        };
        let mut filling = begin(store, &key(n)).store(new).unwrap();
        body.chunks(50_000)
            .for_each(|part| filling.push(part).unwrap());
        let trailers: &[u8] = if n % 4 == 3 { b"Grade: A\r\n" } else { b"" };
        filling.finish(trailers).unwrap();
    }
}

/// How many entries are there; each that is there is what was stored.
fn right(store: &Arc<CacheStore>, count: usize) -> usize {
    let is_there = |n: &usize| {
        let Some(entry) = get(store, &key(*n)) else {
            return false;
        };
        assert_eq!(body_of(&entry), body(*n), "{n}");
        assert_eq!(entry.head(), new_entry(None).head);
        assert_eq!(entry.tags(), b"\0\x03tag");
        let trailers: &[u8] = if n % 4 == 3 { b"Grade: A\r\n" } else { b"" };
        assert_eq!(entry.trailers(), trailers);
        assert_eq!(entry.key(), key(*n));
        true
    };
    (0..count).filter(is_there).count()
}

#[test]
fn the_next_process_has_every_entry_and_what_was_purged_stays_so() {
    let old = store(BYTES);
    assert_eq!((old.zone("one"), old.zone("two")), (0, 1));
    fill(&old, 20);
    old.invalidate(old.hash(&key(3)), &key(3));
    old.purge(Purge::Url(&url_of("/4")), PurgeEffect::Hard);
    old.purge(Purge::Url(&url_of("/5")), PurgeEffect::Soft);
    let number = old.purge_number();
    let fresh = begin(&old, &key(6));
    let (new, rebuilt) = next_of(&old);
    assert_eq!((rebuilt.entries, rebuilt.lost), (18, 0));
    assert_eq!(new.purge_number(), number);
    assert_eq!((new.zone("two"), new.zone("three")), (1, 2));
    for store in [&old, &new] {
        assert_eq!(right(store, 20), 18);
        assert!(get(store, &key(3)).is_none() && get(store, &key(4)).is_none());
        let states = [5, 6].map(|n| get(store, &key(n)).unwrap().state());
        assert_eq!(states, [EntryState::Stale, EntryState::Live]);
    }
    // The old process stores nothing any more, and the new one not yet.
    assert!(complete(fresh, new_entry(Some(0)), b"").is_err());
    for store in [&old, &new] {
        let refused = complete(begin(store, b"key"), new_entry(Some(3)), b"abc");
        assert_eq!(refused.unwrap_err(), Unpublished::NoRoom(NoRoom::Full));
    }
    new.take_over();
    put(&new, b"key", b"abc");
    assert!(get(&new, b"key").is_some() && get(&old, b"key").is_none());
    assert_eq!(right(&new, 20), 18);
}

#[test]
fn purges_and_invalidations_are_in_force_in_both() {
    let old = store(BYTES);
    fill(&old, 20);
    let (new, _) = next_of(&old);
    new.take_over();
    let held = get(&new, &key(1)).unwrap();
    let long = key_of(&"/long".repeat(200), b"");
    put(&new, &long, b"");
    let fetch = begin(&new, b"asked before");
    for (from, to, n) in [(&old, &new, 1), (&new, &old, 2)] {
        from.invalidate(from.hash(&key(n)), &key(n));
        assert!(get(to, &key(n)).is_none());
        from.purge(
            Purge::Url(&url_of(&format!("/{}", n + 2))),
            PurgeEffect::Hard,
        );
        assert!(get(to, &key(n + 2)).is_none());
        from.purge(Purge::Prefix(&url_of(&format!("/1{n}"))), PurgeEffect::Soft);
        let state = get(to, &key(10 + n)).unwrap().state();
        assert_eq!(state, EntryState::Stale);
        assert_eq!(right(from, 20), right(to, 20));
    }
    assert_eq!(held.state(), EntryState::Dead);
    old.invalidate(old.hash(b"asked before"), b"asked before");
    assert!(complete(fetch, new_entry(Some(0)), b"").is_err());
    old.invalidate(old.hash(&long), &long);
    assert!(
        get(&new, &long).is_none(),
        "a key that is longer than a change"
    );
    for _ in 0..2 * limits::CHANGES {
        old.purge(Purge::Url(b"another"), PurgeEffect::Hard);
    }
    assert_eq!(
        right(&new, 20),
        0,
        "what was not heard may have been anything"
    );
    put(&new, &key(0), b"");
    old.purge(Purge::Tag(b"tag"), PurgeEffect::Hard);
    assert!(get(&new, &key(0)).is_some(), "it hears again");
}

#[test]
fn what_the_old_process_reads_is_not_written_over_before_that_process_has_ended() {
    let old = store(BYTES);
    fill(&old, 20);
    let read: Vec<_> = (0..20).map(|n| get(&old, &key(n)).unwrap()).collect();
    let unread = old.freeze().unwrap();
    drop(unread);
    old.thaw();
    let (new, _) = next_of(&old);
    new.take_over();
    // Responses that were validated meanwhile still have their bodies there.
    for n in (4..20).step_by(5) {
        let stored = get(&new, &key(n)).unwrap();
        let same = NewEntry {
            tags: b"\0\x03tag",
            ..new_entry(None)
        };
        let refreshed = begin(&new, &key(n)).refresh(&stored, same).unwrap();
        assert!(refreshed.is_shared());
    }
    let churn = |store: &Arc<CacheStore>| {
        for n in 0..3_000u32 {
            let body = vec![b'x'; n as usize * 7 % 9_000];
            let new = new_entry(Some(body.len() as u64));
            let _ = complete(begin(store, &n.to_le_bytes()), new, &body);
        }
    };
    churn(&new);
    for (n, entry) in read.iter().enumerate() {
        assert_eq!(body_of(entry), body(n));
    }
    assert_eq!(right(&new, 20), 20, "nothing goes whose end frees nothing");
    new.purge(Purge::All, PurgeEffect::Hard);
    while !new.sweep(100, 0).is_done {}
    new.await_elders(AT_ONCE);
    churn(&new);
    for (n, entry) in read.iter().enumerate() {
        assert_eq!(body_of(entry), body(n));
    }
    let before = new.usage().entries;
    drop((read, old));
    new.await_elders(None);
    churn(&new);
    assert!(
        new.usage().entries > before + 50,
        "all of the memory can be used"
    );
    assert!(new.usage().resident_bytes <= BYTES);
    new.purge(Purge::All, PurgeEffect::Hard);
    while !new.sweep(100, 0).is_done {}
    let (touched, free, _) = new.arena.touched();
    assert_eq!(touched, free, "all blocks are free");
}

#[test]
fn a_process_whose_successor_fails_goes_on_and_one_that_was_replaced_does_not() {
    let old = store(BYTES);
    fill(&old, 20);
    let entry = get(&old, &key(1)).unwrap();
    let (new, _) = next_of(&old);
    old.invalidate(entry.hash(), entry.key());
    drop((entry, new));
    old.thaw();
    assert_eq!(right(&old, 20), 19);
    put(&old, b"key", b"abc");
    let (new, rebuilt) = next_of(&old);
    assert_eq!((rebuilt.entries, rebuilt.lost), (20, 0));
    new.take_over();
    old.thaw();
    put(&old, b"other", b"abc");
    assert!(get(&old, b"other").is_some(), "in memory of its own");
    assert!(get(&new, b"other").is_none() && old.freeze().is_err());
    assert_eq!((right(&old, 20), right(&new, 20)), (19, 19));
    // The third one waits for both.
    let (third, rebuilt) = next_of(&new);
    assert_eq!((rebuilt.entries, rebuilt.lost), (20, 0));
    third.take_over();
    old.invalidate(old.hash(&key(2)), &key(2));
    assert!(get(&third, &key(2)).is_none());
    drop(old);
    third.await_elders(AT_ONCE);
    assert_eq!(right(&third, 20), 18);
    drop(new);
    third.await_elders(None);
    assert_eq!(right(&third, 20), 18);
}

/// The bytes of a store's memory, and what goes with it.
fn image(count: usize) -> (Vec<u8>, HandedIndex) {
    let store = store(BYTES);
    fill(&store, count);
    let handed = store.freeze().unwrap();
    let mut file = File::from(handed.memory);
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    (bytes, handed.state)
}

fn memory_of(bytes: &[u8]) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("damaged", flags).unwrap());
    file.write_all(bytes).unwrap();
    file.into()
}

#[test]
fn damage_of_any_kind_costs_entries_and_nothing_else() {
    const COUNT: usize = 20;
    let (bytes, state) = image(COUNT);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 100;
    let rebuilt = |bytes: &[u8]| {
        let memory = memory_of(bytes);
        CacheStore::from_memfd(memory, settings(), Vec::new(), state.clone())
    };
    let flips = proptest::collection::vec((0..used, 0..8u32), 0..12);
    let cut = prop_oneof![Just(bytes.len()), 0..used];
    let mut served = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let served_now = std::cell::Cell::new(0);
    let tested = runner.run(&(flips, cut), |(flips, cut)| {
        let mut damaged = bytes.clone();
        for (at, bit) in &flips {
            damaged[*at] ^= 1 << bit;
        }
        damaged.truncate(cut);
        let Ok((store, found)) = rebuilt(&damaged) else {
            return Ok(());
        };
        let there = right(&store, COUNT);
        prop_assert!(there as u64 <= found.entries);
        store.take_over();
        put(&store, b"key", b"abc");
        for n in 0..300u32 {
            put(&store, &n.to_le_bytes(), &vec![1; n as usize * 97 % 20_000]);
        }
        prop_assert!(right(&store, COUNT) <= there);
        served_now.set(served_now.get() + there);
        Ok(())
    });
    tested.unwrap();
    served += served_now.get();
    assert!(served > 96 * COUNT / 4, "{served}");
    assert!(rebuilt(&[]).is_err() && rebuilt(&[0; 5_000_000]).is_err());
    let (whole, found) = rebuilt(&bytes).unwrap();
    assert_eq!(
        (found.entries, found.lost, right(&whole, COUNT)),
        (20, 0, 20)
    );
}
