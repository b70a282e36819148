//! The folder of the tier while this process has it: its lock, its journal, and the segment that grows.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use rustix::fs::{FlockOperation, flock};

use super::journal::{self, Event, Journal};
use super::record::{RecordPosition, RecordRemoval, lasting_hash};
use super::segments::{self, LogSegment};
use super::{DiskTier, OPEN, count};
use crate::cache::key::Key;

/// The name of the file whose lock says which process has the folder.
pub const LOCK: &str = "lock";

/// The folder of the tier.
#[derive(Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    /// The lock lasts for as long as the file is open.
    _lock: File,
    journal: Option<Journal>,
    /// The segment that grows.
    pub(super) current: Option<Arc<LogSegment>>,
    /// The segments that were not synced since they were made.
    pub(super) unsynced: BTreeSet<u32>,
    /// Bytes that were written to the segment that grows since it was synced.
    pub(super) dirty: u64,
    /// The number of the next segment.
    pub(super) next: u32,
    /// The records behind the segment that were not written yet.
    pub(super) buffer: Vec<u8>,
    /// Where the record begins that is being appended.
    pub(super) open: u64,
    /// The records that are whole, and were not written to their end yet.
    pub(super) appended: Vec<Appended>,
    /// The zones of the records.
    zones: BTreeSet<Box<str>>,
}

/// A record that was appended.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// The content.
    pub content: Content,
    /// Where the record begins.
    pub position: RecordPosition,
    /// Bytes of the record.
    pub length: u32,
}

/// The content of a record.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// The entry whose key has this hash and whose row has this number.
    Entry(u64, u32),
    /// The removal of another record.
    Removal(RecordRemoval),
}

