//! The store with its tier on disk: what leaves memory for the disk, what comes back, and purges that outlast the
//! process.

use std::sync::Arc;

use super::CacheStore;
use super::disk::counters::DiskUsage;
use super::disk::{DiskOffer, DiskTier, EvictedEntry};
use super::entry::{Entry, EntryState};
use super::fetch::Filling;
use super::fills::Follower;
use super::unpublished::Unpublished;
use crate::base::limits;
use crate::base::time::unix_millis;
use crate::cache::facts::{EntryFacts, Flags};

/// A wait for the journal of the disk to have all purges that were ordered so far.
#[derive(Debug)]
pub struct PurgeSync {
    tier: Arc<DiskTier>,
    ordered: u64,
    fill: Follower,
}

impl PurgeSync {
    /// Whether the journal has them.
    pub fn is_done(&self) -> bool {
        self.tier.purges().is_written(self.ordered)
    }

    /// Whether it makes no sense to wait, since this process cannot use the folder.
    pub fn is_hopeless(&self) -> bool {
        self.tier.is_hopeless()
    }

    /// The fill that is decided when the journal has them, or it makes no sense to wait, for tasks of workers.
    pub fn fill(&self) -> &Follower {
        &self.fill
    }
}

impl Drop for PurgeSync {
    fn drop(&mut self) {
        self.tier.purges().forget_waiting(self.fill.number());
    }
}

impl CacheStore {
    /// Lets the disk be read for a key of which memory has no entry. The fill is decided when whatever the disk has is
    /// in memory; `None`: the disk has nothing.
    #[inline]
    pub fn recall(&self, key: &[u8]) -> Option<Follower> {
        let tier = self.disk.get()?;
        if self.sharing.is_frozen() {
            // Memory takes nothing.
            return None;
        }
        tier.recall(key, || self.new_fill((0, 0)))
    }

    /// Whether the disk may have entries of a key that memory does not have.
    pub fn is_on_disk(&self, key: &[u8]) -> bool {
        self.disk.get().is_some_and(|tier| tier.has_key(key))
    }

    /// A wait for the purges that were ordered so far to outlast the process; `None`: they do, or there is no disk.
    pub fn purge_sync(&self) -> Option<PurgeSync> {
        let tier = self.disk.get()?;
        let ordered = tier.unsynced()?;
        let fill = Arc::new(self.new_fill((0, 0)));
        tier.purges().await_written(ordered, fill.clone());
        // The folder may be given up at any time: who gives it up wakes those who wait by then.
        if tier.is_hopeless() {
            fill.decide_gone();
        }
        Some(PurgeSync {
            tier: tier.clone(),
            ordered,
            fill: Follower::new(fill),
        })
    }

    /// The figures of the disk; `None`: there is none.
    pub fn disk_usage(&self) -> Option<DiskUsage> {
        self.disk.get().map(|tier| tier.usage())
    }

    /// Lets the disk, if there is one, write what is in memory, within a bound. For the end of the process.
    pub fn begin_disk_end(&self) {
        if let Some(tier) = self.disk.get() {
            tier.begin_end();
        }
    }

    /// Whether the disk has ended; true if there is none.
    pub fn has_disk_ended(&self) -> bool {
        self.disk.get().is_none_or(|tier| tier.has_ended())
    }

    /// The disk's knowledge of an entry that is going to leave memory; `None`: the entry does not count any more.
    pub(super) fn offer_of(&self, tier: &DiskTier, entry: &Arc<Entry>) -> Option<DiskOffer> {
        let mut leaving = tier.offer_of(entry);
        let state = self.check(entry);
        leaving.is_stale = state == EntryState::Stale;
        leaving.is_worth = is_worth(&entry.facts(), unix_millis());
        (state != EntryState::Dead).then_some(leaving)
    }

