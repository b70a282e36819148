//! The threads that read: a record comes into memory again as an entry, unless something has ended the response.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::record::{
    HEADER_BYTES, RecordHeader, RecordKind, RecordRemoval, RunningSum, SUM_BYTES, lasting_hash,
    u64_at,
};
use super::rows::Row;
use super::{DiskTier, count};
use crate::base::limits;
use crate::cache::facts::EntryFacts;
use crate::cache::key::Key;
use crate::shared::cache::CacheStore;
use crate::shared::cache::entry::EntryState;
use crate::shared::cache::fetch::{NewEntry, Share, Ticket};
use crate::shared::cache::fills::{Follower, RunningFill};
use crate::shared::cache::purges::Purgeable;

/// A key that is asked for.
#[derive(Debug)]
pub struct Recall {
    hash: u64,
    key: Box<[u8]>,
    fill: Arc<RunningFill>,
}

/// A thread that reads.
#[derive(Debug)]
pub struct DiskReader {
    tier: Arc<DiskTier>,
    store: Weak<CacheStore>,
}

/// The reason for which a record does not come into memory.
#[derive(Debug)]
enum Unread {
    /// The record is not what was written.
    Damaged,
    /// The record does not count any more.
    Ended,
    /// The record is of another key.
    Other,
    /// Memory has a newer response, or takes nothing now.
    Unwanted,
    /// Memory has no room for the record.
    TooLarge,
    /// Memory has no room for the record now, since others have on what was evicted.
    Crowded,
    /// The disk fails.
    Failed(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        match error.raw_os_error() {
            // The process has no descriptor left now, which says nothing of the record.
            Some(libc::EMFILE | libc::ENFILE) => Unread::Unwanted,
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Unread::Damaged,
            _ => Unread::Failed(error),
        }
    }
}

impl DiskTier {
    /// Lets the entries of a key be read into memory. The result is decided when that is done; `None`: the disk has
    /// none, or too many wait.
    pub fn recall(&self, key: &[u8], new_fill: impl FnOnce() -> RunningFill) -> Option<Follower> {
        let hash = lasting_hash(key);
        if !self.has(hash) {
            return None;
        }
        let mut recalls = self.recalls.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.millis();
        if let Some((began, fill)) = recalls.get(&hash) {
            // Requests that come later do not wait for a disk that hangs.
            let is_late = now - began > limits::RECALL_MILLIS;
            return (!is_late).then(|| Follower::new(fill.clone()));
        }
        let fill = Arc::new(new_fill());
        let recall = Recall {
            hash,
            key: key.into(),
            fill: fill.clone(),
        };
        self.recall_queue.try_send(recall).ok()?;
        recalls.insert(hash, (now, fill.clone()));
        Some(Follower::new(fill))
    }

    fn end_recall(&self, recall: &Recall) {
        let mut recalls = self.recalls.lock().unwrap_or_else(PoisonError::into_inner);
        recalls.remove(&recall.hash);
        drop(recalls);
        recall.fill.decide_gone();
    }
}

impl DiskReader {
    /// A thread for a tier of a store.
    pub fn new(tier: Arc<DiskTier>, store: Weak<CacheStore>) -> DiskReader {
        DiskReader { tier, store }
    }

    /// Works until nobody has the store any more.
    pub fn run(self, recalls: &Receiver<Recall>) {
        loop {
            match recalls.recv_timeout(Duration::from_secs(1)) {
                Ok(recall) => {
                    if let Some(store) = self.store.upgrade() {
                        self.read_all(&store, &recall);
                    }
                    self.tier.end_recall(&recall);
                }
                Err(RecvTimeoutError::Timeout) if self.store.strong_count() > 0 => {}
                Err(_) => return,
            }
        }
    }

