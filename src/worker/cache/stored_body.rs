//! The body of a stored response, or parts of it, as the source of an answer. The response may still be being stored,
//! by any core: its body is then passed on as it comes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::ids::WorkerId;
use crate::base::lent::Lent;
use crate::base::limits;
use crate::net::{Block, Blocks};
use crate::shared::SharedEntry;
use crate::shared::cache::{FillEnd, Follower};
use crate::worker::cache::waits::Wait;

/// The rest of a body cannot be had: its fetch has failed, the store had no room for it, or the reader was too slow for
/// what the store does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// One piece of an answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodySegment {
    /// Bytes that stand between two ranges.
    Text(Box<[u8]>),
    /// Bytes of the stored body. The end of a body whose length is not known yet is `u64::MAX`.
    Stored(Range<u64>),
}

/// A fill that an answer follows, with the place at which its task waits.
pub struct Followed {
    /// The fill.
    pub fill: Follower,
    /// The wait of the task.
    pub wait: Rc<Wait>,
    /// The core of the task.
    pub worker: WorkerId,
}

/// A body that is read from the store.
pub struct StoredBody {
    entry: SharedEntry,
    /// The fill that still stores the body; `None`: the body is whole.
    followed: Option<Followed>,
    segments: RefCell<VecDeque<BodySegment>>,
    block: RefCell<Block>,
    is_at_end: Cell<bool>,
    /// Whether pages of the store go to the kernel by reference.
    by_reference: bool,
}

impl StoredBody {
    /// A body of these segments. `by_reference`: pages of the store go to the kernel by reference.
    pub fn new(
        entry: SharedEntry,
        followed: Option<Followed>,
        segments: VecDeque<BodySegment>,
        by_reference: bool,
    ) -> StoredBody {
        let body = StoredBody {
            is_at_end: Cell::new(segments.is_empty()),
            entry,
            followed,
            segments: RefCell::new(segments),
            block: RefCell::default(),
            by_reference,
        };
        if let Some(followed) = &body.followed {
            followed.fill.note_read(body.needed());
        }
        body
    }

    /// Bytes that were read and not taken.
    pub fn held(&self) -> usize {
        self.block.borrow().len()
    }

    /// Takes the bytes that were read.
    pub fn take(&self) -> Block {
        self.block.take()
    }

    /// Puts the rest of the read bytes back.
    pub fn put(&self, block: Block, blocks: &Blocks) {
        if block.is_empty() {
            blocks.give(block);
        } else {
            self.block.replace(block);
        }
    }

    /// Appends the whole body to `out` if it has this length and is in the store. False: nothing was appended.
    pub fn read_into(&self, out: &mut Block, length: usize) -> bool {
        let mut segments = self.segments.borrow_mut();
        let before = out.len();
        for segment in segments.iter() {
            match segment {
                BodySegment::Text(text) => out.extend(text),
                BodySegment::Stored(range) => {
                    let mut at = range.start;
                    while at < range.end {
                        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                        let mut count = 0;
                        self.entry.read_at(at, &mut |bytes| {
                            count = bytes.len().min(wanted);
                            out.extend(&bytes[..count]);
                        });
                        if count == 0 {
                            out.truncate(before);
                            return false;
                        }
                        at += count as u64;
                    }
                }
            }
        }
        debug_assert!(
            out.len() - before == length,
            "the pieces are the whole body"
        );
        segments.clear();
        self.is_at_end.set(true);
        true
    }

    /// Whether nothing of the body is still being stored.
    pub fn is_whole(&self) -> bool {
        self.followed.is_none()
    }

    /// Whether the whole body was read.
    pub fn is_at_end(&self) -> bool {
        self.is_at_end.get()
    }

    /// The trailers, each `name: value CRLF`, once the whole body was read.
    pub fn trailers(&self) -> Vec<u8> {
        match &self.followed {
            Some(followed) => followed.fill.trailers().to_vec(),
            None => self.entry.trailers().to_vec(),
        }
    }

    /// Reads what is there at once of the next bytes, at most `most`. A failure is met again by the next read.
    pub fn read_ahead(&self, blocks: &Blocks, most: usize) {
        let _ = self.read(blocks, most);
    }

