//! The end of entries that are not to be used any more although they are fresh: invalidations and purges.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::CacheStore;
use super::changes::Change;
use super::entry::{Entry, EntryState};
use super::fills::RunningFill;
use super::purges::{Purge, PurgeEffect, Purgeable};
use crate::base::limits;

impl CacheStore {
    /// Whether an entry may be used, after the purges that have come since the last check.
    pub fn check(&self, entry: &Arc<Entry>) -> EntryState {
        let since = entry.checked();
        if since < self.purges.number() && entry.state() != EntryState::Dead {
            let (state, number) = self.purged_state(entry, since);
            if state == EntryState::Dead {
                self.counters.purged.fetch_add(1, Relaxed);
                self.remove(entry);
            } else if state == EntryState::Stale {
                entry.set_state(state);
            }
            entry.set_checked(number);
        }
        entry.state()
    }

    pub(super) fn purged_state(&self, entry: &Entry, since: u64) -> (EntryState, u64) {
        let of = Purgeable {
            key: entry.key(),
            tags: entry.tags(),
        };
        self.purges.state(since, of, |bytes| self.hash(bytes))
    }

    /// Whether a request may have the response of a fill that it has waited for: no purge and no invalidation has ended
    /// the response meanwhile.
    pub fn may_answer(&self, hash: u64, key: &[u8], fill: &RunningFill) -> bool {
        self.hear();
        let shard = self.shard(hash);
        let is_invalidated = shard.is_invalidated_since(hash, fill.invalidation());
        drop(shard);
        !is_invalidated && !self.is_purged_since(key, fill)
    }

    /// Whether a purge has ended the response of a fill: a request after a purge does not get what was asked for before
    /// the purge. The tags of the response are known when its head has come.
    pub fn is_purged_since(&self, key: &[u8], fill: &RunningFill) -> bool {
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::FollowsPurged) {
            return false;
        }
        let since = fill.purge_number();
        if since == self.purges.number() {
            return false;
        }
        let tags = fill.entry().map_or(&[][..], |entry| entry.tags());
        let of = Purgeable { key, tags };
        let (state, _) = self.purges.state(since, of, |bytes| self.hash(bytes));
        state != EntryState::Live
    }

    /// Invalidates a key (RFC 9111 section 4.4): its entries are not used any more, and what was asked for before is
    /// not stored.
    pub fn invalidate(&self, hash: u64, key: &[u8]) {
        self.invalidate_here(hash, key);
        self.tell(Change::Invalidation(key));
    }

    pub(super) fn invalidate_here(&self, hash: u64, key: &[u8]) {
        let mut shard = self.shard(hash);
        shard.invalidate(hash, key);
        if let Some(tier) = self.disk.get() {
            tier.remove_key(key);
        }
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

    /// Makes an entry stale: the response is validated before its next use, in whatever process that is.
    pub fn make_stale(&self, entry: &Entry) {
        let shard = self.shard(entry.hash());
        entry.set_state(EntryState::Stale);
        // The record does not say that the response is stale. Another one is written when the entry leaves memory.
        self.remove_from_disk(entry);
        drop(shard);
    }

    /// Purges; in force when the call returns. Returns the number of the purge.
    pub fn purge(&self, purge: Purge<'_>, effect: PurgeEffect) -> u64 {
        let number = self.purge_here(purge, effect);
        self.tell(Change::Purge(purge, effect));
        number
    }

    /// Ends everything in memory, and makes everything stale on the disk, since changes of another process were missed.
    pub(super) fn doubt_all(&self) {
        let add = || self.purges.add(Purge::All, 0, PurgeEffect::Hard);
        match self.disk.get() {
            Some(tier) => tier.doubt_all(add),
            None => add(),
        };
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
        let add = || self.purges.add(purge, hash, effect);
        let number = match self.disk.get() {
            Some(tier) => tier.purge(purge, effect, add),
            None => add(),
        };
        let after = self.purges.heap_bytes();
        self.budget.note(after.saturating_sub(before));
        number
    }
}