/// Makes the folder if it is absent, and takes its lock; `None`: another process has it. Errors: the folder cannot be
/// used.
pub fn take_lock(path: &Path) -> io::Result<Option<File>> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).mode(0o600);
    let file = options
        .custom_flags(libc::O_NOFOLLOW)
        .open(path.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The number of the start of the machine: two processes with one number have the same memory of files.
pub fn machine_start() -> u64 {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    lasting_hash(&id)
}

impl Folder {
    /// The folder of a tier, whose lock this process has. `next` is the number of the next segment.
    pub fn new(path: &Path, lock: File, next: u32) -> Folder {
        Folder {
            path: path.to_owned(),
            _lock: lock,
            journal: None,
            current: None,
            unsynced: BTreeSet::new(),
            dirty: 0,
            next,
            buffer: Vec::new(),
            open: 0,
            appended: Vec::new(),
            zones: BTreeSet::new(),
        }
    }

    /// Makes the journal anew with these events. Errors: the disk cannot take it.
    pub fn begin_journal(&mut self, events: &[Event]) -> io::Result<()> {
        self.journal = Some(Journal::create(&self.path, events)?);
        Ok(())
    }

    /// Appends events to the journal. Errors: the disk cannot take them.
    pub fn note(&mut self, events: &[Event], is_synced: bool) -> io::Result<()> {
        let journal = self.journal.as_mut().ok_or(ErrorKind::NotFound)?;
        journal.append(events, is_synced)
    }

    /// Whether the journal has grown so much that it should be made anew.
    pub fn has_grown(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_grown)
    }

    /// Makes the journal anew, without the purges that no record is older than. Errors: the disk cannot take it.
    pub fn shorten_journal(&mut self, tier: &DiskTier) -> io::Result<()> {
        let bytes = journal::read(&self.path, tier.bounds.journal * 2)?.unwrap_or_default();
        let Ok(events) = journal::events(&bytes) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let oldest = tier.oldest_purge();
        let floor = events.iter().filter_map(|event| match event {
            Event::Floor(number) => Some(*number),
            _ => None,
        });
        let floor = floor.max();
        let mut kept = self.first_events(floor);
        kept.extend(events.into_iter().filter(|event| match event {
            Event::Purge(number, ..) => *number > oldest,
            _ => false,
        }));
        // The number of the last purge stays known although the purge is forgotten.
        if floor.is_none_or(|floor| floor < oldest) {
            kept.insert(0, Event::Floor(oldest));
        }
        self.begin_journal(&kept)?;
        tier.purges.forget(oldest);
        if self.journal_bytes() > tier.bounds.journal / 2 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }

    /// The events at the beginning of a journal.
    pub fn first_events(&self, floor: Option<u64>) -> Vec<Event> {
        let mut events = vec![
            Event::Opened(machine_start()),
            Event::Segment(self.next.saturating_sub(1)),
        ];
        events.extend(floor.map(Event::Floor));
        events.extend(self.zones.iter().cloned().map(Event::Zone));
        events
    }

    /// Takes over the zones of an earlier journal.
    pub fn take_zones(&mut self, events: &[Event]) {
        self.zones
            .extend(events.iter().filter_map(|event| match event {
                Event::Zone(name) => Some(name.clone()),
                _ => None,
            }));
    }

    /// The names of the zones that records may be of.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().map(|name| &**name)
    }

    /// Notes the zone of a record that is going to be made, so that a purge of all zones concerns the record. Errors:
    /// the disk cannot take it.
    pub fn note_zone(&mut self, key: &[u8]) -> io::Result<()> {
        let zone = Key::read(key).and_then(|key| std::str::from_utf8(key.zone).ok());
        if let Some(zone) = zone.filter(|zone| !self.zones.contains(*zone)) {
            self.note(&[Event::Zone(zone.into())], false)?;
            self.zones.insert(zone.into());
        }
        Ok(())
    }

    /// Bytes of the journal.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::bytes)
    }

    /// Removes all segments, and makes the journal anew: nothing of the folder counts any more. Errors: the disk fails,
    /// and what is there must not be used.
    pub fn give_up_all(&mut self, tier: &DiskTier) -> io::Result<()> {
        self.discard(tier);
        self.let_go();
        self.unsynced.clear();
        for segment in tier.segments.all() {
            tier.rows.forget_segment(segment.number);
            segments::remove_file(&self.path, segment.number)?;
            tier.segments.remove(segment.number);
        }
        File::open(&self.path)?.sync_all()?;
        let events = self.first_events(Some(tier.purges.number()));
        self.begin_journal(&events)
    }

    /// Removes the oldest segment; false: there is none but the one that grows. Errors: the disk fails.
    pub fn drop_oldest(&mut self, tier: &DiskTier) -> io::Result<bool> {
        let Some(oldest) = tier.segments.oldest() else {
            return Ok(false);
        };
        if self.is_current(oldest) {
            return Ok(false);
        }
        self.drop_segment(tier, oldest)?;
        count(&tier.counters.dropped_segments);
        Ok(true)
    }

    /// Removes a segment. Errors: the disk fails.
    pub fn drop_segment(&mut self, tier: &DiskTier, number: u32) -> io::Result<()> {
        if self.is_current(number) {
            self.discard(tier);
            self.let_go();
        }
        self.unsynced.remove(&number);
        tier.rows.forget_segment(number);
        segments::remove_file(&self.path, number)?;
        tier.segments.remove(number);
        self.count_bytes(tier);
        Ok(())
    }

    /// Nothing is appended to the segment that grows any more.
    pub(super) fn let_go(&mut self) -> Option<Arc<LogSegment>> {
        let current = self.current.take()?;
        self.dirty = 0;
        current.end_growth();
        Some(current)
    }

    fn is_current(&self, number: u32) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.number == number)
    }

    /// Forgets the records that were appended and not written; removals wait again.
    pub fn discard(&mut self, tier: &DiskTier) {
        self.buffer.clear();
        for appended in self.appended.drain(..) {
            match appended.content {
                Content::Entry(hash, row) => {
                    tier.rows.forget_queued(hash, row);
                    count(&tier.counters.dropped);
                }
                Content::Removal(removal) => tier.removals().push(removal),
            }
        }
    }

    /// Counts the bytes of all files.
    pub fn count_bytes(&self, tier: &DiskTier) {
        let journal = self.journal_bytes().next_multiple_of(4_096);
        let bytes = tier.segments.cost() + journal;
        tier.counters.bytes.store(bytes, Relaxed);
    }

    /// Ends in good order: what is there is synced, and the journal says so. Errors: the disk fails.
    pub fn end(&mut self, tier: &DiskTier) -> io::Result<()> {
        self.flush(tier)?;
        for number in std::mem::take(&mut self.unsynced) {
            if let Some(segment) = tier.segments.get(number) {
                segment.sync()?;
            }
        }
        File::open(&self.path)?.sync_all()?;
        let current = self.current.as_ref();
        let (number, bytes) = current.map_or((0, 0), |current| (current.number, current.bytes()));
        self.note(&[Event::Clean(number, bytes)], true)
    }
}

impl DiskTier {
    /// The lowest number that a record may have.
    pub(super) fn oldest_purge(&self) -> u64 {
        if self.stage.load(Acquire) != OPEN {
            return 0;
        }
        let segments = self.segments.all();
        let oldest = segments.iter().map(|segment| segment.first_purge()).min();
        oldest.unwrap_or(u64::MAX).min(self.purges.number())
    }
}