    /// Reads the next bytes, at most `most`. 0: the body has ended. Pending: the bytes are not in the store yet, and
    /// the task is woken when more bytes are.
    pub fn poll_more(
        &self,
        cx: &mut Context<'_>,
        blocks: &Blocks,
        most: usize,
    ) -> Poll<Result<usize, Lost>> {
        match self.read(blocks, most) {
            Ok(None) => {}
            Ok(Some(count)) => return Poll::Ready(Ok(count)),
            Err(lost) => return Poll::Ready(Err(lost)),
        }
        let Some(followed) = &self.followed else {
            return Poll::Ready(Err(Lost));
        };
        followed.wait.set(cx);
        followed.fill.wait(followed.worker.index());
        // Bytes that came before this wait began wake no task.
        match self.read(blocks, most) {
            Ok(None) => Poll::Pending,
            Ok(Some(count)) => Poll::Ready(Ok(count)),
            Err(lost) => Poll::Ready(Err(lost)),
        }
    }

    /// A piece of a large body that need not be copied, from the front of the segments.
    fn lend(&self, segments: &mut VecDeque<BodySegment>, most: usize) -> Option<Lent> {
        let Some(BodySegment::Stored(range)) = segments.front_mut() else {
            return None;
        };
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        if left < limits::LENT_BYTES {
            return None;
        }
        let end = self.followed.as_ref().map(|followed| followed.fill.end());
        let most = left.min(most);
        let lent = self.entry.lend_at(range.start, most, self.by_reference)?;
        range.start += lent.as_bytes().len() as u64;
        let is_whole = matches!(end, None | Some(FillEnd::Complete));
        let is_over = is_whole && range.end == u64::MAX && range.start >= self.entry.body_len();
        if is_over || range.is_empty() {
            segments.pop_front();
        }
        Some(lent)
    }

    /// Reads what is in the store, and lets a writer that waits for this reader know. `None`: the next byte is not in
    /// the store.
    fn read(&self, blocks: &Blocks, most: usize) -> Result<Option<usize>, Lost> {
        let read = self.read_pieces(blocks, most);
        if let Some(followed) = &self.followed {
            followed.fill.note_read(self.needed());
        }
        read
    }

    /// The first byte of the stored body that is still needed.
    pub fn needed(&self) -> u64 {
        let segments = self.segments.borrow();
        let mut ranges = segments.iter().filter_map(|segment| match segment {
            BodySegment::Stored(range) => Some(range.start),
            BodySegment::Text(_) => None,
        });
        ranges.next().unwrap_or(u64::MAX)
    }

    fn read_pieces(&self, blocks: &Blocks, most: usize) -> Result<Option<usize>, Lost> {
        let mut segments = self.segments.borrow_mut();
        let mut block = self.block.borrow_mut();
        if block.is_empty()
            && let Some(lent) = self.lend(&mut segments, most)
        {
            blocks.give(std::mem::replace(&mut *block, Block::lent(lent)));
            self.is_at_end.set(segments.is_empty());
            return Ok(Some(block.len()));
        }
        if block.capacity() == 0 {
            *block = blocks.take();
        }
        let before = block.len();
        while block.len() - before < most && block.room() > 0 {
            let wanted = block.room().min(most + before - block.len());
            let Some(segment) = segments.front_mut() else {
                break;
            };
            match segment {
                BodySegment::Text(text) => {
                    let count = text.len().min(wanted);
                    block.extend(&text[..count]);
                    *text = text[count..].into();
                    if text.is_empty() {
                        segments.pop_front();
                    }
                }
                BodySegment::Stored(range) => {
                    // The end is read before the bytes: what has ended does not grow.
                    let end = self.followed.as_ref().map(|followed| followed.fill.end());
                    let wanted = (wanted as u64).min(range.end - range.start) as usize;
                    let mut count = 0;
                    self.entry.read_at(range.start, &mut |bytes| {
                        count = bytes.len().min(wanted);
                        block.extend(&bytes[..count]);
                    });
                    range.start += count as u64;
                    let is_over = match end {
                        None | Some(FillEnd::Complete) => {
                            range.end == u64::MAX && range.start >= self.entry.body_len()
                        }
                        Some(FillEnd::Open) => false,
                        Some(FillEnd::Failed | FillEnd::Broken) if count == 0 => return Err(Lost),
                        Some(_) => false,
                    };
                    if count == 0 && range.start < self.entry.first_kept() {
                        return Err(Lost);
                    }
                    if is_over || range.is_empty() {
                        segments.pop_front();
                    } else if count == 0 {
                        break;
                    }
                }
            }
        }
        self.is_at_end.set(segments.is_empty());
        let count = block.len() - before;
        if count == 0 && !segments.is_empty() {
            return Ok(None);
        }
        Ok(Some(count))
    }
}
