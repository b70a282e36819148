//! The store of cached responses, which all cores share. The store knows nothing of freshness: it finds the entries of
//! a key, takes new ones in, lets one fetch serve many requests, forgets what was purged or is used least, and never
//! takes more memory than it may.
//!
//! A core that uses an entry again and again keeps its `Arc`, and asks [`Entry::state`], and
//! [`CacheStore::check`] if [`CacheStore::purge_number`] is above [`Entry::checked`]: that takes no lock.

mod arena;
#[cfg(test)]
mod audit;
mod body;
mod budget;
mod changes;
mod counted;
mod disk;
mod ending;
mod entry;
mod fetch;
mod fills;
mod handover;
mod header;
mod listing;
mod mark;
mod passing;
mod passing_state;
mod purges;
mod readers;
mod rebuild;
mod reserve;
mod reserved;
mod room;
pub mod s3_fifo;
mod shard;
mod sketch;
mod slots;
mod sweep;
#[cfg(test)]
mod tests;
mod tier;
mod unpublished;
mod uses;
mod validations;
mod widened;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;

use self::arena::Arena;
use self::body::LargeBody;
use self::budget::Budget;
use self::counted::Counted;
use self::disk::DiskTier;
use self::entry::NO_NODE;
use self::fills::Wakers;
use self::handover::StoreSharing;
use self::purges::Purges;
use self::s3_fifo::S3Fifo;
use self::shard::{FetchStart, StoreShard};
use self::sweep::Sweep;
use self::uses::Uses;
use self::validations::Validations;
use self::widened::WidenedFetches;
use crate::base::limits;

#[cfg(test)]
pub use self::audit::Remains;
pub use self::disk::DiskSettings;
pub use self::disk::counters::DiskUsage;
pub use self::entry::{Entry, EntryState};
pub use self::fetch::{Filling, NewEntry, Share, Ticket};
pub use self::fills::{FillEnd, Follower, Outcome, RunningFill, Wake};
pub use self::handover::{HandedIndex, HandedStore};
pub use self::listing::{CacheUsage, EntrySummary, Listing, Order, ZoneUsage};
pub use self::purges::{Purge, PurgeEffect};
pub use self::rebuild::Rebuilt;
pub use self::sweep::Swept;
pub use self::tier::PurgeSync;
pub use self::unpublished::{NoRoom, Unpublished};
pub use self::widened::Widened;

/// How a store is made.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// The bytes that everything in the store may take.
    pub max_bytes: u64,
    /// The cores that may follow fills.
    pub cores: usize,
}

/// The store.
#[derive(Debug)]
pub struct CacheStore {
    seed: RandomState,
    max_bytes: u64,
    budget: Arc<Budget>,
    arena: Arc<Arena>,
    shards: Box<[CachePadded<Mutex<StoreShard>>]>,
    policy: CachePadded<Mutex<S3Fifo<Arc<Entry>>>>,
    purges: Purges,
    zones: Mutex<Vec<Box<str>>>,
    wakers: Arc<Wakers>,
    next_fill: AtomicU64,
    next_body: AtomicU64,
    counters: StoreCounters,
    sweep: Mutex<Sweep>,
    validations: Validations,
    uses: Uses,
    range_uses: Uses,
    widened: Arc<WidenedFetches>,
    sharing: StoreSharing,
    disk: OnceLock<Arc<DiskTier>>,
}

/// Counts of the store's events.
#[derive(Debug, Default)]
struct StoreCounters {
    stored: AtomicU64,
    evicted: AtomicU64,
    replaced: AtomicU64,
    purged: AtomicU64,
    invalidated: AtomicU64,
    refused: AtomicU64,
    shortages: AtomicU64,
}

/// Everything that the store knows of a key.
#[derive(Debug)]
pub struct Found {
    /// The newest entry that matches.
    pub entry: Option<Arc<Entry>>,
    /// The further entries that match, the newest first.
    pub further: Vec<Arc<Entry>>,
    /// The newest entry that does not match, which shows what the responses of the key vary by.
    pub other: Option<Arc<Entry>>,
    /// The time in milliseconds since 1970 until which requests for the key are not collapsed; 0: they are.
    pub uncacheable_until: u64,
    /// A fetch of the key that runs.
    pub fill: Option<Arc<RunningFill>>,
}

