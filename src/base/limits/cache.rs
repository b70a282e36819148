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
