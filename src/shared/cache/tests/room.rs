//! Tests of the bound of the store, of eviction and of shares.

use super::*;

#[test]
fn everything_fits_into_the_bound_and_is_given_back() {
    let store = store(2 << 20);
    let empty = store.usage().used_bytes;
    let mut held = Vec::new();
    for n in 0..5_000u32 {
        let body = vec![b'x'; (n as usize * 7_919) % 20_000];
        let entry = put(&store, &n.to_le_bytes(), &body);
        if n % 500 == 0 {
            held.push(entry);
        }
        let usage = store.usage();
        assert!(usage.resident_bytes <= 2 << 20, "{usage:?}");
    }
    let usage = store.usage();
    assert!(usage.used_bytes > 1 << 20, "{usage:?}");
    assert!(usage.evicted > 4_000);
    for (at, entry) in held.iter().enumerate() {
        let length = (at * 500 * 7_919) % 20_000;
        assert_eq!(
            body_of(entry),
            vec![b'x'; length],
            "read after its eviction"
        );
    }
    drop(held);
    store.purge(Purge::All, PurgeEffect::Hard);
    while !store.sweep(100, 0).is_done {}
    let usage = store.usage();
    assert_eq!((usage.entries, usage.entry_bytes), (0, 0));
    assert!(usage.used_bytes < empty + 500_000, "tables stay: {usage:?}");
    let (touched, free, _) = store.arena.touched();
    assert_eq!(touched, free, "all blocks are free");
}

#[test]
fn a_zone_evicts_its_own() {
    let store = store(4 << 20);
    let (small, large) = (store.zone("small"), store.zone("large"));
    assert_eq!(store.zone("small"), small);
    let body = vec![0; 10_000];
    for n in 0..200u32 {
        for (zone, max_percent) in [(small, 10), (large, 100)] {
            let mut new = new_entry(Some(10_000));
            new.share.zone = zone;
            new.share.max_percent = max_percent;
            let key = [&zone.to_le_bytes()[..], &n.to_le_bytes()].concat();
            complete(begin(&store, &key), new, &body).unwrap();
        }
    }
    let zones = store.usage().zones;
    assert!(zones[0].bytes <= (4 << 20) / 10, "{zones:?}");
    assert!(zones[0].bytes > (4 << 20) / 12, "{zones:?}");
    assert_eq!(zones[1].entries, 200);
}

#[test]
fn memory_goes_from_small_entries_to_large_ones_and_back() {
    const BOUND: u64 = 16 << 20;
    let store = store(BOUND);
    let mut random = crate::base::random::SplitMix64::from_seed(1);
    let large = vec![b'l'; 3 << 20];
    for round in 0..3u32 {
        // Some small entries are used, so that those that go are not neighbours.
        for n in 0..20_000u32 {
            let body = vec![b's'; (random.number() % 1_000) as usize];
            let entry = put(
                &store,
                &[round.to_le_bytes(), n.to_le_bytes()].concat(),
                &body,
            );
            if random.number().is_multiple_of(3) {
                entry.note_used();
            }
            assert!(store.usage().resident_bytes <= BOUND, "{:?}", store.usage());
        }
        assert!(store.usage().entries > 9_000, "{:?}", store.usage());
        let stored = (0..12u32).filter(|n| {
            let key = [&b"large"[..], &round.to_le_bytes(), &n.to_le_bytes()].concat();
            let new = new_entry(Some(large.len() as u64));
            let entry = complete(begin(&store, &key), new, &large);
            assert!(store.usage().resident_bytes <= BOUND, "{:?}", store.usage());
            entry.is_ok_and(|entry| body_of(&entry) == large)
        });
        assert_eq!(stored.count(), 12);
    }
}

#[test]
fn a_store_that_is_full_of_what_is_read_refuses_in_words() {
    let store = store(2 << 20);
    let held: Vec<_> = (0..10_000u32)
        .map_while(|n| {
            let new = new_entry(Some(1_000));
            complete(begin(&store, &n.to_le_bytes()), new, &[0; 1_000]).ok()
        })
        .collect();
    assert!(held.len() < 2_000);
    assert!(store.is_full());
    let refused = complete(begin(&store, b"key"), new_entry(Some(1_000)), &[0; 1_000]);
    assert_eq!(refused.unwrap_err(), Unpublished::NoRoom(NoRoom::Full));
    drop(held);
    put(&store, b"key", &[0; 1_000]);
    assert!(get(&store, b"key").is_some());
}

#[test]
fn a_body_that_was_lent_is_not_written_over() {
    let store = store(4 << 20);
    let entry = put(&store, b"lent", &vec![b'a'; 300_000]);
    let file = store
        .arena
        .file()
        .map(|file| file.try_clone_to_owned().unwrap());
    let part = &entry.body().unwrap().parts()[0];
    let (_, offset) = part.block.lend(0).unwrap();
    let page = offset.next_multiple_of(4_096);
    store.invalidate(store.hash(b"lent"), b"lent");
    drop(entry);
    let mut bytes = [1; 64];
    if let Some(file) = file {
        rustix::io::pread(&file, &mut bytes, page).unwrap();
        assert_eq!(
            bytes, [0; 64],
            "its pages were taken out, and the sender keeps them"
        );
    }
}

#[test]
fn requests_for_a_key_that_is_not_stored_are_counted() {
    let store = store(2 << 20);
    assert!(!store.is_full());
    let (hash, other) = (store.hash(b"key"), store.hash(b"other"));
    let counts = [hash, hash, other, hash].map(|hash| store.note_wanted(hash));
    assert_eq!(counts, [1, 2, 1, 3]);
}
