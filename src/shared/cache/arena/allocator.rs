//! The free parts of a region: two-level segregated lists (TLSF, Masmano et al. 2004) with constant time for each
//! step. Blocks have any size in units of 16 bytes, and free neighbours are joined, so that blocks of one size are
//! never stuck in the memory that another size needs.
//!
//! Each block begins with a tag of four words: its units, the units of the block before it, its mark (0: free), and a
//! word of its owner. A free block has the links of its list behind the tag, and its word says how many of its units
//! are in memory: pages that were given back to the machine or were never written to are not.

use std::sync::atomic::Ordering::Relaxed;

use super::region::Region;

/// Bytes of a unit.
pub const UNIT: usize = 16;
/// Units of the smallest block: a tag, and room for the links of a free block.
pub const SMALLEST: u32 = 2;
/// The mark of a free block.
pub const FREE: u32 = 0;

/// Lists of one power of two.
const SECONDS: usize = 32;
/// Powers of two, from 32 units; smaller blocks have a list for each size in the first row.
const FIRSTS: usize = 28;
/// No block.
const NONE: u32 = u32::MAX;
/// Blocks of the list of a size itself that are tried before a list of larger ones is.
const TRIED: usize = 8;

/// The word with the units of a block.
pub const UNITS: usize = 0;
/// The word with the units of the block before it.
pub const BEFORE: usize = 1;
/// The word with the mark.
pub const MARK: usize = 2;
/// The word of the owner.
pub const OWN: usize = 3;
const NEXT: usize = 4;
const PREVIOUS: usize = 5;

/// The free blocks of a region.
#[derive(Debug)]
pub struct Allocator {
    firsts: u32,
    seconds: [u32; FIRSTS],
    heads: Box<[[u32; SECONDS]; FIRSTS]>,
    /// The first unit that no block has had yet.
    end: u32,
    /// Units of the block before `end`.
    last: u32,
    /// The first unit behind the region.
    limit: u32,
    free: u64,
    free_resident: u64,
}

/// The word of a tag, or of the links behind it.
pub fn word(region: &Region, unit: u32, word: usize) -> &std::sync::atomic::AtomicU32 {
    region.word(unit as usize * UNIT + word * 4)
}

fn get(region: &Region, unit: u32, at: usize) -> u32 {
    word(region, unit, at).load(Relaxed)
}

fn set(region: &Region, unit: u32, at: usize, value: u32) {
    word(region, unit, at).store(value, Relaxed);
}

/// The list that a block of so many units is in.
fn list_of(units: u32) -> (usize, usize) {
    if units < SECONDS as u32 {
        return (0, units as usize);
    }
    let power = units.ilog2();
    let second = (units >> (power - 5)) as usize - SECONDS;
    (power as usize - 4, second)
}

/// The first list whose blocks all have at least so many units.
fn list_for(units: u32) -> (usize, usize) {
    if units < SECONDS as u32 {
        return (0, units as usize);
    }
    list_of(units.saturating_add((1 << (units.ilog2() - 5)) - 1))
}

/// How many units come into memory if so many are taken from a free block, and how many are in memory of what is left.
fn taking(region: &Region, unit: u32, units: u32) -> (u32, u32) {
    let (had, resident) = (get(region, unit, UNITS), get(region, unit, OWN));
    let taken = if had < units + SMALLEST { had } else { units };
    let left = resident.min(had - taken);
    ((taken + left).saturating_sub(resident), left)
}

impl Allocator {
    /// An allocator for so many units, all of which no block has had yet.
    pub fn new(limit: u32) -> Allocator {
        Allocator {
            firsts: 0,
            seconds: [0; FIRSTS],
            heads: Box::new([[NONE; SECONDS]; FIRSTS]),
            end: 0,
            last: 0,
            limit,
            free: 0,
            free_resident: 0,
        }
    }

    /// Takes over the blocks of a region that another allocator has left: those before `end`, the last of which has
    /// `last` units. The free ones are to be added by [`Allocator::add_free`].
    pub fn adopt(&mut self, end: u32, last: u32) {
        debug_assert_eq!(self.end, 0, "blocks are taken over once");
        (self.end, self.last) = (end, last);
    }

    /// Adds a free block that another allocator has left.
    pub fn add_free(&mut self, region: &Region, unit: u32) {
        let units = get(region, unit, UNITS);
        set(region, unit, MARK, FREE);
        set(region, unit, OWN, get(region, unit, OWN).min(units));
        self.link(region, unit, units);
    }

