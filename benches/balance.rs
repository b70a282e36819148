//! The cost of a pick: every algorithm, two workers' tables, pools of several sizes with everything busy. To reach: 50
//! ns with 100 backends on a busy core, one with a request every 16 microseconds.

use std::cell::Cell;
use std::sync::Arc;

use divan::{Bencher, black_box};
use palantir::balance::{
    ALGORITHMS, AlgorithmSettings, Balancer, Candidate, HashKey, Member, PickInput, hash_key,
};
use palantir::base::ids::{BackendId, WorkerId};
use palantir::base::limits;
use palantir::base::time::Micros;
use palantir::shared::backend_table::BackendTables;

const POOLS: [usize; 3] = [3, 100, 1000];

fn main() {
    divan::main();
}

fn names() -> impl Iterator<Item = &'static str> {
    ALGORITHMS.iter().map(|entry| entry.name)
}

/// `count` backends of weights 1 to 4.
fn backends(count: usize) -> Vec<Candidate> {
    let backend = |index: usize| Candidate {
        id: BackendId(index as u32),
        weight: 1 + (index % 4) as u16,
        share: limits::WHOLE_SHARE,
        member: index as u32,
    };
    (0..count).map(backend).collect()
}

fn member(candidate: &Candidate) -> Member {
    let index = candidate.member;
    Member {
        weight: candidate.weight,
        identity: hash_key(format!("10.0.{}.{}:8080", index / 250, index % 250).as_bytes()),
    }
}

/// A pool under load: requests under way on both workers, latencies seen.
fn busy_pool(name: &str, usable: &[Candidate]) -> (Arc<BackendTables>, Box<dyn Balancer>) {
    let tables = BackendTables::new(2);
    let plan = AlgorithmSettings::new(name, HashKey::Path).unwrap();
    let mut balancer = plan.build(WorkerId(0));
    if let Some(table) = plan.table(usable.iter().map(member)) {
        balancer.take_table(&table);
    }
    balancer.rebuild(usable);
    for (index, candidate) in usable.iter().enumerate() {
        for request in 0..8 + index % 5 {
            tables.of(WorkerId(request as u32 % 2)).begin(candidate.id);
        }
        balancer.observe(candidate.id, 1_000 + 10 * (index as u64 % 7), Micros(0));
    }
    (tables, balancer)
}

/// A busy core's picks.
#[divan::bench(args = names(), consts = POOLS, sample_size = 1000)]
fn pick<const COUNT: usize>(bencher: Bencher, name: &str) {
    pick_every::<COUNT>(16, bencher, name);
}

/// An idle core's picks: all that was read before is old.
#[divan::bench(args = names(), consts = POOLS, sample_size = 1000)]
fn pick_after_a_pause<const COUNT: usize>(bencher: Bencher, name: &str) {
    pick_every::<COUNT>(10_000, bencher, name);
}

/// One pick, with the request begun and the one before it ended, as a steady load does.
fn pick_every<const COUNT: usize>(micros: u64, bencher: Bencher, name: &str) {
    let usable = backends(COUNT);
    let (tables, mut balancer) = busy_pool(name, &usable);
    let mine = tables.of(WorkerId(0));
    let request = Cell::new(0u64);
    let mut last = usable[0].id;
    bencher.bench_local(|| {
        request.set(request.get() + 1);
        let view = PickInput {
            in_flight: &*tables,
            now: Micros(request.get() * micros),
            key: request.get().wrapping_mul(0x9e37_79b9_7f4a_7c15),
            blocked: &|_| false,
        };
        let index = balancer.pick(black_box(&view));
        if let Some(index) = index {
            mine.begin(usable[index].id);
            mine.end(std::mem::replace(&mut last, usable[index].id));
        }
        index
    });
}

/// A change of a backend's state.
#[divan::bench(args = names(), consts = POOLS)]
fn rebuild<const COUNT: usize>(bencher: Bencher, name: &str) {
    let usable = backends(COUNT);
    let (_, mut balancer) = busy_pool(name, &usable);
    bencher.bench_local(move || balancer.rebuild(black_box(&usable)));
}

/// A change in the largest pool there can be.
#[divan::bench(args = names())]
fn rebuild_largest(bencher: Bencher, name: &str) {
    let usable = backends(limits::BACKENDS);
    let (_, mut balancer) = busy_pool(name, &usable);
    bencher.bench_local(move || balancer.rebuild(black_box(&usable)));
}
