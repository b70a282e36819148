//! The tier of the cache on disk: what leaves memory is written to segments, and read into memory again when it is
//! asked for. Workers never touch a file: they look into the index, and leave the rest to threads.
//!
//! Every change of a key's entries in memory and on disk is made under the lock of the key's shard in memory, so that
//! both tell the same. A record that does not count any more is removed by another record behind it; a purge stands in
//! the journal.

mod append;
pub mod counters;
mod folder;
mod journal;
mod opening;
mod purges;
mod recall;
mod record;
mod rows;
mod segments;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use tracing::warn;

#[cfg(test)]
pub use self::journal::of_another_start;

use self::counters::{DiskCounters, DiskUsage, count};
use self::purges::DiskPurges;
use self::recall::Recall;
use self::record::{RecordRemoval, RunningSum, lasting_hash};
use self::rows::{DiskRows, RowName};
use self::segments::{FolderBounds, LogSegments};
use super::entry::Entry;
use super::fills::RunningFill;
use super::purges::{Purge, PurgeEffect};
use crate::base::limits;

/// How a tier on disk is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// The folder.
    pub path: PathBuf,
    /// Bytes that all files may take.
    pub max_bytes: u64,
}

/// The folder is not in use.
const CLOSED: u8 = 0;
/// Old records are being looked at.
const SCANNING: u8 = 1;
/// The folder is in use.
const OPEN: u8 = 2;

/// The folder is to be used.
const USE: u8 = 0;
/// The folder is another process's.
const SUSPEND: u8 = 1;
/// The process ends.
const END: u8 = 2;

/// The tier on disk, as all threads share it.
#[derive(Debug)]
pub struct DiskTier {
    path: PathBuf,
    bounds: FolderBounds,
    rows: DiskRows,
    most_rows: u64,
    segments: LogSegments,
    purges: DiskPurges,
    /// The records that do not count any more, which no record says yet.
    removals: Mutex<Vec<RecordRemoval>>,
    /// There were too many removals: nothing that was written counts any more.
    is_doubtful: AtomicBool,
    stage: AtomicU8,
    order: AtomicU8,
    /// No entry is taken before this instant, in milliseconds since the start of the tier.
    paused_until: AtomicU64,
    began: Instant,
    /// The folder cannot be used.
    has_failed: AtomicBool,
    /// No line of the log tells of a failure before this instant, in milliseconds since the start of the tier.
    next_line: AtomicU64,
    queue: Sender<Command>,
    queued: AtomicU64,
    most_queued: u64,
    /// The keys that are being read, each with when that began, in milliseconds since the start of the tier.
    recalls: Mutex<HashMap<u64, (u64, Arc<RunningFill>)>>,
    recall_queue: Sender<Recall>,
    counters: DiskCounters,
    /// The thread that writes says here that it has ended.
    ended: Receiver<()>,
}

/// A command to the thread that writes.
#[derive(Debug)]
enum Command {
    /// An entry has left memory.
    Write(EvictedEntry),
    /// There is something else to do.
    Look,
}

/// An entry that has left memory and waits to be written.
#[derive(Debug)]
pub struct EvictedEntry {
    entry: Arc<Entry>,
    name: RowName,
    /// The number of the row.
    row: u32,
    /// The number of the last purge of the disk that the entry was compared with.
    purge: u64,
    is_stale: bool,
    cost: u64,
}

/// An entry that is going to leave memory.
#[derive(Clone, Copy, Debug)]
pub struct DiskOffer {
    name: RowName,
    /// The number of the last purge of the disk that the entry was compared with.
    pub purge: u64,
    /// Whether a soft purge has made the entry stale.
    pub is_stale: bool,
    /// Whether the entry is worth a record.
    pub is_worth: bool,
}

/// The ends of the channels that the threads have.
struct ThreadEnds {
    commands: Receiver<Command>,
    recalls: Receiver<Recall>,
    /// Dropped when the thread that writes has ended.
    end: Sender<()>,
}

/// The hash of a variant by which the disk knows it.
fn variant_hash(variant: &[u8]) -> u32 {
    lasting_hash(variant) as u32
}

/// The name of an entry.
fn name_of(entry: &Entry) -> RowName {
    let mut sum = RunningSum::default();
    sum.add(&entry.facts().to_bytes());
    sum.add(&entry.body_len().to_le_bytes());
    sum.add(entry.head());
    RowName {
        hash: lasting_hash(entry.key()),
        variant: variant_hash(entry.variant()),
        stamp: sum.end() as u32,
    }
}

