//! The seeds with a cache that every test run tries, and the faults that they must find.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::generate::cached_scenario;
use super::records::REACHED;
use super::run::{course, run};
use super::shrink::shrink;
use crate::net;
use crate::simulated::world::tests::number;
use crate::simulated::{Fault, plant, trace};

/// Seeds of a test run, unless `PALANTIR_SIM_SEEDS` asks for another number, of which this is the half.
const SEEDS: u64 = 2_000;
/// Seeds within which a planted fault must be found.
const SEEDS_PER_FAULT: u64 = 2_000;

/// The violation that a seed shows, with the smallest scenario that shows it.
fn report(seed: u64, violation: &str) -> String {
    let scenario = Rc::new(cached_scenario(seed));
    let smallest = shrink(&scenario, violation);
    let found = run(&smallest).unwrap_or_default();
    if std::env::var_os("PALANTIR_SIM_TRACE").is_some() {
        trace(true);
        run(&smallest);
        trace(false);
    }
    format!(
        "PALANTIR_SIM_SEED={seed}: {violation}\nrun it alone: PALANTIR_SIM_SEED={seed} cargo test --lib \
         the_cache_keeps\nthe smallest run that fails so: {found}\n{smallest}"
    )
}

/// Takes seeds from `next` up to `end`, and reports the first one that fails.
fn try_seeds(next: &AtomicU64, end: u64) -> Option<String> {
    net::inside_engine(|| {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end {
                return None;
            }
            if let Some(violation) = run(&Rc::new(cached_scenario(seed))) {
                next.store(end, Relaxed);
                eprintln!("PALANTIR_SIM_SEED={seed} fails ({violation}); it is made smaller");
                return Some(report(seed, &violation));
            }
        }
    })
}

/// The variables are those of the test without a cache.
#[test]
fn the_cache_keeps_its_promises_whatever_is_purged() {
    let first = number("PALANTIR_SIM_SEED");
    let count = number("PALANTIR_SIM_SEEDS");
    let count = count.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let count = count.div_ceil(2);
    let first = first.unwrap_or(0);
    let (began, next) = (Instant::now(), AtomicU64::new(first));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let reports: Vec<String> = std::thread::scope(|scope| {
        let threads = (0..threads).map(|_| scope.spawn(|| try_seeds(&next, first + count)));
        let threads: Vec<_> = threads.collect();
        let reports = threads.into_iter().map(|thread| thread.join().unwrap());
        reports.flatten().collect()
    });
    eprintln!("{count} seeds with a cache in {:?}", began.elapsed());
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}

#[test]
fn a_seed_gives_the_same_run_with_a_cache_each_time() {
    net::inside_engine(|| {
        for seed in 0..40 {
            let scenario = Rc::new(cached_scenario(seed));
            assert_eq!(course(&scenario), course(&scenario), "seed {seed}");
        }
    });
}

#[test]
fn the_seeds_reach_what_the_cache_does() {
    net::inside_engine(|| {
        let (mut reached, mut happened) = ([0; REACHED.len()], [0; 6]);
        for seed in 0..300 {
            let course = course(&Rc::new(cached_scenario(seed)));
            let usage = course.usage;
            let counts = [
                usage.stored,
                usage.evicted,
                usage.replaced,
                usage.purged,
                usage.invalidated,
                usage.refused,
            ];
            let add = |sum: &mut u64, count: u64| *sum += count;
            (reached.iter_mut().zip(course.reached)).for_each(|(sum, count)| add(sum, count));
            (happened.iter_mut().zip(counts)).for_each(|(sum, count)| add(sum, count));
        }
        let all: Vec<_> = REACHED.iter().zip(reached).collect();
        eprintln!("{all:?}, stored, evicted, replaced, purged, invalidated, refused: {happened:?}");
        assert!(reached.iter().all(|count| *count > 0), "{all:?}");
        assert!(happened.iter().all(|count| *count > 0), "{happened:?}");
    });
}

/// Plants a fault and tells after how many seeds it is found.
fn find(fault: Fault) {
    net::inside_engine(|| {
        plant(Some(fault));
        let found = (0..SEEDS_PER_FAULT).find_map(|seed| {
            let violation = run(&Rc::new(cached_scenario(seed)))?;
            Some((seed + 1, violation))
        });
        plant(None);
        let Some((seeds, violation)) = found else {
            panic!("{fault:?} is not found in {SEEDS_PER_FAULT} seeds");
        };
        eprintln!("{fault:?} is found after {seeds} seeds: {violation}");
    });
}

macro_rules! finds {
    ($($name:ident: $fault:ident,)*) => {
        $(#[test]
        fn $name() {
            find(Fault::$fault);
        })*
    };
}

finds! {
    finds_a_purge_that_is_noted_late: NotesPurgeLate,
    finds_a_front_that_forgets_purges: ForgetsPurges,
    finds_a_follower_of_what_was_purged: FollowsPurged,
    finds_a_variant_that_is_not_compared: IgnoresVariant,
    finds_a_change_that_invalidates_nothing: KeepsChanged,
    finds_a_fill_that_outlives_its_invalidation: StoresInvalidated,
    finds_a_cut_body_that_is_taken_for_whole: TakesPartForWhole,
    finds_what_is_served_beyond_its_freshness: NeverStale,
    finds_an_answer_that_was_for_another_client: SharesPrivate,
    finds_memory_that_is_not_given_back: LosesMemory,
}
