//! Tests of the promises that every algorithm of [`ALGORITHMS`] keeps, and of those that one algorithm makes alone.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::limits;
use crate::shared::backend_table::BackendTables;

const WORKERS: usize = 3;

/// Backends `0..weights.len()`, idle at first. Enough time passes before each pick for counters to be read anew.
struct Pool {
    tables: Arc<BackendTables>,
    usable: Vec<Candidate>,
    now: Cell<u64>,
}

impl Pool {
    fn new(weights: &[u16]) -> Pool {
        let usable = weights
            .iter()
            .zip(0..)
            .map(|(&weight, id)| candidate(id, weight));
        Pool {
            tables: BackendTables::new(WORKERS),
            usable: usable.collect(),
            now: Cell::new(1_000_000),
        }
    }

    fn balancer(&self, name: &str, worker: u32) -> Box<dyn Balancer> {
        let plan = AlgorithmSettings::new(name, HashKey::ClientAddress).unwrap();
        let mut balancer = plan.build(WorkerId(worker));
        if let Some(table) = plan.table(self.usable.iter().map(member)) {
            balancer.take_table(&table);
        }
        balancer.rebuild(&self.usable);
        balancer
    }

    fn pick(&self, balancer: &mut Box<dyn Balancer>, key: u64) -> Option<usize> {
        self.pick_unless(balancer, key, &|_| false)
    }

    fn pick_unless(
        &self,
        balancer: &mut Box<dyn Balancer>,
        key: u64,
        blocked: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        self.now.set(self.now.get() + limits::IN_FLIGHT_AGE_MICROS);
        balancer.pick(&PickInput {
            in_flight: &*self.tables,
            now: Micros(self.now.get()),
            key,
            blocked,
        })
    }

    fn begin(&self, worker: u32, index: usize, count: u32) {
        for _ in 0..count {
            self.tables
                .of(WorkerId(worker))
                .begin(self.usable[index].id);
        }
    }

    fn load(&self, index: usize) -> f64 {
        let candidate = self.usable[index];
        f64::from(self.tables.in_flight(candidate.id)) / f64::from(candidate.weight)
    }

    /// How often each backend is picked in `picks` picks with different keys, without anything under way.
    fn shares(&self, name: &str, picks: usize) -> Vec<usize> {
        let mut balancer = self.balancer(name, 0);
        let mut shares = vec![0; self.usable.len()];
        for number in 0..picks as u64 {
            shares[self
                .pick(&mut balancer, hash_key(&number.to_le_bytes()))
                .unwrap()] += 1;
        }
        shares
    }
}

fn candidate(id: u32, weight: u16) -> Candidate {
    Candidate {
        id: BackendId(id),
        weight,
        share: limits::WHOLE_SHARE,
        member: id,
    }
}

