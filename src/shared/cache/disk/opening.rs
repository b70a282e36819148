//! The start with a folder: what of it may be used, and the walk through its segments.
//!
//! Where something is missing that a removal may have been in, the responses of the folder are validated before they
//! are used. Where a purge may be missing, nothing of the folder is used.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use super::folder::{Folder, machine_start, take_lock};
use super::journal::{self, Event, NEW_JOURNAL};
use super::record::{RecordHeader, RecordKind, RecordPosition, RecordRemoval};
use super::rows::{Row, RowName, Scanned};
use super::segments::{self, LogSegment, WalkEnd};
use super::{DiskTier, SCANNING, count};

/// A folder whose records are not known yet.
#[derive(Debug)]
pub struct OpenedFolder {
    /// The folder.
    pub folder: Folder,
    /// The segments that are to be looked through, the newest at the end.
    pub unread: Vec<Arc<LogSegment>>,
    /// The number of the newest segment.
    newest: u32,
    /// The records that do not count, by what was seen behind them.
    removed: HashSet<RecordPosition>,
    /// Whether the last process has ended in good order.
    is_clean: bool,
}

/// The records of a folder cannot be used, since purges are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusableFolder;

/// The files of a folder.
struct FoundFiles {
    segments: Vec<Arc<LogSegment>>,
    /// The number of the last segment that there was.
    last: u32,
    /// Whether something is missing.
    is_doubtful: bool,
}

