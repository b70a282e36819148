//! Bounds of the cache. They protect memory, and the time of a worker, from backends and clients that vary what they
//! say.

/// Largest number of variants of one key that `max_variants` may allow. A look-up compares the request with each.
pub const CACHE_VARIANTS: u16 = 1_024;
