//! Bounds of the store of cached responses, which all workers share.

/// Shards of the index. More of them make it rarer that two cores want the same one; each costs a few hundred bytes.
pub const STORE_SHARDS: usize = 64;
/// Bytes of the smallest store. A smaller one has no room for the tables of its shards.
pub const STORE_LEAST_BYTES: u64 = 1 << 20;
/// Bytes of the largest store: the blocks are counted in units of 16 bytes by numbers of 31 bits.
pub const STORE_MOST_BYTES: u64 = 1 << 34;
/// Bytes of the largest body that lies in one block with its head.
pub const OWN_BODY_BYTES: u64 = 32 << 10;
/// Bytes of the largest block of a body.
pub const BODY_BLOCK_BYTES: usize = 256 << 10;
/// Bytes of the ring that those who follow a body share when the store does not keep it: who is further behind the
/// writer has lost the rest.
pub const RING_BYTES: u64 = 1 << 20;
/// Bytes of a block of that ring. A smaller one is free sooner, and costs more steps.
pub const RING_BLOCK_BYTES: usize = 64 << 10;
/// Milliseconds in which a follower must take some of the ring: the writer waits no longer for one that does not, so
/// that a client that stands still stops nobody else for long.
pub const RING_PATIENCE_MILLIS: u64 = 5_000;
/// Bytes of memory that are brought in at once, ahead of what is written. A step takes a worker some tens of
/// microseconds, and the store takes so much more of the machine than it counts.
pub const ARENA_STEP: usize = 256 << 10;
/// Bytes of the smallest block of a body, which is taken where the store is in pieces.
pub const BODY_BLOCK_LEAST_BYTES: usize = 1 << 10;
/// Entries that one call evicts at most for what the call needs. The bound keeps the turn of a worker short.
pub const STORE_EVICTIONS: usize = 64;
/// Entries that one call evicts at least although somebody has them on, before it gives up: when those in front of the
/// store let go what does not count any more, there will be room for the next call.
pub const HELD_EVICTIONS: usize = 4;
/// Entries that one call evicts at most so that a disk has them before their memory is needed.
pub const EVICTED_AHEAD: usize = 4;
/// Entries that one eviction passes by because another process may read them.
pub const SHARED_PASSED_BY: usize = 16;
/// Entries that one eviction passes by because they were used. Beyond, the next one goes although it was used.
pub const EVICTION_STEPS: usize = 64;
/// The part of the store that is kept free for tables that grow, as a divisor.
pub const STORE_SLACK: u64 = 128;
/// Prefixes whose purges stand at once. Beyond, the two most alike are merged into what their prefixes have in common.
pub const PREFIX_PURGES: usize = 1_024;
/// Tags and URLs whose purges stand at once. Beyond, a purge waits until the entries of the older ones were looked at.
pub const EXACT_PURGES: usize = 65_536;
/// Invalidations that a shard remembers. A response whose fetch began before all of them is not stored.
pub const INVALIDATIONS: usize = 1_024;
/// Fetches of one key that others may wait for at once, one for each variant. Further ones go alone.
pub const FILLS_PER_KEY: usize = 32;
/// Keys that one shard remembers as not cacheable (hit-for-miss).
pub const UNCACHEABLE_KEYS: usize = 1_024;
/// Zones of one store. Beyond, zones share the count of their bytes.
pub const STORE_ZONES: usize = 4_096;
/// Entries that one step of a listing looks at.
pub const LISTED_AT_ONCE: usize = 256;
/// Microseconds for which one turn of the control thread frees entries that a purge has ended. A change of the
/// configuration waits for so long at most.
pub const SWEEP_MICROS: u64 = 1_000;
/// Milliseconds between two such turns while entries are left that were not compared with a purge.
pub const SWEEP_PAUSE_MILLIS: u64 = 20;

const _: () = assert!(OWN_BODY_BYTES <= BODY_BLOCK_BYTES as u64);
const _: () = assert!(RING_BLOCK_BYTES as u64 * 4 <= RING_BYTES);
const _: () = assert!(STORE_SHARDS.is_power_of_two());
const _: () = assert!(STORE_MOST_BYTES / 16 <= u32::MAX as u64 / 2);

/// Places for keys that clients have had validated in this second. Two keys that share a place may be validated more
/// often than once in a second.
pub const VALIDATION_PLACES: usize = 4_096;

/// Bytes of the store for each place of the tables that count the uses of keys without an entry: two tables take less
/// than a hundredth of the store.
pub const BYTES_PER_USE_PLACE: u64 = 2_048;
/// Places of the smallest such table.
pub const USE_PLACES_LEAST: usize = 1 << 10;
/// Places of the largest such table: 512 KiB.
pub const USE_PLACES: usize = 1 << 16;
/// Seconds within which the requests for a key are counted that it takes to store its response.
pub const USES_SECS: u64 = 3_600;
/// Seconds within which the requests for ranges of a key are counted that it takes to fetch the whole.
pub const RANGE_USES_SECS: u64 = 60;
/// Requests for ranges of a key, within that time, after which the whole is fetched.
pub const RANGE_USES: u8 = 3;
/// The whole is fetched for a single range if it has at most so many times the bytes of the range.
pub const WIDENING: u64 = 8;
/// Fetches of the whole that the clients of one network may have caused at a time by asking for less: for a range
/// (RangeAmp, DSN 2020), or on a condition.
pub const WIDENED_FETCHES: u8 = 4;

/// Changes that processes with the same memory tell each other and that stand at once. Who has not heard of more than
/// these forgets everything in memory, and takes everything on disk for stale.
pub const CHANGES: usize = 1_024;
/// Bytes of a change. What is longer is told by its beginning, which concerns more.
pub const CHANGE_BYTES: usize = 256;
/// Bytes of all changes.
pub const CHANGES_BYTES: usize = CHANGES * CHANGE_BYTES;
/// The part of the store that may be used while another process has its memory, as a divisor.
pub const SPARE_PART: u64 = 4;
/// Held blocks that are freed at once when the process is gone that read them. The bound keeps others from waiting.
pub const HELD_AT_ONCE: usize = 256;
/// Passes over all entries at a handover: a purge that comes meanwhile is told the other process.
pub const FREEZE_STEPS: usize = 1 << 20;

const _: () = assert!(CHANGES.is_power_of_two() && CHANGES_BYTES.is_multiple_of(4_096));
