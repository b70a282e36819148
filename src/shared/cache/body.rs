//! A body in blocks of its own: what is longer than a small body, or of a length that was not known at the start.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::arena::ArenaBlock;
use super::mark;

/// Bytes at the beginning of each block that say which body the block is a part of, and where the part begins.
pub const PART_PREFIX: usize = 24;
/// The first bytes of every block of a body, with the version of the form.
const PART_MAGIC: u64 = 0x7061_6301_0000_0002;

/// Where the trailers of a body begin, by the prefix of their block.
pub const TRAILERS_START: u64 = u64::MAX;

/// A part of a body, in one block.
#[derive(Debug)]
pub struct BodyPart {
    /// The position of the part's first byte in the body.
    pub start: u64,
    /// The block.
    pub block: ArenaBlock,
}

/// A body that one writer appends to.
#[derive(Debug)]
pub struct LargeBody {
    number: u64,
    filled: AtomicU64,
    /// The first byte that can still be read: the parts before it are gone.
    first: AtomicU64,
    growing: Mutex<Vec<Arc<BodyPart>>>,
    whole: OnceLock<Box<[Arc<BodyPart>]>>,
    trailers: OnceLock<ArenaBlock>,
}

impl BodyPart {
    /// The bytes of the part that were appended.
    pub fn bytes(&self) -> &[u8] {
        self.block.bytes().get(PART_PREFIX..).unwrap_or(&[])
    }

    /// Says in the block that the part is whole.
    pub fn seal(&self) {
        let bytes = self.block.bytes();
        let mark = mark::with_sum(mark::PART, bytes);
        self.block.set_mark(mark, bytes.len() as u32);
    }

    /// The body that a block is a part of, and where the part begins, if the block says so.
    pub fn read_prefix(bytes: &[u8]) -> Option<(u64, u64)> {
        let mut numbers = bytes.get(..PART_PREFIX)?.chunks_exact(8).map(|eight| {
            let mut number = [0; 8];
            number.copy_from_slice(eight);
            u64::from_le_bytes(number)
        });
        let (magic, body, start) = (numbers.next()?, numbers.next()?, numbers.next()?);
        (magic == PART_MAGIC).then_some((body, start))
    }

    /// The first bytes of a block of a body.
    pub fn prefix(body: u64, start: u64) -> [u8; PART_PREFIX] {
        let mut prefix = [0; PART_PREFIX];
        for (eight, number) in prefix.chunks_exact_mut(8).zip([PART_MAGIC, body, start]) {
            eight.copy_from_slice(&u64::to_le_bytes(number));
        }
        prefix
    }
}

impl LargeBody {
    /// A body without a byte.
    pub fn new(number: u64) -> LargeBody {
        LargeBody {
            number,
            filled: AtomicU64::new(0),
            first: AtomicU64::new(0),
            growing: Mutex::new(Vec::new()),
            whole: OnceLock::new(),
            trailers: OnceLock::new(),
        }
    }

    /// A whole body.
    pub fn of_parts(
        number: u64,
        parts: Vec<Arc<BodyPart>>,
        trailers: Option<ArenaBlock>,
    ) -> LargeBody {
        let body = LargeBody::new(number);
        let lengths = parts.iter().map(|part| part.bytes().len() as u64);
        body.set_filled(lengths.sum());
        parts.into_iter().for_each(|part| body.add_part(part));
        body.finish(trailers);
        body
    }

    /// The number by which the blocks know their body.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number of bytes that can be read.
    pub fn filled(&self) -> u64 {
        self.filled.load(Acquire)
    }

    /// The first byte that can still be read, unless it has not come yet.
    pub fn first(&self) -> u64 {
        self.first.load(Acquire)
    }

    /// Forgets the parts that end before a position, but not the last part; returns whether there were some.
    pub fn forget_before(&self, position: u64) -> bool {
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = growing.partition_point(|part| part.start <= position);
        let gone = kept.saturating_sub(1);
        let parts: Vec<_> = growing.drain(..gone).collect();
        if let Some(first) = growing.first() {
            self.first.store(first.start, Release);
        }
        drop(growing);
        !parts.is_empty()
    }

    /// Forgets the first part, unless it is the only one; returns whether it is gone.
    pub fn forget_first(&self) -> bool {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let second = growing.get(1).map(|part| part.start);
        drop(growing);
        second.is_some_and(|start| self.forget_before(start))
    }

    /// Adds a part, which the writer fills next.
    pub fn add_part(&self, part: Arc<BodyPart>) {
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        growing.push(part);
    }

    /// Lets readers see so many bytes.
    pub fn set_filled(&self, filled: u64) {
        self.filled.store(filled, Release);
    }

    /// Ends the body: no part is added any more.
    pub fn finish(&self, trailers: Option<ArenaBlock>) {
        let mut growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = std::mem::take(&mut *growing).into_boxed_slice();
        if let Some(trailers) = trailers {
            let _ = self.trailers.set(trailers);
        }
        let _ = self.whole.set(parts);
    }

    /// The parts of a body that has ended; none before.
    pub fn parts(&self) -> &[Arc<BodyPart>] {
        self.whole.get().map_or(&[], |parts| parts)
    }

    /// The trailers of a body that has ended.
    pub fn trailers(&self) -> &[u8] {
        let block = self.trailers.get();
        block.map_or(&[], |block| block.bytes().get(PART_PREFIX..).unwrap_or(&[]))
    }

    /// Whether all blocks have the bytes that were written to them.
    pub fn is_intact(&self) -> bool {
        let blocks = self.parts().iter().map(|part| &part.block);
        let mut blocks = blocks.chain(self.trailers.get());
        blocks.all(|block| mark::is_of(block.mark(), block.bytes()))
    }

    /// The bytes that all blocks take of the budget.
    pub fn cost(&self) -> u64 {
        let parts = self.parts().iter().map(|part| part.block.cost());
        parts.sum::<u64>() + self.trailers.get().map_or(0, ArenaBlock::cost)
    }

    /// The part that a position is in, if that byte can be read.
    pub fn part_at(&self, position: u64) -> Option<Arc<BodyPart>> {
        if position >= self.filled() {
            return None;
        }
        if let Some(parts) = self.whole.get() {
            return find(parts, position).cloned();
        }
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.whole.get() {
            Some(parts) => find(parts, position).cloned(),
            None => find(&growing, position).cloned(),
        }
    }
}

fn find(parts: &[Arc<BodyPart>], position: u64) -> Option<&Arc<BodyPart>> {
    let behind = parts.partition_point(|part| part.start <= position);
    parts.get(behind.checked_sub(1)?)
}