    /// Makes one block in use of what follows the last block that was taken over, unless no bytes were written there.
    pub fn cover_rest(&mut self, region: &Region) -> Option<u32> {
        let (unit, units) = (self.end, self.limit - self.end);
        if units < SMALLEST {
            self.limit = self.end;
            return None;
        }
        if (UNITS..=OWN).all(|at| get(region, unit, at) == 0) {
            return None;
        }
        set(region, unit, UNITS, units);
        set(region, unit, BEFORE, self.last);
        set(region, unit, OWN, 0);
        set(region, unit, MARK, u32::MAX);
        (self.end, self.last) = (self.limit, units);
        Some(unit)
    }

    /// Units of all free blocks before [`Allocator::end`].
    pub fn free_units(&self) -> u64 {
        self.free
    }

    /// Units of free blocks that are in memory, about.
    pub fn free_resident(&self) -> u64 {
        self.free_resident
    }

    /// The first unit that no block has had yet.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// A block of so many units, whose mark becomes `mark`; `None` if no free part is large enough, or if `may_grow`
    /// says no to the units that come into memory with the block.
    pub fn allocate(
        &mut self,
        region: &Region,
        units: u32,
        mark: u32,
        may_grow: impl FnOnce(u32) -> bool,
    ) -> Option<u32> {
        let units = units.max(SMALLEST);
        let Some(mut unit) = self.find(region, units) else {
            return self.extend(region, units, mark, may_grow);
        };
        let (growth, mut left) = taking(region, unit, units);
        if growth > 0 && !may_grow(growth) {
            unit = self.find_resident(region, units)?;
            (_, left) = taking(region, unit, units);
        }
        self.unlink(region, unit);
        set(region, unit, OWN, 0);
        set(region, unit, MARK, mark);
        self.cut(region, unit, units, left);
        Some(unit)
    }

    /// Makes a block smaller, so that it has `units`, and frees the rest.
    pub fn shrink(&mut self, region: &Region, unit: u32, units: u32) {
        let (units, had) = (units.max(SMALLEST), get(region, unit, UNITS));
        self.cut(region, unit, units, had.saturating_sub(units));
    }

    /// Frees a block, of which so many units are in memory, and joins it with its free neighbours.
    pub fn release(&mut self, region: &Region, unit: u32, resident: u32) {
        let (mut unit, mut resident) = (unit, resident);
        let mut units = get(region, unit, UNITS);
        set(region, unit, MARK, FREE);
        let after = unit + units;
        if after < self.end && get(region, after, MARK) == FREE {
            self.unlink(region, after);
            units += get(region, after, UNITS);
            resident += get(region, after, OWN);
        }
        let before = get(region, unit, BEFORE);
        if before > 0 && get(region, unit - before, MARK) == FREE {
            unit -= before;
            self.unlink(region, unit);
            units += before;
            resident += get(region, unit, OWN);
        }
        set(region, unit, UNITS, units);
        set(region, unit, OWN, resident);
        self.note_before(region, unit, units);
        self.link(region, unit, units);
    }

    /// A free block with at least `least` units in memory, among the largest ones.
    pub fn resident_block(&self, region: &Region, least: u32) -> Option<u32> {
        let (lowest, _) = list_of(least);
        for first in (lowest..FIRSTS).rev() {
            let mut seconds = self.seconds[first];
            while seconds != 0 {
                let second = 31 - seconds.leading_zeros();
                seconds &= !(1 << second);
                let mut unit = self.heads[first][second as usize];
                for _ in 0..TRIED {
                    if unit == NONE {
                        break;
                    }
                    if get(region, unit, OWN) >= least {
                        return Some(unit);
                    }
                    unit = get(region, unit, NEXT);
                }
            }
        }
        None
    }

    /// Notes that so many units of a free block are left in memory; returns how many have gone.
    pub fn note_given_back(&mut self, region: &Region, unit: u32, resident: u32) -> u32 {
        let gone = get(region, unit, OWN).saturating_sub(resident);
        set(region, unit, OWN, get(region, unit, OWN) - gone);
        self.free_resident -= u64::from(gone);
        gone
    }

    /// The units of a block.
    pub fn units(region: &Region, unit: u32) -> u32 {
        get(region, unit, UNITS)
    }