    fn read_all(&self, store: &Arc<CacheStore>, recall: &Recall) {
        let rows = self.written_rows(recall.hash);
        let (mut has_read, mut left) = (false, self.tier.bounds.record);
        for row in rows.into_iter().take(limits::RECALL_VARIANTS) {
            let length = u64::from(row.length);
            if length > self.tier.bounds.record {
                self.forget(&row);
                continue;
            }
            // One key displaces no more in memory, however many variants it has.
            let Some(rest) = left.checked_sub(length) else {
                break;
            };
            left = rest;
            match self.read_patiently(store, &recall.key, &row) {
                Ok(()) => has_read = true,
                Err(Unread::Unwanted | Unread::Other | Unread::Crowded) => {}
                // The attempt has displaced what it could, and the next one would do so again.
                Err(Unread::TooLarge) => self.forget(&row),
                Err(Unread::Ended) => self.tier.rows.remove_record(row.hash, row.position),
                Err(Unread::Damaged) => {
                    count(&self.tier.counters.damaged);
                    self.forget(&row);
                }
                Err(Unread::Failed(error)) => {
                    self.tier.tell(&error);
                    self.forget(&row);
                }
            }
        }
        let counters = &self.tier.counters;
        count(if has_read {
            &counters.recalled
        } else {
            &counters.recall_misses
        });
    }

    /// The rows of a key, once its entries have been written.
    fn written_rows(&self, hash: u64) -> Vec<Row> {
        for _ in 0..limits::RECALL_QUEUED_MILLIS {
            let rows = self.tier.rows.absent(hash);
            if !rows.iter().any(Row::is_queued) {
                return rows;
            }
            self.tier.wake();
            thread::sleep(Duration::from_millis(1));
        }
        let mut rows = self.tier.rows.absent(hash);
        rows.retain(|row| !row.is_queued());
        rows
    }

    fn forget(&self, row: &Row) {
        let Row { hash, position, .. } = *row;
        self.tier.rows.remove_record(hash, position);
        self.tier.remove_all([RecordRemoval { hash, position }]);
    }

    /// Reads a record, and waits for memory that others have on: what waits for the disk is written soon, and what is
    /// in front of the store is let go soon.
    fn read_patiently(&self, store: &Arc<CacheStore>, key: &[u8], row: &Row) -> Result<(), Unread> {
        for millis in limits::RECALL_ROOM_MILLIS {
            match self.read(store, key, row) {
                Err(Unread::Crowded) => thread::sleep(Duration::from_millis(millis)),
                read => return read,
            }
        }
        self.read(store, key, row)
    }

    fn read(&self, store: &Arc<CacheStore>, key: &[u8], row: &Row) -> Result<(), Unread> {
        // A purge that comes from here on is found when the entry is published, and one that came before is among
        // those of the disk.
        let ticket = self
            .tier
            .purges
            .between(|| store.begin_fetch(store.hash(key), key));
        let segment = self.tier.segments.get(row.position.segment);
        let segment = segment.ok_or(Unread::Ended)?;
        let file = segment.file().map_err(|error| {
            // The segment may have been dropped meanwhile.
            match self.tier.segments.get(segment.number) {
                Some(_) => Unread::from(error),
                None => Unread::Ended,
            }
        })?;
        let mut head = RecordHead::read(&file, row)?;
        if head.text(0) != key {
            return Err(Unread::Other);
        }
        let of = Purgeable {
            key,
            tags: head.text(2),
        };
        match self.tier.purges.state_of(head.header.number, of) {
            EntryState::Dead => return Err(Unread::Ended),
            EntryState::Stale => head.is_stale = true,
            EntryState::Live => {}
        }
        head.bring(store, ticket, (&file, row))
    }
}

/// A record without its body.
struct RecordHead {
    header: RecordHeader,
    is_stale: bool,
    texts: Vec<u8>,
    /// Where the body begins in the segment.
    body: u64,
}

