//! Stories of backends, told by a clock that is a number.

mod ejections;
mod hangs;
mod panics;
mod resumes;

use std::time::Duration;

use super::*;
use crate::shared::slots::Slots;
use crate::snapshot::sample;

const SECOND: u64 = 1_000_000;

fn at(seconds: u64) -> Micros {
    Micros(seconds * SECOND)
}

/// A pool of `backends` that is probed every 30 s and ejects after two failures.
fn watched_pool(slots: &mut Slots, backends: u16) -> Pool {
    let pool = Pool {
        outlier: Some(sample::outlier(2)),
        ..sample::pool(slots, "api", &sample::addrs(backends))
    };
    sample::probed(pool, &sample::check(Duration::from_secs(30)))
}

/// Answers every probe that is due until `until`, in steps of 100 ms; how many there were.
fn answer_probes(watch: &mut Watch, from: Micros, until: Micros, outcome: &ProbeOutcome) -> usize {
    let mut probes = 0;
    for now in (from.0..until.0).step_by(100_000).map(Micros) {
        for assignment in watch.due_probes(usize::MAX, now) {
            probes += 1;
            watch.probed(&assignment, Some(outcome), now);
        }
    }
    probes
}

/// `label: from > to (reason)` for changes, without those of new backends.
fn read_events(watch: &mut Watch) -> Vec<String> {
    let events = watch.take_events().into_iter();
    events
        .filter_map(|events| match events {
            HealthEvent::Changed(StateChange { from: None, .. }) | HealthEvent::DownChanged(_) => {
                None
            }
            HealthEvent::Changed(change) => Some(format!(
                "{}: {} > {} ({})",
                change.backend,
                change.from.unwrap().label(),
                change.to.label(),
                change.reason
            )),
            HealthEvent::PoolDown(pool) => Some(format!("{pool} down")),
            HealthEvent::PoolUp(pool) => Some(format!("{pool} up")),
            HealthEvent::PanicBegan {
                pool, healthy, of, ..
            } => Some(format!("{pool} panics: {healthy} of {of}")),
            HealthEvent::PanicEnded(pool) => Some(format!("{pool} panics no longer")),
        })
        .collect()
}

fn refused() -> ProbeOutcome {
    Err("connection refused".to_owned())
}

fn answered() -> ProbeOutcome {
    Ok("answered 200".to_owned())
}

#[test]
fn new_backends_are_told_to_the_workers_and_probed_within_a_second() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 20)]),
        at(0),
    );
    let events = watch.take_events();
    assert_eq!(events.len(), 20);
    for events in events {
        let HealthEvent::Changed(change) = events else {
            panic!("{events:?}")
        };
        assert_eq!((change.from, change.to), (None, BackendState::Healthy));
    }
    assert!(
        watch.due_probes(usize::MAX, Micros(0)).len() < 20,
        "not all at once"
    );
    watch.due_probes(usize::MAX, at(1));
    assert!(
        watch
            .backends
            .values()
            .all(|watched| watched.next_probe == NextProbe::AfterThis)
    );
}

#[test]
fn a_backend_falls_and_rises_with_reasons_and_so_does_its_pool() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 1)]),
        at(0),
    );
    // Once at the start, then twice a second apart; the fourth comes half a minute later.
    assert_eq!(answer_probes(&mut watch, at(0), at(20), &refused()), 3);
    let fell = "127.0.0.1:1: healthy > unhealthy (3 probes failed: connection refused)";
    assert_eq!(read_events(&mut watch), [fell, "api down"]);
    assert_eq!(answer_probes(&mut watch, at(20), at(50), &answered()), 2);
    let rose = "127.0.0.1:1: unhealthy > healthy (2 probes passed: answered 200)";
    assert_eq!(read_events(&mut watch), [rose, "api up"]);
}

#[test]
fn a_drained_backend_makes_no_event_until_it_is_back() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let snapshot = |slots: &mut Slots, generation, draining| {
        let mut pool = watched_pool(slots, 2);
        pool.backends[0].draining = draining;
        sample::snapshot(generation, vec![pool])
    };
    let first = snapshot(&mut slots, 1, false);
    let id = first.pools[0].backends[0].id();
    watch.adopt(&first, at(0));
    answer_probes(&mut watch, at(0), at(1), &answered());
    watch.take_events();

    watch.adopt(&snapshot(&mut slots, 2, true), at(1));
    let drained = "127.0.0.1:1: healthy > draining (the configuration drains the backend)";
    assert_eq!(read_events(&mut watch), [drained]);
    watch.failed(id, 2, "reset", at(2));
    assert!(read_events(&mut watch).is_empty());
    // The draining backend is probed all the while, and when the other one goes down, the pool goes down.
    answer_probes(&mut watch, at(2), at(60), &refused());
    let fell = "127.0.0.1:2: healthy > unhealthy (3 probes failed: connection refused)";
    assert_eq!(read_events(&mut watch), [fell, "api down"]);

    watch.adopt(&snapshot(&mut slots, 3, false), at(60));
    let back = "127.0.0.1:1: draining > unhealthy (the configuration no longer drains the backend)";
    assert_eq!(read_events(&mut watch), [back]);
}

