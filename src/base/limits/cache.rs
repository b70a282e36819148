//! Bounds of the cache. They protect memory, and the time of a worker, from backends and clients that vary what they
//! say.

/// Largest number of variants of one key that `max_variants` may allow. A look-up compares the request with each.
pub const CACHE_VARIANTS: u16 = 1_024;

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
