//! The memory of all heads and bodies: blocks of any size in one memfd. A block has one writer, who appends; readers
//! on any core read what was appended, without a lock.

mod adopted;
mod allocator;
mod region;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::allocator::{Allocator, MARK, OWN, UNIT};
use self::region::Region;
use super::budget::Budget;
use crate::base::limits;

/// Bytes of a page of the machine; blocks do not depend on it, only what is given back does.
const PAGE: usize = 4_096;
/// Bytes in memory of the smallest free block whose pages are given back.
const GIVEN_BACK: usize = 64 << 10;
/// The bit of a block's filled length that says that the kernel was given pages of the block by reference.
const LENT: u32 = 1 << 31;

/// The bit of a block's filled length that says that another process may read the block.
const SHARED: u32 = 1 << 30;

/// A region and its blocks.
#[derive(Debug)]
pub struct Arena {
    region: Region,
    blocks: Mutex<Allocator>,
    budget: Arc<Budget>,
    held: Mutex<Held>,
    /// Where the memory ends whose pages were brought in ahead of the blocks.
    brought_in: AtomicUsize,
}

pub use self::adopted::FoundBlock;

/// The blocks that are not used again yet, because another process may read them, or owns the region.
#[derive(Debug, Default)]
struct Held {
    /// Another process owns the region: nothing of it may change but what blocks say of their contents.
    is_frozen: bool,
    /// Another process reads blocks that this one has taken over.
    is_shared: bool,
    /// The first units of the blocks.
    units: Vec<u32>,
    /// The free blocks that are not known to the allocator yet.
    free: Vec<u32>,
    /// The block that covers what lies behind damage.
    rest: Option<u32>,
}

/// A block, which is freed when the value is dropped.
#[derive(Debug)]
pub struct ArenaBlock {
    arena: Arc<Arena>,
    unit: u32,
    filled: AtomicU32,
}

/// The right to append to a block, which exists once for each block.
#[derive(Debug)]
pub struct BlockWriter {
    unit: u32,
    at: u32,
    capacity: u32,
}

impl BlockWriter {
    /// Bytes that can still be appended.
    pub fn room(&self) -> usize {
        (self.capacity - self.at) as usize
    }
}

impl Arena {
    /// An arena of at most so many bytes, which are taken from `budget` as blocks are allocated. Errors: the machine
    /// has no descriptors or address space left.
    pub fn new(bytes: u64, budget: Arc<Budget>) -> io::Result<Arc<Arena>> {
        let units = (bytes / UNIT as u64).min(u64::from(u32::MAX / 2)) as u32;
        let arena = Arc::new(Arena {
            region: Region::new(units as usize * UNIT)?,
            blocks: Mutex::new(Allocator::new(units)),
            budget,
            held: Mutex::default(),
            brought_in: AtomicUsize::new(0),
        });
        arena.write_form();
        Ok(arena)
    }