/// The way of a request that needs a fetch.
#[derive(Debug)]
pub enum Joined {
    /// The request fetches, and others may wait for it.
    Lead(Ticket),
    /// The request waits for another's fetch.
    Follow(Follower),
    /// The request fetches for itself.
    Alone(Ticket),
}

impl CacheStore {
    /// An empty store. Errors: the machine has no descriptors or address space left, or the bytes are too few or too
    /// many.
    pub fn new(settings: StoreSettings) -> io::Result<Arc<CacheStore>> {
        let budget = CacheStore::budget_of(settings)?;
        let arena = Arena::new(settings.max_bytes, budget.clone())?;
        let store = CacheStore::in_arena(settings, (arena, budget), StoreSharing::new);
        Ok(Arc::new(store))
    }

    fn budget_of(settings: StoreSettings) -> io::Result<Arc<Budget>> {
        let max_bytes = settings.max_bytes;
        if !(limits::STORE_LEAST_BYTES..=limits::STORE_MOST_BYTES).contains(&max_bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Tables may grow by the slack between two looks at the budget.
        let most = max_bytes - max_bytes / limits::STORE_SLACK;
        Ok(Arc::new(Budget::new(most)))
    }

    fn in_arena(
        settings: StoreSettings,
        (arena, budget): (Arc<Arena>, Arc<Budget>),
        sharing: impl FnOnce(u32) -> StoreSharing,
    ) -> CacheStore {
        let places = settings.max_bytes / limits::BYTES_PER_USE_PLACE;
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        let places = places.clamp(limits::USE_PLACES_LEAST, limits::USE_PLACES);
        let shards = (0..limits::STORE_SHARDS).map(|_| CachePadded::default());
        let seed = RandomState::new();
        let process = seed.hash_one("process") as u32;
        let store = CacheStore {
            seed,
            max_bytes: settings.max_bytes,
            budget,
            arena,
            shards: shards.collect(),
            policy: CachePadded::default(),
            purges: Purges::default(),
            zones: Mutex::default(),
            wakers: Arc::new(Wakers::new(settings.cores)),
            next_fill: AtomicU64::new(1),
            next_body: AtomicU64::new(1),
            counters: StoreCounters::default(),
            sweep: Mutex::default(),
            validations: Validations::default(),
            uses: Uses::new(places, limits::USES_SECS),
            range_uses: Uses::new(places, limits::RANGE_USES_SECS),
            widened: Arc::default(),
            sharing: sharing(process),
            disk: OnceLock::new(),
        };
        store.budget.note(store.validations.heap_bytes());
        store
            .budget
            .note(store.uses.heap_bytes() + store.range_uses.heap_bytes());
        store.budget.note(store.policy().heap_bytes());
        store
    }

    /// Makes known how the tasks of a core that follow a fill are woken.
    pub fn register_core(&self, core: usize, wake: impl Wake + 'static) {
        self.wakers.register(core, Arc::new(wake));
    }

    /// The number of a zone.
    pub fn zone(&self, name: &str) -> u16 {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let known = zones.iter().position(|zone| **zone == *name);
        let at = known.unwrap_or_else(|| {
            if zones.len() < limits::STORE_ZONES {
                zones.push(name.into());
            }
            zones.len() - 1
        });
        at as u16
    }

    /// The hash of a key, which differs from process to process.
    pub fn hash(&self, key: &[u8]) -> u64 {
        #[cfg(test)]
        if let Some(hash) = crate::simulated::hash(key) {
            return hash;
        }
        let mut hasher = self.seed.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// Whether a client may cause a validation of a key at this time, in milliseconds since 1970: at most one in a
    /// second.
    pub fn may_validate(&self, hash: u64, now: u64) -> bool {
        self.validations.may_begin(hash, now)
    }

    /// Notes a request for a key without an entry; returns whether the answer is worth storing. `least`: the requests
    /// that this takes; `None`: one, and two while the store is full, so that what is wanted once displaces nothing.
    pub fn is_wanted(&self, hash: u64, least: Option<u8>, now: u64) -> bool {
        match least {
            None => !self.is_full() || self.note_wanted(hash) > 1,
            Some(least) => least <= 1 || self.uses.note(hash, now) >= least,
        }
    }

    /// Notes a request for a range that is not stored; returns how many came of late.
    pub fn note_range(&self, hash: u64, now: u64) -> u8 {
        self.range_uses.note(hash, now)
    }

    /// Counts a fetch that is widened from a range of this client to the whole; `None`: there are too many.
    pub fn begin_widened(&self, client: Option<IpAddr>) -> Option<Widened> {
        self.widened.begin(client)
    }

    /// The number of the last purge: entries that were checked before it are checked anew.
    #[inline]
    pub fn purge_number(&self) -> u64 {
        self.hear();
        self.purges.number()
    }

    /// The purges since the start.
    pub fn purges(&self) -> u64 {
        self.purges.number() - 1
    }

    /// Everything that the store knows of a key. `matches` says whether a request gets the entry of a variant.
    pub fn look_up(&self, hash: u64, key: &[u8], mut matches: impl FnMut(&[u8]) -> bool) -> Found {
        self.hear();
        let shard = self.shard(hash);
        let (uncacheable_until, fill) = shard.pending(hash, key);
        let mut found = Found {
            entry: None,
            further: Vec::new(),
            other: None,
            uncacheable_until,
            fill,
        };
        for entry in shard.slots.entries(hash, key) {
            if !matches(entry.variant()) {
                found.other.get_or_insert_with(|| entry.clone());
            } else if found.entry.is_none() {
                found.entry = Some(entry.clone());
            } else {
                found.further.push(entry.clone());
            }
        }
        drop(shard);
        let is_usable =
            |entry: &Arc<Entry>| self.check(entry) != EntryState::Dead && self.is_intact(entry);
        found.further.retain(is_usable);
        found.entry = found.entry.filter(is_usable);
        if found.entry.is_none() && !found.further.is_empty() {
            found.entry = Some(found.further.remove(0));
        }
        found.other = found.other.filter(is_usable);
        found
    }

    /// Whether the body of an entry is what was stored; else the entry is not used any more.
    fn is_intact(&self, entry: &Arc<Entry>) -> bool {
        let is_intact = entry.is_intact();
        if !is_intact {
            self.remove(entry);
        }
        is_intact
    }

    /// A fetch that no request waits for.
    pub fn begin_fetch(self: &Arc<Self>, hash: u64, key: &[u8]) -> Ticket {
        let mut shard = self.shard(hash);
        self.fetch(&mut shard, (hash, key))
    }

    fn fetch(self: &Arc<Self>, shard: &mut StoreShard, (hash, key): (u64, &[u8])) -> Ticket {
        let purge_number = self.purges.number();
        Ticket {
            store: self.clone(),
            hash,
            key: key.into(),
            purge_number,
            invalidation: shard.begin_fetch(purge_number),
            fill: None,
        }
    }

    /// A fetch, or the one of another request for the same. `variant` is what the request has of what the responses of
    /// the key vary by, if that is known; `now` is in milliseconds since 1970.
    pub fn join(
        self: &Arc<Self>,
        hash: u64,
        key: &[u8],
        variant: Option<&[u8]>,
        now: u64,
    ) -> Joined {
        self.hear();
        let mut shard = self.shard(hash);
        let usable = |fill: &RunningFill| !self.is_purged_since(key, fill);
        match shard.start((hash, key), variant, now, usable) {
            FetchStart::Follow(fill) => Joined::Follow(Follower::new(fill)),
            FetchStart::Alone => Joined::Alone(self.fetch(&mut shard, (hash, key))),
            FetchStart::Lead => {
                let mut fetch = self.fetch(&mut shard, (hash, key));
                shard.add_fill((hash, key), variant, self.give_fill(&mut fetch));
                Joined::Lead(fetch)
            }
        }
    }

    /// A follower of a fetch that no request finds by its key.
    pub fn follow_unseen(&self, fetch: &mut Ticket) -> Follower {
        Follower::new(self.give_fill(fetch))
    }

    /// Gives a fetch the fill by which others follow it.
    fn give_fill(&self, fetch: &mut Ticket) -> Arc<RunningFill> {
        let fill = Arc::new(self.new_fill((fetch.purge_number, fetch.invalidation)));
        fetch.fill.insert(fill).clone()
    }

    /// A fill whose request is sent after these numbers of a purge and an invalidation.
    fn new_fill(&self, sent: (u64, u64)) -> RunningFill {
        let number = self.next_fill.fetch_add(1, Relaxed);
        RunningFill::new(number, sent, self.wakers.clone(), self.budget.clone())
    }

    fn renew_fetch(&self, fetch: &mut Ticket) {
        let mut shard = self.shard(fetch.hash);
        shard.end_fetch(fetch.purge_number);
        fetch.purge_number = self.purges.number();
        fetch.invalidation = shard.begin_fetch(fetch.purge_number);
        if let Some(fill) = &fetch.fill {
            fill.set_sent(fetch.purge_number, fetch.invalidation);
        }
    }

    /// Puts an entry into the index. Errors: a purge or an invalidation came after its request was sent.
    fn publish(&self, fetch: &Ticket, entry: &Arc<Entry>, most: usize) -> Result<(), Unpublished> {
        self.publish_if(fetch, entry, most, |_| {
            // The new response takes the place of the one on the disk.
            self.remove_from_disk(entry);
            true
        })
    }

    /// Puts an entry into the index, if `is_wanted` says so under the lock of the shard. Errors: as
    /// [`CacheStore::publish`].
    fn publish_if(
        &self,
        fetch: &Ticket,
        entry: &Arc<Entry>,
        most: usize,
        is_wanted: impl FnOnce(&StoreShard) -> bool,
    ) -> Result<(), Unpublished> {
        self.hear();
        let seal = entry.seal();
        let mut shard = self.shard(fetch.hash);
        if self.sharing.is_frozen() {
            self.counters.refused.fetch_add(1, Relaxed);
            return Err(NoRoom::Full.into());
        }
        if shard.is_invalidated_since(fetch.hash, fetch.invalidation) {
            self.counters.refused.fetch_add(1, Relaxed);
            return Err(Unpublished::Invalidated);
        }
        let since = fetch.purge_number;
        #[cfg(test)]
        let since = if crate::simulated::is_planted(crate::simulated::Fault::NotesPurgeLate) {
            self.purges.number()
        } else {
            since
        };
        let (state, number) = self.purged_state(entry, since);
        if state == EntryState::Dead || self.purges.is_too_old(fetch.purge_number) {
            self.counters.refused.fetch_add(1, Relaxed);
            return Err(Unpublished::Purged);
        }
        if !is_wanted(&shard) {
            return Err(Unpublished::Invalidated);
        }
        entry.set_state(state);
        entry.set_checked(number);
        entry.mark_whole(seal);
        let replaced = shard.slots.insert(entry.clone(), most);
        let mut policy = self.policy();
        for old in &replaced {
            old.set_state(EntryState::Dead);
            self.remove_from_disk(old);
            policy.remove(old.node());
            old.set_node(NO_NODE);
        }
        let node = policy.insert(entry.clone(), entry.cost(), entry.zone());
        entry.set_node(node);
        drop(policy);
        drop(shard);
        self.counters.stored.fetch_add(1, Relaxed);
        self.counters
            .replaced
            .fetch_add(replaced.len() as u64, Relaxed);
        self.settle();
        Ok(())
    }

    fn new_body(&self) -> Arc<LargeBody> {
        Arc::new(LargeBody::new(self.next_body.fetch_add(1, Relaxed)))
    }

    fn shard(&self, hash: u64) -> Counted<'_, StoreShard> {
        Counted::new(&self.shards[self.shard_of(hash)], &self.budget)
    }

    fn shard_of(&self, hash: u64) -> usize {
        // The table of a shard uses the lowest and the highest bits.
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    fn policy(&self) -> Counted<'_, S3Fifo<Arc<Entry>>> {
        Counted::new(&self.policy, &self.budget)
    }
}