/// Opens the folder of a tier; `None`: another process has it. Errors: the folder cannot be used now.
pub fn open(tier: &DiskTier) -> io::Result<Option<OpenedFolder>> {
    let Some(lock) = take_lock(&tier.path)? else {
        return Ok(None);
    };
    let mut numbers = own_segments(tier)?;
    if numbers.is_empty() && journal::is_foreign(&tier.path)? {
        let why =
            "the file `journal` in there is not of palantir: another folder has to be configured";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    segments::remove_named(&tier.path.join(NEW_JOURNAL))?;
    let most = tier.bounds.journal * 2;
    let bytes = journal::read(&tier.path, most)?;
    let read = bytes.as_deref().map(journal::events);
    let last = numbers.last().copied().unwrap_or_default();
    let known = |events: &Vec<Event>| last_segment(events) >= last;
    let events = match read {
        Some(Ok(events)) if known(&events) => events,
        // Without all purges nothing may be used.
        _ => {
            for number in numbers.drain(..) {
                count(&tier.counters.damaged);
                segments::remove_file(&tier.path, number)?;
            }
            vec![Event::Segment(last)]
        }
    };
    begin(tier, lock, &numbers, &events).map(Some)
}

/// The numbers of the segments in the folder, in their order.
fn own_segments(tier: &DiskTier) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(&tier.path)? {
        let name = file?.file_name();
        numbers.extend(name.to_str().and_then(segments::number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn last_segment(events: &[Event]) -> u32 {
    let numbers = events.iter().filter_map(|event| match event {
        Event::Segment(number) => Some(*number),
        _ => None,
    });
    numbers.max().unwrap_or_default()
}

fn begin(
    tier: &DiskTier,
    lock: File,
    numbers: &[u32],
    events: &[Event],
) -> io::Result<OpenedFolder> {
    let FoundFiles {
        segments,
        last,
        is_doubtful,
    } = find_files(tier, numbers, events)?;
    let newest = segments
        .last()
        .map_or((0, 0), |last| (last.number, last.bytes()));
    let clean = events.last().and_then(|event| match event {
        Event::Clean(number, bytes) => Some((*number, *bytes)),
        _ => None,
    });
    let is_clean = clean.is_some_and(|(number, bytes)| number == 0 || (number, bytes) == newest);
    let started = events.iter().rev().find_map(|event| match event {
        Event::Opened(start) => Some(*start),
        _ => None,
    });
    // A machine that has ended without the process may have lost what was written last.
    let is_torn = clean.is_some() != is_clean || (!is_clean && started != Some(machine_start()));
    tier.purges.begin(events);
    if !segments.is_empty() && (is_doubtful || is_torn) {
        tier.purges.add_doubt();
    }
    let next = last.checked_add(1).ok_or(ErrorKind::StorageFull)?;
    let mut folder = Folder::new(&tier.path, lock, next);
    folder.take_zones(events);
    if !is_clean {
        // The process that was killed has not synced what it wrote last.
        folder.unsynced.insert(newest.0);
    }
    begin_journal(tier, &mut folder, events)?;
    for segment in &segments {
        tier.segments.add(segment.clone());
    }
    while tier.segments.cost() > tier.bounds.of_segments() && folder.drop_oldest(tier)? {}
    let unread = tier.segments.all();
    folder.count_bytes(tier);
    tier.has_failed.store(false, Release);
    tier.stage.store(SCANNING, Release);
    Ok(OpenedFolder {
        folder,
        unread,
        newest: newest.0,
        removed: HashSet::new(),
        is_clean,
    })
}

fn find_files(tier: &DiskTier, numbers: &[u32], events: &[Event]) -> io::Result<FoundFiles> {
    let mut found = FoundFiles {
        segments: Vec::new(),
        last: last_segment(events),
        is_doubtful: false,
    };
    for &number in numbers {
        match LogSegment::open(&tier.path, number)? {
            Some(segment) => found.segments.push(Arc::new(segment)),
            None => {
                // The file is of another version, or was cut.
                count(&tier.counters.damaged);
                segments::remove_file(&tier.path, number)?;
            }
        }
    }
    let first = found.segments.first().map(|first| first.number);
    let expected = first.map_or(0, |first| found.last - first + 1);
    found.is_doubtful = expected as usize != found.segments.len();
    Ok(found)
}

/// Makes the journal anew with the purges of the old one, and those that have come since the start.
fn begin_journal(tier: &DiskTier, folder: &mut Folder, events: &[Event]) -> io::Result<()> {
    let floor = events.iter().filter_map(|event| match event {
        Event::Floor(number) => Some(*number),
        _ => None,
    });
    let mut kept = folder.first_events(floor.max());
    let is_purge = |event: &&Event| matches!(event, Event::Purge(..));
    kept.extend(events.iter().filter(is_purge).cloned());
    let new = tier.purges.take_unwritten();
    kept.extend(new.events.iter().cloned());
    if let Err(error) = folder.begin_journal(&kept) {
        tier.purges.give_back(new.events);
        return Err(error);
    }
    tier.purges.note_written(new.ordered);
    Ok(())
}

impl OpenedFolder {
    /// Adds the records of the newest segment that was not looked through to the index; false: there is none. A record
    /// that is added counts, since all newer ones were seen before. Errors: nothing of the folder may be used.
    pub fn scan(&mut self, tier: &DiskTier) -> Result<bool, UnusableFolder> {
        let Some(segment) = self.unread.pop() else {
            return Ok(false);
        };
        // The segment may have been dropped for a new one.
        if tier.segments.get(segment.number).is_none() {
            return Ok(true);
        }
        let newest = tier.purges.number();
        let (mut records, mut is_usable) = (Vec::new(), true);
        let walked = segment.walk(|position, header| {
            is_usable &= header.number <= newest;
            if !matches!(header.kind, RecordKind::Removal(_)) {
                segment.note_purge(header.number);
            }
            records.push(record_of(position, header));
        });
        if !is_usable {
            return Err(UnusableFolder);
        }
        records
            .into_iter()
            .rev()
            .for_each(|record| self.add(tier, record));
        match walked {
            Ok(WalkEnd::Whole) => {}
            // The process was killed while it wrote.
            Ok(WalkEnd::Cut(end)) if segment.number == self.newest && !self.is_clean => {
                if segment.cut(end).is_err() {
                    count(&tier.counters.errors);
                }
            }
            Ok(WalkEnd::Cut(_) | WalkEnd::Damaged(_)) => {
                count(&tier.counters.damaged);
                tier.purges.add_doubt();
            }
            Err(_) => {
                count(&tier.counters.errors);
                tier.purges.add_doubt();
            }
        }
        Ok(true)
    }

    fn add(&mut self, tier: &DiskTier, record: FoundRecord) {
        match record {
            FoundRecord::Removal(of) => {
                self.removed.insert(of);
            }
            FoundRecord::Entry(row) if self.removed.remove(&row.position) => {}
            FoundRecord::Entry(row) => {
                let Row { hash, position, .. } = row;
                // The record would count again if the newer one were removed and the folder looked through anew.
                if tier.rows.add_scanned(row) != Scanned::Added {
                    tier.removals().push(RecordRemoval { hash, position });
                }
            }
        }
    }
}

/// A record of a segment.
enum FoundRecord {
    Entry(Row),
    Removal(RecordPosition),
}

fn record_of(position: RecordPosition, header: &RecordHeader) -> FoundRecord {
    match header.kind {
        RecordKind::Removal(of) => FoundRecord::Removal(of),
        RecordKind::Entry { .. } => {
            let name = RowName {
                hash: header.hash,
                variant: header.variant,
                stamp: header.stamp,
            };
            FoundRecord::Entry(Row::written(name, position, header.total() as u32))
        }
    }
}

#[cfg(test)]
mod tests;