impl RecordHead {
    fn read(file: &File, row: &Row) -> Result<RecordHead, Unread> {
        let start = u64::from(row.position.offset);
        let mut fields = [0; HEADER_BYTES];
        file.read_exact_at(&mut fields, start)?;
        let header = RecordHeader::read(&fields).ok_or(Unread::Damaged)?;
        let RecordKind::Entry { is_stale } = header.kind else {
            return Err(Unread::Damaged);
        };
        if header.hash != row.hash || header.total() != u64::from(row.length) {
            return Err(Unread::Damaged);
        }
        let bytes: usize = header.lengths.iter().map(|length| *length as usize).sum();
        let mut texts = vec![0; bytes];
        let texts_start = start + HEADER_BYTES as u64;
        file.read_exact_at(&mut texts, texts_start)?;
        Ok(RecordHead {
            header,
            is_stale,
            body: texts_start + bytes as u64,
            texts,
        })
    }

    /// Key, variant, tags, head or trailers.
    fn text(&self, at: usize) -> &[u8] {
        let length = |length: &u32| *length as usize;
        let start: usize = self.header.lengths[..at].iter().map(length).sum();
        &self.texts[start..start + length(&self.header.lengths[at])]
    }

    /// Brings the entry into memory. The body goes from the disk into the blocks of the store piece by piece, and
    /// nobody sees it before its sum is right.
    fn bring(
        &self,
        store: &Arc<CacheStore>,
        ticket: Ticket,
        (file, row): (&File, &Row),
    ) -> Result<(), Unread> {
        let facts = EntryFacts::from_bytes(&self.header.facts).ok_or(Unread::Damaged)?;
        let key = Key::read(self.text(0)).ok_or(Unread::Damaged)?;
        let zone = std::str::from_utf8(key.zone).map_err(|_| Unread::Damaged)?;
        let new = NewEntry {
            facts,
            variant: self.text(1),
            head: self.text(3),
            tags: self.text(2),
            length: Some(self.header.body),
            share: Share {
                zone: store.zone(zone),
                max_percent: 100,
                max_object: u64::MAX,
                max_variants: u16::MAX,
            },
        };
        let shortages = store.shortages();
        let no_room = |_| self.no_room(store, shortages);
        let mut filling = ticket.store(new).map_err(no_room)?;
        let mut sum = RunningSum::default();
        sum.add(&self.texts);
        let (mut at, mut rest) = (self.body, self.header.body);
        let most = rest.min(limits::DISK_READ_BYTES as u64) as usize;
        let mut piece = vec![0; most];
        while rest > 0 {
            let length = rest.min(most as u64) as usize;
            file.read_exact_at(&mut piece[..length], at)?;
            sum.add(&piece[..length]);
            filling.push(&piece[..length]).map_err(no_room)?;
            (at, rest) = (at + length as u64, rest - length as u64);
        }
        let mut written = [0; SUM_BYTES];
        file.read_exact_at(&mut written, at + self.header.padding() as u64)?;
        if u64_at(&written, 0) != sum.end() {
            return Err(Unread::Damaged);
        }
        let recalled = filling.finish_recalled(self.text(4), self.is_stale, |store| {
            store.is_still_on_disk(row.hash, row.position)
        });
        recalled.map(drop).map_err(|_| Unread::Unwanted)
    }

    /// The reason for which memory has not taken the record, when the store was short so often before.
    fn no_room(&self, store: &CacheStore, shortages: u64) -> Unread {
        let usage = store.disk_usage();
        let is_queued = usage.is_some_and(|usage| usage.queued_bytes > self.header.total());
        if store.sharing.is_frozen() || store.arena.is_shared() {
            // Memory that another process owns or reads has room again later.
            Unread::Unwanted
        } else if is_queued || store.shortages() != shortages {
            Unread::Crowded
        } else {
            Unread::TooLarge
        }
    }
}

impl CacheStore {
    /// Whether a record still counts; it is noted that its entry comes into memory.
    fn is_still_on_disk(&self, hash: u64, position: super::record::RecordPosition) -> bool {
        let tier = self.disk.get();
        tier.is_some_and(|tier| tier.rows.set_in_memory(hash, position))
    }

    /// Counts the heap of the index of the disk to the bound of the store.
    pub(super) fn count_disk_heap(&self, before: u64, now: u64) {
        if now > before {
            self.budget.note(now - before);
            self.settle();
        } else if now < before {
            self.budget.give(before - now);
        }
    }
}

#[cfg(test)]
mod tests;
