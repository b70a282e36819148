//! The seeds that every test run tries, and the faults that they must find.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::generate::scenario;
use super::run::run;
use super::scenario::{BackendPlan, ClientPlan, PoolKind, RequestPlan, Scenario, Settings};
use super::shrink::shrink;
use crate::net;
use crate::simulated::{Fault, Weather, plant, trace};

/// Seeds of a test run, unless `PALANTIR_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 2_000;
/// Seeds within which a planted fault must be found.
const SEEDS_PER_FAULT: u64 = 2_000;

/// The number in a variable of the environment.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The violation that a seed shows, with the smallest scenario that shows it.
fn report(seed: u64, violation: &str) -> String {
    let smallest = shrink(&Rc::new(scenario(seed)), violation);
    if std::env::var_os("PALANTIR_SIM_TRACE").is_some() {
        trace(true);
        run(&smallest);
        trace(false);
    }
    format!("PALANTIR_SIM_SEED={seed}: {violation}\nthe smallest run that fails so:\n{smallest}")
}

/// Takes seeds from `next` up to `end`, and reports the first one that fails.
fn try_seeds(next: &AtomicU64, end: u64) -> Option<String> {
    net::inside_engine(|| {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end {
                return None;
            }
            if let Some(violation) = run(&Rc::new(scenario(seed))) {
                next.store(end, Relaxed);
                eprintln!("PALANTIR_SIM_SEED={seed} fails ({violation}); it is made smaller");
                return Some(report(seed, &violation));
            }
        }
    })
}

/// `PALANTIR_SIM_SEED` is the first seed, alone unless `PALANTIR_SIM_SEEDS` says how many follow; with
/// `PALANTIR_SIM_TRACE` the smallest failing run is printed step by step.
#[test]
fn the_promises_hold_whatever_fails() {
    let first = number("PALANTIR_SIM_SEED");
    let count = number("PALANTIR_SIM_SEEDS");
    let count = count.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let (began, next) = (Instant::now(), AtomicU64::new(first));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let reports: Vec<String> = std::thread::scope(|scope| {
        let threads = (0..threads).map(|_| scope.spawn(|| try_seeds(&next, first + count)));
        let threads: Vec<_> = threads.collect();
        let reports = threads.into_iter().map(|thread| thread.join().unwrap());
        reports.flatten().collect()
    });
    eprintln!("{count} seeds in {:?}", began.elapsed());
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    net::inside_engine(|| {
        for seed in 0..20 {
            let scenario = Rc::new(scenario(seed));
            let (first, second) = (super::run::steps(&scenario), super::run::steps(&scenario));
            assert_eq!(first, second, "seed {seed}");
        }
    });
}

/// A scenario without anything that goes wrong, or any client.
fn quiet() -> Scenario {
    let backend = |pool| BackendPlan {
        pool,
        manners: Vec::new(),
        requests_per_connection: 0,
        idle_close: 0,
        streams: 0,
    };
    Scenario {
        seed: 0,
        workers: 1,
        weather: Weather {
            latency: 200,
            short: 0,
            capacity: 64_000,
        },
        serves_half_closed: true,
        settings: Settings {
            algorithm: "round_robin",
            retries: 1,
            max_connections: 0,
            tls: 0,
            proxy_protocol: false,
            is_shorter: false,
        },
        backends: vec![backend(PoolKind::One), backend(PoolKind::Two)],
        clients: Vec::new(),
        requests: Vec::new(),
        changes: Vec::new(),
    }
}

fn post(gap: u64, stalls: bool) -> RequestPlan {
    RequestPlan {
        pool: PoolKind::One,
        gap,
        method: "POST",
        body: 10,
        is_chunked: false,
        pause: 0,
        stalls,
        long_field: 0,
        long_query: 0,
        wait: 0,
        answer: 5,
        answer_is_chunked: false,
        expects: false,
        trailers: false,
        tunnel: false,
        fault: None,
        faulty_attempts: 0,
    }
}

/// A connection that begins to end, for having been idle, just as two requests come; one of them stays incomplete.
fn ending_with_a_stall(gap: u64) -> Rc<Scenario> {
    let mut scenario = quiet();
    scenario.requests = vec![post(0, false), post(gap, false), post(0, true)];
    scenario.clients.push(ClientPlan {
        at: 0,
        worker: 0,
        http2: true,
        requests: vec![0, 1, 2],
        pipelines: false,
        leaves: None,
        reads_slowly: None,
        half_closes: false,
        sends_ahead: false,
    });
    Rc::new(scenario)
}

#[test]
fn a_stream_does_not_wait_for_a_client_that_has_ended_its_side() {
    net::inside_engine(|| {
        let runs: Vec<_> = (2_950_000..3_300_000)
            .step_by(10_000)
            .map(ending_with_a_stall)
            .collect();
        runs.iter()
            .for_each(|scenario| assert_eq!(run(scenario), None));
        plant(Some(Fault::AwaitsTheDead));
        let is_found = runs.iter().any(|scenario| run(scenario).is_some());
        plant(None);
        assert!(is_found);
    });
}

/// Plants a fault and tells after how many seeds it is found.
fn find(fault: Fault) {
    net::inside_engine(|| {
        plant(Some(fault));
        let found = (0..SEEDS_PER_FAULT).find_map(|seed| {
            let violation = run(&Rc::new(scenario(seed)))?;
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
    finds_a_turn_without_an_end: SpinsAtBound,
    finds_a_part_that_is_sent_as_whole: ResendsPart,
    finds_a_post_that_is_sent_twice: RepeatsAnything,
    finds_a_connection_with_old_settings: KeepsOldSettings,
    finds_a_head_without_room: ForgetsTarget,
    finds_a_refusing_backend_that_never_rests: NeverRests,
    finds_a_core_that_shares_nothing: SharesNothing,
    finds_a_stream_that_outlives_its_connection: OutlivesConnection,
    finds_a_client_that_leaves_unnoticed: LeavesUnnoticed,
    finds_bytes_that_overtake_others: Overtakes,
    finds_a_second_answer: AnswersTwice,
}