fn member(candidate: &Candidate) -> Member {
    Member {
        weight: candidate.weight,
        identity: hash_key(format!("10.0.0.{}:80", candidate.id.0).as_bytes()),
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    ALGORITHMS.iter().map(|entry| entry.name)
}

#[test]
fn names_are_unique_and_found() {
    for (index, name) in names().enumerate() {
        assert_eq!(names().position(|other| other == name), Some(index));
        let plan = AlgorithmSettings::new(name, HashKey::Path).unwrap();
        assert_eq!((plan.name(), plan.key), (name, HashKey::Path));
    }
    assert!(AlgorithmSettings::new("fastest", HashKey::Path).is_none());
}

#[test]
fn without_backends_there_is_no_pick() {
    let pool = Pool::new(&[]);
    for name in names() {
        let fresh = AlgorithmSettings::new(name, HashKey::Path)
            .unwrap()
            .build(WorkerId(0));
        for mut balancer in [fresh, pool.balancer(name, 0)] {
            assert_eq!(pool.pick(&mut balancer, 7), None, "{name}");
        }
    }
}

#[test]
fn the_largest_pool_is_served() {
    let pool = Pool::new(&vec![limits::WEIGHT; limits::BACKENDS]);
    for name in names() {
        let mut balancer = pool.balancer(name, 0);
        assert!(
            pool.pick(&mut balancer, u64::MAX).unwrap() < pool.usable.len(),
            "{name}"
        );
        let last = pool.usable.len() - 1;
        assert_eq!(
            pool.pick_unless(&mut balancer, 0, &|index| index != last),
            Some(last),
            "{name}"
        );
    }
}

#[test]
fn every_algorithm_follows_the_weights() {
    let weights = [1, 2, 1, 5, 1];
    let pool = Pool::new(&weights);
    for name in names() {
        let shares = pool.shares(name, 20_000);
        for (index, &weight) in weights.iter().enumerate() {
            let fair = 2_000.0 * f64::from(weight);
            let share = shares[index] as f64;
            assert!(
                (share - fair).abs() <= 0.1 * fair,
                "{name}: {share} picks of {index} instead of {fair}"
            );
        }
    }
}

#[test]
fn cores_do_not_begin_alike() {
    let pool = Pool::new(&[1; 100]);
    for name in names().filter(|&name| {
        !AlgorithmSettings::new(name, HashKey::Path)
            .unwrap()
            .uses_key()
    }) {
        let mut first: Vec<_> = (0..4)
            .map(|worker| pool.pick(&mut pool.balancer(name, worker), 0))
            .collect();
        first.sort_unstable();
        first.dedup();
        assert!(first.len() >= 3, "{name}: {first:?}");
    }
}

#[test]
fn round_robin_is_exact_in_every_lap_and_smooth() {
    let pool = Pool::new(&[5, 1, 1]);
    let mut balancer = pool.balancer("round_robin", 0);
    let picks: Vec<usize> = (0..70)
        .map(|_| pool.pick(&mut balancer, 0).unwrap())
        .collect();
    for lap in picks.windows(7) {
        assert_eq!(
            [0, 1, 2].map(|index| lap.iter().filter(|&&pick| pick == index).count()),
            [5, 1, 1]
        );
    }
    let longest_run = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
    assert!(longest_run <= Some(4), "{picks:?}");
}

#[test]
fn round_robin_goes_on_where_it_was() {
    let pool = Pool::new(&[1; 4]);
    let mut balancer = pool.balancer("round_robin", 0);
    let picks: Vec<usize> = (0..8)
        .map(|_| {
            balancer.rebuild(&pool.usable);
            pool.pick(&mut balancer, 0).unwrap()
        })
        .collect();
    assert_eq!(picks, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn least_connections_counts_all_cores() {
    let pool = Pool::new(&[1, 1, 2]);
    pool.begin(0, 0, 2);
    pool.begin(1, 1, 1);
    pool.begin(2, 1, 2);
    pool.begin(2, 2, 3);
    // Loads: 2, 3 and 3/2.
    let mut balancer = pool.balancer("least_connections", 1);
    assert_eq!(pool.pick(&mut balancer, 0), Some(2));
    assert_eq!(
        pool.pick_unless(&mut balancer, 0, &|index| index == 2),
        Some(0)
    );
    pool.tables.of(WorkerId(1)).end(pool.usable[1].id);
    pool.tables.of(WorkerId(2)).end(pool.usable[1].id);
    assert_eq!(pool.pick(&mut balancer, 0), Some(1));
}

#[test]
fn least_connections_gives_equals_turns_by_weight() {
    let pool = Pool::new(&[1, 2, 1]);
    let mut balancer = pool.balancer("least_connections", 0);
    let picks: Vec<usize> = (0..8)
        .map(|_| pool.pick(&mut balancer, 0).unwrap())
        .collect();
    assert_eq!(
        [0, 1, 2].map(|index| picks.iter().filter(|&&pick| pick == index).count()),
        [2, 4, 2]
    );
}

#[test]
fn least_connections_counts_its_own_picks_between_two_readings() {
    // A pool too large to be read for every pick; only the first three are not busy.
    let mut weights = vec![1; limits::IN_FLIGHT_COUNTERS];
    weights[1] = 2;
    let pool = Pool::new(&weights);
    pool.begin(1, 0, 4);
    for busy in 3..weights.len() {
        pool.begin(1, busy, 100);
    }
    let mut balancer = pool.balancer("least_connections", 0);
    let view = PickInput {
        in_flight: &*pool.tables,
        now: Micros(7),
        key: 0,
        blocked: &|_| false,
    };
    let mut picked = [0; 3];
    for _ in 0..12 {
        picked[balancer.pick(&view).unwrap()] += 1;
    }
    // Until the second and third are as busy for their weight as the first is.
    assert_eq!(picked, [0, 8, 4]);
}

#[test]
fn two_choices_avoid_the_busiest() {
    let pool = Pool::new(&[1; 10]);
    pool.begin(1, 4, 3);
    assert_eq!(pool.shares("random_two", 1_000)[4], 0);
}

#[test]
fn peak_ewma_prefers_the_fast_and_tries_the_slow_again() {
    let pool = Pool::new(&[1, 1]);
    let mut balancer = pool.balancer("peak_ewma", 0);
    let pick_of = |pool: &Pool, balancer: &mut _| pool.pick(balancer, 0).unwrap();
    balancer.observe(BackendId(0), 50_000, Micros(pool.now.get()));
    assert_eq!(
        pick_of(&pool, &mut balancer),
        1,
        "an unknown idle backend is tried first"
    );
    balancer.observe(BackendId(1), 1_000, Micros(pool.now.get()));
    assert_eq!(pick_of(&pool, &mut balancer), 1);
    pool.begin(2, 1, 60);
    assert_eq!(
        pick_of(&pool, &mut balancer),
        0,
        "the fast one's queue is longer than the slow one's latency"
    );
    balancer.rebuild(&[pool.usable[1], pool.usable[0]]);
    assert_eq!(
        pick_of(&pool, &mut balancer),
        1,
        "latencies follow their backends to new indices"
    );
    pool.begin(2, 0, 60);
    assert_eq!(pick_of(&pool, &mut balancer), 0);
    // Silence on the slow one, news on the fast one.
    pool.now.set(pool.now.get() + 60_000_000);
    balancer.observe(BackendId(1), 1_000, Micros(pool.now.get()));
    assert_eq!(pick_of(&pool, &mut balancer), 1);
}

#[test]
fn peak_ewma_waits_for_the_first_answer_of_a_backend() {
    let pool = Pool::new(&[1, 1]);
    let mut balancer = pool.balancer("peak_ewma", 0);
    balancer.observe(BackendId(0), 50_000, Micros(pool.now.get()));
    pool.begin(0, 1, 1);
    assert_eq!(pool.pick(&mut balancer, 0), Some(0));
    balancer.observe(BackendId(1), 1_000, Micros(pool.now.get()));
    assert_eq!(pool.pick(&mut balancer, 0), Some(1));
}

#[test]
fn consistent_hash_leaves_no_backend_out() {
    let mut weights = vec![limits::WEIGHT; 999];
    weights.push(1);
    let pool = Pool::new(&weights);
    let mut balancer = pool.balancer("consistent_hash", 0);
    let keys = 100_000;
    let mut picks = (0..keys).map(|number| pool.pick(&mut balancer, number * (u64::MAX / keys)));
    assert!(picks.any(|index| index == Some(999)));
}

#[test]
fn consistent_hash_gives_a_key_one_backend_on_every_core() {
    let pool = Pool::new(&[1; 20]);
    let reordered: Vec<Candidate> = pool.usable.iter().rev().copied().collect();
    let (mut one, mut other) = (
        pool.balancer("consistent_hash", 0),
        pool.balancer("consistent_hash", 2),
    );
    let table = KeyTable::new(&reordered.iter().map(member).collect::<Vec<_>>());
    other.take_table(&Arc::new(table));
    let members: Vec<Candidate> = (0..)
        .zip(&reordered)
        .map(|(member, candidate)| Candidate {
            share: limits::WHOLE_SHARE,
            member,
            ..*candidate
        })
        .collect();
    other.rebuild(&members);
    let mut moved = 0;
    for number in 0..1_000u64 {
        let key = hash_key(&number.to_le_bytes());
        let backend = pool.usable[pool.pick(&mut one, key).unwrap()];
        assert_eq!(
            pool.pick(&mut one, key).map(|index| pool.usable[index]),
            Some(backend)
        );
        moved += usize::from(reordered[pool.pick(&mut other, key).unwrap()] != backend);
    }
    assert_eq!(moved, 0);
}

#[test]
fn consistent_hash_spreads_the_keys_of_a_blocked_backend() {
    let pool = Pool::new(&[1; 10]);
    let mut balancer = pool.balancer("consistent_hash", 0);
    let mut second = vec![0; 10];
    for number in 0..2_000u64 {
        let key = hash_key(&number.to_le_bytes());
        let first = pool.pick(&mut balancer, key).unwrap();
        if first == 3 {
            let other = pool
                .pick_unless(&mut balancer, key, &|index| index == first)
                .unwrap();
            assert_eq!(
                pool.pick_unless(&mut balancer, key, &|index| index == first),
                Some(other)
            );
            second[other] += 1;
        }
    }
    second.remove(3);
    assert!(second.iter().all(|&count| count > 0), "{second:?}");
}

fn weights() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![3 => Just(1u16), 1 => 1..=limits::WEIGHT], 1..40)
}

proptest! {
    #[test]
    fn no_pick_is_blocked_and_none_means_all_are(
        weights in weights(),
        steps in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<bool>(), 40), any::<bool>()), 1..60),
    ) {
        let pool = Pool::new(&weights);
        for name in names() {
            let mut balancer = pool.balancer(name, 1);
            for (key, marks, all) in &steps {
                let blocked = |index: usize| *all || marks[index];
                match pool.pick_unless(&mut balancer, *key, &blocked) {
                    Some(index) => prop_assert!(index < weights.len() && !blocked(index), "{} {}", name, index),
                    None => prop_assert!((0..weights.len()).all(blocked), "{}", name),
                }
            }
        }
    }

    #[test]
    fn picks_asks_only_of_candidates_that_exist(weights in weights(), key in any::<u64>()) {
        let pool = Pool::new(&weights);
        for name in names() {
            let asked = RefCell::new(Vec::new());
            let blocked = |index| { asked.borrow_mut().push(index); true };
            prop_assert_eq!(pool.pick_unless(&mut pool.balancer(name, 0), key, &blocked), None);
            prop_assert!(asked.borrow().iter().all(|&index| index < weights.len()));
        }
    }

    #[test]
    fn round_robin_follows_the_weights_exactly(weights in weights(), worker in 0u32..200, skipped in 0usize..300) {
        let pool = Pool::new(&weights);
        let mut balancer = pool.balancer("round_robin", worker);
        for _ in 0..skipped {
            pool.pick(&mut balancer, 0);
        }
        let mut left = weights.clone();
        for _ in 0..weights.iter().map(|&weight| usize::from(weight)).sum() {
            let index = pool.pick(&mut balancer, 0).unwrap();
            prop_assert!(left[index] > 0, "a turn too many for {}", index);
            left[index] -= 1;
        }
    }

    #[test]
    fn least_connections_picks_a_least_one(
        weights in weights(),
        under_way in prop::collection::vec((0..WORKERS as u32, 0usize..40, 0u32..20), 0..60),
        marks in prop::collection::vec(any::<bool>(), 40),
    ) {
        let pool = Pool::new(&weights);
        let mut balancer = pool.balancer("least_connections", 0);
        for (worker, index, count) in under_way {
            pool.begin(worker, index % weights.len(), count);
            let nobody = |_: usize| false;
            let some = |index: usize| marks[index];
            for blocked in [&nobody as &dyn Fn(usize) -> bool, &some] {
                let open: Vec<usize> = (0..weights.len()).filter(|&index| !blocked(index)).collect();
                let least = open.iter().map(|&index| pool.load(index)).fold(f64::INFINITY, f64::min);
                if let Some(index) = pool.pick_unless(&mut balancer, 0, blocked) {
                    prop_assert!(pool.load(index) <= least * (1.0 + 1e-6), "{} over {}", pool.load(index), least);
                }
            }
        }
    }

    /// Whether it takes no requests for a while, or is gone from the pool.
    #[test]
    fn consistent_hash_keeps_nearly_all_keys_when_one_backend_leaves(
        count in 2usize..60,
        leaving in any::<prop::sample::Index>(),
    ) {
        let pool = Pool::new(&vec![1; count]);
        let leaving = leaving.index(count);
        let mut balancer = pool.balancer("consistent_hash", 0);
        let keys: Vec<u64> = (0..2_000u64).map(|number| hash_key(&number.to_le_bytes())).collect();
        let before: Vec<usize> = keys.iter().map(|&key| pool.pick(&mut balancer, key).unwrap()).collect();
        let mut remaining = pool.usable.clone();
        remaining.remove(leaving);
        balancer.rebuild(&remaining);
        for (&key, &before) in keys.iter().zip(&before) {
            let after = remaining[pool.pick(&mut balancer, key).unwrap()].id;
            prop_assert_eq!(after == pool.usable[before].id, before != leaving);
        }
        let mut members = remaining.clone();
        (0..).zip(&mut members).for_each(|(index, candidate)| candidate.member = index);
        balancer.take_table(&Arc::new(KeyTable::new(&members.iter().map(member).collect::<Vec<_>>())));
        balancer.rebuild(&members);
        let (mut stayed, mut kept) = (0, 0);
        for (&key, &before) in keys.iter().zip(&before).filter(|(_, before)| **before != leaving) {
            stayed += 1;
            let after = pool.pick(&mut balancer, key).unwrap();
            kept += usize::from(members[after].id == pool.usable[before].id);
        }
        prop_assert!(kept * 100 >= stayed * 95, "{} of {} keys kept their backend", kept, stayed);
    }
}
