//! The room of the store: blocks for what comes, evictions for the blocks, and the shares of the zones.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::{ArenaBlock, BlockWriter};
use super::body::{BodyPart, LargeBody, PART_PREFIX, TRAILERS_START};
use super::entry::{Entry, EntryState, NO_NODE};
use super::fetch::Share;
use super::mark;
use super::s3_fifo::S3Fifo;
use super::unpublished::NoRoom;
use super::{CacheStore, Counted};
use crate::base::limits;

/// The gain of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eviction {
    /// There is no entry that could go.
    None,
    /// The memory of an entry is free, or will be as soon as the disk has it.
    Free,
    /// An entry of so many bytes has gone, and somebody has its memory on.
    Held(u64),
    /// The entries that could go are in memory that is not free before other processes have ended.
    Shared,
}

impl CacheStore {
    /// How often the store had no room because those in front of it have entries on that do not count any more. They
    /// let these go when the number grows.
    pub fn shortages(&self) -> u64 {
        self.counters.shortages.load(Relaxed)
    }

    fn note_shortage(&self) {
        self.counters.shortages.fetch_add(1, Relaxed);
    }

    /// Whether entries had to go for new ones already.
    pub fn is_full(&self) -> bool {
        self.counters.evicted.load(Relaxed) > 0
    }

    /// Counts a request for a key that is not in the store; returns about how often the key was wanted of late, up to
    /// 15: a route may store only what was wanted more than once.
    pub fn note_wanted(&self, hash: u64) -> u64 {
        self.policy().note_wanted(hash)
    }

    /// Evicts until the zone has no more than its share.
    pub(super) fn keep_share(&self, share: Share) {
        if self.sharing.is_frozen() {
            return;
        }
        let most = self.max_bytes / 100 * u64::from(share.max_percent);
        for _ in 0..limits::STORE_EVICTIONS {
            let mut policy = self.policy();
            if share.max_percent >= 100 || policy.of_zone(share.zone).0 <= most {
                return;
            }
            let victim = policy.evict_of_zone(share.zone);
            self.evicted(policy, victim);
        }
    }

    /// Gives memory back and evicts until the tables that have grown fit.
    pub(super) fn settle(&self) {
        let mut steps = 0..limits::STORE_EVICTIONS;
        let has_too_much = || {
            let used = self.budget.used();
            used.saturating_sub(self.queued_for_disk()) > self.budget.most()
        };
        while has_too_much() && steps.next().is_some() {
            let gave_back = self.arena.give_back();
            if !gave_back && matches!(self.evict(), Eviction::None | Eviction::Shared) {
                return;
            }
        }
    }

    /// Bytes of evicted entries whose memory will be free as soon as the disk has them.
    fn queued_for_disk(&self) -> u64 {
        self.disk.get().map_or(0, |tier| tier.queued())
    }

    /// Evicts ahead of need where a disk writes what goes: memory is free when the disk has its entry, and a call that
    /// needs memory at once evicts entries that the disk has no room for.
    fn evict_ahead(&self) {
        let Some(tier) = self.disk.get() else { return };
        for _ in 0..limits::EVICTED_AHEAD {
            let (_, _, free) = self.arena.touched();
            let unused = self.budget.most().saturating_sub(self.budget.used());
            if free + unused + tier.queued() >= tier.headroom() {
                return;
            }
            match self.evict() {
                Eviction::Free => {}
                Eviction::Held(_) => return self.note_shortage(),
                Eviction::None | Eviction::Shared => return,
            }
        }
    }

    /// Evicts an entry.
    fn evict(&self) -> Eviction {
        if self.sharing.is_frozen() {
            return Eviction::None;
        }
        let mut policy = self.policy();
        let mut victim = policy.evict();
        // Entries that another process may read stay: their end would free nothing before the end of that process.
        let mut passed_by = 0;
        while let Some(shared) = victim.take_if(|victim| victim.is_shared()) {
            shared.set_node(policy.place(shared.clone(), shared.cost(), shared.zone()));
            passed_by += 1;
            if passed_by == limits::SHARED_PASSED_BY {
                return Eviction::Shared;
            }
            victim = policy.evict();
        }
        self.evicted(policy, victim)
    }

    fn evicted(
        &self,
        policy: Counted<'_, S3Fifo<Arc<Entry>>>,
        victim: Option<Arc<Entry>>,
    ) -> Eviction {
        let Some(victim) = victim else {
            return Eviction::None;
        };
        victim.set_node(NO_NODE);
        drop(policy);
        let tier = self.disk.get();
        let leaving = tier.and_then(|tier| Some((tier, self.offer_of(tier, &victim)?)));
        victim.set_state(EntryState::Dead);
        let mut shard = self.shard(victim.hash());
        let was_there = shard.slots.remove(&victim);
        let leaving = leaving.filter(|_| was_there);
        let evicted =
            leaving.and_then(|(tier, leaving)| Some((tier, tier.take_offer(&victim, leaving)?)));
        drop(shard);
        self.counters.evicted.fetch_add(1, Relaxed);
        let is_queued = evicted.is_some();
        if let Some((tier, evicted)) = evicted {
            tier.write_later(evicted);
        }
        if victim.is_shared() {
            Eviction::Shared
        } else if is_queued || Arc::strong_count(&victim) == 1 {
            Eviction::Free
        } else {
            Eviction::Held(victim.cost())
        }
    }