    /// The bytes that blocks and all else are taken from.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The memfd.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.region.file()
    }

    /// The bytes of the region that have ever been part of a block, those of them that are free, and those of the free
    /// ones that are in memory.
    pub fn touched(&self) -> (u64, u64, u64) {
        let blocks = self.lock();
        let units = [
            u64::from(blocks.end()),
            blocks.free_units(),
            blocks.free_resident(),
        ];
        let [touched, free, resident] = units.map(|units| units * UNIT as u64);
        (touched, free, resident)
    }

    /// A block for so many bytes, with a mark that says what is in the block (not 0); `None` if there is no room. A
    /// shorter block with at least `least` bytes is given where there is none of `bytes`. The budget counts what comes
    /// into memory: a block that is used again costs nothing.
    pub fn allocate(
        self: &Arc<Self>,
        bytes: usize,
        least: usize,
        mark: u32,
    ) -> Option<(ArenaBlock, BlockWriter)> {
        self.allocate_up_to(self.budget.most(), bytes, least, mark)
    }

    /// A block as [`Arena::allocate`] gives it, if no more than `most` bytes of the budget are used then.
    pub fn allocate_up_to(
        self: &Arc<Self>,
        most: u64,
        bytes: usize,
        least: usize,
        mark: u32,
    ) -> Option<(ArenaBlock, BlockWriter)> {
        debug_assert_ne!(mark, allocator::FREE);
        let mut bytes = bytes;
        let mut blocks = self.lock();
        if self.held().is_frozen {
            return None;
        }
        let unit = loop {
            let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?.checked_add(1)?;
            let may_grow = |units: u32| self.budget.take(u64::from(units) * UNIT as u64, most);
            match blocks.allocate(&self.region, units, mark, may_grow) {
                Some(unit) => break unit,
                None if bytes > least => bytes = (bytes / 2).max(least),
                None => return None,
            }
        };
        let end = blocks.end() as usize * UNIT;
        drop(blocks);
        self.bring_in(end);
        let filled = AtomicU32::new(0);
        let capacity = (Allocator::units(&self.region, unit) - 1) * UNIT as u32;
        let block = ArenaBlock {
            arena: self.clone(),
            unit,
            filled,
        };
        let writer = BlockWriter {
            unit,
            at: 0,
            capacity,
        };
        Some((block, writer))
    }

    /// Brings in the pages that blocks will be written to next, if the blocks have come to the end of those that are
    /// there: one call for many pages costs less than half of what a fault for each page costs.
    fn bring_in(&self, end: usize) {
        let known = self.brought_in.load(Relaxed);
        if end <= known {
            return;
        }
        let next = end.next_multiple_of(limits::ARENA_STEP);
        let is_mine = self
            .brought_in
            .compare_exchange(known, next, Relaxed, Relaxed);
        // Memory that was taken over has its pages, and a fault brings in what another thread leaves out.
        if is_mine.is_ok() && next - known <= 2 * limits::ARENA_STEP {
            self.region.bring_in(known, next);
        }
    }

    /// Gives pages of the largest free blocks back to the machine; returns whether there were some.
    #[expect(unsafe_code, reason = "the bytes of a region have no safe interface")]
    pub fn give_back(&self) -> bool {
        let mut blocks = self.lock();
        if self.held().is_frozen {
            return false;
        }
        let Some(unit) = blocks.resident_block(&self.region, (GIVEN_BACK / UNIT) as u32) else {
            return false;
        };
        let units = Allocator::units(&self.region, unit);
        let (start, end) = pages_within(unit, units);
        if start >= end {
            return false;
        }
        // SAFETY: the block is free, and stays so while the lock is held; its tag and its links are before `start`.
        let given = unsafe { self.region.give_back(start, end - start) };
        let left = match given {
            Ok(()) => units - ((end - start) / UNIT) as u32,
            Err(_) => units,
        };
        let gone = blocks.note_given_back(&self.region, unit, left);
        drop(blocks);
        self.budget.give(u64::from(gone) * UNIT as u64);
        gone > 0
    }

    fn lock(&self) -> MutexGuard<'_, Allocator> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole pages of a block behind its tag and the links of a free block: from where to where.
fn pages_within(unit: u32, units: u32) -> (usize, usize) {
    let start = (unit as usize + 2) * UNIT;
    let end = (unit as usize + units as usize) * UNIT;
    (start.next_multiple_of(PAGE), end / PAGE * PAGE)
}

impl ArenaBlock {
    /// The arena that the block is in.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// The bytes that fit into the block.
    pub fn capacity(&self) -> usize {
        (Allocator::units(&self.arena.region, self.unit) as usize - 1) * UNIT
    }

    /// The bytes that the block takes of the budget.
    pub fn cost(&self) -> u64 {
        (self.capacity() + UNIT) as u64
    }

    /// The number of bytes that were appended.
    pub fn len(&self) -> usize {
        (self.filled.load(Acquire) & !LENT & !SHARED) as usize
    }

    /// Notes that the block has so many bytes, at most as many as it was found with.
    pub fn set_len(&self, bytes: usize) {
        let bytes = bytes.min(self.len()) as u32;
        self.filled.store(bytes | SHARED, Release);
    }

