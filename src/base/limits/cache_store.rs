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
/// Bytes of the smallest block of a body, which is taken where the store is in pieces.
pub const BODY_BLOCK_LEAST_BYTES: usize = 1 << 10;
/// Entries that one call evicts at most for what the call needs. The bound keeps the turn of a worker short.
pub const STORE_EVICTIONS: usize = 64;
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

const _: () = assert!(OWN_BODY_BYTES <= BODY_BLOCK_BYTES as u64);
const _: () = assert!(RING_BLOCK_BYTES as u64 * 4 <= RING_BYTES);
const _: () = assert!(STORE_SHARDS.is_power_of_two());
const _: () = assert!(STORE_MOST_BYTES / 16 <= u32::MAX as u64 / 2);

/// Places for keys that clients have had validated in this second. Two keys that share a place may be validated more
/// often than once in a second.
pub const VALIDATION_PLACES: usize = 4_096;

/// Changes that processes with the same memory tell each other and that stand at once. Who has not heard of more than
/// these forgets everything.
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
