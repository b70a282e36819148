//! The disk under much work: its bound, many threads, and the bound of the memory.

use super::*;
use crate::base::random::SplitMix64;

#[test]
fn the_files_never_take_more_than_they_may() {
    const DISK: u64 = 32 << 20;
    let folder = TestFolder::new();
    let store = open(&folder, 16 << 20, DISK);
    let mut random = SplitMix64::from_seed(7);
    let mut most = 0;
    for turn in 0..1_300 {
        let number = random.number() as usize % 2_000;
        let length = random.number() as usize % 120_000;
        put(&store, &key(number), &body(number, 0, length));
        if turn % 9 == 0 {
            let number = random.number() as usize % 2_000;
            store.purge(
                Purge::Url(&url_of(&format!("http://a.test/{number}"))),
                PurgeEffect::Hard,
            );
        }
        settled(&store);
        most = most.max(folder.bytes());
    }
    let used = usage(&store);
    assert!(used.dropped_segments > 0, "{used:?}");
    assert!(most <= DISK, "{most}");
    assert!(most > DISK / 2, "{most}");
    assert_eq!(used.errors, 0);
    end(store);
    assert!(folder.bytes() <= DISK);
    let store = open(&folder, 4 << 20, DISK);
    let right = (0..2_000).filter(|number| {
        let found = fetch(&store, &key(*number));
        let found = found.inspect(|found| {
            let length = found.body_len() as usize;
            assert!(body_of(found) == body(*number, 0, length), "{number}");
        });
        found.is_some()
    });
    assert!(right.count() > 50);
    // A smaller bound costs the oldest entries.
    end(store);
    let store = open(&folder, 4 << 20, DISK / 2);
    assert!(folder.bytes() <= DISK / 2);
    assert!(usage(&store).entries > 0);
}

#[test]
fn threads_store_look_up_and_end_at_once_and_nothing_old_comes_back() {
    let folder = TestFolder::new();
    let store = open(&folder, 2 << 20, 64 << 20);
    let turns: Vec<Mutex<usize>> = (0..64).map(|_| Mutex::new(0)).collect();
    thread::scope(|scope| {
        for seed in 0..3 {
            let (store, turns) = (&store, &turns);
            scope.spawn(move || {
                let mut random = SplitMix64::from_seed(seed);
                for _ in 0..400 {
                    let number = random.number() as usize % turns.len();
                    // One thread alone works on each key.
                    let mut turn = turns[number].lock().unwrap();
                    if let Some(found) = fetch(store, &key(number)) {
                        let length = found.body_len() as usize;
                        assert!(body_of(&found) == body(number, *turn, length), "{number}");
                    }
                    match random.number() % 4 {
                        0 => store.invalidate(store.hash(&key(number)), &key(number)),
                        1 => {
                            let url = url_of(&format!("http://a.test/{number}"));
                            store.purge(Purge::Url(&url), PurgeEffect::Hard);
                        }
                        2 => continue,
                        _ => {}
                    }
                    *turn += 1;
                    put(store, &key(number), &body(number, *turn, 50_000));
                }
            });
        }
    });
    let used = usage(&store);
    assert!(used.written > 0 && used.recalled > 0, "{used:?}");
    end(store);
    let store = open(&folder, 2 << 20, 64 << 20);
    for (number, turn) in turns.iter().enumerate() {
        if let Some(found) = fetch(&store, &key(number)) {
            let length = found.body_len() as usize;
            assert!(body_of(&found) == body(number, *turn.lock().unwrap(), length));
        }
    }
}