impl DiskTier {
    /// A tier beside a memory of so many bytes.
    fn new(settings: DiskSettings, memory_bytes: u64) -> (DiskTier, ThreadEnds) {
        let (queue, commands) = crossbeam_channel::bounded(limits::DISK_QUEUE);
        let (recall_queue, recalls) = crossbeam_channel::bounded(limits::RECALLS);
        let (end, ended) = crossbeam_channel::bounded(0);
        let queued = memory_bytes / limits::DISK_QUEUE_PART;
        let tier = DiskTier {
            path: settings.path,
            bounds: FolderBounds::of(settings.max_bytes, memory_bytes),
            rows: DiskRows::default(),
            most_rows: memory_bytes / limits::DISK_INDEX_PART / limits::DISK_ROW_BYTES,
            segments: LogSegments::default(),
            purges: DiskPurges::default(),
            removals: Mutex::default(),
            is_doubtful: AtomicBool::new(false),
            stage: AtomicU8::new(CLOSED),
            order: AtomicU8::new(USE),
            paused_until: AtomicU64::new(0),
            began: Instant::now(),
            has_failed: AtomicBool::new(false),
            next_line: AtomicU64::new(0),
            queue,
            queued: AtomicU64::new(0),
            most_queued: queued.clamp(limits::DISK_QUEUE_BYTES_LEAST, limits::DISK_QUEUE_BYTES),
            recalls: Mutex::default(),
            recall_queue,
            counters: DiskCounters::default(),
            ended,
        };
        let ends = ThreadEnds {
            commands,
            recalls,
            end,
        };
        (tier, ends)
    }

    fn is_open(&self) -> bool {
        self.stage.load(Acquire) != CLOSED
    }

