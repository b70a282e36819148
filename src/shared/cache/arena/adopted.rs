//! A region that two processes have at an upgrade. One of them owns it, and alone makes and frees blocks; each may read
//! the blocks that were there when the region changed hands. A block that the other process may read is not used again
//! before that process has ended.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::allocator::{self, Allocator, BEFORE, FREE, MARK, OWN, SMALLEST, UNIT, UNITS};
use super::region::Region;
use super::{Arena, ArenaBlock, Held, SHARED};
use crate::base::limits;
use crate::shared::cache::budget::Budget;

/// The words of the part that processes share: the form of the region, and who owns it.
const FORM: usize = 0;
const OWNER: usize = 4;
/// The form of the region that this version writes and reads.
const THIS_FORM: u32 = 0x7061_6302;

/// The owner of the region is not decided yet: one of two processes.
const UNDECIDED: u32 = 0;
/// The process that has made the region or had it last owns it.
const OLD: u32 = 1;
/// The process that was handed the region owns it.
const NEW: u32 = 2;

/// A block of a region that was handed over.
#[derive(Debug)]
pub struct FoundBlock {
    /// The block, whose bytes are all that fit into it.
    pub block: ArenaBlock,
    /// The mark.
    pub mark: u32,
    /// The number that the owner of the block keeps there.
    pub own: u32,
}

impl ArenaBlock {
    /// Whether the memory of the block is not free before other processes have ended.
    pub fn is_shared(&self) -> bool {
        self.filled.load(Relaxed) & SHARED != 0 && self.arena.is_shared()
    }
}

impl Arena {
    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in the region which form it has.
    pub(super) fn write_form(&self) {
        self.region.shared(FORM).store(THIS_FORM, Release);
    }

    /// A word of the part of the region that processes share, behind the words of the arena.
    pub fn shared(&self, word: usize) -> &AtomicU32 {
        self.region.shared(4_096 - 64 + word * 4)
    }

    /// The memory of a process that hands over. Errors: the file is something else or of another form, or the machine
    /// has no address space left.
    #[cfg(not(miri))]
    pub fn of_file(file: OwnedFd, bytes: u64, budget: Arc<Budget>) -> io::Result<Arc<Arena>> {
        let region = Region::of_file(file, bytes as usize / UNIT * UNIT)?;
        if region.shared(FORM).load(Acquire) != THIS_FORM {
            let text = "the memory of the cache has a form that this version does not know";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let units = (region.bytes() / UNIT).min(u32::MAX as usize / 2) as u32;
        let held = Held {
            is_frozen: true,
            is_shared: true,
            ..Held::default()
        };
        Ok(Arc::new(Arena {
            region,
            blocks: Mutex::new(Allocator::new(units)),
            budget,
            held: Mutex::new(held),
            brought_in: AtomicUsize::new(0),
        }))
    }

    /// Shows `found` all blocks of a region that was handed over, and takes note of them. Nothing is written. What
    /// lies behind a tag that cannot be right is one block that is not used before the other processes have ended.
    pub fn walk(self: &Arc<Self>, mut found: impl FnMut(FoundBlock)) {
        let limit = (self.region.bytes() / UNIT) as u32;
        let (mut unit, mut before, mut resident) = (0, 0, 0);
        let mut free = Vec::new();
        while limit - unit >= SMALLEST {
            let word = |at: usize| allocator::word(&self.region, unit, at).load(Acquire);
            let (units, mark, own) = (word(UNITS), word(MARK), word(OWN));
            if units < SMALLEST || units > limit - unit || word(BEFORE) != before {
                break;
            }
            resident += u64::from(if mark == FREE { own.min(units) } else { units });
            match mark {
                FREE => free.push(unit),
                _ => found(FoundBlock {
                    block: self.found(unit, units),
                    mark,
                    own,
                }),
            }
            (unit, before) = (unit + units, units);
        }
        self.budget.note(resident * UNIT as u64);
        self.lock().adopt(unit, before);
        self.held().free = free;
    }

    fn found(self: &Arc<Self>, unit: u32, units: u32) -> ArenaBlock {
        let bytes = (units - 1) as usize * UNIT;
        ArenaBlock {
            arena: self.clone(),
            unit,
            filled: AtomicU32::new((bytes as u32).min(SHARED - 1) | SHARED),
        }
    }

    /// Changes nothing of the region from here on. Blocks that are dropped meanwhile are freed by [`Arena::own`].
    pub fn freeze(&self) {
        // A thread that changes blocks has this lock.
        let blocks = self.lock();
        self.held().is_frozen = true;
        self.region.shared(OWNER).store(UNDECIDED, Release);
        drop(blocks);
    }

    /// Lets a process that was handed the region (`is_new`) or that has handed it over own the region; false: the
    /// other one owns it.
    pub fn own(self: &Arc<Self>, is_new: bool) -> bool {
        let owner = self.region.shared(OWNER);
        let me = if is_new { NEW } else { OLD };
        let decided = owner.compare_exchange(UNDECIDED, me, AcqRel, Acquire);
        if decided.is_err_and(|owner| owner != me) {
            return false;
        }
        let mut blocks = self.lock();
        let mut held = self.held();
        held.is_frozen = false;
        for unit in std::mem::take(&mut held.free) {
            blocks.add_free(&self.region, unit);
        }
        held.rest = held.rest.or(blocks.cover_rest(&self.region));
        let is_shared = held.is_shared;
        drop((blocks, held));
        if !is_shared {
            self.free_held();
        }
        true
    }

    /// Whether other processes may read the blocks: what these might have read is not free before they have ended.
    pub fn is_shared(&self) -> bool {
        self.held().is_shared
    }

    /// Frees the blocks that other processes might have read: these have ended.
    pub fn end_sharing(self: &Arc<Self>) {
        let mut held = self.held();
        held.is_shared = false;
        let is_frozen = held.is_frozen;
        drop(held);
        if !is_frozen {
            self.free_held();
        }
    }

    fn free_held(self: &Arc<Self>) {
        let rest = self.held().rest.take();
        if let Some(unit) = rest {
            let units = Allocator::units(&self.region, unit);
            self.budget.note(u64::from(units) * UNIT as u64);
            self.free_block(unit);
        }
        loop {
            let mut held = self.held();
            let from = held.units.len().saturating_sub(limits::HELD_AT_ONCE);
            let units = held.units.split_off(from);
            drop(held);
            if units.is_empty() {
                return;
            }
            units.into_iter().for_each(|unit| self.free_block(unit));
        }
    }

    fn free_block(self: &Arc<Self>, unit: u32) {
        // The kernel may still send pages of it.
        let filled = AtomicU32::new(SHARED);
        let arena = self.clone();
        drop(ArenaBlock {
            arena,
            unit,
            filled,
        });
    }
}
