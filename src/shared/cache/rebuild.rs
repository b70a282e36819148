//! The index of a store in the memory of another process, made anew from the blocks alone. What does not check costs
//! entries, and nothing else.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::arena::{Arena, ArenaBlock, FoundBlock};
use super::body::{BodyPart, LargeBody, PART_PREFIX, TRAILERS_START};
use super::entry::Entry;
use super::handover::{HandedIndex, StoreSharing};
use super::header::EntryHeader;
use super::mark;
use super::{CacheStore, Counted, StoreSettings};
use crate::base::limits;

/// The findings in the memory of another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The entries that can be used.
    pub entries: u64,
    /// The entries that are damaged.
    pub lost: u64,
    /// The milliseconds that it took.
    pub millis: u64,
}

/// The blocks of a region that were found so far.
#[derive(Default)]
struct Found {
    /// The entries whose bodies lie elsewhere.
    large: Vec<Head>,
    bodies: HashMap<u64, FoundBody>,
    last_body: u64,
    lost: u64,
}

/// An entry without its body.
struct Head {
    block: ArenaBlock,
    header: EntryHeader,
    is_stale: bool,
    /// The parts of a body that lies elsewhere, and whether it has trailers.
    parts: u32,
}

#[derive(Default)]
struct FoundBody {
    parts: Vec<(u64, ArenaBlock)>,
    trailers: Vec<ArenaBlock>,
    body: Option<Arc<LargeBody>>,
}

impl Found {
    /// Takes a block; the result is a head whose body lies with it.
    fn take(&mut self, found: FoundBlock) -> Option<Head> {
        let FoundBlock { block, mark, own } = found;
        match mark::kind(mark) {
            mark::WHOLE | mark::STALE => {
                let is_stale = mark::kind(mark) == mark::STALE;
                match self.take_head(block, is_stale, own) {
                    Some(head) if head.header.body == 0 => return Some(head),
                    Some(head) => self.large.push(head),
                    None => self.lost += 1,
                }
            }
            mark::PART | mark::TRAILERS if mark::sum(mark) != mark::sum(mark::OPEN_PART) => {
                self.take_part(block, own as usize);
            }
            _ => {}
        }
        None
    }

    fn take_head(&mut self, block: ArenaBlock, is_stale: bool, parts: u32) -> Option<Head> {
        let header = EntryHeader::checked(block.bytes())?;
        let [.., end] = header.starts();
        let own = match header.body {
            0 => usize::try_from(header.body_length).ok()?,
            _ => 0,
        };
        let end = end.checked_add(own)?;
        if end > block.capacity() || usize::from(header.zone) >= limits::STORE_ZONES {
            return None;
        }
        block.set_len(end);
        Some(Head {
            block,
            header,
            is_stale,
            parts,
        })
    }

    fn take_part(&mut self, block: ArenaBlock, length: usize) {
        if length < PART_PREFIX || length > block.capacity() {
            return;
        }
        block.set_len(length);
        let Some((number, start)) = BodyPart::read_prefix(block.bytes()) else {
            return;
        };
        self.last_body = self.last_body.max(number);
        let body = self.bodies.entry(number).or_default();
        match start {
            TRAILERS_START => body.trailers.push(block),
            start => body.parts.push((start, block)),
        }
    }

    /// The body of a head, if all parts of it are there.
    fn body_of(&mut self, head: &Head) -> Option<Arc<LargeBody>> {
        let empty = head.parts == 0 && matches!(head.header.body_length, 0 | u64::MAX);
        let found = match self.bodies.get_mut(&head.header.body) {
            None if empty => return Some(Arc::new(LargeBody::of_parts(0, Vec::new(), None))),
            found => found?,
        };
        let body = match &found.body {
            Some(body) => body.clone(),
            None => found.join(head.header.body)?,
        };
        found.body = Some(body.clone());
        let parts = mark::parts(body.parts().len(), !body.trailers().is_empty());
        let length = head.header.body_length;
        let is_whole = parts == head.parts && (length == u64::MAX || length == body.filled());
        is_whole.then_some(body)
    }
}

impl FoundBody {
    fn join(&mut self, number: u64) -> Option<Arc<LargeBody>> {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_by_key(|(start, _)| *start);
        let mut end = 0;
        for (start, block) in &parts {
            if *start != end {
                return None;
            }
            end += (block.len() - PART_PREFIX) as u64;
        }
        if self.trailers.len() > 1 {
            return None;
        }
        let parts = parts.into_iter();
        let parts = parts.map(|(start, block)| Arc::new(BodyPart { start, block }));
        let body = LargeBody::of_parts(number, parts.collect(), self.trailers.pop());
        Some(Arc::new(body))
    }
}

impl CacheStore {
    /// A store in the memory of another process, which serves what it finds there and stores nothing before
    /// [`CacheStore::take_over`]. `readers` are the pipes of the processes that may read the memory. Errors: the memory
    /// is something else, or the machine has no descriptors or address space left.
    pub fn from_memfd(
        memory: OwnedFd,
        settings: StoreSettings,
        readers: Vec<OwnedFd>,
        state: HandedIndex,
    ) -> io::Result<(Arc<CacheStore>, Rebuilt)> {
        let began = Instant::now();
        let budget = CacheStore::budget_of(settings)?;
        let arena = Arena::of_file(memory, settings.max_bytes, budget.clone())?;
        let sharing = |process: u32| StoreSharing::after(process, readers, state.change);
        let store = CacheStore::in_arena(settings, (arena, budget), sharing);
        store.purges.begin_at(state.purge_number);
        let zones = state.zones.iter().take(limits::STORE_ZONES);
        zones.for_each(|zone| {
            store.zone(zone);
        });
        let (mut found, mut rebuilt) = (Found::default(), Rebuilt::default());
        let mut by_shard: Vec<Vec<Arc<Entry>>> = vec![Vec::new(); store.shards.len()];
        let mut policy = store.policy();
        let mut add = |head: Head, body: Option<Arc<LargeBody>>| {
            let hash = store.hash(super::header::key_of(head.block.bytes()));
            let entry = Entry::new(hash, head.block, body);
            let entry = Arc::new(entry.adopted(head.is_stale, state.purge_number));
            let node = policy.place(entry.clone(), entry.cost(), entry.zone());
            entry.set_node(node);
            by_shard[store.shard_of(hash)].push(entry);
        };
        // Neighbours in memory are looked at together.
        store.arena.walk(|block| {
            if let Some(head) = found.take(block) {
                add(head, None);
            }
        });
        rebuilt.lost = found.lost;
        for head in std::mem::take(&mut found.large) {
            match found.body_of(&head) {
                Some(body) => add(head, Some(body)),
                None => rebuilt.lost += 1,
            }
        }
        policy.reserve(0);
        drop(policy);
        store.adopt(by_shard);
        store
            .next_body
            .store(found.last_body.saturating_add(1), Relaxed);
        rebuilt.entries = store.policy().count();
        rebuilt.millis = began.elapsed().as_millis() as u64;
        Ok((Arc::new(store), rebuilt))
    }

    /// Puts entries into the index, the table of one shard after the other, so that the table lies in the cache of the
    /// core that fills it.
    fn adopt(&self, by_shard: Vec<Vec<Arc<Entry>>>) {
        for (shard, entries) in self.shards.iter().zip(by_shard) {
            let mut shard = Counted::new(shard, &self.budget);
            shard.slots.reserve(entries.len());
            for entry in entries {
                for old in shard.slots.insert(entry, usize::MAX) {
                    self.forget(&old);
                }
            }
        }
    }
}
