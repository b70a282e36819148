//! The body of an answer in slices, as the source of the answer. Slices that are not stored are fetched, each while the
//! client still reads the one before it, so that a client that reads slowly or leaves costs one slice.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::base::limits;
use crate::cache::extent::Extent;
use crate::cache::slices::{Slicing, is_same};
use crate::cache::validators::Validators;
use crate::net::{Block, Blocks};
use crate::shared::SharedEntry;
use crate::shared::cache::{FillEnd, Follower, Outcome};
use crate::worker::cache::serving::part_of;
use crate::worker::cache::stored_body::{BodySegment, Followed, Lost, StoredBody};

/// A slice that was looked for.
pub enum Slice {
    /// The slice is in the store.
    Stored(SharedEntry),
    /// The slice is being fetched.
    Coming(ComingSlice),
    /// The slice cannot be had.
    Lost,
}

/// A slice that is being fetched.
pub struct ComingSlice {
    /// The fill of the fetch.
    pub fill: Follower,
    /// Whether this answer has caused the fetch.
    pub is_own: bool,
    /// The stored slice that may be used if no backend answers.
    pub stale: Option<SharedEntry>,
}

/// The place that slices come from.
pub trait SliceSource {
    /// Looks for a slice of the state of the representation that `first` has, and has it fetched if need be.
    fn obtain_like(&self, number: u64, first: &SharedEntry) -> Slice;

    /// Whether the request selects an entry, which may have been fetched for another one.
    fn is_selected(&self, entry: &SharedEntry) -> bool;

    /// The calling task as one that follows a fill.
    fn follow(&self, fill: Follower) -> Followed;
}

/// The body of an answer, which is read slice by slice.
pub struct SlicedBody<'a> {
    source: &'a dyn SliceSource,
    slicing: Slicing,
    /// The bytes of the answer, and those of the whole representation.
    answer: Extent,
    /// The slice that the answer begins with, whose state of the representation all others must have.
    first: SharedEntry,
    cursor: RefCell<Cursor>,
}

/// How far the client has read.
struct Cursor {
    /// The number of the slice that is being read.
    number: u64,
    body: StoredBody,
    /// The end of the bytes of this slice that are read.
    end: u64,
    /// The slice behind it, if that was looked for.
    next: Option<Next>,
}

enum Next {
    Stored(SharedEntry),
    Coming {
        followed: Followed,
        is_own: bool,
        stale: Option<SharedEntry>,
    },
    Lost,
}

