//! How long a backend that hangs counts as healthy.

use super::*;
use crate::base::limits;

/// The milliseconds from the instant at which a healthy backend begins to hang until it counts as unhealthy, at a phase
/// of its probes that chance gives. `waits`: a request waits there, of which its worker tells.
fn hang(check: &HealthCheck, waits: bool) -> u64 {
    let mut slots = sample::slots();
    let pool = sample::pool(&mut slots, "api", &sample::addrs(1));
    let snapshot = sample::snapshot(1, vec![sample::probed(pool, check)]);
    let id = snapshot.pools[0].backends[0].id();
    let mut watch = Watch::new();
    watch.adopt(&snapshot, at(0));
    let hangs = at(1_000);
    answer_probes(&mut watch, at(0), hangs, &answered());
    watch.take_events();
    let mut under_way: Vec<(Micros, Assignment)> = Vec::new();
    for millis in 0..100_000 {
        let now = hangs.after(Duration::from_millis(millis));
        if waits && millis > 0 && millis % 1_500 == 0 {
            watch.hasten(id, now);
        }
        for (_, assignment) in under_way.extract_if(.., |(until, _)| *until <= now) {
            watch.probed(&assignment, Some(&Err("no answer".to_owned())), now);
        }
        for assignment in watch.due_probes(usize::MAX, now) {
            under_way.push((now.after(assignment.check.timeout), assignment));
        }
        if !watch.take_events().is_empty() {
            return millis;
        }
    }
    panic!("a backend that hangs counts as healthy");
}

#[test]
fn a_backend_that_hangs_is_unhealthy_within_eight_seconds() {
    let by_default = HealthCheck {
        interval: Duration::from_secs(limits::default::PROBE_INTERVAL),
        timeout: Duration::from_secs(limits::default::PROBE_TIMEOUT),
        timeout_again: Duration::from_secs(limits::default::PROBE_AGAIN_TIMEOUT),
        unhealthy_after: limits::default::UNHEALTHY_AFTER,
        ..sample::check(Duration::ZERO)
    };
    let seldom = HealthCheck {
        interval: Duration::from_secs(3_600),
        ..by_default.clone()
    };
    for _ in 0..100 {
        let millis = hang(&by_default, false);
        assert!(millis <= 7_000, "{millis} ms without a request");
        let millis = hang(&seldom, true);
        assert!(millis <= 7_000, "{millis} ms with a request");
    }
}

#[test]
fn a_request_that_waits_hastens_no_probe_beyond_one_a_second() {
    let mut slots = sample::slots();
    let snapshot = sample::snapshot(1, vec![watched_pool(&mut slots, 1)]);
    let id = snapshot.pools[0].backends[0].id();
    let mut watch = Watch::new();
    watch.adopt(&snapshot, at(0));
    let mut probes = 0;
    for now in (0..30 * SECOND).step_by(100_000).map(Micros) {
        watch.hasten(id, now);
        for assignment in watch.due_probes(usize::MAX, now) {
            probes += 1;
            watch.probed(&assignment, Some(&answered()), now);
        }
    }
    assert!((25..=31).contains(&probes), "{probes}");
    assert!(watch.take_events().len() == 1, "it stays healthy");
}
