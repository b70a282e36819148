//! The seeds that every test run tries.

use std::rc::Rc;
use std::time::Instant;

use super::generate::scenario;
use super::run::run;
use super::shrink::shrink;
use crate::net;
use crate::simulated::trace;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What goes wrong with a seed, with the smallest scenario that shows it.
fn report(seed: u64) -> Option<String> {
    let scenario = Rc::new(scenario(seed));
    let violation = run(&scenario).0?;
    let smallest = shrink(&scenario, &violation);
    if std::env::var_os("PALANTIR_SIM_TRACE").is_some() {
        trace(true);
        run(&smallest);
        trace(false);
    }
    Some(format!(
        "PALANTIR_SIM_SEED={seed}: {violation}\nthe smallest that fails so:\n{smallest}"
    ))
}

#[test]
fn whatever_fails_the_promises_hold() {
    net::inside_engine(|| {
        let first = number("PALANTIR_SIM_SEED").unwrap_or(0);
        let count = number("PALANTIR_SIM_SEEDS").unwrap_or(200);
        let (began, mut steps) = (Instant::now(), 0);
        let mut failures = 0;
        for seed in first..first + count {
            let scenario = Rc::new(scenario(seed));
            let (violation, took) = run(&scenario);
            steps += took;
            if let Some(violation) = violation {
                failures += 1;
                if failures < 4 {
                    eprintln!("{}", report(seed).unwrap());
                } else {
                    eprintln!("PALANTIR_SIM_SEED={seed}: {violation}");
                }
            }
        }
        eprintln!(
            "{count} seeds, {steps} steps, {:?}, {failures} failures",
            began.elapsed()
        );
        assert_eq!(failures, 0);
    });
}