#[test]
fn backends_of_one_pool_are_probed_each_by_its_own_check() {
    let mut slots = sample::slots();
    let mut pool = watched_pool(&mut slots, 3);
    pool.backends[0].health_check = None;
    pool.backends[1].health_check = Some(sample::check(Duration::from_secs(1)));
    let mut watch = Watch::new();
    watch.adopt(&sample::snapshot(1, vec![pool]), at(0));
    let mut probes = BTreeMap::new();
    for now in (0..60 * SECOND).step_by(100_000).map(Micros) {
        for assignment in watch.due_probes(usize::MAX, now) {
            let label = assignment.backend().label.clone();
            *probes.entry(label).or_insert(0) += 1;
            watch.probed(&assignment, Some(&answered()), now);
        }
    }
    let often = probes["127.0.0.1:2"];
    assert!((50..=70).contains(&often), "{probes:?}");
    assert!((2..=4).contains(&probes["127.0.0.1:3"]), "{probes:?}");
    assert_eq!(probes.len(), 2);
}

#[test]
fn a_healthy_backend_is_probed_at_its_interval() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 1)]),
        at(0),
    );
    let probes = answer_probes(&mut watch, at(0), at(3000), &answered());
    assert!((95..=105).contains(&probes), "{probes}");
    assert!(read_events(&mut watch).is_empty());
}

#[test]
fn probes_under_way_are_bounded_by_the_room_and_never_two_of_one_backend() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 3)]),
        at(0),
    );
    let first = watch.due_probes(2, at(100));
    assert_eq!(first.len(), 2);
    assert!(watch.next_due(true).is_some_and(|due| due <= at(1)));
    assert_eq!(watch.next_due(false), None);
    assert_eq!(watch.due_probes(2, at(200)).len(), 1);
    assert_eq!(watch.due_probes(2, at(300)).len(), 0);
    watch.probed(&first[0], Some(&answered()), at(300));
    assert_eq!(watch.due_probes(2, at(300)).len(), 1);
}

#[test]
fn a_new_snapshot_keeps_what_is_known_of_backends_that_stay() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let first = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
    watch.adopt(&first, at(0));
    let ids: Vec<_> = first.pools[0].backends.iter().map(Backend::id).collect();
    // The first two fail two probes of the three that it takes.
    for now in [at(1), at(3)] {
        for assignment in watch.due_probes(usize::MAX, now) {
            let outcome = if ids[..2].contains(&assignment.backend_ref.id()) {
                refused()
            } else {
                answered()
            };
            watch.probed(&assignment, Some(&outcome), now);
        }
    }
    let planned: Vec<_> = watch
        .backends
        .values()
        .map(|watched| watched.next_probe)
        .collect();
    watch.take_events();

    let second = sample::snapshot(2, vec![watched_pool(&mut slots, 4)]);
    watch.adopt(&second, at(3));
    drop(first);
    assert_eq!(watch.take_events(), []);
    for (watched, planned) in watch.backends.values().zip(planned) {
        let (NextProbe::At(now), NextProbe::At(before)) = (watched.next_probe, planned) else {
            panic!("{watched:?}")
        };
        assert!(now <= before);
    }
    watch.failed(ids[1], 2, "reset", at(4));
    assert_eq!(
        read_events(&mut watch),
        ["127.0.0.1:2: healthy > ejected (2 consecutive failures: reset; for 30s)"]
    );
    for assignment in watch.due_probes(usize::MAX, at(6)) {
        watch.probed(&assignment, Some(&refused()), at(6));
    }
    // Chance decides which of the two is probed first.
    let mut events = read_events(&mut watch);
    events.sort_unstable();
    assert_eq!(
        events,
        [
            "127.0.0.1:1: healthy > unhealthy (3 probes failed: connection refused)",
            "127.0.0.1:2: ejected > unhealthy (3 probes failed: connection refused)",
        ]
    );
}

#[test]
fn what_a_snapshot_no_longer_asks_for_is_taken_back() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let first = sample::snapshot(1, vec![watched_pool(&mut slots, 2)]);
    watch.adopt(&first, at(0));
    let second = first.pools[0].backends[1].id();
    watch.failed(second, 2, "reset", at(0));
    answer_probes(&mut watch, at(0), at(10), &refused());
    read_events(&mut watch);
    let plain = sample::pool(&mut slots, "api", &sample::addrs(2));
    watch.adopt(&sample::snapshot(2, vec![plain]), at(10));
    assert_eq!(
        read_events(&mut watch),
        [
            "127.0.0.1:1: unhealthy > healthy (health settings changed)",
            "127.0.0.1:2: unhealthy > healthy (health settings changed)",
            "api up",
        ]
    );
    assert_eq!(watch.next_due(true), None);
}

