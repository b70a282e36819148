//! A part of the index: the entries of the keys whose hashes fall into it, the fetches that run for them, and what is
//! remembered of keys without an entry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashTable;

use super::fills::RunningFill;
use super::slots::EntryIndex;
use crate::base::limits;

/// The knowledge of a key beside its entries.
#[derive(Debug)]
struct Pending {
    hash: u64,
    key: Box<[u8]>,
    /// The key is not collapsed until this time, in milliseconds since 1970.
    uncacheable_until: u64,
    running: Vec<Running>,
}

/// A fetch that others may wait for.
#[derive(Debug)]
struct Running {
    variant: Option<Box<[u8]>>,
    fill: Arc<RunningFill>,
}

/// A part of the index.
#[derive(Debug, Default)]
pub struct StoreShard {
    /// The entries.
    pub slots: EntryIndex,
    pending: HashTable<Pending>,
    /// The number of the last invalidation, and the last of them with their hashes, the oldest first.
    invalidation: u64,
    invalidations: VecDeque<(u64, u64)>,
    /// The fetches that run, by the purge numbers at which their requests were sent.
    fetches: BTreeMap<u64, u32>,
    pending_bytes: u64,
}

/// The answer to a fetch that wants to begin.
pub enum FetchStart {
    /// Another request fetches the same.
    Follow(Arc<RunningFill>),
    /// No other request fetches the same.
    Lead,
    /// The key is not collapsed.
    Alone,
}

