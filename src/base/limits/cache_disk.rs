//! Bounds of the tier of the cache on disk.

/// Bytes of the smallest tier on disk: some segments of the smallest size, so that dropping the oldest one loses a
/// small part of the entries.
pub const CACHE_DISK_BYTES_LEAST: u64 = 64 << 20;
/// Bytes of the largest tier on disk. The bound protects arithmetic with percents of it.
pub const CACHE_DISK_BYTES: u64 = 1 << 50;
/// Bytes of the smallest segment. Smaller ones would be synced and dropped too often.
pub const SEGMENT_BYTES_LEAST: u64 = 4 << 20;
/// Bytes of a usual segment. The oldest segment is dropped as a whole.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Segments that a tier has about: a tier that is larger has larger ones.
pub const SEGMENTS: u64 = 1_024;
/// The part of the tier, and of the memory, that one record may take, as a divisor. A larger record would displace much
/// for one entry: on disk when it is written, and in memory when it is read.
pub const RECORD_PART: u64 = 8;
/// Bytes of the largest record: its length is a number of 32 bits.
pub const RECORD_BYTES: u64 = 1 << 30;
/// Bytes of the largest key, variant, tags, head or trailers of a record that is read.
pub const RECORD_TEXT_BYTES: u32 = 1 << 20;
/// Bytes that are written to a segment at once.
pub const DISK_WRITE_BYTES: usize = 1 << 20;
/// Bytes of a segment that are synced at once: a purge waits no longer for the thread that writes than a disk takes for
/// so many.
pub const DISK_SYNC_BYTES: u64 = 16 << 20;
/// Bytes of a body that are read at once.
pub const DISK_READ_BYTES: usize = 256 << 10;
/// Bytes of a segment that are read at once when records are looked for.
pub const DISK_SCAN_BYTES: usize = 256 << 10;
/// The part of the tier that the journal may take, as a divisor.
pub const JOURNAL_PART: u64 = 32;
/// Bytes of the journal from which on what concerns nothing any more is taken out.
pub const JOURNAL_BYTES_LEAST: u64 = 256 << 10;
/// Bytes of the longest text of a purge in the journal. A longer one is told by its beginning, as a prefix.
pub const JOURNAL_TEXT_BYTES: usize = 128 << 10;
/// The part of the memory of the cache that evicted entries may keep until they are written, as a divisor.
pub const DISK_QUEUE_PART: u64 = 32;
/// Bytes that evicted entries may keep at least, and at most, until they are written.
pub const DISK_QUEUE_BYTES_LEAST: u64 = 64 << 10;
/// Bytes that evicted entries may keep at most until they are written: a disk takes that in a fraction of a second.
pub const DISK_QUEUE_BYTES: u64 = 32 << 20;
/// Commands that wait for the thread that writes.
pub const DISK_QUEUE: usize = 4_096;
/// The part of the memory of the cache that the index of the disk may take, as a divisor.
pub const DISK_INDEX_PART: u64 = 8;
/// Bytes of memory that one row of the index takes, with the room that its table keeps free.
pub const DISK_ROW_BYTES: u64 = 72;
/// Shards of the index.
pub const DISK_SHARDS: usize = 64;
/// Removals that wait for the disk at most. Beyond, all that is on the disk is given up.
pub const DISK_REMOVALS: usize = 65_536;
/// Purges that wait for the journal at most. Beyond, all that is on the disk is purged instead.
pub const DISK_PURGES: usize = 16_384;
/// Bytes of memory of the purges that wait for the journal at most: the journal takes them at once.
pub const DISK_PURGES_BYTES: u64 = 1 << 20;
/// Descriptors that the tier has open at once: its lock, its journal and the one that is being made, the folder, the
/// segment that grows, the one that is looked through, and one for each thread that reads. They are among
/// `RESERVED_DESCRIPTORS`.
pub const DISK_DESCRIPTORS: usize = 6 + RECALL_THREADS;
/// Threads that read.
pub const RECALL_THREADS: usize = 2;
/// Recalls that wait for a thread. Further requests go to backends.
pub const RECALLS: usize = 1_024;
/// Variants of one key that are read at once, the newest; further ones at the next requests.
pub const RECALL_VARIANTS: usize = 8;
/// Milliseconds for which a request waits for the disk before it goes to a backend.
pub const RECALL_MILLIS: u64 = 500;
/// Milliseconds for which a recall waits, one behind the other, for memory that others have on. The last time is longer
/// than a tick of a worker, at which what is in front of the store is let go.
pub const RECALL_ROOM_MILLIS: [u64; 3] = [4, 20, 120];
/// Milliseconds for which a recall waits for an entry that is being written.
pub const RECALL_QUEUED_MILLIS: u64 = 100;
/// Milliseconds for which the answer to a purge waits for the disk.
pub const PURGE_SYNC_MILLIS: u64 = 5_000;
/// Milliseconds between two looks of the control thread whether the disk has a purge.
pub const PURGE_SYNC_PAUSE_MILLIS: u64 = 2;
/// Milliseconds for which the end of the process waits until entries in memory have been written.
pub const DISK_END_MILLIS: u64 = 5_000;
/// Milliseconds for which the end of the process waits beyond for the last write and its sync.
pub const DISK_LAST_WRITE_MILLIS: u64 = 3_000;
/// Milliseconds for which the thread that writes waits for something to do.
pub const DISK_IDLE_MILLIS: u64 = 1_000;
/// Milliseconds for which it waits while another process may tell purges, which are to be in the journal soon.
pub const DISK_HEAR_MILLIS: u64 = 50;
/// Milliseconds between two looks for the lock of the folder.
pub const DISK_LOCK_PAUSE_MILLIS: u64 = 50;
/// Milliseconds for which nothing is written after a write has failed.
pub const DISK_PAUSE_MILLIS: u64 = 2_000;
/// Milliseconds between two attempts to open a folder that cannot be used.
pub const DISK_RETRY_MILLIS: u64 = 10_000;
/// Milliseconds between two lines of the log about failures.
pub const DISK_LOG_MILLIS: u64 = 60_000;
/// Seconds after which an expired entry without a validator is not written: it answers only while no backend does, for
/// one day by default.
pub const DISK_EXPIRED_SECS: u64 = 86_400;

const _: () = assert!(SEGMENT_BYTES_LEAST * 8 <= CACHE_DISK_BYTES_LEAST);
const _: () = assert!(DISK_PURGES_BYTES * 2 <= CACHE_DISK_BYTES_LEAST / JOURNAL_PART);
const _: () = assert!(CACHE_DISK_BYTES < u64::MAX / 100);
const _: () = assert!(JOURNAL_TEXT_BYTES as u64 * 4 <= CACHE_DISK_BYTES_LEAST / JOURNAL_PART);
