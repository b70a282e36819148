//! The view of an operator on the store: how full it is, what has happened, and which entries there are.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::CacheStore;
use super::entry::{Entry, EntryState};
use crate::base::limits;
use crate::cache::facts::EntryFacts;

/// How full the store is, and what has happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// The bytes that everything may take.
    pub max_bytes: u64,
    /// The bytes that everything takes.
    pub used_bytes: u64,
    /// The bytes that the store has in memory: also those that were used and can be used again.
    pub resident_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The bytes of the entries.
    pub entry_bytes: u64,
    /// The zones with their entries.
    pub zones: Vec<ZoneUsage>,
    /// The purges that stand.
    pub standing_purges: u64,
    /// Entries that were stored.
    pub stored: u64,
    /// Entries that were evicted.
    pub evicted: u64,
    /// Entries that a newer one took the place of.
    pub replaced: u64,
    /// Entries that a purge has ended.
    pub purged: u64,
    /// Entries that an invalidation has ended.
    pub invalidated: u64,
    /// Responses that were not stored because a purge or an invalidation came first.
    pub refused: u64,
}

/// How much of the store a zone has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneUsage {
    /// The name.
    pub name: String,
    /// The number of entries.
    pub entries: u64,
    /// The bytes of the entries.
    pub bytes: u64,
}

/// An entry as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The key.
    pub key: Vec<u8>,
    /// The variant.
    pub variant: Vec<u8>,
    /// The bytes that the entry takes of the store.
    pub cost: u64,
    /// The length of the body.
    pub body: u64,
    /// How often the entry was used of late; at most 3.
    pub uses: u8,
    /// Whether the entry may be used.
    pub state: EntryState,
    /// Seconds since 1970 of the response's `Date`.
    pub date: i64,
    /// The facts of the response.
    pub facts: EntryFacts,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<EntrySummary>,
    /// Where the next part begins; `None`: there is none.
    pub next: Option<u32>,
}

/// The choice of entries of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The largest ones.
    Largest,
    /// The most used ones, the larger first among equals.
    MostUsed,
}

impl CacheStore {
    /// The figures of the store.
    pub fn usage(&self) -> CacheUsage {
        let names = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.clone();
        let policy = self.policy();
        let zones = names.iter().zip(0..).map(|(name, zone)| {
            let (bytes, entries) = policy.of_zone(zone);
            ZoneUsage {
                name: name.to_string(),
                entries,
                bytes,
            }
        });
        let zones = zones.collect();
        let (entries, entry_bytes) = (policy.count(), policy.bytes());
        drop(policy);
        let counters = &self.counters;
        let (_, _, free) = self.arena.touched();
        let resident_bytes = self.budget.used();
        CacheUsage {
            max_bytes: self.max_bytes,
            used_bytes: resident_bytes.saturating_sub(free),
            resident_bytes,
            entries,
            entry_bytes,
            zones,
            standing_purges: self.purges.standing() as u64,
            stored: counters.stored.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            replaced: counters.replaced.load(Relaxed),
            purged: counters.purged.load(Relaxed),
            invalidated: counters.invalidated.load(Relaxed),
            refused: counters.refused.load(Relaxed),
        }
    }

    /// The entries whose keys are wanted, at most `limit`, from a cursor on (0 at first). One call looks at `steps`
    /// entries at most, so that a part may be empty although there is a next one.
    pub fn list(
        &self,
        is_wanted: impl Fn(&[u8]) -> bool,
        cursor: u32,
        limit: usize,
        steps: usize,
    ) -> Listing {
        let (mut entries, mut node) = (Vec::new(), cursor);
        let end = cursor.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        while node < end {
            let (found, is_end) = self.entries_from(node, limits::LISTED_AT_ONCE as u32);
            for entry in found.iter().filter(|entry| is_wanted(entry.key())) {
                if entries.len() == limit {
                    // An entry that was evicted meanwhile has no place any more.
                    let next = Some(entry.node().min(node + limits::LISTED_AT_ONCE as u32));
                    return Listing { entries, next };
                }
                if self.check(entry) != EntryState::Dead {
                    entries.push(EntrySummary::of(entry));
                }
            }
            if is_end {
                return Listing {
                    entries,
                    next: None,
                };
            }
            node += limits::LISTED_AT_ONCE as u32;
        }
        Listing {
            entries,
            next: Some(node),
        }
    }

    /// The first `limit` entries of the whole store in an order. The call looks at every entry, a few at once: not for
    /// a thread that serves.
    pub fn first_in(&self, order: Order, limit: usize) -> Vec<EntrySummary> {
        let mut first: Vec<((u64, u64), Arc<Entry>)> = Vec::new();
        let mut node = 0;
        loop {
            let (entries, is_end) = self.entries_from(node, limits::LISTED_AT_ONCE as u32);
            node += limits::LISTED_AT_ONCE as u32;
            let usable = entries
                .into_iter()
                .filter(|entry| self.check(entry) != EntryState::Dead);
            let ranked = usable.map(|entry| {
                let rank = match order {
                    Order::Largest => (entry.cost(), 0),
                    Order::MostUsed => (u64::from(entry.recent_uses()), entry.cost()),
                };
                (rank, entry)
            });
            first.extend(ranked);
            first.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
            first.truncate(limit);
            if is_end {
                break;
            }
        }
        let entries = first.iter().map(|(_, entry)| EntrySummary::of(entry));
        entries.collect()
    }
}

impl EntrySummary {
    /// The summary of an entry.
    pub fn of(entry: &Entry) -> EntrySummary {
        EntrySummary {
            key: entry.key().to_vec(),
            variant: entry.variant().to_vec(),
            cost: entry.cost(),
            body: entry.body_len(),
            uses: entry.recent_uses(),
            state: entry.state(),
            date: entry.date(),
            facts: entry.facts(),
        }
    }
}
