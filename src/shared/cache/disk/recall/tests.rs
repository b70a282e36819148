//! Tests of the recalls of keys.

use super::*;
use crate::shared::cache::budget::Budget;
use crate::shared::cache::disk::rows::RowName;
use crate::shared::cache::disk::{DiskSettings, OPEN};
use crate::shared::cache::fills::Wakers;

#[test]
fn nobody_begins_to_wait_for_a_reading_that_hangs() {
    let settings = DiskSettings {
        path: "/nowhere".into(),
        max_bytes: 64 << 20,
    };
    let (mut tier, _ends) = DiskTier::new(settings, 8 << 20);
    tier.began -= Duration::from_millis(2 * limits::RECALL_MILLIS);
    tier.stage.store(OPEN, std::sync::atomic::Ordering::SeqCst);
    let hash = lasting_hash(b"key");
    let name = RowName {
        hash,
        variant: 1,
        stamp: 1,
    };
    tier.rows.offer(name, false, Some(0));
    let fill = || {
        let (wakers, budget) = (Wakers::new(1), Budget::new(1 << 20));
        RunningFill::new(1, (0, 0), Arc::new(wakers), Arc::new(budget))
    };
    let first = tier.recall(b"key", fill).unwrap();
    let second = tier.recall(b"key", fill).unwrap();
    assert!(Arc::ptr_eq(first.fill(), second.fill()), "one reading");
    tier.recalls.lock().unwrap().get_mut(&hash).unwrap().0 = 0;
    assert!(tier.recall(b"key", fill).is_none());
}