impl<'a> SlicedBody<'a> {
    /// A body whose first bytes are in the entry `first`, which may still be being stored.
    pub fn new(
        source: &'a dyn SliceSource,
        slicing: Slicing,
        answer: Extent,
        (first, fill): (SharedEntry, Option<Follower>),
    ) -> SlicedBody<'a> {
        let number = slicing.number_of(answer.range.first);
        let share = slicing.share(number, answer.range);
        let end = share.end;
        let followed = fill.map(|fill| source.follow(fill));
        let segments = VecDeque::from([BodySegment::Stored(share)]);
        let cursor = Cursor {
            number,
            body: StoredBody::new(first.clone(), followed, segments, false),
            end,
            next: None,
        };
        SlicedBody {
            source,
            slicing,
            answer,
            first,
            cursor: RefCell::new(cursor),
        }
    }

    /// The bytes of the answer, and those of the whole representation.
    pub fn answer(&self) -> Extent {
        self.answer
    }

    /// Bytes that were read and not taken.
    pub fn held(&self) -> usize {
        self.cursor.borrow().body.held()
    }

    /// Takes the bytes that were read.
    pub fn take(&self) -> Block {
        self.cursor.borrow().body.take()
    }

    /// Puts the rest of the read bytes back.
    pub fn put(&self, block: Block, blocks: &Blocks) {
        self.cursor.borrow().body.put(block, blocks);
    }

    /// Whether the whole body was read.
    pub fn is_at_end(&self) -> bool {
        let cursor = self.cursor.borrow();
        cursor.number == self.last() && cursor.body.is_at_end()
    }

    /// Reads the next bytes, at most `most`. 0: the body has ended. Pending: the bytes are not in the store yet, and
    /// the task is woken when more bytes are.
    pub fn poll_more(
        &self,
        cx: &mut Context<'_>,
        blocks: &Blocks,
        most: usize,
    ) -> Poll<Result<usize, Lost>> {
        let mut cursor = self.cursor.borrow_mut();
        loop {
            if !cursor.body.is_at_end() {
                let polled = cursor.body.poll_more(cx, blocks, most);
                self.look_ahead(&mut cursor);
                return polled;
            }
            if cursor.number == self.last() {
                return Poll::Ready(Ok(0));
            }
            match self.poll_next(&mut cursor, cx) {
                Poll::Ready(Ok(next)) => {
                    let read = cursor.body.take();
                    cursor.body = next;
                    cursor.number += 1;
                    cursor.body.put(read, blocks);
                }
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The number of the last slice.
    fn last(&self) -> u64 {
        self.slicing.number_of(self.answer.range.last)
    }

    /// Looks for the next slice when half of this one was read.
    fn look_ahead(&self, cursor: &mut Cursor) {
        let left = cursor.end.saturating_sub(cursor.body.needed());
        if cursor.next.is_none() && cursor.number < self.last() && left <= self.slicing.size() / 2 {
            cursor.next = Some(self.look_for(cursor.number + 1));
        }
    }

    fn look_for(&self, number: u64) -> Next {
        match self.source.obtain_like(number, &self.first) {
            Slice::Stored(entry) => Next::Stored(entry),
            Slice::Coming(coming) => Next::Coming {
                followed: self.source.follow(coming.fill),
                is_own: coming.is_own,
                stale: coming.stale,
            },
            Slice::Lost => Next::Lost,
        }
    }

    /// The body of the next slice, once its first bytes may be read. Errors: the slice cannot be had.
    fn poll_next(
        &self,
        cursor: &mut Cursor,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StoredBody, Lost>> {
        let number = cursor.number + 1;
        let share = self.slicing.share(number, self.answer.range);
        let enter = |cursor: &mut Cursor, entry, followed| {
            cursor.end = share.end;
            let segments = VecDeque::from([BodySegment::Stored(share.clone())]);
            Poll::Ready(Ok(StoredBody::new(entry, followed, segments, false)))
        };
        for _ in 0..limits::SLICE_TRIES {
            let next = cursor.next.take();
            let (followed, is_own, stale) = match next.unwrap_or_else(|| self.look_for(number)) {
                Next::Stored(entry) if self.fits(number, &entry) => {
                    return enter(cursor, entry, None);
                }
                Next::Stored(_) | Next::Lost => return Poll::Ready(Err(Lost)),
                Next::Coming {
                    followed,
                    is_own,
                    stale,
                } => (followed, is_own, stale),
            };
            followed.wait.set(cx);
            followed.fill.wait(followed.worker.index());
            match followed.fill.outcome() {
                Outcome::Undecided => {
                    cursor.next = Some(Next::Coming {
                        followed,
                        is_own,
                        stale,
                    });
                    return Poll::Pending;
                }
                // The strong tag of the first slice tells that this one is as good as one that is asked for now.
                Outcome::Storable(entry)
                    if self.fits(number, &entry) && self.source.is_selected(&entry) =>
                {
                    match followed.fill.end() {
                        FillEnd::Open => return enter(cursor, entry, Some(followed)),
                        FillEnd::Complete => return enter(cursor, entry, None),
                        FillEnd::Failed | FillEnd::Broken => {}
                    }
                }
                Outcome::Gone => {
                    if let Some(stale) = stale.filter(|stale| self.fits(number, stale)) {
                        return enter(cursor, stale, None);
                    }
                }
                Outcome::Storable(_) | Outcome::Uncacheable(_) => {}
            }
            // A fetch of the answer's own may bring the slice that another request has fetched in vain.
            if is_own {
                break;
            }
        }
        Poll::Ready(Err(Lost))
    }

    /// Whether an entry is the slice of this number, and of the same state of the representation as the first.
    fn fits(&self, number: u64, entry: &SharedEntry) -> bool {
        is_like(&self.first, self.slicing, number, entry)
    }
}

/// Whether an entry is the slice of this number, and of the same state of the representation as another slice.
pub fn is_like(first: &SharedEntry, slicing: Slicing, number: u64, entry: &SharedEntry) -> bool {
    let (Some(known), Some(part)) = (part_of(first), part_of(entry)) else {
        return false;
    };
    let old = Validators::of_head(first.head());
    let new = Validators::of_head(entry.head());
    slicing.is_slice(number, &part) && is_same((&known, &old), (&part, &new))
}