    fn millis(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Takes no entries for a while, because a write has failed.
    fn pause(&self) {
        let until = self.millis() + limits::DISK_PAUSE_MILLIS;
        self.paused_until.store(until, Relaxed);
    }

    /// Counts a failure, and has the log tell of it, once in a while.
    fn tell(&self, error: &io::Error) {
        count(&self.counters.errors);
        let now = self.millis();
        let due = self.next_line.load(Relaxed);
        let next = now + limits::DISK_LOG_MILLIS;
        let take = || self.next_line.compare_exchange(due, next, Relaxed, Relaxed);
        if now >= due && take().is_ok() {
            let path = self.path.display();
            warn!("cache: the folder {path} cannot be used as it should: {error}");
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until.load(Relaxed) > self.millis()
    }

    /// The purges that records are compared with.
    pub(super) fn purges(&self) -> &DiskPurges {
        &self.purges
    }

    /// Bytes of the entries that wait to be written.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Bytes that are to be free or to wait to be written: half of what may wait, so that what goes at once beyond
    /// them finds room, too.
    pub(super) fn headroom(&self) -> u64 {
        self.most_queued / 2
    }

    /// Whether an entry of so many bytes can wait to be written.
    fn has_room(&self, cost: u64) -> bool {
        let queued = self.queued.load(Relaxed);
        let fits = queued == 0 || queued + cost <= self.most_queued;
        fits && cost <= self.bounds.record && self.is_open() && !self.is_paused()
    }

    /// The disk's knowledge of an entry that is going to leave memory. The caller compares the entry with the purges of
    /// memory afterwards.
    pub(super) fn offer_of(&self, entry: &Entry) -> DiskOffer {
        DiskOffer {
            name: name_of(entry),
            purge: self.purges.number(),
            is_stale: false,
            is_worth: true,
        }
    }

    /// Notes that an entry leaves memory. For a caller that has the lock of the entry's shard. The result is to be
    /// given to [`DiskTier::write_later`].
    pub(super) fn take_offer(
        &self,
        entry: &Arc<Entry>,
        leaving: DiskOffer,
    ) -> Option<EvictedEntry> {
        let DiskOffer {
            name,
            purge,
            is_stale,
            is_worth,
        } = leaving;
        let cost = entry.cost();
        let is_wanted = is_worth && self.has_room(cost);
        let kept = is_wanted.then(|| self.segments.kept_from());
        let offered = self.rows.offer(name, is_stale, kept);
        self.remove_all(offered.replaced);
        match offered.number {
            Some(row) => {
                self.queued.fetch_add(cost, Relaxed);
                let entry = entry.clone();
                Some(EvictedEntry {
                    entry,
                    name,
                    row,
                    purge,
                    is_stale,
                    cost,
                })
            }
            None if offered.stands => {
                count(&self.counters.unchanged);
                None
            }
            None => {
                if is_worth && self.order.load(Relaxed) == USE {
                    count(&self.counters.dropped);
                }
                None
            }
        }
    }

    /// Lets an entry be written. Where too many wait, the entry is dropped.
    pub(super) fn write_later(&self, evicted: EvictedEntry) {
        if let Err(error) = self.queue.try_send(Command::Write(evicted))
            && let Command::Write(evicted) = error.into_inner()
        {
            self.give_up(&evicted);
        }
    }

    /// Forgets an entry that waits to be written.
    fn give_up(&self, evicted: &EvictedEntry) {
        self.rows.forget_queued(evicted.name.hash, evicted.row);
        self.queued.fetch_sub(evicted.cost, Relaxed);
        count(&self.counters.dropped);
    }

    /// Removes the record of a response that has ended or that a newer one takes the place of. For a caller that has
    /// the lock of the entry's shard.
    pub(super) fn remove(&self, key: &[u8], variant: &[u8]) {
        let hash = lasting_hash(key);
        self.remove_all(self.rows.remove(hash, variant_hash(variant)));
    }

    /// Removes all records of a key. For a caller that has the lock of the key's shard.
    pub(super) fn remove_key(&self, key: &[u8]) {
        self.remove_all(self.rows.remove_key(lasting_hash(key)));
    }

    fn remove_all(&self, records: impl IntoIterator<Item = RecordRemoval>) {
        let mut records = records.into_iter().peekable();
        if records.peek().is_none() {
            return;
        }
        let mut removals = self.removals();
        if removals.len() >= limits::DISK_REMOVALS {
            self.is_doubtful.store(true, Release);
        } else {
            removals.extend(records);
        }
        drop(removals);
        self.wake();
    }

    fn removals(&self) -> MutexGuard<'_, Vec<RecordRemoval>> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread that writes. Where many commands wait, the thread looks before it takes the next one.
    fn wake(&self) {
        let _ = self.queue.try_send(Command::Look);
    }

    /// Whether it makes no sense to wait for the journal: the folder cannot be used, or is another process's, which
    /// does not say when it has written what it was told.
    pub(super) fn is_hopeless(&self) -> bool {
        self.has_failed.load(Acquire)
            || match self.order.load(Acquire) {
                USE => false,
                END => self.has_ended(),
                _ => true,
            }
    }

    /// Makes everything stale that is on the disk, since a purge may have been missed.
    pub(super) fn doubt_all<T>(&self, add: impl FnOnce() -> T) -> T {
        self.purge(Purge::All, PurgeEffect::Soft, add)
    }

    /// Adds a purge, which `add` adds to the purges of memory; returns the result of that.
    pub(super) fn purge<T>(
        &self,
        purge: Purge<'_>,
        effect: PurgeEffect,
        add: impl FnOnce() -> T,
    ) -> T {
        let added = self.purges.add(purge, effect, add);
        self.wake();
        added
    }

    /// The number of purges that were ordered, if some of them are not in the journal yet.
    pub(super) fn unsynced(&self) -> Option<u64> {
        self.purges.unsynced()
    }

    /// Whether there is an entry of a key that is not in memory.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.is_open() && self.rows.has(hash)
    }

    /// Whether there may be an entry of a key that is not in memory.
    pub(super) fn has_key(&self, key: &[u8]) -> bool {
        self.stage.load(Acquire) == SCANNING || self.has(lasting_hash(key))
    }

    /// Leaves the folder to another process.
    pub(super) fn suspend(&self) {
        let _ = self.order.compare_exchange(USE, SUSPEND, AcqRel, Acquire);
        self.purges.give_up_waiting();
        self.wake();
    }

    /// Uses the folder again.
    pub(super) fn resume(&self) {
        let _ = self.order.compare_exchange(SUSPEND, USE, AcqRel, Acquire);
        self.wake();
    }

    /// Lets what is in memory be written, within a bound, and the folder be given up.
    pub(super) fn begin_end(&self) {
        self.order.store(END, Release);
        self.wake();
    }

    /// Whether that is done.
    pub(super) fn has_ended(&self) -> bool {
        // The thread sends nothing: the channel ends with the thread.
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// The counts and sizes.
    pub(super) fn usage(&self) -> DiskUsage {
        DiskUsage {
            is_open: self.is_open(),
            is_scanned: self.stage.load(Acquire) == OPEN,
            max_bytes: self.bounds.most,
            entries: self.rows.len(),
            queued_bytes: self.queued.load(Relaxed),
            ..self.counters.usage()
        }
    }
}

impl super::CacheStore {
    /// Adds a tier on disk, which is used as soon as no other process has its folder. Errors: no thread can be started.
    pub fn add_disk(self: &Arc<Self>, settings: DiskSettings) -> io::Result<()> {
        let (tier, ends) = DiskTier::new(settings, self.max_bytes);
        let tier = Arc::new(tier);
        // The threads hear what another process tells, which concerns the disk, too: the store knows the disk by then.
        let _ = self.disk.set(tier.clone());
        let writer = writer::DiskWriter::new(tier.clone(), Arc::downgrade(self), ends.commands);
        let end = ends.end;
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("cache-disk").spawn(move || {
            writer.run();
            drop(end);
        })?;
        for _ in 0..limits::RECALL_THREADS {
            let reader = recall::DiskReader::new(tier.clone(), Arc::downgrade(self));
            let recalls = ends.recalls.clone();
            named("cache-recall").spawn(move || reader.run(&recalls))?;
        }
        // So does what was told since the memory came from there.
        self.hear();
        Ok(())
    }
}
