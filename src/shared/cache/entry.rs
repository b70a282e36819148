//! An entry: a stored response, or one that is being stored. All that it says lies in blocks of the arena.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use bytes::Bytes;

use super::arena::ArenaBlock;
use super::body::{BodyPart, LargeBody, PART_PREFIX};
use super::header::{self, EntryHeader};
use super::mark;
use super::s3_fifo::Evictable;
use crate::base::lent::Lent;
use crate::base::limits;
use crate::cache::facts::EntryFacts;

/// The largest number of uses that an entry remembers.
const MOST_USES: u8 = 3;
/// The bit beside the number of a zone that says that the key has, or had, another entry beside this one.
const SIBLINGS: u16 = 1 << 15;
/// The bit beside the state that says that the body is not checked yet.
const UNCHECKED: u8 = 1 << 2;
/// The node of an entry that the policy of eviction does not know.
pub(super) const NO_NODE: u32 = u32::MAX;

/// Whether an entry may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryState {
    /// The entry may be used as its facts say.
    Live = 1,
    /// A soft purge made the entry stale, whatever its facts say.
    Stale = 2,
    /// The entry is not used any more.
    Dead = 3,
}

/// A response of the store.
#[derive(Debug)]
pub struct Entry {
    hash: u64,
    /// The purge number up to which the entry was checked.
    checked: AtomicU64,
    block: ArenaBlock,
    body: Option<Arc<LargeBody>>,
    state: AtomicU8,
    uses: AtomicU8,
    /// The zone, and [`SIBLINGS`]: a field of its own would cost eight bytes.
    zone: AtomicU16,
    node: AtomicU32,
}

/// A piece of a body that is being read.
struct LentPart {
    part: Arc<BodyPart>,
    from: usize,
    to: usize,
}

impl AsRef<[u8]> for LentPart {
    fn as_ref(&self) -> &[u8] {
        &self.part.bytes()[self.from..self.to]
    }
}

/// Bytes of the heap that an entry takes, with the counts of its `Arc`.
pub(super) const ENTRY_BYTES: u64 = size_of::<Entry>() as u64 + 16;

impl Entry {
    /// An entry whose block has the header and all before the body.
    pub(super) fn new(hash: u64, block: ArenaBlock, body: Option<Arc<LargeBody>>) -> Entry {
        let header = EntryHeader::read(block.bytes());
        block.arena().budget().note(ENTRY_BYTES);
        Entry {
            hash,
            checked: AtomicU64::new(header.purge_number),
            block,
            body,
            state: AtomicU8::new(EntryState::Live as u8),
            uses: AtomicU8::new(0),
            zone: AtomicU16::new(header.zone & !SIBLINGS),
            node: AtomicU32::new(NO_NODE),
        }
    }

    fn header(&self) -> EntryHeader {
        EntryHeader::read(self.block.bytes())
    }

    fn part(&self, at: usize) -> &[u8] {
        let starts = self.header().starts();
        &self.block.bytes()[starts[at]..starts[at + 1]]
    }

    /// The hash of the key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The facts of the response.
    pub fn facts(&self) -> EntryFacts {
        self.header().facts
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        header::key_of(self.block.bytes())
    }

    /// The variant: what the response's `Vary` names, as the request for the response had it.
    pub fn variant(&self) -> &[u8] {
        header::variant_of(self.block.bytes())
    }

    /// The tags, as `cache::tags` writes them.
    pub fn tags(&self) -> &[u8] {
        self.part(2)
    }

    /// The head in the form of HTTP/1.
    pub fn head(&self) -> &[u8] {
        self.part(3)
    }

    /// Seconds since 1970 of the response's `Date`.
    pub fn date(&self) -> i64 {
        self.header().facts.date
    }

    /// The purge number at the time when the request for the response was sent.
    pub fn purge_number(&self) -> u64 {
        self.header().purge_number
    }

    /// The zone.
    pub fn zone(&self) -> u16 {
        self.zone.load(Relaxed) & !SIBLINGS
    }

