//! Tests of bodies that the store does not keep and passes on to those who follow.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const BODY: usize = if cfg!(miri) { 600_000 } else { 12 << 20 };
const PATIENCE: Duration = Duration::from_millis(if cfg!(miri) { 20_000 } else { 2_000 });

/// Wakes a thread that parks.
#[derive(Debug)]
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(&self, _: u64) {
        self.0.unpark();
    }
}

/// A byte of the body, which tells its place.
fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

/// How a follower reads.
#[derive(Clone, Copy)]
struct Pace {
    /// Bytes at once.
    bytes: usize,
    /// The pause behind them.
    pause: Duration,
    /// Where the follower stops to read until the others have ended.
    halt: usize,
}

const FAST: Pace = Pace {
    bytes: 200_000,
    pause: Duration::ZERO,
    halt: usize::MAX,
};

/// Reads what a fill brings until it ends, or the rest is lost; returns how much of it was read.
fn follow(fill: &Follower, core: usize, pace: Pace, others_ended: &dyn Fn()) -> (usize, FillEnd) {
    let (mut read, mut halt) = (0, pace.halt);
    loop {
        fill.wait(core);
        let end = fill.end();
        if let Outcome::Storable(entry) = fill.outcome() {
            loop {
                let mut count = 0;
                entry.read_at(read as u64, &mut |bytes| {
                    count = bytes.len().min(pace.bytes);
                    let right = (0..count).all(|at| bytes[at] == byte_at(read + at));
                    assert!(right, "other bytes at {read}");
                });
                if count == 0 {
                    break;
                }
                read += count;
                fill.note_read(read as u64);
                if read >= halt {
                    others_ended();
                    halt = usize::MAX;
                }
                thread::sleep(pace.pause);
            }
            if entry.first_kept() > read as u64 {
                return (read, FillEnd::Broken);
            }
        }
        if end != FillEnd::Open {
            return (read, end);
        }
        thread::park_timeout(Duration::from_secs(1));
    }
}

/// Pushes the body as a worker does: it waits for those who follow, but not for those who stand still.
fn push_all(filling: &mut Filling, core: usize) -> Result<(), NoRoom> {
    let body: Vec<u8> = (0..BODY).map(byte_at).collect();
    for part in body.chunks(100_000) {
        filling.push(part)?;
        filling.mark();
        let mut since = Instant::now();
        loop {
            filling.wait(core);
            if !filling.is_held_back() {
                break;
            }
            thread::park_timeout(PATIENCE);
            if since.elapsed() >= PATIENCE {
                filling.forsake();
                since = Instant::now();
            }
        }
        filling.go_on();
    }
    Ok(())
}

/// Lets followers of these paces follow a body that is not stored; returns what they have read, and the largest use of
/// the store.
fn pass(store: &Arc<CacheStore>, max_object: u64, paces: &[Pace]) -> (Vec<(usize, FillEnd)>, u64) {
    let hash = store.hash(b"key");
    let Joined::Lead(fetch) = store.join(hash, b"key", None, 0) else {
        panic!("nobody else fetches")
    };
    let (ended, wait_for_ends) = mpsc::channel::<()>();
    let wait_for_ends = Mutex::new(wait_for_ends);
    store.register_core(0, Unpark(thread::current()));
    thread::scope(|scope| {
        let followers: Vec<_> = (1..)
            .zip(paces)
            .map(|(core, pace)| {
                let Joined::Follow(fill) = store.join(hash, b"key", None, 0) else {
                    panic!("somebody fetches")
                };
                let (ended, wait) = (ended.clone(), &wait_for_ends);
                scope.spawn(move || {
                    store.register_core(core, Unpark(thread::current()));
                    let is_halted = pace.halt < BODY;
                    let others = || {
                        (1..paces.len()).for_each(|_| wait.lock().unwrap().recv().unwrap());
                    };
                    let read = follow(&fill, core, *pace, &others);
                    if !is_halted {
                        ended.send(()).unwrap();
                    }
                    read
                })
            })
            .collect();
        let mut new = new_entry(None);
        new.share.max_object = max_object;
        let mut filling = fetch.store(new).unwrap();
        push_all(&mut filling, 0).unwrap();
        let most = store.usage().resident_bytes;
        let entry = filling.entry().clone();
        assert!(filling.finish(b"").is_err(), "it is not stored");
        assert_eq!(entry.body_len(), BODY as u64);
        let read = followers
            .into_iter()
            .map(|follower| follower.join().unwrap());
        (read.collect(), most)
    })
}

