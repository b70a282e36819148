//! Bounds of the cache. They protect memory, and the time of a worker, from backends and clients that vary what they
//! say, and the ranges of its settings.

use std::time::Duration;

/// Largest number of variants of one key that `max_variants` may allow. A look-up compares the request with each.
pub const CACHE_VARIANTS: u16 = 1_024;
/// Bytes of the smallest cache: with fewer, the index alone would fill it.
pub const CACHE_BYTES_LEAST: u64 = 1 << 20;
/// Bytes of the largest cache in memory: its blocks are counted in units of 16 bytes by numbers of 31 bits.
pub const CACHE_BYTES: u64 = 1 << 34;
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
/// Attempts to have a slice, or to find out with which slice an answer begins, before slices are given up.
pub const SLICE_TRIES: usize = 3;
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

const _: () = assert!(CACHE_BYTES_LEAST < CACHE_BYTES);
const _: () = assert!(CACHE_MEMORY_PERCENT <= 100);
const _: () = assert!(CACHE_SLICE_BYTES_LEAST < CACHE_SLICE_BYTES);
const _: () = assert!(LONGEST_LIFETIME.as_secs() < 1 << 30);

/// Largest number of seconds of a lifetime or an age: larger ones count as this one (RFC 9111 section 1.2.2).
pub const CACHE_DELTA_SECONDS: u32 = 1 << 31;

/// Largest number of different names in `Vary` of a stored response. A look-up compares the request by each.
pub const CACHE_VARY_NAMES: usize = 32;

/// Largest number of members of a field that are put in order before fields are compared; a longer list is compared in
/// the order in which it was sent. The members are sorted on the stack at every look-up.
pub const CACHE_VARY_MEMBERS: usize = 32;

/// Largest number of bytes of the names and values by which a variant is selected. It bounds what an entry costs beside
/// its head and body.
pub const CACHE_VARIANT_BYTES: usize = 4_096;

/// Ranges that one `Range` may ask for. A request with more of them gets the whole representation: the head of each
/// part costs more than the bytes of an honest one (RFC 9110 section 17.15).
pub const CACHE_RANGES: usize = 32;

/// Separate stretches of bytes that a stored partial representation may consist of. With more of them the oldest part
/// is the cheaper one to lose.
pub const CACHE_STRETCHES: usize = 16;

/// Entity tags that one `If-None-Match` to a backend names. The variants whose tags do not fit are not validated.
pub const CACHE_VALIDATION_TAGS: usize = 16;

/// Bytes of the `If-None-Match` that a validation sends. Backends bound a field at 4 to 8 KiB.
pub const CACHE_VALIDATION_BYTES: usize = 2_048;

/// Seconds by which `Date` must be later than `Last-Modified` for the latter to be a strong validator: as much as the
/// clocks of a backend's machines may differ (RFC 9110 section 8.8.2.2).
pub const CACHE_STRONG_DATE_SECS: i64 = 60;

/// Tags that one response may have. A response with more of them is not stored, because no purge could find it.
pub const CACHE_TAGS: usize = 1_000;

/// Bytes of all tags of one response. A response with more of them is not stored, because no purge could find it.
pub const CACHE_TAG_BYTES: usize = 16 << 10;

/// Groups of one `Cache-Group-Invalidation` that are invalidated, the first ones: each of them costs a purge.
pub const CACHE_GROUPS_INVALIDATED: usize = 64;

/// Milliseconds by which the clock may be set back without a stored response being validated for it: time services
/// move clocks by less.
pub const CACHE_CLOCK_MILLIS: u64 = 60_000;

/// Bytes that are set aside for the fields of a request which may be stored: as many as most requests have, so that no
/// second allocation is needed.
pub const KEPT_FIELDS_BYTES: usize = 512;

/// Largest number of bytes of a stored head as it is read again. A head that came from a backend has fewer, and some
/// fields may be added to it.
pub const STORED_HEAD_BYTES: u32 = 2 * super::RESPONSE_HEAD_BYTES;

/// Bytes that are set aside for a key, as many as most keys have.
pub const KEY_BYTES: usize = 256;

/// How often a request may wait for the answers to others, whose answers it then cannot use. Then the request goes by
/// itself.
pub const COLLAPSED_WAITS: u8 = 3;

/// Bytes of an answer that are received for the cache alone when the client has gone. A larger rest is received only if
/// it is less than has come, or if other requests wait for it.
pub const FILL_REST_BYTES: u64 = 1 << 20;
/// How long the rest of a body may take that is stored and that nobody follows any more: longer, and clients that come
/// and go could hold all connections to a backend that sends little by little.
pub const FILL_ALONE: Duration = Duration::from_secs(10);

/// Bytes in front of a range that a client waits for at most when the range comes with a body that is being stored. A
/// client that asks for the end of a large body would wait for all of it.
pub const RANGE_WAIT_BYTES: u64 = 1 << 20;

/// Sets of entries in front of the store, for each core. With eight bytes for each place, a core's front takes 160 KiB
/// and what its entries' rendered heads take.
pub const FRONT_SETS: usize = 4_096;
/// Entries in each set of the front: keys whose hashes agree displace each other beyond these.
pub const FRONT_WAYS: usize = 4;
/// Sets of the front that are looked through at each tick for entries that are not used any more.
pub const FRONT_SWEEP: usize = 512;
/// Hits of an entry in front of the store for which the store is told of one.
pub const FRONT_HITS_PER_NOTE: u8 = 16;

/// Bytes of a stored body from which on the body is sent from the memory of the store, without a copy. A shorter rest
/// is copied behind other bytes, so that one send carries both. Also the bytes of whole pages from which on the kernel
/// is given them by reference.
pub const LENT_BYTES: usize = 16 << 10;

/// Bytes of a stored part that are copied when the part is completed. The copy is made in one go, which takes a worker
/// about a millisecond for each 4 MiB.
pub const JOINED_BYTES: u64 = 16 << 20;

/// Bytes of a URL that an operator names, at least as many as the longest URL of a request has.
pub const CACHE_URL_BYTES: usize = 64 << 10;

/// Zones in which one purge of a URL or prefix takes effect. Each zone costs a place among the purges; with more zones
/// one must be named.
pub const CACHE_ZONES_AT_ONCE: usize = 256;

/// Entries that one answer of the management API lists at most.
pub const CACHE_LISTED: usize = 1_000;

/// Entries that one answer of the management API lists if the caller names no number.
pub const CACHE_LISTED_USUALLY: usize = 100;

/// Entries that are looked at for one answer of the management API: some milliseconds of the control thread.
pub const CACHE_LISTING_STEPS: usize = 65_536;

/// Entries that the summary of the cache names as the largest ones, and as many as the most used ones.
pub const CACHE_FIRST: usize = 10;

/// Milliseconds for which the largest and the most used entries are shown as they were: to find them every entry is
/// looked at.
pub const CACHE_FIRST_AGE_MILLIS: u64 = 5_000;

/// Tags that one `PURGE` or `BAN` may name. Each one costs a purge.
pub const CACHE_TAGS_PURGED: usize = 256;
