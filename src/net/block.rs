//! Blocks of memory that travel between sockets, and the free lists that a worker keeps of them.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::rc::Rc;

use monoio::buf::IoBuf;

use crate::base::lent::{Lent, LentPart};
use crate::base::limits;
use crate::base::memory::{self, Level};

/// A buffer with a filled part in front and room behind it: received bytes are added at the end, used ones are taken
/// from the front.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    start: usize,
    /// Most bytes that the next send may take.
    bound: usize,
    /// Bytes from the beginning of the memory, room included, that are known to be initialised.
    initialised: usize,
    /// Memory of another owner that is the filled part; `None`: the block has memory of its own. Such a block is sent,
    /// and nothing is added to it.
    lent: Option<Box<Lent>>,
}

impl Block {
    /// An empty block of `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Block {
        Block {
            bytes: Vec::with_capacity(capacity),
            start: 0,
            bound: usize::MAX,
            initialised: 0,
            lent: None,
        }
    }

    /// A block that is filled with memory of another owner.
    pub fn lent(lent: Lent) -> Block {
        Block {
            lent: Some(Box::new(lent)),
            ..Block::with_capacity(0)
        }
    }

    /// The filled part.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        match &self.lent {
            None => &self.bytes[self.start..],
            Some(lent) => lent.as_bytes(),
        }
    }

    /// The filled part, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        debug_assert!(self.lent.is_none(), "lent memory is read only");
        &mut self.bytes[self.start..]
    }

    /// Length of the filled part.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.lent {
            None => self.bytes.len() - self.start,
            Some(lent) => lent.as_bytes().len(),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All the memory that it has.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that fit behind the filled part.
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Takes `count` bytes from the front. An emptied block has all its room again.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        if self.lent.is_some() {
            return self.advance(count);
        }
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// Takes `count` bytes from the front and keeps them for [`Block::rewind`]. Lent bytes are not kept.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        match &mut self.lent {
            None => self.start += count,
            Some(lent) if count < lent.as_bytes().len() => lent.advance(count),
            Some(_) => self.lent = None,
        }
    }

    /// Brings back all that was taken from the front since the block was empty, unless it was emptied by
    /// [`Block::consume`].
    pub fn rewind(&mut self) {
        debug_assert!(self.start <= self.bytes.len());
        self.start = 0;
    }

    /// Empties the block.
    pub fn clear(&mut self) {
        self.lent = None;
        self.initialised = self.initialised.max(self.bytes.len());
        self.bytes.clear();
        self.start = 0;
    }

    /// Keeps the first `count` bytes of the filled part alone.
    pub fn truncate(&mut self, count: usize) {
        self.initialised = self.initialised.max(self.bytes.len());
        self.bytes.truncate(self.start + count);
    }

    /// Moves the filled part to the front, so that all the room is behind it.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// The underlying vector, for encoders that write at its end. What is before the filled part must stay.
    pub fn vec(&mut self) -> &mut Vec<u8> {
        self.initialised = 0; // An encoder may put another vector in its place.
        &mut self.bytes
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn reserve(&mut self, count: usize) {
        if self.room() < count {
            self.bytes.reserve(count);
            self.initialised = 0;
        }
    }

    /// The next `count` bytes behind the filled part, for encoders that want a slice to write to. What is written
    /// becomes part of it by [`Block::fill`]. Only bytes that nobody has written to before have to be cleared for that.
    #[expect(
        unsafe_code,
        reason = "the room of a block is not initialised before it is used"
    )]
    pub(super) fn room_mut(&mut self, count: usize) -> &mut [u8] {
        self.reserve(count);
        let end = self.bytes.len() + count;
        let known = self.initialised.max(self.bytes.len());
        // SAFETY: all of it lies in the vector's memory, and what is not known to be initialised is written to.
        unsafe {
            let start = self.bytes.as_mut_ptr();
            if known < end {
                start.add(known).write_bytes(0, end - known);
            }
            self.initialised = known.max(end);
            std::slice::from_raw_parts_mut(start.add(self.bytes.len()), count)
        }
    }

    /// Adds the first `count` bytes behind the filled part to it; they must have been in [`Block::room_mut`].
    #[expect(
        unsafe_code,
        reason = "the room of a block is not initialised before it is used"
    )]
    pub(super) fn fill(&mut self, count: usize) {
        let end = self.bytes.len() + count;
        assert!(end <= self.initialised);
        // SAFETY: so many bytes are initialised, and lie in the vector's memory.
        unsafe { self.bytes.set_len(end) };
    }

    /// Lets `write` put at most `most` bytes behind the filled part. `write` gets the room for them, and returns the
    /// beginning of that room which it has filled. Returns the number of bytes, or the error of `write`.
    #[expect(
        unsafe_code,
        reason = "the room of a block is not initialised before it is used"
    )]
    pub(super) fn write<E>(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<&mut [u8], E>,
    ) -> Result<usize, E> {
        let room = self.bytes.spare_capacity_mut();
        let most = most.min(room.len());
        let start: *const u8 = room.as_ptr().cast();
        let filled = write(&mut room[..most])?;
        let count = filled.len();
        assert!(filled.as_ptr() == start && count <= most);
        // SAFETY: the slice of initialised bytes lies at the beginning of the room behind the filled part.
        unsafe { self.bytes.set_len(self.bytes.len() + count) };
        Ok(count)
    }

    /// Puts `bytes` before the filled part, where consumed bytes were; false if there is too little room.
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        if self.lent.is_some() {
            return false;
        }
        let Some(start) = self.start.checked_sub(bytes.len()) else {
            return false;
        };
        debug_assert!(start <= self.start && self.start <= self.bytes.len());
        self.bytes[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }

    /// Bytes before those that the kernel takes by reference; `None`: all bytes are copied.
    pub fn before_pages(&self) -> Option<usize> {
        self.lent.as_ref()?.before_pages()
    }

    /// The next part of the first `count` bytes.
    pub(super) fn next_part(&self, count: usize) -> LentPart<'_> {
        match &self.lent {
            Some(lent) => lent.next_part(count),
            None => LentPart::Copied {
                bytes: &self.filled()[..count],
                is_last: true,
            },
        }
    }

    /// Has all bytes copied from here on.
    pub(super) fn forgo_pages(&mut self) {
        if let Some(lent) = &mut self.lent {
            lent.forgo_pages();
        }
    }

    /// Lets the next send take at most `count` bytes.
    pub(super) fn bound(&mut self, count: usize) {
        self.bound = count;
    }
}

