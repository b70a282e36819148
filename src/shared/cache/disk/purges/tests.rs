//! Tests of the purges of the disk that wait for the journal.

use super::*;
use crate::shared::cache::budget::Budget;
use crate::shared::cache::fills::{Outcome, Wakers};

fn fill(number: u64) -> Arc<RunningFill> {
    let (wakers, budget) = (Wakers::new(1), Budget::new(1 << 20));
    Arc::new(RunningFill::new(
        number,
        (0, 0),
        Arc::new(wakers),
        Arc::new(budget),
    ))
}

fn add_many(purges: &DiskPurges, text: &[u8], count: usize) -> u64 {
    let mut most = 0;
    for _ in 0..count {
        purges.add(Purge::Url(text), PurgeEffect::Soft, || ());
        most = most.max(purges.state().bytes);
    }
    most
}

#[test]
fn too_many_purges_that_wait_become_one_of_everything() {
    let sizes = [
        (vec![b'x'; 100_000], 100),
        (b"x".to_vec(), 2 * limits::DISK_PURGES),
    ];
    for (text, count) in sizes {
        for is_early in [true, false] {
            let purges = DiskPurges::default();
            if !is_early {
                purges.begin(&[]);
            }
            let most = add_many(&purges, &text, count);
            assert!(most <= limits::DISK_PURGES_BYTES, "{most}");
            assert!(most > limits::DISK_PURGES_BYTES / 4, "{most}");
            if is_early {
                purges.begin(&[]);
            }
            let unwritten = purges.take_unwritten();
            assert!(unwritten.events.iter().any(Event::ends_all));
            assert!(unwritten.events.len() < count);
            assert_eq!(unwritten.ordered, count as u64);
            let of = Purgeable {
                key: b"any",
                tags: b"",
            };
            assert_eq!(purges.state_of(1, of), EntryState::Dead);
            // Events that are given back and those that have come meanwhile are bounded together.
            add_many(&purges, &text, 5);
            purges.give_back(unwritten.events);
            assert!(purges.state().bytes <= limits::DISK_PURGES_BYTES);
            purges.close();
            assert!(purges.state().bytes <= limits::DISK_PURGES_BYTES);
            purges.begin(&[]);
            let again = purges.take_unwritten();
            assert!(again.events.iter().any(Event::ends_all));
            assert_eq!(purges.state().bytes, 0);
        }
    }
}

#[test]
fn who_waits_no_longer_is_forgotten() {
    let purges = DiskPurges::default();
    purges.begin(&[]);
    let fills = [1, 2, 3].map(fill);
    for (at, fill) in fills.iter().enumerate() {
        purges.add(Purge::All, PurgeEffect::Hard, || ());
        purges.await_written(at as u64 + 1, fill.clone());
    }
    let before = purges.heap_bytes();
    purges.forget_waiting(2);
    assert_eq!(Arc::strong_count(&fills[1]), 1);
    let is_decided = || {
        fills
            .each_ref()
            .map(|fill| !matches!(fill.outcome(), Outcome::Undecided))
    };
    purges.note_written(2);
    assert_eq!(is_decided(), [true, false, false]);
    purges.give_up_waiting();
    assert_eq!(is_decided(), [true, false, true]);
    assert!(purges.heap_bytes() < before);
}
