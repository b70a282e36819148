//! Tests of the start with a folder.

use std::path::PathBuf;

use super::*;
use crate::cache::facts::EntryFacts;
use crate::shared::cache::disk::record::{RunningSum, SUM_BYTES};
use crate::shared::cache::disk::{DiskSettings, DiskTier};

fn tier_of(name: &str) -> (PathBuf, DiskTier) {
    let name = format!("palantir-opening-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    let settings = DiskSettings {
        path: path.clone(),
        max_bytes: 64 << 20,
    };
    let (tier, _) = DiskTier::new(settings, 8 << 20);
    (path, tier)
}

fn name() -> RowName {
    RowName {
        hash: 7,
        variant: 1,
        stamp: 2,
    }
}

/// A folder with one segment and one record.
fn write_record(path: &std::path::Path) {
    let lock = take_lock(path).unwrap().unwrap();
    let mut folder = Folder::new(path, lock, 2);
    let first = folder.first_events(None);
    folder.begin_journal(&first).unwrap();
    let header = RecordHeader {
        kind: RecordKind::Entry { is_stale: false },
        lengths: [0; 5],
        body: 0,
        number: 1,
        hash: name().hash,
        variant: name().variant,
        stamp: name().stamp,
        facts: [0; EntryFacts::BYTES],
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.resize(header.total() as usize - SUM_BYTES, 0);
    bytes.extend_from_slice(&RunningSum::default().end().to_le_bytes());
    let segment = LogSegment::create(path, 1).unwrap();
    segment.append(&bytes).unwrap();
}

#[test]
fn the_record_of_an_entry_that_is_written_again_during_the_walk_is_struck_out() {
    let (path, tier) = tier_of("older");
    write_record(&path);
    let mut opened = open(&tier).unwrap().unwrap();
    let number = tier.rows.offer(name(), false, Some(0)).number.unwrap();
    while opened.scan(&tier).unwrap() {}
    let position = RecordPosition {
        segment: 1,
        offset: segments::SEGMENT_HEADER_BYTES as u32,
    };
    let hash = name().hash;
    assert_eq!(*tier.removals(), [RecordRemoval { hash, position }]);
    assert!(tier.rows.is_wanted(hash, number), "the new one counts");
    drop(opened);
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_folder_with_a_journal_of_others_is_left_alone() {
    let (path, tier) = tier_of("foreign");
    for file in [journal::JOURNAL, NEW_JOURNAL] {
        let file = path.join(file);
        fs::write(&file, "what somebody has written").unwrap();
        let error = open(&tier).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read(&file).unwrap(), b"what somebody has written");
        fs::remove_file(&file).unwrap();
    }
    // The journal of another version is of palantir, and so is one that was cut.
    for text in [&b"pal-jnl\xffmore"[..], b"pal", b""] {
        fs::write(path.join(journal::JOURNAL), text).unwrap();
        assert!(open(&tier).unwrap().is_some());
    }
    fs::remove_dir_all(&path).unwrap();
}