fn store_of(max_bytes: u64) -> Arc<CacheStore> {
    CacheStore::new(StoreSettings {
        max_bytes,
        cores: 8,
    })
    .unwrap()
}

#[test]
fn a_body_that_outgrows_an_object_goes_to_all_who_follow_at_the_pace_of_the_slowest() {
    let store = store_of(8 << 20);
    let before = store.usage().used_bytes;
    let slow = Pace {
        bytes: 150_000,
        pause: Duration::from_millis(5),
        ..FAST
    };
    let (read, most) = pass(&store, 1 << 19, &[FAST, slow, FAST]);
    assert_eq!(read, [(BODY, FillEnd::Complete); 3]);
    assert!(most < before + (3 << 20), "{most} of {before}");
    assert!(get(&store, b"key").is_none());
    let usage = store.usage();
    let tables = usage.used_bytes - before;
    assert!(tables < 5_000, "all blocks are given back: {usage:?}");
}

#[test]
fn who_stands_still_loses_the_rest_and_stops_nobody_else() {
    let store = store_of(8 << 20);
    let still = Pace {
        halt: 300_000,
        ..FAST
    };
    let (read, _) = pass(&store, 1 << 18, &[FAST, still, FAST]);
    assert_eq!((read[0], read[2]), ((BODY, FillEnd::Complete), read[0]));
    assert!(
        read[1].0 < 2 << 20 && read[1].1 == FillEnd::Broken,
        "{read:?}"
    );
}

/// The connection of the only one who follows has bounds of its own, and nobody else waits.
#[test]
fn the_only_one_who_follows_is_waited_for() {
    for followers in [1, 2] {
        let store = store_of(8 << 20);
        let hash = store.hash(b"key");
        let Joined::Lead(fetch) = store.join(hash, b"key", None, 0) else {
            panic!("nobody else fetches")
        };
        let followers: Vec<_> = (0..followers).map(|_| fetch.follower().unwrap()).collect();
        let mut new = new_entry(None);
        new.share.max_object = 1 << 18;
        let mut filling = fetch.store(new).unwrap();
        while !filling.is_held_back() {
            filling.push(&[0; 50_000]).unwrap();
        }
        filling.mark();
        filling.forsake();
        assert_eq!(filling.is_held_back(), followers.len() == 1);
    }
}

#[test]
fn a_store_without_room_passes_on_what_it_does_not_keep() {
    let store = store_of(16 << 20);
    let mut held: Vec<_> = (0..100_000u32)
        .map_while(|n| {
            let new = new_entry(Some(10_000));
            complete(begin(&store, &n.to_le_bytes()), new, &[0; 10_000]).ok()
        })
        .collect();
    assert!(held.len() > 1_000, "the store is full of what is read");
    // The head and one piece of the body need room.
    for entry in held.drain(..20) {
        store.invalidate(entry.hash(), entry.key());
    }
    let (read, most) = pass(&store, 1 << 30, &[FAST, FAST]);
    assert_eq!(read, [(BODY, FillEnd::Complete); 2]);
    assert!(most <= 16 << 20);
}

#[test]
fn nobody_begins_to_follow_what_is_only_passed_on() {
    let store = store(8 << 20);
    let hash = store.hash(b"key");
    let Joined::Lead(fetch) = store.join(hash, b"key", None, 0) else {
        panic!("nobody else fetches")
    };
    let Joined::Follow(follower) = store.join(hash, b"key", None, 0) else {
        panic!("somebody fetches")
    };
    let mut new = new_entry(None);
    new.share.max_object = 1_000;
    let mut filling = fetch.store(new).unwrap();
    filling.push(&[1; 900]).unwrap();
    assert!(matches!(
        store.join(hash, b"key", None, 0),
        Joined::Follow(_)
    ));
    filling.push(&[1; 900]).unwrap();
    assert!(matches!(store.join(hash, b"key", None, 0), Joined::Lead(_)));
    assert_eq!((filling.lag(), follower.filled()), (1_800, 1_800));
    follower.note_read(1_000);
    assert_eq!(filling.lag(), 800);
    drop(follower);
    assert_eq!(filling.push(&[1; 900]), Err(NoRoom::Full), "nobody follows");
    let mut alone = begin(&store, b"key").store(new).unwrap();
    assert_eq!(alone.push(&[1; 1_001]), Err(NoRoom::TooLarge));
}
