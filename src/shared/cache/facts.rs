//! The facts of an entry as the store keeps them: bytes that only the decisions of the cache read.

pub use crate::cache::facts::EntryFacts;

/// Bytes of the facts.
pub const FACTS_BYTES: usize = EntryFacts::BYTES;