    /// The bytes that were appended.
    #[expect(unsafe_code, reason = "the bytes of a region have no safe interface")]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: bytes that were appended are never written to until the block is dropped.
        unsafe { self.arena.region.slice(self.offset(), self.len()) }
    }

    /// Appends as many of the bytes as fit; returns their number. The writer must be the one of this block.
    #[expect(unsafe_code, reason = "the bytes of a region have no safe interface")]
    pub fn append(&self, writer: &mut BlockWriter, bytes: &[u8]) -> usize {
        assert_eq!(writer.unit, self.unit, "a block has one writer");
        let count = bytes.len().min((writer.capacity - writer.at) as usize);
        // SAFETY: there is one writer, and readers look at the bytes before `filled` only.
        unsafe {
            let at = self.offset() + writer.at as usize;
            self.arena.region.write(at, &bytes[..count]);
        }
        writer.at += count as u32;
        // One writer adds to the count, so that the bit of the lent pages stays.
        self.filled.fetch_add(count as u32, Release);
        count
    }

    /// Gives the room back that the writer has not used and will not use.
    pub fn trim(&self, writer: BlockWriter) {
        assert_eq!(writer.unit, self.unit, "a block has one writer");
        let units = (writer.at as usize).div_ceil(UNIT) as u32 + 1;
        let mut blocks = self.arena.lock();
        if self.arena.held().is_frozen {
            return;
        }
        blocks.shrink(&self.arena.region, self.unit, units);
    }

    /// Says in the region what is in the block, and the number that its owner keeps there.
    pub fn set_mark(&self, mark: u32, own: u32) {
        debug_assert_ne!(mark, allocator::FREE);
        allocator::word(&self.arena.region, self.unit, OWN).store(own, Relaxed);
        allocator::word(&self.arena.region, self.unit, MARK).store(mark, Release);
    }

    /// The mark of the block.
    pub fn mark(&self) -> u32 {
        allocator::word(&self.arena.region, self.unit, MARK).load(Acquire)
    }

    /// Changes the mark, unless `change` gives none.
    pub fn change_mark(&self, change: impl FnMut(u32) -> Option<u32>) {
        let word = allocator::word(&self.arena.region, self.unit, MARK);
        let _ = word.fetch_update(AcqRel, Acquire, change);
    }

    /// Where the first byte of the block is in the memory of the blocks.
    pub fn offset(&self) -> usize {
        (self.unit as usize + 1) * UNIT
    }

    /// The memfd, and where in the file the byte at a position of the block is, for a caller that gives whole pages of
    /// the block to the kernel by reference: the block is not used again before these pages were taken out of the
    /// region. `None`: the region has no file, or another process may own the region and use its blocks again.
    pub fn lend(&self, position: usize) -> Option<(Arc<OwnedFd>, u64)> {
        let place = self.arena.region.place(self.offset() + position)?;
        // The note comes first: whoever freezes the region meanwhile finds it.
        self.filled.fetch_or(LENT, Relaxed);
        (!self.arena.held().is_frozen).then_some(place)
    }

    /// Takes the whole pages of the block out of the region; returns the units that are left in memory, or nothing if
    /// that fails.
    #[expect(unsafe_code, reason = "the bytes of a region have no safe interface")]
    fn give_back_pages(&self, units: u32) -> Option<u32> {
        let (start, end) = pages_within(self.unit, units);
        if start >= end {
            return Some(units);
        }
        // SAFETY: the block is being dropped, so nobody else uses it.
        let given = unsafe { self.arena.region.give_back(start, end - start) };
        given.is_ok().then(|| units - ((end - start) / UNIT) as u32)
    }
}

impl Drop for ArenaBlock {
    fn drop(&mut self) {
        let filled = *self.filled.get_mut();
        let mut held = self.arena.held();
        if held.is_frozen || (held.is_shared && filled & SHARED != 0) {
            held.units.push(self.unit);
            return;
        }
        drop(held);
        let units = Allocator::units(&self.arena.region, self.unit);
        let left = match filled & (LENT | SHARED) {
            0 => Some(units),
            _ => self.give_back_pages(units),
        };
        // The kernel may still send pages that could not be taken out, so the block is never used again.
        let Some(left) = left else { return };
        let mut blocks = self.arena.lock();
        let mut held = self.arena.held();
        if held.is_frozen {
            held.units.push(self.unit);
            return;
        }
        drop(held);
        blocks.release(&self.arena.region, self.unit, left);
        drop(blocks);
        self.arena
            .budget
            .give(u64::from(units - left) * UNIT as u64);
    }
}

#[cfg(test)]
mod tests;
