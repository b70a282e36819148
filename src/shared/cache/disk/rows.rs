//! The index of the disk: where the records of a key are. A row is found by the hash of its key alone, since the key
//! stands in the record; two keys of one hash cost a reading, and nothing else.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use hashbrown::HashTable;

use super::record::{RecordPosition, RecordRemoval};
use crate::base::limits;

/// The entry waits to be written: the row has a number in the place of a position.
const QUEUED: u8 = 1;
/// The entry is in memory, too.
const IN_MEMORY: u8 = 2;

/// A record, or an entry that will be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The hash of the key.
    pub hash: u64,
    /// Where the record begins.
    pub position: RecordPosition,
    /// Bytes of the record.
    pub length: u32,
    /// The hash of the variant.
    pub variant: u32,
    /// A number that tells the entry from another one for the same key and variant.
    pub stamp: u32,
    state: u8,
}

/// The index.
#[derive(Debug)]
pub struct DiskRows {
    shards: Box<[CachePadded<Mutex<RowShard>>]>,
    /// Spreads hashes, so that nobody who knows the hash can crowd a shard.
    spread: RandomState,
    next_number: AtomicU32,
}

/// A part of the index.
#[derive(Debug)]
struct RowShard {
    table: HashTable<Row>,
    /// The hashes of the keys that were removed before all old records had been read; `None`: all were read.
    removed: Option<HashSet<u64>>,
}

/// The name of an entry by which the disk knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowName {
    /// The hash of the key.
    pub hash: u64,
    /// The hash of the variant.
    pub variant: u32,
    /// A number that tells the entry from another one for the same key and variant.
    pub stamp: u32,
}

/// The result of offering an evicted entry to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The number of the row of an entry that has to be written.
    pub number: Option<u32>,
    /// The record that does not count any more.
    pub replaced: Option<RecordRemoval>,
    /// Whether the record of the entry stands.
    pub stands: bool,
}

/// The result of adding an old record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The record counts.
    Added,
    /// A newer record counts.
    Older,
    /// The key was removed.
    Removed,
}

impl Row {
    /// A row of a record.
    pub fn written(name: RowName, position: RecordPosition, length: u32) -> Row {
        Row {
            hash: name.hash,
            position,
            length,
            variant: name.variant,
            stamp: name.stamp,
            state: 0,
        }
    }

    /// Whether the entry waits to be written.
    pub fn is_queued(&self) -> bool {
        self.state & QUEUED != 0
    }

    fn is_in_memory(&self) -> bool {
        self.state & IN_MEMORY != 0
    }

    fn is_at(&self, position: RecordPosition) -> bool {
        !self.is_queued() && self.position == position
    }

    fn removal(&self) -> Option<RecordRemoval> {
        let Row { hash, position, .. } = *self;
        (!self.is_queued()).then_some(RecordRemoval { hash, position })
    }
}

impl Default for DiskRows {
    fn default() -> DiskRows {
        let shard = || RowShard {
            table: HashTable::new(),
            removed: Some(HashSet::new()),
        };
        let shards = (0..limits::DISK_SHARDS).map(|_| CachePadded::new(Mutex::new(shard())));
        DiskRows {
            shards: shards.collect(),
            spread: RandomState::new(),
            next_number: AtomicU32::new(0),
        }
    }
}

impl RowShard {
    /// Takes a row out.
    fn take(&mut self, spread: u64, is_it: impl FnMut(&Row) -> bool) -> Option<Row> {
        let found = self.table.find_entry(spread, is_it).ok()?;
        Some(found.remove().0)
    }

    fn note_removed(&mut self, hash: u64) {
        if let Some(removed) = &mut self.removed
            && removed.len() < limits::DISK_REMOVALS / limits::DISK_SHARDS
        {
            removed.insert(hash);
        }
    }

    /// Whether an old record of this key counts.
    fn is_removed(&self, hash: u64) -> bool {
        self.removed.as_ref().is_some_and(|removed| {
            // With too many removals, none of the old records counts.
            removed.len() >= limits::DISK_REMOVALS / limits::DISK_SHARDS || removed.contains(&hash)
        })
    }
}

impl DiskRows {
    fn spread(&self, hash: u64) -> u64 {
        self.spread.hash_one(hash)
    }