    /// Takes an entry out of the store.
    pub(super) fn remove(&self, entry: &Arc<Entry>) {
        entry.set_state(EntryState::Dead);
        let mut shard = self.shard(entry.hash());
        if shard.slots.remove(entry) {
            self.remove_from_disk(entry);
        }
        drop(shard);
        self.forget(entry);
    }

    /// Takes an entry out of the policy of eviction.
    pub(super) fn forget(&self, entry: &Arc<Entry>) {
        let mut policy = self.policy();
        let removed = policy.remove(entry.node());
        entry.set_node(NO_NODE);
        drop(policy);
        drop(removed);
    }

    /// A block, for which entries are evicted if need be.
    pub(super) fn allocate(&self, bytes: usize, mark: u32) -> Option<(ArenaBlock, BlockWriter)> {
        self.allocate_about(bytes, bytes, mark)
    }

    /// A block for a part of a body: a shorter one if the store has no room in one piece.
    pub(super) fn allocate_part(&self, wanted: usize) -> Result<(ArenaBlock, BlockWriter), NoRoom> {
        let least = limits::BODY_BLOCK_LEAST_BYTES.min(wanted) + PART_PREFIX;
        let allocated = self.allocate_about(wanted + PART_PREFIX, least, mark::OPEN_PART);
        allocated.ok_or(NoRoom::Full)
    }

    /// A block for a part of a body that is only passed on. What is kept free for tables may be used for it, since such
    /// a block is soon free again.
    pub(super) fn allocate_passing(&self, wanted: usize) -> Option<(ArenaBlock, BlockWriter)> {
        let wanted = wanted.min(limits::RING_BLOCK_BYTES);
        let allocated = self.allocate_part(wanted).ok();
        allocated.or_else(|| {
            let least = limits::BODY_BLOCK_LEAST_BYTES.min(wanted) + PART_PREFIX;
            let bytes = wanted + PART_PREFIX;
            let arena = self.arena_now()?;
            let most = self
                .max_bytes
                .min(arena.budget().most() + self.max_bytes / limits::STORE_SLACK);
            arena.allocate_up_to(most, bytes, least, mark::OPEN_PART)
        })
    }

    fn allocate_about(
        &self,
        bytes: usize,
        least: usize,
        mark: u32,
    ) -> Option<(ArenaBlock, BlockWriter)> {
        let arena = self.arena_now()?;
        let (mut held, mut held_bytes) = (0, 0);
        for _ in 0..limits::STORE_EVICTIONS {
            if let Some(allocated) = arena.allocate(bytes, least, mark) {
                self.evict_ahead();
                return Some(allocated);
            }
            let gave_back = self.budget.used() > self.budget.most() && self.arena.give_back();
            match self.evict() {
                Eviction::None if !gave_back => break,
                Eviction::None | Eviction::Free => {}
                Eviction::Held(cost) => (held, held_bytes) = (held + 1, held_bytes + cost),
                Eviction::Shared => break,
            }
            // There is room for the next call as soon as those in front of the store let go what has gone.
            if held >= limits::HELD_EVICTIONS && held_bytes >= bytes as u64 {
                self.note_shortage();
                break;
            }
        }
        arena.allocate(bytes, least, mark)
    }

    /// Adds bytes to a body that nobody reads yet.
    pub(super) fn write_part(&self, body: &LargeBody, bytes: &[u8]) -> Result<(), NoRoom> {
        let (block, mut writer) = self.allocate_part(bytes.len())?;
        let start = body.filled();
        block.append(&mut writer, &BodyPart::prefix(body.number(), start));
        let taken = block.append(&mut writer, bytes);
        if taken < bytes.len() {
            return Err(NoRoom::Full);
        }
        let part = BodyPart { start, block };
        part.seal();
        body.add_part(Arc::new(part));
        body.set_filled(start + taken as u64);
        Ok(())
    }

    /// A block with trailers of a body; `None` if there are none.
    pub(super) fn write_trailers(
        &self,
        body: &LargeBody,
        trailers: &[u8],
    ) -> Result<Option<ArenaBlock>, NoRoom> {
        if trailers.is_empty() {
            return Ok(None);
        }
        let allocated = self.allocate(PART_PREFIX + trailers.len(), mark::OPEN_PART);
        let (block, mut writer) = allocated.ok_or(NoRoom::Full)?;
        let prefix = BodyPart::prefix(body.number(), TRAILERS_START);
        block.append(&mut writer, &prefix);
        block.append(&mut writer, trailers);
        let mark = mark::with_sum(mark::TRAILERS, block.bytes());
        block.set_mark(mark, block.len() as u32);
        Ok(Some(block))
    }
}
