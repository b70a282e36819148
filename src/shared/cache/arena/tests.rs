//! Tests of the arena against a model, and across threads.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn arena(bytes: u64) -> Arc<Arena> {
    Arena::new(bytes, Arc::new(Budget::new(bytes))).unwrap()
}

/// Walks over all blocks: tags and budget agree, and no two free blocks are neighbours. Returns the bytes in use.
fn check(arena: &Arena) -> u64 {
    let blocks = arena.lock();
    let (mut unit, mut before, mut was_free) = (0, 0, false);
    let (mut free, mut resident, mut used) = (0, 0, 0);
    while unit < blocks.end() {
        let word = |at: usize| allocator::word(&arena.region, unit, at).load(Relaxed);
        let units = word(0);
        assert_eq!(word(1), before, "the block before {unit}");
        let is_free = word(MARK) == allocator::FREE;
        assert!(!(is_free && was_free), "free neighbours at {unit}");
        if is_free {
            free += u64::from(units);
            resident += u64::from(word(OWN));
            assert!(word(OWN) <= units);
        } else {
            used += u64::from(units);
        }
        (before, was_free) = (units, is_free);
        unit += units;
    }
    assert_eq!(unit, blocks.end());
    assert_eq!(
        (free, resident),
        (blocks.free_units(), blocks.free_resident())
    );
    assert_eq!(arena.budget.used(), (used + resident) * UNIT as u64);
    used * UNIT as u64
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Free(usize),
    Trim(usize),
    Lend(usize),
    GiveBack,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..200usize, 1_000..2_000usize, 10_000..200_000usize];
    prop_oneof![
        4 => size.prop_map(Step::Allocate),
        3 => (0..64usize).prop_map(Step::Free),
        1 => (0..64usize).prop_map(Step::Trim),
        1 => (0..64usize).prop_map(Step::Lend),
        1 => Just(Step::GiveBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_keep_their_bytes_until_they_are_freed(
        steps in proptest::collection::vec(step(), 1..if cfg!(miri) { 20 } else { 300 })
    ) {
        let arena = arena(1 << 20);
        let mut held: BTreeMap<usize, (ArenaBlock, Option<BlockWriter>, u8)> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let chosen = |at: usize| held.keys().nth(at % held.len().max(1)).copied();
            match step {
                Step::Allocate(bytes) => {
                    if let Some((block, mut writer)) = arena.allocate(bytes, bytes, 1) {
                        prop_assert!(block.capacity() >= bytes);
                        let byte = number as u8;
                        prop_assert_eq!(block.append(&mut writer, &vec![byte; bytes]), bytes);
                        held.insert(number, (block, Some(writer), byte));
                    }
                }
                Step::Free(at) => drop(chosen(at).map(|at| held.remove(&at))),
                Step::Trim(at) => {
                    if let Some(at) = chosen(at)
                        && let Some((block, writer, _)) = held.get_mut(&at)
                        && let Some(writer) = writer.take()
                    {
                        block.trim(writer);
                        prop_assert!(block.capacity() < block.len() + 3 * UNIT);
                    }
                }
                Step::Lend(at) => {
                    if let Some(at) = chosen(at) {
                        held[&at].0.lend(0);
                    }
                }
                Step::GiveBack => {
                    arena.give_back();
                }
            }
            let used = check(&arena);
            prop_assert_eq!(used, held.values().map(|held| held.0.cost()).sum::<u64>());
            prop_assert!(arena.budget.used() <= 1 << 20);
        }
        for (block, _, byte) in held.values() {
            prop_assert!(block.bytes().iter().all(|held| held == byte));
        }
        drop(held);
        prop_assert_eq!(check(&arena), 0);
        let (touched, free, _) = arena.touched();
        prop_assert_eq!(touched, free);
    }
}

#[test]
fn a_shorter_block_is_given_where_there_is_none_of_the_size() {
    let arena = arena(1 << 20);
    let blocks: Vec<_> = std::iter::from_fn(|| arena.allocate(10_000, 10_000, 1)).collect();
    assert_eq!(blocks.len(), (1 << 20) / 10_032);
    let (freed, kept): (Vec<_>, Vec<_>) = (0..).zip(blocks).partition(|(at, _)| at % 2 == 0);
    drop(freed);
    assert!(arena.allocate(20_000, 15_000, 1).is_none());
    let (shorter, _) = arena.allocate(20_000, 5_000, 1).unwrap();
    assert!((5_000..10_100).contains(&shorter.capacity()));
    drop(kept);
}

#[test]
fn memory_that_is_free_is_given_back() {
    let arena = arena(4 << 20);
    let (block, mut writer) = arena.allocate(1 << 20, 1, 1).unwrap();
    block.append(&mut writer, &vec![1; 1 << 20]);
    let (other, _) = arena.allocate(100, 100, 1).unwrap();
    assert!(!arena.give_back(), "nothing is free");
    drop(block);
    let before = arena.budget.used();
    assert!(before > 1 << 20, "what is free is in memory still");
    assert!(arena.give_back());
    assert!(arena.budget.used() < 20_000);
    assert!(!arena.give_back());
    let (block, mut writer) = arena.allocate(1 << 20, 1, 1).unwrap();
    assert!(arena.budget.used() >= 1 << 20, "it counts again");
    block.append(&mut writer, &[2; 100]);
    assert_eq!(block.bytes(), [2; 100]);
    drop((block, other));
    check(&arena);
}

#[test]
fn readers_see_what_was_appended() {
    let arena = arena(1 << 20);
    let bytes: usize = if cfg!(miri) { 2_000 } else { 500_000 };
    let (block, mut writer) = arena.allocate(bytes, bytes, 1).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seen = block.bytes();
                    let right = seen.iter().enumerate().all(|(at, byte)| *byte == at as u8);
                    assert!(right);
                    if seen.len() == bytes {
                        return;
                    }
                    std::thread::yield_now();
                }
            });
        }
        let all: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        for part in all.chunks(256) {
            assert_eq!(block.append(&mut writer, part), part.len());
        }
        assert_eq!(
            block.append(&mut writer, &[0; 64]),
            block.capacity() - bytes
        );
    });
}
