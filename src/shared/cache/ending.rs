//! The end of entries that are not to be used any more although they are fresh: invalidations and purges.

use std::sync::atomic::Ordering::Relaxed;

use super::CacheStore;
use super::changes::Change;
use super::entry::EntryState;
use super::purges::{Purge, PurgeEffect};
use crate::base::limits;

impl CacheStore {
    /// Invalidates a key (RFC 9111 section 4.4): its entries are not used any more, and what was asked for before is
    /// not stored.
    pub fn invalidate(&self, hash: u64, key: &[u8]) {
        self.invalidate_here(hash, key);
        self.tell(Change::Invalidation(key));
    }

    pub(super) fn invalidate_here(&self, hash: u64, key: &[u8]) {
        let mut shard = self.shard(hash);
        shard.invalidate(hash, key);
        let entries = shard.slots.entries(hash, key).to_vec();
        for entry in &entries {
            entry.set_state(EntryState::Dead);
            shard.slots.remove(entry);
        }
        drop(shard);
        self.counters
            .invalidated
            .fetch_add(entries.len() as u64, Relaxed);
        entries.iter().for_each(|entry| self.forget(entry));
    }

    /// Purges; in force when the call returns. Returns the number of the purge.
    pub fn purge(&self, purge: Purge<'_>, effect: PurgeEffect) -> u64 {
        let number = self.purge_here(purge, effect);
        self.tell(Change::Purge(purge, effect));
        number
    }

    pub(super) fn purge_here(&self, purge: Purge<'_>, effect: PurgeEffect) -> u64 {
        while self.purges.is_full() {
            self.sweep_on(limits::LISTED_AT_ONCE, 0);
        }
        let hash = match purge {
            Purge::Url(bytes) | Purge::Tag(bytes) => self.hash(bytes),
            Purge::Prefix(_) | Purge::All => 0,
        };
        let before = self.purges.heap_bytes();
        let number = self.purges.add(purge, hash, effect);
        let after = self.purges.heap_bytes();
        self.budget.note(after.saturating_sub(before));
        number
    }
}
