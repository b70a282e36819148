//! Tests of bodies that were cut, of which the store keeps what has come.

use super::*;
use crate::cache::facts::Flags;

const PART_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Range: bytes 0-9/100\r\n\r\n";

fn part_facts() -> EntryFacts {
    EntryFacts {
        flags: Flags::PARTIAL,
        ..facts(1)
    }
}

/// Stores a body that is cut.
fn cut(
    store: &Arc<CacheStore>,
    came: &[u8],
    length: Option<u64>,
) -> Result<Arc<Entry>, Unpublished> {
    let mut filling = begin(store, b"key").store(new_entry(length)).unwrap();
    filling.push(came).unwrap();
    assert_eq!(
        (filling.length(), filling.pushed()),
        (length, came.len() as u64)
    );
    filling.keep(part_facts(), PART_HEAD)
}

#[test]
fn what_has_come_of_a_body_is_kept() {
    let large: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    for (came, length) in [(&large[..10], 100), (&large[..], 1_000_000)] {
        let store = store(4 << 20);
        let kept = cut(&store, came, Some(length)).unwrap();
        let found = get(&store, b"key").unwrap();
        assert!(Arc::ptr_eq(&kept, &found));
        assert_eq!((found.head(), found.facts()), (PART_HEAD, part_facts()));
        assert!(body_of(&found) == came);
        assert_eq!(found.state(), EntryState::Live);
        // A whole response takes the place of the part, and no part that of a whole one.
        put(&store, b"key", b"whole");
        assert_eq!(found.state(), EntryState::Dead);
        assert_eq!(
            cut(&store, came, Some(length)).unwrap_err(),
            Unpublished::TooShort
        );
        assert_eq!(body_of(&get(&store, b"key").unwrap()), b"whole");
    }
}

#[test]
fn those_who_follow_a_body_that_is_kept_in_part_learn_that_it_was_cut() {
    let store = store(4 << 20);
    let Joined::Lead(fetch) = store.join(store.hash(b"key"), b"key", None, 0) else {
        panic!("the first one fetches")
    };
    let follower = fetch.follower().unwrap();
    let mut filling = fetch.store(new_entry(Some(100))).unwrap();
    filling.push(b"0123456789").unwrap();
    assert_eq!(follower.clone().followers(), 2);
    assert_eq!(follower.end(), FillEnd::Open);
    assert!(filling.keep(part_facts(), PART_HEAD).is_ok());
    assert_eq!(follower.end(), FillEnd::Failed);
    assert!(matches!(
        store.join(store.hash(b"key"), b"key", None, 0),
        Joined::Lead(_)
    ));
}

#[test]
fn a_purge_concerns_what_is_kept() {
    let store = store(4 << 20);
    let mut filling = begin(&store, b"key").store(new_entry(Some(100))).unwrap();
    filling.push(b"0123456789").unwrap();
    store.purge(Purge::All, PurgeEffect::Hard);
    let kept = filling.keep(part_facts(), PART_HEAD);
    assert_eq!(kept.unwrap_err(), Unpublished::Purged);
    assert!(get(&store, b"key").is_none());
}
