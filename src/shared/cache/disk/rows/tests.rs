//! Tests of the index of the disk.

use super::*;

fn name(hash: u64, variant: u32, stamp: u32) -> RowName {
    RowName {
        hash,
        variant,
        stamp,
    }
}

fn at(segment: u32, offset: u32) -> RecordPosition {
    RecordPosition { segment, offset }
}

fn gone(hash: u64, position: RecordPosition) -> Option<RecordRemoval> {
    Some(RecordRemoval { hash, position })
}

/// Writes the entry of a name; the record that it replaces.
fn write(rows: &DiskRows, name: RowName, position: RecordPosition) -> Option<RecordRemoval> {
    let offered = rows.offer(name, false, Some(0));
    assert!(rows.set_written(name.hash, offered.number.unwrap(), position, 64));
    offered.replaced
}

#[test]
fn an_entry_is_found_once_it_is_offered_and_no_longer_when_it_is_removed() {
    let rows = DiskRows::default();
    rows.end_scan();
    assert!(!rows.has(1));
    assert_eq!(write(&rows, name(1, 1, 1), at(1, 16)), None);
    assert_eq!(write(&rows, name(1, 2, 1), at(1, 80)), None);
    assert!(rows.has(1) && !rows.has(2));
    let positions: Vec<_> = rows.absent(1).iter().map(|row| row.position).collect();
    assert_eq!(positions, [at(1, 80), at(1, 16)], "the newest first");
    assert_eq!(rows.remove(1, 1), gone(1, at(1, 16)));
    assert_eq!(rows.remove(1, 1), None);
    assert_eq!(rows.remove_key(1).pop(), gone(1, at(1, 80)));
    assert!(!rows.has(1));
    assert_eq!(rows.len(), 0);
}

#[test]
fn an_entry_that_is_removed_while_it_waits_is_not_written() {
    let rows = DiskRows::default();
    let number = rows.offer(name(1, 1, 1), false, Some(0)).number.unwrap();
    assert!(rows.has(1) && rows.is_wanted(1, number));
    assert!(rows.remove_key(1).is_empty(), "there is no record yet");
    assert!(!rows.is_wanted(1, number));
    assert!(!rows.set_written(1, number, at(1, 16), 64));
    let number = rows.offer(name(1, 1, 1), false, Some(0)).number.unwrap();
    rows.forget_queued(1, number);
    assert!(!rows.has(1));
}

#[test]
fn a_record_stands_while_its_entry_is_in_memory_unless_the_entry_has_changed() {
    let rows = DiskRows::default();
    write(&rows, name(1, 1, 7), at(3, 16));
    assert!(rows.set_in_memory(1, at(3, 16)));
    assert!(!rows.has(1), "memory has the entry");
    let stands = Offered {
        number: None,
        replaced: None,
        stands: true,
    };
    assert_eq!(rows.offer(name(1, 1, 7), false, Some(3)), stands);
    assert!(rows.has(1));
    assert!(!rows.set_in_memory(1, at(4, 16)), "that is another record");
    // The record does not say that the entry is stale.
    assert!(rows.set_in_memory(1, at(3, 16)));
    let stale = rows.offer(name(1, 1, 7), true, Some(3));
    assert_eq!(stale.replaced, gone(1, at(3, 16)));
    assert!(rows.set_written(1, stale.number.unwrap(), at(3, 16), 64));
    // The segment will be dropped soon.
    assert!(rows.set_in_memory(1, at(3, 16)));
    let again = rows.offer(name(1, 1, 7), false, Some(4));
    assert!(again.number.is_some());
    assert_eq!(again.replaced, gone(1, at(3, 16)));
    // Another response.
    assert!(rows.set_written(1, again.number.unwrap(), at(5, 16), 64));
    assert!(rows.set_in_memory(1, at(5, 16)));
    assert_eq!(
        rows.offer(name(1, 1, 8), false, Some(0)).replaced,
        gone(1, at(5, 16))
    );
}

#[test]
fn old_records_give_way_to_newer_ones_and_to_removals() {
    let rows = DiskRows::default();
    let old = |hash, variant, position| Row::written(name(hash, variant, 1), position, 64);
    assert_eq!(rows.add_scanned(old(1, 1, at(2, 16))), Scanned::Added);
    assert_eq!(rows.add_scanned(old(1, 1, at(1, 16))), Scanned::Older);
    assert_eq!(rows.len(), 1);
    // Written by this process.
    write(&rows, name(2, 1, 1), at(9, 16));
    assert_eq!(rows.add_scanned(old(2, 1, at(2, 80))), Scanned::Older);
    rows.offer(name(4, 1, 1), false, Some(0));
    assert_eq!(rows.add_scanned(old(4, 1, at(2, 80))), Scanned::Older);
    // Removed by this process.
    rows.remove_key(3);
    assert_eq!(rows.add_scanned(old(3, 1, at(2, 160))), Scanned::Removed);
    rows.end_scan();
    rows.remove_record(1, at(1, 16));
    assert!(rows.has(1), "the other record counts");
    rows.remove_record(1, at(2, 16));
    assert!(!rows.has(1));
}

#[test]
fn with_too_many_early_removals_no_old_record_counts() {
    let rows = DiskRows::default();
    for hash in 0..2 * limits::DISK_REMOVALS as u64 {
        rows.remove_key(hash);
    }
    let old = Row::written(name(u64::MAX, 1, 1), at(1, 16), 64);
    assert_eq!(rows.add_scanned(old), Scanned::Removed);
}

#[test]
fn the_records_of_a_segment_are_forgotten_together() {
    let rows = DiskRows::default();
    for hash in 0..1_000 {
        write(
            &rows,
            name(hash, 1, 1),
            at(1 + (hash % 2) as u32, 16 * hash as u32),
        );
    }
    let before = rows.heap_bytes();
    rows.forget_segment(1);
    assert_eq!(rows.len(), 500);
    assert!((0..1_000).all(|hash| rows.has(hash) == (hash % 2 == 1)));
    rows.forget_segment(2);
    assert_eq!(rows.len(), 0);
    assert!(rows.heap_bytes() < before);
}