impl Default for Block {
    /// A block without memory.
    fn default() -> Self {
        Block::with_capacity(0)
    }
}

// SAFETY: the pointer addresses the vector's heap memory, or memory of the owner that the block keeps, neither of which
// moves with the block, and the length stays inside what is filled.
#[expect(unsafe_code, reason = "a buffer of the engine is unsafe to implement")]
unsafe impl IoBuf for Block {
    fn read_ptr(&self) -> *const u8 {
        self.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len().min(self.bound)
    }
}

/// A worker's free blocks: last in, first out, so that the memory in use stays warm. A clone is another hold on the
/// same.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    free: Rc<Free>,
}

#[derive(Debug, Default)]
struct Free {
    ordinary: RefCell<Vec<Block>>,
    relay: RefCell<Vec<Block>>,
}

impl Blocks {
    /// An empty block of `limits::BLOCK_BYTES`.
    #[inline]
    pub fn take(&self) -> Block {
        let free = self.free.ordinary.borrow_mut().pop();
        free.unwrap_or_else(|| Block::with_capacity(limits::BLOCK_BYTES))
    }

    /// An empty block of `limits::RELAY_BLOCK_BYTES`.
    pub fn take_relay(&self) -> Block {
        let free = self.free.relay.borrow_mut().pop();
        free.unwrap_or_else(|| Block::with_capacity(limits::RELAY_BLOCK_BYTES))
    }

    /// Bytes of all blocks that are kept.
    pub fn free_bytes(&self) -> usize {
        let bytes = |list: &RefCell<Vec<Block>>, size| list.borrow().len() * size;
        bytes(&self.free.ordinary, limits::BLOCK_BYTES)
            + bytes(&self.free.relay, limits::RELAY_BLOCK_BYTES)
    }

