//! The health of the backends in a process that takes over.

use super::*;
use crate::shared::health_record::{EjectionRecord, HealthRecord};
use crate::snapshot::{ProbeTls, Protocol};

/// The new process has begun 1,000 s after the old one.
const OLD: MachineClock = MachineClock::began_at(0);
const NEW: MachineClock = MachineClock::began_at(1_000 * SECOND as i64);

/// The records of the old process at its instant 1,000 s of a pool of four: the first backend is down, the second one
/// has failed two probes, and the third one is ejected until 1,020 s.
fn known_by_old() -> Vec<HealthRecord> {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let snapshot = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
    watch.adopt(&snapshot, at(0));
    let ids: Vec<_> = snapshot.pools[0].backends.iter().map(Backend::id).collect();
    for (index, failures) in [(0, 3), (1, 2)] {
        let Watched {
            health,
            backend_ref,
            ..
        } = watch.backends.get_mut(&ids[index]).unwrap();
        let check = backend_ref.backend().health_check.clone().unwrap();
        for _ in 0..failures {
            health.probed(false, &check);
        }
    }
    watch.failed(ids[2], 2, "reset", at(990));
    let counters = snapshot.pools[0].backends[0].slot.counters();
    counters.changes.note(BackendState::Unhealthy, at(400));
    watch.records(OLD)
}

/// A new process with these records and this pool; the first state of each backend that the workers are told.
fn resumed(records: Vec<HealthRecord>, pool: Pool) -> (Watch, Arc<Snapshot>, Vec<BackendState>) {
    let mut watch = Watch::new();
    let snapshot = sample::snapshot(1, vec![pool]);
    watch.resume(&snapshot, Records::new(records, NEW), at(5));
    let states = watch
        .take_events()
        .into_iter()
        .filter_map(|events| match events {
            HealthEvent::Changed(change) if change.from.is_none() => Some(change.to),
            _ => None,
        });
    let states = states.collect();
    (watch, snapshot, states)
}

use BackendState::{Draining, Ejected, Healthy, Unhealthy};

#[test]
fn a_backend_begins_in_the_state_that_the_old_process_knew() {
    let pool = watched_pool(&mut sample::slots(), 4);
    let (mut watch, snapshot, states) = resumed(known_by_old(), pool);
    assert_eq!(states, [Unhealthy, Healthy, Ejected, Healthy]);
    let since = |index: usize| {
        snapshot.pools[0].backends[index]
            .slot
            .counters()
            .changes
            .since()
    };
    assert_eq!(since(0), -600 * SECOND as i64);
    // Probes go on: each backend is probed within a second, and at most twice until now. The second backend, which had
    // failed two probes, falls with the next failure.
    let until = at(6).after(Duration::from_millis(200));
    assert!(answer_probes(&mut watch, at(5), until, &refused()) >= 4);
    let fell = "127.0.0.1:2: healthy > unhealthy (3 probes failed: connection refused)";
    assert_eq!(read_events(&mut watch), [fell]);
    watch.end_ejections(at(19));
    assert_eq!(read_events(&mut watch), [""; 0]);
    watch.end_ejections(at(20));
    let back = "127.0.0.1:3: ejected > healthy (ejection is over)";
    assert_eq!(read_events(&mut watch), [back]);
}

#[test]
fn what_was_found_by_other_settings_counts_for_nothing() {
    let mut slots = sample::slots();
    let others: [fn(&mut Pool); 6] = [
        |pool| each_check(pool, |check| check.unhealthy_after = 4),
        |pool| each_check(pool, |check| check.port = Some(1)),
        |pool| each_check(pool, |check| check.tls = ProbeTls::Off),
        |pool| pool.options.protocol = Protocol::Http2,
        |pool| pool.name = "other".to_owned(),
        |pool| {
            pool.backends
                .iter_mut()
                .for_each(|backend| backend.label += " (renamed)")
        },
    ];
    for (number, change) in others.into_iter().enumerate() {
        let mut pool = watched_pool(&mut slots, 4);
        pool.outlier = Some(sample::outlier(7));
        change(&mut pool);
        let (_, _, states) = resumed(known_by_old(), pool);
        assert_eq!(states, [Healthy; 4], "{number}");
    }
    // Probes and ejections are compared each for itself.
    let mut pool = watched_pool(&mut slots, 4);
    pool.outlier = Some(sample::outlier(7));
    let (_, _, states) = resumed(known_by_old(), pool);
    assert_eq!(states, [Unhealthy, Healthy, Healthy, Healthy]);
    let mut pool = watched_pool(&mut slots, 4);
    each_check(&mut pool, |check| check.interval *= 2);
    let (_, _, states) = resumed(known_by_old(), pool);
    assert_eq!(states, [Healthy, Healthy, Ejected, Healthy]);
}

fn each_check(pool: &mut Pool, change: impl Fn(&mut HealthCheck)) {
    for backend in &mut pool.backends {
        change(backend.health_check.as_mut().unwrap());
    }
}

#[test]
fn a_drained_backend_is_drained_if_this_configuration_says_so_and_its_probes_count_on() {
    let mut pool = watched_pool(&mut sample::slots(), 4);
    pool.backends[0].draining = true;
    let (watch, snapshot, states) = resumed(known_by_old(), pool);
    assert_eq!(states, [Draining, Healthy, Ejected, Healthy]);
    let id = snapshot.pools[0].backends[0].id();
    assert!(watch.backends[&id].health.is_down());
    let since = snapshot.pools[0].backends[0]
        .slot
        .counters()
        .changes
        .since();
    assert!(since >= 0, "it was not drained before");
}

#[test]
fn no_more_backends_stay_ejected_than_may_be_and_never_the_whole_pool() {
    let mut records = known_by_old();
    for record in &mut records {
        record.is_down = false;
        record.ejection = records_ejection(2_000);
    }
    let pool = watched_pool(&mut sample::slots(), 4);
    let (watch, snapshot, _) = resumed(records, pool);
    let ejected = snapshot.pools[0]
        .backends
        .iter()
        .filter(|backend| watch.backends[&backend.id()].health.state() == Ejected);
    assert_eq!(ejected.count(), 2, "half of the pool");
}

fn records_ejection(second: u64) -> Option<EjectionRecord> {
    Some(EjectionRecord {
        until: (second * SECOND) as i64,
        number: 1,
    })
}

#[test]
fn a_backend_that_leaves_is_not_reported() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    watch.adopt(
        &sample::snapshot(1, vec![watched_pool(&mut slots, 2)]),
        at(0),
    );
    watch.adopt(
        &sample::snapshot(2, vec![watched_pool(&mut slots, 1)]),
        at(1),
    );
    assert_eq!(watch.backends.len(), 2, "it is probed on");
    assert_eq!(watch.records(OLD).len(), 1);
}