impl StoreShard {
    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let ring = self.invalidations.capacity() * size_of::<(u64, u64)>();
        let own = (self.pending.allocation_size() + ring) as u64;
        self.slots.heap_bytes() + own + self.pending_bytes
    }

    /// Begins a fetch; returns the number of the last invalidation.
    pub fn begin_fetch(&mut self, purge_number: u64) -> u64 {
        *self.fetches.entry(purge_number).or_insert(0) += 1;
        self.invalidation
    }

    /// Ends a fetch that began at this purge number.
    pub fn end_fetch(&mut self, purge_number: u64) {
        if let Some(count) = self.fetches.get_mut(&purge_number) {
            *count -= 1;
            if *count == 0 {
                self.fetches.remove(&purge_number);
            }
        }
    }

    /// The fetches that run, and the followers of those that others may wait for.
    #[cfg(test)]
    pub fn running(&self) -> (u32, u32) {
        let fills = self.pending.iter().flat_map(|pending| &pending.running);
        let followers = fills.map(|running| running.fill.followers());
        (self.fetches.values().sum(), followers.sum())
    }

    /// The purge number of the oldest fetch that runs.
    pub fn oldest_fetch(&self) -> Option<u64> {
        self.fetches.keys().next().copied()
    }

    /// Notes an invalidation: fetches of the key that run do not store, and no request follows them any more.
    pub fn invalidate(&mut self, hash: u64, key: &[u8]) {
        self.invalidation += 1;
        if self.invalidations.len() == limits::INVALIDATIONS {
            self.invalidations.pop_front();
        }
        self.invalidations.push_back((hash, self.invalidation));
        self.forget_fills(hash, key);
    }

    /// Whether a key may have been invalidated after this number.
    pub fn is_invalidated_since(&self, hash: u64, number: u64) -> bool {
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::StoresInvalidated) {
            return false;
        }
        let oldest = self.invalidations.front().map_or(1, |(_, oldest)| *oldest);
        let newer = self.invalidations.iter().rev();
        let mut newer = newer.take_while(|(_, newer)| *newer > number);
        number + 1 < oldest || newer.any(|(other, _)| *other == hash)
    }

    /// The time until which a key is not collapsed, and the fetches of the key that can be followed.
    pub fn pending(&self, hash: u64, key: &[u8]) -> (u64, Option<Arc<RunningFill>>) {
        match self.pending.find(hash, |pending| *pending.key == *key) {
            Some(pending) => {
                let fill = pending.running.last().map(|running| running.fill.clone());
                (pending.uncacheable_until, fill)
            }
            None => (0, None),
        }
    }

    /// The way of a request for a key and, if its variant is known, for a variant. `usable` says whether a fill may be
    /// followed still.
    pub fn start(
        &mut self,
        (hash, key): (u64, &[u8]),
        variant: Option<&[u8]>,
        now: u64,
        usable: impl Fn(&RunningFill) -> bool,
    ) -> FetchStart {
        let found = self.pending.find(hash, |pending| *pending.key == *key);
        let Some(pending) = found else {
            return FetchStart::Lead;
        };
        if pending.uncacheable_until > now {
            return FetchStart::Alone;
        }
        // A request that does not know its variant follows any fetch, and looks at its head. A fetch whose variant
        // nobody knows may bring any.
        let may_bring = |running: &&Running| match (variant, &running.variant) {
            (None, _) | (_, None) => true,
            (Some(wanted), Some(brings)) => wanted == &**brings,
        };
        let mut candidates = pending.running.iter().filter(may_bring);
        match candidates.find(|running| usable(&running.fill)) {
            Some(running) => FetchStart::Follow(running.fill.clone()),
            None if pending.running.len() >= limits::FILLS_PER_KEY => FetchStart::Alone,
            None => FetchStart::Lead,
        }
    }

    /// Makes a fill known to those who want the same.
    pub fn add_fill(
        &mut self,
        (hash, key): (u64, &[u8]),
        variant: Option<&[u8]>,
        fill: Arc<RunningFill>,
    ) {
        let pending = self.pending_of(hash, key);
        pending.running.push(Running {
            variant: variant.map(Into::into),
            fill,
        });
    }

    /// Notes the variant that a fill brings, unless its request has told. A request tells a variant in a form without
    /// what the response says of it, and so do the requests that are compared with it.
    pub fn set_fill_variant(&mut self, (hash, key): (u64, &[u8]), fill: u64, variant: &[u8]) {
        let found = self.pending.find_mut(hash, |pending| *pending.key == *key);
        let mut running = found.into_iter().flat_map(|pending| &mut pending.running);
        if let Some(running) = running.find(|running| running.fill.number() == fill) {
            running.variant.get_or_insert_with(|| variant.into());
        }
    }

    /// Takes a fill out. Its key is not collapsed until `uncacheable_until`, if that is given, nor until the time that
    /// was given before: a fill that began before then knows less.
    pub fn end_fill(&mut self, hash: u64, key: &[u8], fill: u64, uncacheable_until: Option<u64>) {
        if uncacheable_until.is_some_and(|until| until > 0) {
            self.pending_of(hash, key);
        }
        let is_same = |pending: &Pending| *pending.key == *key;
        let Ok(mut found) = self.pending.find_entry(hash, is_same) else {
            return;
        };
        let pending = found.get_mut();
        pending
            .running
            .retain(|running| running.fill.number() != fill);
        if let Some(until) = uncacheable_until {
            pending.uncacheable_until = pending.uncacheable_until.max(until);
        }
        if pending.is_empty() {
            self.pending_bytes -= pending.bytes();
            found.remove();
        }
    }

    /// No request follows the fetches of a key any more.
    fn forget_fills(&mut self, hash: u64, key: &[u8]) {
        let found = self.pending.find_mut(hash, |pending| *pending.key == *key);
        if let Some(pending) = found {
            pending.running.clear();
        }
    }

    /// The knowledge of a key; made if there is none.
    fn pending_of(&mut self, hash: u64, key: &[u8]) -> &mut Pending {
        if self.pending.len() >= limits::UNCACHEABLE_KEYS {
            self.drop_markers();
        }
        let is_same = |pending: &Pending| *pending.key == *key;
        let slot = self.pending.entry(hash, is_same, |pending| pending.hash);
        let bytes = &mut self.pending_bytes;
        let found = slot.or_insert_with(|| {
            let pending = Pending {
                hash,
                key: key.into(),
                uncacheable_until: 0,
                running: Vec::new(),
            };
            *bytes += pending.bytes();
            pending
        });
        found.into_mut()
    }

    /// Forgets half of the keys that are only remembered as not cacheable.
    fn drop_markers(&mut self) {
        let (mut is_odd, mut freed) = (false, 0);
        self.pending.retain(|pending| {
            is_odd = !is_odd;
            let keeps = !pending.running.is_empty() || is_odd;
            freed += if keeps { 0 } else { pending.bytes() };
            keeps
        });
        self.pending_bytes -= freed;
    }

    /// Forgets the keys whose time as not cacheable is over.
    pub fn drop_old_markers(&mut self, now: u64) {
        let mut freed = 0;
        self.pending.retain(|pending| {
            let keeps = !pending.running.is_empty() || pending.uncacheable_until > now;
            freed += if keeps { 0 } else { pending.bytes() };
            keeps
        });
        self.pending_bytes -= freed;
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.uncacheable_until == 0
    }

    fn bytes(&self) -> u64 {
        // A fetch with its variant is counted with its fill; the list of fetches is counted here once for one of them.
        (self.key.len() + 16 + 4 * size_of::<Running>()) as u64
    }
}