    /// A free block with at least so many units.
    fn find(&self, region: &Region, units: u32) -> Option<u32> {
        let (first, second) = list_for(units);
        if let Some(found) = self.first_from(first, second) {
            return Some(found);
        }
        let (first, second) = list_of(units);
        let mut unit = self.heads[first][second];
        for _ in 0..TRIED {
            if unit == NONE || get(region, unit, UNITS) >= units {
                break;
            }
            unit = get(region, unit, NEXT);
        }
        (unit != NONE && get(region, unit, UNITS) >= units).then_some(unit)
    }

    /// A free block with at least so many units, of which enough are in memory.
    fn find_resident(&self, region: &Region, units: u32) -> Option<u32> {
        let (mut first, mut second) = list_of(units);
        for _ in 0..TRIED {
            let mut unit = self.first_from(first, second)?;
            (first, second) = list_of(get(region, unit, UNITS));
            for _ in 0..TRIED {
                if unit == NONE {
                    break;
                }
                let fits = get(region, unit, UNITS) >= units;
                if fits && taking(region, unit, units).0 == 0 {
                    return Some(unit);
                }
                unit = get(region, unit, NEXT);
            }
            second += 1;
            if second == SECONDS {
                (first, second) = (first + 1, 0);
            }
        }
        None
    }

    /// The first block of this list, or of the next list that has one.
    fn first_from(&self, first: usize, second: usize) -> Option<u32> {
        let seconds = self.seconds.get(first)? & (u32::MAX << second);
        let (first, seconds) = match seconds {
            0 => {
                let firsts = self.firsts & u32::MAX.checked_shl(first as u32 + 1).unwrap_or(0);
                let first = firsts.trailing_zeros() as usize;
                (first, *self.seconds.get(first)?)
            }
            seconds => (first, seconds),
        };
        let unit = self.heads[first][seconds.trailing_zeros() as usize];
        debug_assert_ne!(unit, NONE);
        Some(unit)
    }

    /// A block at the end of those that there were.
    fn extend(
        &mut self,
        region: &Region,
        units: u32,
        mark: u32,
        may_grow: impl FnOnce(u32) -> bool,
    ) -> Option<u32> {
        if units > self.limit - self.end || !may_grow(units) {
            return None;
        }
        let unit = self.end;
        set(region, unit, UNITS, units);
        set(region, unit, BEFORE, self.last);
        set(region, unit, OWN, 0);
        set(region, unit, MARK, mark);
        self.end += units;
        self.last = units;
        Some(unit)
    }

    /// Leaves a block so many units, and makes a free block of the rest if the rest is large enough for one; so many
    /// units of the rest are in memory.
    fn cut(&mut self, region: &Region, unit: u32, units: u32, resident: u32) {
        let had = get(region, unit, UNITS);
        if had < units + SMALLEST {
            return;
        }
        let rest = unit + units;
        set(region, unit, UNITS, units);
        set(region, rest, UNITS, had - units);
        set(region, rest, BEFORE, units);
        self.note_before(region, rest, had - units);
        self.release(region, rest, resident);
    }

    /// Tells the block behind one of so many units, and the end of all blocks, how large that one is.
    fn note_before(&mut self, region: &Region, unit: u32, units: u32) {
        let after = unit + units;
        if after < self.end {
            set(region, after, BEFORE, units);
        } else {
            self.last = units;
        }
    }

    fn link(&mut self, region: &Region, unit: u32, units: u32) {
        let (first, second) = list_of(units);
        let next = self.heads[first][second];
        set(region, unit, NEXT, next);
        set(region, unit, PREVIOUS, NONE);
        if next != NONE {
            set(region, next, PREVIOUS, unit);
        }
        self.heads[first][second] = unit;
        self.seconds[first] |= 1 << second;
        self.firsts |= 1 << first;
        self.free += u64::from(units);
        self.free_resident += u64::from(get(region, unit, OWN));
    }

    fn unlink(&mut self, region: &Region, unit: u32) {
        let units = get(region, unit, UNITS);
        let (next, previous) = (get(region, unit, NEXT), get(region, unit, PREVIOUS));
        let (first, second) = list_of(units);
        if next != NONE {
            set(region, next, PREVIOUS, previous);
        }
        if previous != NONE {
            set(region, previous, NEXT, next);
        } else {
            self.heads[first][second] = next;
            if next == NONE {
                self.seconds[first] &= !(1 << second);
                if self.seconds[first] == 0 {
                    self.firsts &= !(1 << first);
                }
            }
        }
        self.free -= u64::from(units);
        self.free_resident -= u64::from(get(region, unit, OWN));
    }
}
