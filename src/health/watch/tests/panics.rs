//! Pools in which too few backends are healthy.

use super::*;

/// A pool of four that panics below this percentage, and its backends.
fn pool_of_four(slots: &mut Slots, panic_threshold: u32) -> Pool {
    let mut pool = sample::pool(slots, "api", &sample::addrs(4));
    pool.options.panic_threshold = panic_threshold;
    sample::probed(pool, &sample::check(Duration::from_secs(1)))
}

/// Probes all backends until so many of the first ones have failed, or all pass.
fn probe(watch: &mut Watch, from: u64, failing: u16) {
    for now in (at(from).0..at(from + 20).0).step_by(100_000).map(Micros) {
        for assignment in watch.due_probes(usize::MAX, now) {
            let port = assignment.backend().label.rsplit(':').next();
            let port: u16 = port.unwrap().parse().unwrap();
            let outcome = if port <= failing {
                refused()
            } else {
                answered()
            };
            watch.probed(&assignment, Some(&outcome), now);
        }
    }
}

fn read_panics(watch: &mut Watch) -> Vec<String> {
    let mut events = read_events(watch);
    events.retain(|line| line.contains("panics"));
    events
}

#[test]
fn a_pool_panics_below_its_threshold_and_no_longer_at_it() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![pool_of_four(&mut slots, 50)]),
        at(0),
    );
    probe(&mut watch, 0, 2);
    assert!(
        read_panics(&mut watch).is_empty(),
        "half of them are healthy"
    );
    probe(&mut watch, 20, 3);
    assert_eq!(read_panics(&mut watch), ["api panics: 1 of 4"]);
    probe(&mut watch, 40, 4);
    assert!(read_panics(&mut watch).is_empty(), "it is said once");
    probe(&mut watch, 60, 2);
    assert_eq!(read_panics(&mut watch), ["api panics no longer"]);
}

#[test]
fn another_threshold_counts_at_once_and_zero_is_none() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![pool_of_four(&mut slots, 0)]),
        at(0),
    );
    probe(&mut watch, 0, 4);
    assert!(read_panics(&mut watch).is_empty());
    let generations = [(2, 1, "api panics: 0 of 4"), (3, 0, "api panics no longer")];
    for (generation, threshold, expected) in generations {
        let pool = pool_of_four(&mut slots, threshold);
        watch.adopt(&sample::snapshot(generation, vec![pool]), at(20));
        assert_eq!(read_panics(&mut watch), [expected]);
    }
}

#[test]
fn backends_that_are_to_be_drained_do_not_count() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let mut pool = pool_of_four(&mut slots, 100);
    pool.backends[0].draining = true;
    watch.adopt(&sample::snapshot(1, vec![pool]), at(0));
    probe(&mut watch, 0, 1);
    assert!(read_panics(&mut watch).is_empty(), "all others are healthy");
    probe(&mut watch, 20, 2);
    assert_eq!(read_panics(&mut watch), ["api panics: 2 of 3"]);
}