    /// Has an entry written that stays in memory; `None`: it need not be written.
    pub(super) fn copy_to_disk(&self, tier: &DiskTier, entry: &Arc<Entry>) -> Option<EvictedEntry> {
        let leaving = self.offer_of(tier, entry)?;
        let shard = self.shard(entry.hash());
        let known = shard.slots.entries(entry.hash(), entry.key());
        let is_there = known.iter().any(|other| Arc::ptr_eq(other, entry));
        is_there.then(|| tier.take_offer(entry, leaving)).flatten()
    }

    /// Removes the record of an entry, which has ended. For a caller that has the lock of the entry's shard.
    pub(super) fn remove_from_disk(&self, entry: &Entry) {
        if let Some(tier) = self.disk.get() {
            tier.remove(entry.key(), entry.variant());
        }
    }
}

impl Filling {
    /// Ends a body that came from the disk, and puts the entry into the store, unless memory has the variant by now or
    /// `is_wanted` says no under the lock of the shard. Errors: the entry is not in the store.
    pub(super) fn finish_recalled(
        mut self,
        trailers: &[u8],
        is_stale: bool,
        is_wanted: impl FnOnce(&CacheStore) -> bool,
    ) -> Result<Arc<Entry>, Unpublished> {
        if self.has_ended || self.length != Some(self.pushed) {
            return Err(Unpublished::TooShort);
        }
        let entry = self.seal(trailers)?;
        if is_stale {
            entry.set_state(EntryState::Stale);
        }
        self.has_ended = true;
        let (fetch, most) = (&self.fetch, usize::from(self.share.max_variants));
        fetch.store.publish_if(fetch, &entry, most, |shard| {
            let known = shard.slots.entries(fetch.hash, &fetch.key);
            let is_known = known.iter().any(|other| other.variant() == entry.variant());
            is_wanted(&fetch.store) && !is_known
        })?;
        Ok(entry)
    }
}

/// Whether an entry can answer a request at some time to come.
fn is_worth(facts: &EntryFacts, now: u64) -> bool {
    if facts.has_validator() {
        return true;
    }
    let Some(lifetime) = facts.explicit() else {
        // The settings of the route tell the lifetime.
        return true;
    };
    let age = now
        .saturating_sub(facts.received)
        .saturating_add(facts.initial_age)
        / 1_000;
    let expired = age.saturating_sub(lifetime.into());
    let is_strict = facts.flags.has(Flags::REVALIDATE) || facts.flags.has(Flags::NO_CACHE);
    let windows = [facts.stale_while_revalidate, facts.stale_if_error];
    let window = windows.into_iter().flatten().max().map_or(0, u64::from);
    let default = if is_strict {
        0
    } else {
        limits::DISK_EXPIRED_SECS
    };
    expired == 0 || expired < window.max(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::facts::LifetimeSource;

    #[test]
    fn entries_that_can_never_answer_are_not_worth_a_record() {
        let now = 1_000_000_000;
        let day = limits::DISK_EXPIRED_SECS;
        let rows = [
            (0, Flags::default(), None, true),
            (59, Flags::REVALIDATE, None, true),
            (61, Flags::default(), None, true),
            (61, Flags::REVALIDATE, None, false),
            (61, Flags::REVALIDATE, Some(100), true),
            (61, Flags::REVALIDATE | Flags::VALIDATOR, None, true),
            (61, Flags::NO_CACHE, None, false),
            (60 + day, Flags::default(), None, false),
            (60 + day, Flags::default(), Some(u32::MAX - 1), true),
            (60 + day, Flags::VALIDATOR, None, true),
        ];
        for (age, flags, stale_if_error, expected) in rows {
            let facts = EntryFacts {
                received: now - age * 1_000,
                explicit: 60,
                source: LifetimeSource::MaxAge,
                stale_if_error,
                flags,
                ..EntryFacts::default()
            };
            assert_eq!(
                is_worth(&facts, now),
                expected,
                "{age} {flags:?} {stale_if_error:?}"
            );
            let unknown = EntryFacts {
                source: LifetimeSource::None,
                ..facts
            };
            assert!(is_worth(&unknown, now));
        }
    }
}