    /// Keeps no block any longer.
    pub fn drop_free(&self) {
        self.free.ordinary.take();
        self.free.relay.take();
    }

    /// Takes a block back; keeps it if it has one of the two sizes, the free list is not full and memory is not tight.
    #[inline]
    pub fn give(&self, mut block: Block) {
        let (list, most) = match block.capacity() {
            limits::BLOCK_BYTES => (&self.free.ordinary, limits::FREE_BLOCKS),
            limits::RELAY_BLOCK_BYTES => (&self.free.relay, limits::FREE_RELAY_BLOCKS),
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < most && memory::level() < Level::Tight {
            block.clear();
            block.bound = usize::MAX;
            list.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_consumed_in_front_is_filled_at_the_end() {
        let mut block = Block::with_capacity(8);
        block.extend(b"abcdef");
        block.consume(4);
        assert_eq!(block.filled(), b"ef");
        assert_eq!(block.room(), 2);
        block.compact();
        assert_eq!((block.filled(), block.room()), (&b"ef"[..], 6));
        block.consume(2);
        assert_eq!((block.is_empty(), block.room()), (true, 8));
    }

    #[test]
    fn a_bound_holds_for_what_is_sent() {
        let mut block = Block::with_capacity(8);
        block.extend(b"abcdef");
        block.bound(3);
        assert_eq!(block.bytes_init(), 3);
        block.bound(usize::MAX);
        assert_eq!(block.bytes_init(), 6);
    }

    #[test]
    fn lent_bytes_are_sent_and_not_kept() {
        let mut block = Block::lent(Lent::bytes(Bytes::from_static(b"abcdef")));
        assert_eq!(
            (block.filled(), block.len(), block.room()),
            (&b"abcdef"[..], 6, 0)
        );
        assert!(!block.prepend(b"x"));
        block.advance(2);
        block.consume(1);
        block.bound(2);
        assert_eq!((block.filled(), block.bytes_init()), (&b"def"[..], 2));
        block.consume(3);
        assert!(block.is_empty());
        block.extend(b"own");
        assert_eq!(block.filled(), b"own");
    }

    #[test]
    fn a_head_fits_where_one_was_consumed() {
        let mut block = Block::with_capacity(16);
        block.extend(b"oldhead|body");
        block.consume(8);
        assert!(!block.prepend(b"longer head|"));
        assert!(block.prepend(b"head|"));
        assert_eq!(block.filled(), b"head|body");
    }

    #[test]
    fn room_is_written_to_and_then_filled() {
        let mut block = Block::with_capacity(8);
        block.extend(b"ab");
        block.room_mut(4).copy_from_slice(b"cdef");
        block.fill(3);
        assert_eq!(block.filled(), b"abcde");
        block.clear();
        assert_eq!(
            block.room_mut(6),
            b"abcdef",
            "what was written once is not cleared again"
        );
        assert_eq!(block.room_mut(9)[8], 0, "it grows");
        block.extend(b"xy");
        assert_eq!(block.vec().len(), 2);
        assert_eq!(block.room_mut(4), [0; 4], "the vector may be another one");
    }

    #[test]
    #[should_panic]
    fn only_room_that_was_written_to_is_filled() {
        let mut block = Block::with_capacity(8);
        block.room_mut(4);
        block.fill(5);
    }

    #[test]
    fn free_blocks_are_reused_and_bounded() {
        let blocks = Blocks::default();
        let many: Vec<_> = (0..limits::FREE_BLOCKS + 10)
            .map(|_| blocks.take())
            .collect();
        many.into_iter().for_each(|block| blocks.give(block));
        assert_eq!(blocks.free.ordinary.borrow().len(), limits::FREE_BLOCKS);
        assert_eq!(
            blocks.free_bytes(),
            limits::FREE_BLOCKS * limits::BLOCK_BYTES
        );
        blocks.drop_free();
        assert_eq!(blocks.free_bytes(), 0);
        blocks.give(Block::with_capacity(7));
        assert_eq!(blocks.free.relay.borrow().len(), 0);
    }
}
