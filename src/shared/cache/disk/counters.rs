//! Counts of the tier on disk.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts since the start, and present sizes.
#[derive(Debug, Default)]
pub struct DiskCounters {
    /// Entries that were written.
    pub written: AtomicU64,
    /// Bytes of their records.
    pub written_bytes: AtomicU64,
    /// Entries that were read into memory.
    pub recalled: AtomicU64,
    /// Recalls that brought nothing.
    pub recall_misses: AtomicU64,
    /// Entries that left memory and were not written, since they were too large, or the disk was too slow or could not
    /// be used.
    pub dropped: AtomicU64,
    /// Entries that left memory while their records stood.
    pub unchanged: AtomicU64,
    /// LogSegments that were dropped to make room.
    pub dropped_segments: AtomicU64,
    /// Records that were damaged.
    pub damaged: AtomicU64,
    /// Calls that have failed.
    pub errors: AtomicU64,
    /// Bytes of all files.
    pub bytes: AtomicU64,
}

/// Counts and sizes of the tier on disk at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Whether the folder is in use.
    pub is_open: bool,
    /// Whether all old records were looked at.
    pub is_scanned: bool,
    /// Bytes that all files may take.
    pub max_bytes: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of memory of the entries that wait to be written.
    pub queued_bytes: u64,
    /// Entries on the disk.
    pub entries: u64,
    /// Entries that were written.
    pub written: u64,
    /// Bytes of their records.
    pub written_bytes: u64,
    /// Entries that were read into memory.
    pub recalled: u64,
    /// Recalls that brought nothing.
    pub recall_misses: u64,
    /// Entries that left memory and were not written, since they were too large, or the disk was too slow or could not
    /// be used.
    pub dropped: u64,
    /// Entries that left memory while their records stood.
    pub unchanged: u64,
    /// LogSegments that were dropped to make room.
    pub dropped_segments: u64,
    /// Records that were damaged.
    pub damaged: u64,
    /// Calls that have failed.
    pub errors: u64,
}

impl DiskCounters {
    /// The counts; the rest is 0.
    pub fn usage(&self) -> DiskUsage {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        DiskUsage {
            bytes: get(&self.bytes),
            written: get(&self.written),
            written_bytes: get(&self.written_bytes),
            recalled: get(&self.recalled),
            recall_misses: get(&self.recall_misses),
            dropped: get(&self.dropped),
            unchanged: get(&self.unchanged),
            dropped_segments: get(&self.dropped_segments),
            damaged: get(&self.damaged),
            errors: get(&self.errors),
            ..DiskUsage::default()
        }
    }
}

/// Counts one event.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
