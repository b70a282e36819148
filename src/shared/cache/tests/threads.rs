//! Tests of the store where several threads use it at once.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::base::random::SplitMix64;

const BODY: u64 = if cfg!(miri) { 40_000 } else { 700_000 };
const STEPS: usize = if cfg!(miri) { 12 } else { 20_000 };
const KEYS: usize = 16;

/// Wakes a thread that parks.
#[derive(Debug)]
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(&self, _: u64) {
        self.0.unpark();
    }
}

/// Reads what a fill brings until the fill ends.
fn follow(fill: &RunningFill, core: usize) -> (Vec<u8>, FillEnd) {
    let mut read = Vec::new();
    loop {
        fill.wait(core);
        let (end, outcome) = (fill.end(), fill.outcome());
        if let Outcome::Storable(entry) = outcome {
            let mut position = 0;
            while position < entry.body_len() {
                position = read.len() as u64;
                entry.read_at(position, &mut |bytes| read.extend_from_slice(bytes));
            }
        }
        if end != FillEnd::Open {
            return (read, end);
        }
        thread::park();
    }
}

#[test]
fn followers_on_other_threads_are_woken_and_read_the_whole_body() {
    for length in [Some(BODY), None, Some(20_000)] {
        let store = store(8 << 20);
        let hash = store.hash(b"key");
        let body: Vec<u8> = (0..length.unwrap_or(BODY))
            .map(|at| (at % 251) as u8)
            .collect();
        let Joined::Lead(fetch) = store.join(hash, b"key", None, 0) else {
            panic!("nobody else fetches")
        };
        let (ready, started) = mpsc::channel();
        thread::scope(|scope| {
            let followers = [0, 1].map(|core| {
                let (store, ready) = (store.clone(), ready.clone());
                scope.spawn(move || {
                    store.register_core(core, Unpark(thread::current()));
                    let Joined::Follow(fill) = store.join(hash, b"key", None, 0) else {
                        panic!("somebody fetches")
                    };
                    ready.send(()).unwrap();
                    follow(&fill, core)
                })
            });
            started.recv().unwrap();
            let mut filling = fetch.store(new_entry(length)).unwrap();
            body.chunks(9_000)
                .for_each(|part| filling.push(part).unwrap());
            started.recv().unwrap();
            filling.finish(b"").unwrap();
            for follower in followers {
                let (read, end) = follower.join().unwrap();
                assert_eq!(end, FillEnd::Complete);
                assert!(read == body);
            }
        });
        let usage = store.usage();
        assert_eq!((usage.entries, usage.stored), (1, 1));
    }
}

/// A backend, and the versions that clients may rely on.
struct World {
    store: Arc<CacheStore>,
    /// The version of each key at the backend.
    versions: [AtomicU64; KEYS],
    /// The version that each client must see at least.
    least: [AtomicU64; KEYS],
    has_ended: AtomicBool,
}

impl World {
    fn key(at: usize) -> Vec<u8> {
        key_of(&format!("/{}/{at}", at % 4), b"")
    }

    /// A body that tells key and version, and is long enough to be in parts sometimes.
    fn body(at: usize, version: u64) -> Vec<u8> {
        let length = if at.is_multiple_of(5) { 40_000 } else { 100 };
        let mut body = vec![at as u8; length];
        body[..8].copy_from_slice(&version.to_le_bytes());
        body
    }

    fn fetch(&self, at: usize) {
        let key = World::key(at);
        let fetch = begin(&self.store, &key);
        let version = self.versions[at].load(SeqCst);
        let body = World::body(at, version);
        let tag = [0, 1, b'0' + (at % 8) as u8];
        let new = NewEntry {
            tags: &tag,
            ..new_entry(Some(body.len() as u64))
        };
        let _ = complete(fetch, new, &body);
    }

    /// The backend has a new version, and the store is told in one of several ways.
    fn update(&self, at: usize, way: u64) {
        let version = self.versions[at].fetch_add(1, SeqCst) + 1;
        let (store, key) = (&self.store, World::key(at));
        let hard = |purge| {
            store.purge(purge, PurgeEffect::Hard);
        };
        match way % 16 {
            0 => hard(Purge::All),
            1 => hard(Purge::Tag(&[b'0' + (at % 8) as u8])),
            2 => hard(Purge::Prefix(&url_of(&format!("/{}/", at % 4)))),
            3..6 => hard(Purge::Url(&url_of(&format!("/{}/{at}", at % 4)))),
            _ => store.invalidate(store.hash(&key), &key),
        }
        self.least[at].fetch_max(version, SeqCst);
    }

    fn read(&self, at: usize) -> bool {
        let least = self.least[at].load(SeqCst);
        let Some(entry) = get(&self.store, &World::key(at)) else {
            return false;
        };
        let body = body_of(&entry);
        let (version, rest) = body.split_first_chunk().unwrap();
        assert!(u64::from_le_bytes(*version) >= least, "an old response");
        assert!(
            rest.iter().all(|byte| *byte == at as u8),
            "bytes of another"
        );
        true
    }
}

#[test]
fn nobody_gets_what_was_purged_or_invalidated_before_on_any_thread() {
    let world = World {
        store: store(1 << 20),
        versions: [const { AtomicU64::new(1) }; KEYS],
        least: [const { AtomicU64::new(1) }; KEYS],
        has_ended: AtomicBool::new(false),
    };
    let hits = AtomicU64::new(0);
    thread::scope(|scope| {
        let workers = [1, 2, 3].map(|seed| {
            let (world, hits) = (&world, &hits);
            scope.spawn(move || {
                let mut random = SplitMix64::from_seed(seed);
                for _ in 0..STEPS {
                    let at = random.number() as usize % KEYS;
                    match random.number() % 8 {
                        0..3 => world.fetch(at),
                        3 => world.update(at, random.number()),
                        _ => {
                            hits.fetch_add(u64::from(world.read(at)), SeqCst);
                        }
                    }
                }
            })
        });
        scope.spawn(|| {
            while !world.has_ended.load(SeqCst) {
                world.store.sweep(100, 0);
                thread::yield_now();
            }
        });
        let ended = workers.map(thread::ScopedJoinHandle::join);
        world.has_ended.store(true, SeqCst);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert!(hits.load(SeqCst) > 0);
    let store = &world.store;
    store.purge(Purge::All, PurgeEffect::Hard);
    while !store.sweep(100, 0).is_done {}
    let usage = store.usage();
    assert_eq!(
        (usage.entries, usage.entry_bytes, usage.standing_purges),
        (0, 0, 0)
    );
    let (touched, free, _) = store.arena.touched();
    assert_eq!(touched, free, "all blocks are free");
}
