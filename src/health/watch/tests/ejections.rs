//! Ejections: they come from failures of requests, are bounded, and end by time.

use super::*;

#[test]
fn ejection_comes_from_failures_and_ends_by_time() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let snapshot = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
    watch.adopt(&snapshot, at(0));
    let ids: Vec<_> = snapshot.pools[0].backends.iter().map(Backend::id).collect();
    watch.failed(ids[0], 2, "reset", at(2));
    watch.failed(ids[0], 2, "reset", at(2));
    let ejected = "127.0.0.1:1: healthy > ejected (2 consecutive failures: reset; for 30s)";
    assert_eq!(read_events(&mut watch), [ejected]);
    assert_eq!(watch.next_due(false), Some(at(32)));
    watch.end_ejections(at(31));
    assert!(read_events(&mut watch).is_empty());
    watch.end_ejections(at(32));
    assert_eq!(
        read_events(&mut watch),
        ["127.0.0.1:1: ejected > healthy (ejection is over)"]
    );
}

#[test]
fn no_more_than_its_share_of_a_pool_is_ejected() {
    for (backends, percent, expected) in [
        (4, 50, 2),
        (4, 0, 0),
        (1, 50, 0),
        (1, 100, 0),
        (3, 10, 1),
        (3, 100, 2),
    ] {
        let mut slots = sample::slots();
        let mut pool = watched_pool(&mut slots, backends);
        if let Some(outlier) = &mut pool.outlier {
            outlier.max_ejected_percent = percent;
        }
        let snapshot = sample::snapshot(1, vec![pool]);
        let mut watch = Watch::new();
        watch.adopt(&snapshot, at(0));
        for id in snapshot.pools[0].backends.iter().map(Backend::id) {
            watch.failed(id, 2, "reset", at(1));
        }
        let states = watch
            .backends
            .values()
            .map(|watched| watched.health.state());
        let ejected = states
            .filter(|state| *state == BackendState::Ejected)
            .count();
        assert_eq!(ejected, expected, "{backends} {percent}");
    }
}

/// As many are ejected as the pool may have, however small it has become.
#[test]
fn a_smaller_pool_has_fewer_ejected() {
    let mut slots = sample::slots();
    let mut watch = Watch::new();
    let first = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
    watch.adopt(&first, at(0));
    let ids: Vec<_> = first.pools[0].backends.iter().map(Backend::id).collect();
    for (id, seconds) in [(ids[1], 1), (ids[0], 2)] {
        watch.failed(id, 2, "reset", at(seconds));
    }
    watch.take_events();
    watch.adopt(
        &sample::snapshot(2, vec![watched_pool(&mut slots, 2)]),
        at(3),
    );
    let back = "127.0.0.1:2: ejected > healthy (the pool has become smaller)";
    assert_eq!(read_events(&mut watch), [back]);
    assert_eq!(
        watch.next_due(false),
        Some(at(32)),
        "the other one stays ejected"
    );
}

/// When all others are gone, whatever their reasons, what is ejected is the best there is.
#[test]
fn an_ejection_ends_when_no_other_backend_is_left() {
    let mut slots = sample::slots();
    let mut pool = watched_pool(&mut slots, 2);
    pool.backends[0].health_check = None;
    let snapshot = sample::snapshot(1, vec![pool]);
    let mut watch = Watch::new();
    watch.adopt(&snapshot, at(0));
    let first = snapshot.pools[0].backends[0].id();
    watch.failed(first, 2, "reset", at(0));
    watch.take_events();
    answer_probes(&mut watch, at(0), at(20), &refused());
    assert_eq!(
        read_events(&mut watch),
        [
            "127.0.0.1:2: healthy > unhealthy (3 probes failed: connection refused)",
            "127.0.0.1:1: ejected > healthy (no other backend of its pool is left)",
        ]
    );
    watch.failed(first, 2, "reset", at(21));
    assert!(read_events(&mut watch).is_empty());
    assert_eq!(watch.next_due(false), None);
}