    /// The trailers in the form of HTTP/1, without the empty line; mostly empty.
    pub fn trailers(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| body.trailers())
    }

    /// The number of bytes of the body that can be read: all of them once the entry is whole.
    pub fn body_len(&self) -> u64 {
        match &self.body {
            Some(body) => body.filled(),
            None => self.own_body().len() as u64,
        }
    }

    /// The first byte of the body that can still be read; 0 for all entries but those that are only passed on.
    pub fn first_kept(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.first())
    }

    fn own_body(&self) -> &[u8] {
        let bytes = self.block.bytes();
        &bytes[EntryHeader::read(bytes).starts()[4]..]
    }

    /// The body of a whole entry, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let parts = self.body.as_ref().map_or(&[][..], |body| body.parts());
        let own = match &self.body {
            Some(_) => &[],
            None => self.own_body(),
        };
        let own = (!own.is_empty()).then_some(own);
        own.into_iter().chain(parts.iter().map(|part| part.bytes()))
    }

    /// Shows `read` the bytes from a position of the body on that lie in one piece; returns their number, 0 if that
    /// byte cannot be read yet.
    pub fn read_at(&self, position: u64, read: &mut dyn FnMut(&[u8])) -> usize {
        let Some(body) = &self.body else {
            let own = self.own_body();
            let rest = usize::try_from(position).ok().and_then(|at| own.get(at..));
            let rest = rest.unwrap_or(&[]);
            read(rest);
            return rest.len();
        };
        let Some(part) = body.part_at(position) else {
            return 0;
        };
        let within = part.bytes();
        let end = (body.filled() - part.start).min(within.len() as u64) as usize;
        let rest = &within[(position - part.start) as usize..end];
        read(rest);
        rest.len()
    }

    /// The bytes from a position of a large body on that lie in one piece, at most `most` of them; the piece keeps
    /// them. `by_reference`: the kernel may be given whole pages of them. `None`: the body lies with its head, or that
    /// byte cannot be read yet.
    pub fn lend_at(&self, position: u64, most: usize, by_reference: bool) -> Option<Lent> {
        let body = self.body.as_ref()?;
        let part = body.part_at(position)?;
        let from = (position - part.start) as usize;
        let filled = (body.filled() - part.start).min(part.bytes().len() as u64) as usize;
        let to = filled.min(from.saturating_add(most));
        // Less would be no whole pages that are worth a call.
        let by_reference = by_reference && to - from >= limits::LENT_BYTES;
        let place = by_reference.then(|| part.block.lend(PART_PREFIX + from));
        let bytes = Bytes::from_owner(LentPart { part, from, to });
        Some(match place.flatten() {
            Some((file, offset)) => Lent::pages(bytes, file, offset),
            None => Lent::bytes(bytes),
        })
    }

    /// Whether the entry may be used. A front compares [`Entry::checked`] with the store's purge number beside it.
    #[inline]
    pub fn state(&self) -> EntryState {
        match self.state.load(Acquire) & !UNCHECKED {
            1 => EntryState::Live,
            2 => EntryState::Stale,
            _ => EntryState::Dead,
        }
    }

    /// Whether the key has, or had, another variant beside this entry, so that the store must be asked which of them
    /// answers a request.
    #[inline]
    pub fn has_siblings(&self) -> bool {
        self.zone.load(Relaxed) & SIBLINGS != 0
    }

    /// Notes that the key has another variant.
    pub(super) fn note_siblings(&self) {
        self.zone.fetch_or(SIBLINGS, Relaxed);
    }

    /// The purge number up to which the entry was checked.
    #[inline]
    pub fn checked(&self) -> u64 {
        self.checked.load(Acquire)
    }

    /// Marks the entry as used, so that it is not evicted soon. No locked instruction: a mark that two cores set at
    /// once may count once.
    #[inline]
    pub fn note_used(&self) {
        let uses = self.uses.load(Relaxed);
        if uses < MOST_USES {
            self.uses.store(uses + 1, Relaxed);
        }
    }

    /// The bytes that the entry takes of the store.
    pub fn cost(&self) -> u64 {
        ENTRY_BYTES + self.block.cost() + self.body.as_ref().map_or(0, |body| body.cost())
    }

    /// How often the entry was used since the policy of eviction looked at it last; at most 3.
    pub fn recent_uses(&self) -> u8 {
        self.uses.load(Relaxed)
    }

    pub(super) fn node(&self) -> u32 {
        self.node.load(Relaxed)
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.store(node, Relaxed);
    }

    /// Whether the memory of the entry, or of its body alone, is not free before other processes have ended.
    pub(super) fn is_shared(&self) -> bool {
        let parts = self.body.as_ref().map_or(&[][..], |body| body.parts());
        let first = parts.first();
        self.block.is_shared() || first.is_some_and(|part| part.block.is_shared())
    }

    pub(super) fn block(&self) -> &ArenaBlock {
        &self.block
    }

    pub(super) fn body(&self) -> Option<&Arc<LargeBody>> {
        self.body.as_ref()
    }

    /// Notes a check; the number never falls.
    pub(super) fn set_checked(&self, number: u64) {
        self.checked.fetch_max(number, Release);
    }

    /// Makes the entry stale or dead; a dead one stays dead.
    pub(super) fn set_state(&self, state: EntryState) {
        let worse = |now: u8| Some((now & !UNCHECKED).max(state as u8) | now & UNCHECKED);
        let _ = self.state.fetch_update(AcqRel, Acquire, worse);
        match state {
            EntryState::Live => {}
            EntryState::Stale => self
                .block
                .change_mark(|mark| (mark::kind(mark) == mark::WHOLE).then(|| mark::stale(mark))),
            EntryState::Dead => self.block.change_mark(|_| Some(mark::DEAD)),
        }
    }

    /// Says in the block that the entry is whole and in the store. `seal` is that of [`Entry::seal`].
    pub(super) fn mark_whole(&self, (own, mark): (u32, u32)) {
        match self.state() {
            EntryState::Live => self.block.set_mark(mark, own),
            EntryState::Stale => self.block.set_mark(mark::stale(mark), own),
            EntryState::Dead => {}
        }
    }

    /// The own number and the mark of the whole entry.
    pub(super) fn seal(&self) -> (u32, u32) {
        match &self.body {
            None => (0, mark::with_sum(mark::WHOLE, self.own_body())),
            Some(body) => {
                let own = mark::parts(body.parts().len(), !body.trailers().is_empty());
                (own, mark::with_sum(mark::WHOLE, b""))
            }
        }
    }

    /// An entry of another process's memory, whose body is not checked yet.
    pub(super) fn adopted(self, is_stale: bool, checked: u64) -> Entry {
        let state = if is_stale {
            EntryState::Stale
        } else {
            EntryState::Live
        };
        self.state.store(state as u8 | UNCHECKED, Release);
        self.checked.store(checked, Release);
        self
    }

    /// Whether the body is what was stored. The body of an entry that came from another process is read once for this.
    pub(super) fn is_intact(&self) -> bool {
        if self.state.load(Acquire) & UNCHECKED == 0 {
            return true;
        }
        let is_intact = match &self.body {
            None => mark::is_of(self.block.mark(), self.own_body()),
            Some(body) => body.is_intact(),
        };
        if is_intact {
            self.state.fetch_and(!UNCHECKED, AcqRel);
        }
        is_intact || self.state() == EntryState::Dead
    }
}

impl Evictable for Arc<Entry> {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn uses(&self) -> u8 {
        self.uses.load(Relaxed)
    }

    fn set_uses(&self, uses: u8) {
        self.uses.store(uses, Relaxed);
    }
}

const _: () = assert!(limits::STORE_ZONES < SIBLINGS as usize);
// A million entries are a million times these bytes.
const _: () = assert!(ENTRY_BYTES == 64);

impl Drop for Entry {
    fn drop(&mut self) {
        self.block.arena().budget().give(ENTRY_BYTES);
    }
}
