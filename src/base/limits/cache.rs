//! Bounds of the cache. They protect memory, and the time of a worker, from backends and clients that vary what they
//! say, and the ranges of its settings.

use std::time::Duration;

/// Largest number of variants of one key that `max_variants` may allow. A look-up compares the request with each.
pub const CACHE_VARIANTS: u16 = 1_024;
/// Bytes of the smallest cache: with fewer, the index alone would fill it.
pub const CACHE_BYTES_LEAST: u64 = 1 << 20;
/// Bytes of the largest cache in memory: its blocks are counted in units of 16 bytes by numbers of 31 bits.
pub const CACHE_BYTES: u64 = 1 << 34;
/// Bytes of the largest tier on disk. The bound protects arithmetic with percents of it.
pub const CACHE_DISK_BYTES: u64 = 1 << 50;
/// Percent of the memory that this process may have which the cache may take at most: the kernel, connections and the
/// other processes of the machine need the rest.
pub const CACHE_MEMORY_PERCENT: u64 = 75;
/// Bytes of the largest `max_object`. The bound protects arithmetic with lengths of bodies.
pub const CACHE_OBJECT_BYTES: u64 = 1 << 40;
/// Bytes of the smallest slice. Each slice costs an entry, and a request to a backend.
pub const CACHE_SLICE_BYTES_LEAST: u64 = 64 << 10;
/// Bytes of the largest slice. A slice is fetched whole, so a larger number makes a client that wants little of it
/// wait.
pub const CACHE_SLICE_BYTES: u64 = 64 << 20;
/// Longest freshness lifetime, and longest time for which a stale entry is served, that can be set: one year. The bound
/// keeps sums of them within 32 bits of seconds.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Largest `min_uses` of a route's cache: a key that takes more requests to be stored is hardly worth it.
pub const CACHE_USES: u8 = 100;
/// Patterns in each list of a route's cache. Each name of a request is compared with all patterns of a list.
pub const CACHE_PATTERNS: usize = 64;
/// Bytes of a pattern, in which longer names are hardly meant.
pub const CACHE_PATTERN_BYTES: usize = 256;
/// Fields in each list of field names of a route's cache. Every look-up searches the request for each of them.
pub const CACHE_FIELDS: usize = 16;
/// Bytes of the name of the cache, which stands in every response.
pub const CACHE_NAME_BYTES: usize = 64;

const _: () = assert!(CACHE_BYTES_LEAST < CACHE_BYTES && CACHE_DISK_BYTES < u64::MAX / 100);
const _: () = assert!(CACHE_MEMORY_PERCENT <= 100);
const _: () = assert!(CACHE_SLICE_BYTES_LEAST < CACHE_SLICE_BYTES);
const _: () = assert!(LONGEST_LIFETIME.as_secs() < 1 << 30);
