//! Where those who follow a fill have come to, so that its writer can wait for the slowest of them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// No position: no reader is forsaken, or no reader waits.
const NONE: u64 = u64::MAX;

/// The place of one follower.
#[derive(Debug)]
pub struct Reader {
    /// The first byte that the follower still needs.
    position: AtomicU64,
    /// The position at the last call of [`Readers::mark`].
    marked: AtomicU64,
    /// The position at which the writer has stopped to wait for this follower.
    forsaken: AtomicU64,
}

/// Bytes of the heap that a follower takes.
pub const READER_BYTES: u64 = (size_of::<Reader>() + 16 + size_of::<Arc<Reader>>()) as u64;

/// The followers of a fill.
#[derive(Debug)]
pub struct Readers {
    all: Mutex<Vec<Arc<Reader>>>,
    /// The position that the writer waits for, or [`NONE`].
    wanted: AtomicU64,
}

impl Default for Readers {
    fn default() -> Readers {
        Readers {
            all: Mutex::default(),
            wanted: AtomicU64::new(NONE),
        }
    }
}

impl Reader {
    /// A follower whose next byte is the first one.
    fn new(position: u64) -> Reader {
        Reader {
            position: AtomicU64::new(position),
            marked: AtomicU64::new(NONE),
            forsaken: AtomicU64::new(NONE),
        }
    }

    /// The first byte that the follower still needs.
    pub fn position(&self) -> u64 {
        self.position.load(Relaxed)
    }

    /// The position, if the writer waits for this follower: one that was forsaken counts again when it has moved.
    fn counted(&self) -> Option<u64> {
        let position = self.position.load(SeqCst);
        (position != self.forsaken.load(Relaxed)).then_some(position)
    }
}

impl Readers {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a follower at a position.
    pub fn add(&self, position: u64) -> Arc<Reader> {
        let reader = Arc::new(Reader::new(position));
        self.all().push(reader.clone());
        reader
    }

    /// Takes a follower out; returns whether the writer may wait for this.
    pub fn remove(&self, reader: &Arc<Reader>) -> bool {
        self.all().retain(|other| !Arc::ptr_eq(other, reader));
        self.is_awaited(reader.position(), NONE)
    }

    /// Notes the position of a follower; returns whether the writer may wait for this.
    pub fn note(&self, reader: &Reader, position: u64) -> bool {
        let before = reader.position.load(Relaxed);
        if before == position {
            return false;
        }
        // The writer notes what it wants before it looks at the positions.
        reader.position.store(position, SeqCst);
        self.is_awaited(before, position)
    }

    fn is_awaited(&self, before: u64, after: u64) -> bool {
        let wanted = self.wanted.load(SeqCst);
        wanted != NONE && before < wanted && after >= wanted
    }

    /// The position of the slowest follower that the writer waits for; `u64::MAX` if there is none.
    pub fn slowest(&self) -> u64 {
        let all = self.all();
        let counted = all.iter().filter_map(|reader| reader.counted());
        counted.min().unwrap_or(u64::MAX)
    }

    /// The position of the slowest follower, also of those that were forsaken; `u64::MAX` if there is none.
    pub fn slowest_of_all(&self) -> u64 {
        let all = self.all();
        let positions = all.iter().map(|reader| reader.position());
        positions.min().unwrap_or(u64::MAX)
    }

    /// Asks that the writer be told when a follower passes this position.
    pub fn want(&self, position: u64) {
        self.wanted.store(position, SeqCst);
    }

    /// The writer waits no longer.
    pub fn want_nothing(&self) {
        self.wanted.store(NONE, Relaxed);
    }

    /// Notes where all followers are now.
    pub fn mark(&self) {
        for reader in self.all().iter() {
            reader.marked.store(reader.position(), Relaxed);
        }
    }

    /// Waits no longer for those before a position who have not moved since they were marked, and marks the others.
    pub fn forsake(&self, before: u64) {
        for reader in self.all().iter() {
            let position = reader.position();
            if position < before && position == reader.marked.load(Relaxed) {
                reader.forsaken.store(position, Relaxed);
            }
            reader.marked.store(position, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_follower_that_moves_counts() {
        let readers = Readers::default();
        assert_eq!(readers.slowest(), u64::MAX);
        let (slow, fast) = (readers.add(0), readers.add(0));
        assert!(!readers.note(&fast, 10), "the writer wants nothing");
        assert_eq!(readers.slowest(), 0);
        readers.want(20);
        readers.mark();
        assert!(!readers.note(&slow, 19));
        assert!(readers.note(&slow, 20) && readers.note(&fast, 30));
        assert!(!readers.note(&fast, 31), "it has passed before");
        assert_eq!(readers.slowest(), 20);
        readers.forsake(100);
        assert_eq!(readers.slowest(), 20, "both have moved");
        readers.note(&fast, 40);
        readers.forsake(100);
        assert_eq!(readers.slowest(), 40);
        readers.note(&slow, 21);
        assert_eq!(readers.slowest(), 21, "one that moves again counts again");
        readers.want(50);
        assert!(readers.remove(&slow), "the writer looks again");
        assert_eq!(readers.slowest(), 40);
        readers.want_nothing();
        assert!(!readers.remove(&fast));
    }
}