    fn shard(&self, spread: u64) -> MutexGuard<'_, RowShard> {
        let at = (spread >> 32) as usize % self.shards.len();
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn each_shard(&self, mut change: impl FnMut(&mut RowShard)) {
        for shard in &self.shards {
            change(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn insert(&self, shard: &mut RowShard, spread: u64, row: Row) {
        let rehash = |row: &Row| self.spread(row.hash);
        shard.table.insert_unique(spread, row, rehash);
    }

    /// Whether there is an entry of the key that is not in memory.
    pub fn has(&self, hash: u64) -> bool {
        let spread = self.spread(hash);
        let shard = self.shard(spread);
        let found = shard
            .table
            .find(spread, |row| row.hash == hash && !row.is_in_memory());
        found.is_some()
    }

    /// The rows of the key that are not in memory, the newest first.
    pub fn absent(&self, hash: u64) -> Vec<Row> {
        let spread = self.spread(hash);
        let shard = self.shard(spread);
        let rows = shard.table.iter_hash(spread);
        let absent = rows.filter(|row| row.hash == hash && !row.is_in_memory());
        let mut absent: Vec<Row> = absent.copied().collect();
        drop(shard);
        absent.sort_by_key(|row| std::cmp::Reverse((row.is_queued(), row.position)));
        absent
    }

    /// Offers an entry that leaves memory. A record that stands is left if it is in a segment from `kept` on; `None`:
    /// wherever the record is, and an entry without one is not written. The record of an entry that is stale by now
    /// does not stand: it need not say so.
    pub fn offer(&self, name: RowName, is_stale: bool, kept: Option<u32>) -> Offered {
        let spread = self.spread(name.hash);
        let mut shard = self.shard(spread);
        let is_same = |row: &Row| row.hash == name.hash && row.variant == name.variant;
        if let Some(row) = shard.table.find_mut(spread, is_same)
            && row.is_in_memory()
            && row.stamp == name.stamp
            && !is_stale
            && kept.is_none_or(|kept| row.position.segment >= kept)
        {
            row.state &= !IN_MEMORY;
            return Offered {
                number: None,
                replaced: None,
                stands: true,
            };
        }
        let replaced = shard.take(spread, is_same).and_then(|row| row.removal());
        if kept.is_none() {
            return Offered {
                number: None,
                replaced,
                stands: false,
            };
        }
        let number = self.next_number.fetch_add(1, Relaxed);
        let position = RecordPosition {
            segment: u32::MAX,
            offset: number,
        };
        let mut row = Row::written(name, position, 0);
        row.state = QUEUED;
        self.insert(&mut shard, spread, row);
        Offered {
            number: Some(number),
            replaced,
            stands: false,
        }
    }

    /// Whether an entry of this number still waits to be written.
    pub fn is_wanted(&self, hash: u64, number: u32) -> bool {
        let spread = self.spread(hash);
        let shard = self.shard(spread);
        let is_it =
            |row: &Row| row.hash == hash && row.is_queued() && row.position.offset == number;
        shard.table.find(spread, is_it).is_some()
    }

    /// Says where the entry of this number was written; returns whether it still counts.
    pub fn set_written(
        &self,
        hash: u64,
        number: u32,
        position: RecordPosition,
        length: u32,
    ) -> bool {
        let spread = self.spread(hash);
        let mut shard = self.shard(spread);
        let is_it =
            |row: &Row| row.hash == hash && row.is_queued() && row.position.offset == number;
        let Some(row) = shard.table.find_mut(spread, is_it) else {
            return false;
        };
        row.position = position;
        row.length = length;
        row.state &= !QUEUED;
        true
    }

    /// Forgets an entry that was not written.
    pub fn forget_queued(&self, hash: u64, number: u32) {
        let spread = self.spread(hash);
        let is_it =
            |row: &Row| row.hash == hash && row.is_queued() && row.position.offset == number;
        self.shard(spread).take(spread, is_it);
    }

    /// Notes that the entry of a record is in memory; returns whether the record still counts.
    pub fn set_in_memory(&self, hash: u64, position: RecordPosition) -> bool {
        let spread = self.spread(hash);
        let mut shard = self.shard(spread);
        let is_it = |row: &Row| row.hash == hash && row.is_at(position);
        let row = shard.table.find_mut(spread, is_it);
        row.map(|row| row.state |= IN_MEMORY).is_some()
    }

    /// Removes all entries of a key; returns their records.
    pub fn remove_key(&self, hash: u64) -> Vec<RecordRemoval> {
        let spread = self.spread(hash);
        let mut shard = self.shard(spread);
        shard.note_removed(hash);
        let mut records = Vec::new();
        while let Some(row) = shard.take(spread, |row| row.hash == hash) {
            records.extend(row.removal());
        }
        records
    }

    /// Removes the entry of a key and a variant; returns its record.
    pub fn remove(&self, hash: u64, variant: u32) -> Option<RecordRemoval> {
        let spread = self.spread(hash);
        let mut shard = self.shard(spread);
        shard.note_removed(hash);
        let row = shard.take(spread, |row| row.hash == hash && row.variant == variant);
        row.and_then(|row| row.removal())
    }

    /// Removes the row of a record.
    pub fn remove_record(&self, hash: u64, position: RecordPosition) {
        let spread = self.spread(hash);
        let is_it = |row: &Row| row.hash == hash && row.is_at(position);
        self.shard(spread).take(spread, is_it);
    }

    /// Adds a record that was found in a segment. The records come the newest first.
    pub fn add_scanned(&self, row: Row) -> Scanned {
        let spread = self.spread(row.hash);
        let mut shard = self.shard(spread);
        if shard.is_removed(row.hash) {
            return Scanned::Removed;
        }
        let is_same = |other: &Row| other.hash == row.hash && other.variant == row.variant;
        if shard.table.find(spread, is_same).is_some() {
            return Scanned::Older;
        }
        self.insert(&mut shard, spread, row);
        Scanned::Added
    }

    /// Notes that all old records have been added.
    pub fn end_scan(&self) {
        self.each_shard(|shard| shard.removed = None);
    }

    /// Forgets the records of a segment.
    pub fn forget_segment(&self, segment: u32) {
        self.each_shard(|shard| {
            shard
                .table
                .retain(|row| row.is_queued() || row.position.segment != segment);
            let spread = |row: &Row| self.spread(row.hash);
            if shard.table.len() < shard.table.capacity() / 4 {
                shard.table.shrink_to_fit(spread);
            }
        });
    }

    /// Forgets everything. Old records are not known from then on, and have to be added again.
    pub fn clear(&self) {
        self.each_shard(|shard| {
            shard.table = HashTable::new();
            shard.removed = Some(HashSet::new());
        });
    }

    /// The number of entries.
    pub fn len(&self) -> u64 {
        let mut rows = 0;
        self.each_shard(|shard| rows += shard.table.len() as u64);
        rows
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let mut bytes = 0;
        self.each_shard(|shard| {
            let removed = shard.removed.as_ref().map_or(0, HashSet::capacity);
            bytes += (shard.table.allocation_size() + removed * 10) as u64;
        });
        bytes
    }
}

#[cfg(test)]
mod tests;