#[test]
fn backends_that_are_gone_are_forgotten_and_their_probes_come_to_nothing() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 2)]),
        at(0),
    );
    let assignments = watch.due_probes(usize::MAX, at(1));
    watch.take_events();
    watch.adopt(
        &sample::snapshot(2, vec![watched_pool(&mut slots, 1)]),
        at(1),
    );
    watch.let_go(|_| 0);
    assert_eq!(watch.backends.len(), 1);
    for assignment in &assignments {
        watch.probed(assignment, Some(&refused()), at(1));
    }
    assert!(watch.next_due(true).is_some());
    assert!(watch.take_events().is_empty());
}

/// Requests that are under way at a backend learn that it is down, whatever has become of the configuration.
#[test]
fn a_backend_that_is_gone_is_probed_while_requests_are_under_way_there() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let first = sample::snapshot(1, vec![watched_pool(&mut slots, 2)]);
    let [id, stays] = [1, 0].map(|index| first.pools[0].backends[index].id());
    watch.adopt(&first, at(0));
    let under_way = watch.due_probes(1, at(1));
    watch.take_events();
    let second = sample::snapshot(2, vec![watched_pool(&mut slots, 1)]);
    watch.adopt(&second, at(1));
    let in_flight = |asked: BackendId| u32::from(asked == id);
    watch.let_go(in_flight);
    assert_eq!(watch.backends.len(), 2);
    under_way
        .iter()
        .for_each(|it| watch.probed(it, Some(&answered()), at(1)));
    for now in (1..100).map(at) {
        for assignment in watch.due_probes(usize::MAX, now) {
            let is_gone = assignment.backend_ref.id() == id;
            let outcome = if is_gone { refused() } else { answered() };
            watch.probed(&assignment, Some(&outcome), now);
        }
        watch.failed(id, 2, "reset", now);
    }
    let events = watch.take_events();
    assert!(
        matches!(&events[..], [HealthEvent::DownChanged(change)] if change.id == id && change.is_down
            && change.from == Some(BackendState::Unhealthy) && change.to == BackendState::Unhealthy),
        "{events:?}"
    );
    // The backend is known again if it comes back, and is forgotten when nothing is under way there.
    watch.adopt(&first, at(100));
    assert!(watch.removed.is_empty());
    assert!(watch.backends[&id].health.is_down());
    watch.adopt(&second, at(101));
    watch.let_go(|_| 0);
    assert_eq!(Vec::from_iter(watch.backends.keys().copied()), [stays]);
    assert!(watch.next_due(true).is_some());
}

#[test]
fn a_row_that_goes_to_another_backend_is_told_anew() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let first = sample::snapshot(1, vec![watched_pool(&mut slots, 1)]);
    let id = first.pools[0].backends[0].id();
    watch.adopt(&first, at(0));
    answer_probes(&mut watch, at(0), at(10), &refused());
    watch.adopt(&sample::snapshot(2, Vec::new()), at(10));
    watch.let_go(|_| 0);
    drop(first);
    watch.take_events();
    let other = sample::pool(&mut slots, "web", &sample::addrs(1));
    let other = sample::probed(other, &sample::check(Duration::from_secs(30)));
    let third = sample::snapshot(3, vec![other]);
    assert_eq!(third.pools[0].backends[0].id(), id);
    watch.adopt(&third, at(10));
    let events = watch.take_events();
    assert!(
        matches!(&events[..], [HealthEvent::Changed(change)] if change.from.is_none()
            && change.to == BackendState::Healthy
            && change.pool == "web"),
        "{events:?}"
    );
}

#[test]
fn a_backend_without_an_address_is_not_probed_and_does_not_hold_its_pool_up() {
    let mut slots = sample::slots();
    let mut pool = watched_pool(&mut slots, 2);
    for backend in &mut pool.backends {
        backend.addr = None;
    }
    let mut watch = Watch::new();
    watch.adopt(&sample::snapshot(1, vec![pool]), at(0));
    assert_eq!(watch.next_due(true), None);
    assert_eq!(read_events(&mut watch), ["api down"]);
}

#[test]
fn once_probing_is_over_only_ejections_are_due() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let snapshot = sample::snapshot(1, vec![watched_pool(&mut slots, 3)]);
    watch.adopt(&snapshot, at(0));
    let under_way = watch.due_probes(1, at(5));
    let ids: Vec<_> = snapshot.pools[0].backends.iter().map(Backend::id).collect();
    watch.failed(ids[0], 2, "reset", at(5));
    watch.stop_probing();
    watch.probed(&under_way[0], Some(&refused()), at(6));
    watch.adopt(&snapshot, at(7));
    assert!(watch.due_probes(usize::MAX, at(100)).is_empty());
    assert_eq!(watch.next_due(true), Some(at(35)));
    watch.end_ejections(at(35));
    assert_eq!(watch.next_due(true), None);
}
