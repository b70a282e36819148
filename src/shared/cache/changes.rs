//! Purges and invalidations that processes with the same memory tell each other. Each process writes its changes into a
//! ring in that memory before the call returns, and looks whether there is something new before it uses an entry.
//!
//! A writer takes a number, writes, and sets the number of the slot last; a reader takes what has the number that it
//! expects before and after. A reader that was lapped does not know what it has missed.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, fence};
use std::sync::{Mutex, PoisonError};

use super::arena::Arena;
use super::purges::{Purge, PurgeEffect};
use crate::base::limits;

/// The word with the number of the next change.
const NEXT: usize = 0;
/// The word with the first slot.
const SLOTS: usize = 16;
/// Words of a slot, and those before its bytes: number, process, kind with length.
const SLOT: usize = limits::CHANGE_BYTES / 4;
const BEFORE: usize = 3;
/// The number of a slot that is being written.
const WRITING: u32 = 0;

const INVALIDATION: u32 = 0;
const URL: u32 = 1;
const PREFIX: u32 = 2;
const TAG: u32 = 3;
const ALL: u32 = 4;
const SOFT: u32 = 1 << 8;

/// Something that all processes with the same memory have to do.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// An invalidation of a key.
    Invalidation(&'a [u8]),
    /// A purge.
    Purge(Purge<'a>, PurgeEffect),
}

/// The changes that one process has heard.
#[derive(Debug)]
pub struct ChangeRing {
    /// Tells the changes of this process from those of others.
    process: u32,
    has_peer: AtomicBool,
    /// The number of the next change to hear, when nothing is open.
    seen: AtomicU32,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    next: u32,
    /// ChangeRing before `next` that were being written.
    open: Vec<u32>,
}

/// The result of a look at one slot.
enum Slot {
    Open,
    Own,
    Gone,
    Told(u32, Vec<u8>),
}

impl ChangeRing {
    /// For a process with this number, which no other process should have.
    pub fn new(process: u32) -> ChangeRing {
        ChangeRing {
            process,
            has_peer: AtomicBool::new(false),
            seen: AtomicU32::new(0),
            heard: Mutex::default(),
        }
    }

    /// Begins to tell and to hear, from this change on.
    pub fn begin(&self, from: u32) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.next = from;
        heard.open.clear();
        self.seen.store(from, Relaxed);
        drop(heard);
        self.has_peer.store(true, SeqCst);
    }

    /// Whether another process may tell something.
    pub fn has_peer(&self) -> bool {
        self.has_peer.load(Relaxed)
    }

    /// No other process has the memory any more.
    pub fn end(&self) {
        self.has_peer.store(false, SeqCst);
    }

    /// The number of the next change.
    pub fn next(arena: &Arena) -> u32 {
        arena.shared(NEXT).load(SeqCst)
    }

    /// Whether there is something that this process has not heard.
    #[inline]
    pub fn has_more(&self, arena: &Arena) -> bool {
        self.has_peer.load(Relaxed) && arena.shared(NEXT).load(Acquire) != self.seen.load(Acquire)
    }

    /// Tells the other processes, if there are some.
    pub fn tell(&self, arena: &Arena, change: Change<'_>) {
        // A process that begins to share its memory says so first, and looks at what was done afterwards.
        fence(SeqCst);
        if !self.has_peer.load(SeqCst) {
            return;
        }
        let (kind, bytes) = write(change);
        let number = arena.shared(NEXT).fetch_add(1, SeqCst);
        let slot = slot_of(number);
        arena.shared(slot).store(WRITING, Relaxed);
        fence(Release);
        arena.shared(slot + 1).store(self.process, Relaxed);
        let head = kind | (bytes.len() as u32) << 16;
        arena.shared(slot + 2).store(head, Relaxed);
        for (at, four) in bytes.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..four.len()].copy_from_slice(four);
            let word = u32::from_le_bytes(word);
            arena.shared(slot + BEFORE + at).store(word, Relaxed);
        }
        arena.shared(slot).store(number.wrapping_add(1), Release);
    }

    /// Does with `act` what the other processes have told, and `doubt` if something of it was missed.
    pub fn hear(&self, arena: &Arena, mut act: impl FnMut(Change<'_>), doubt: impl FnOnce()) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let next = arena.shared(NEXT).load(SeqCst);
        let mut open = std::mem::take(&mut heard.open);
        let mut is_lapped = next.wrapping_sub(heard.next) > limits::CHANGES as u32;
        if is_lapped {
            open.clear();
        } else {
            open.extend((0..next.wrapping_sub(heard.next)).map(|at| heard.next.wrapping_add(at)));
        }
        for number in open {
            match self.look(arena, number) {
                Slot::Own => {}
                Slot::Told(kind, bytes) => act(read(kind, &bytes)),
                Slot::Gone => is_lapped = true,
                Slot::Open => heard.open.push(number),
            }
        }
        if is_lapped {
            doubt();
        }
        heard.next = next;
        // With something open, this process looks again: its number never agrees.
        let seen = next.wrapping_sub(u32::from(!heard.open.is_empty()));
        self.seen.store(seen, Release);
    }

    fn look(&self, arena: &Arena, number: u32) -> Slot {
        let slot = slot_of(number);
        let expected = number.wrapping_add(1);
        let found = arena.shared(slot).load(Acquire);
        if found != expected {
            let is_older = found == WRITING || expected.wrapping_sub(found) < u32::MAX / 2;
            return if is_older { Slot::Open } else { Slot::Gone };
        }
        let process = arena.shared(slot + 1).load(Relaxed);
        let head = arena.shared(slot + 2).load(Relaxed);
        let length = (head >> 16) as usize;
        let words = length.div_ceil(4).min(SLOT - BEFORE);
        let words = (0..words).map(|at| arena.shared(slot + BEFORE + at).load(Relaxed));
        let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        bytes.truncate(length);
        fence(AcqRel);
        if arena.shared(slot).load(Relaxed) != expected {
            return Slot::Gone;
        }
        if process == self.process {
            Slot::Own
        } else {
            Slot::Told(head & 0xffff, bytes)
        }
    }
}

fn slot_of(number: u32) -> usize {
    SLOTS + number as usize % limits::CHANGES * SLOT
}

/// The kind and the bytes of a change; what is too long is a purge that concerns more.
fn write(change: Change<'_>) -> (u32, &[u8]) {
    const MOST: usize = (SLOT - BEFORE) * 4;
    let (kind, bytes) = match change {
        Change::Invalidation(key) => (INVALIDATION, key),
        Change::Purge(purge, effect) => {
            let (kind, bytes) = match purge {
                Purge::Url(bytes) => (URL, bytes),
                Purge::Prefix(bytes) => (PREFIX, bytes),
                Purge::Tag(bytes) => (TAG, bytes),
                Purge::All => (ALL, &[][..]),
            };
            let soft = if effect == PurgeEffect::Soft { SOFT } else { 0 };
            (kind | soft, bytes)
        }
    };
    if bytes.len() <= MOST {
        return (kind, bytes);
    }
    match kind & !SOFT {
        TAG => (ALL | kind & SOFT, &[]),
        _ => (PREFIX | kind & SOFT, &bytes[..MOST]),
    }
}

fn read(kind: u32, bytes: &[u8]) -> Change<'_> {
    let effect = match kind & SOFT {
        0 => PurgeEffect::Hard,
        _ => PurgeEffect::Soft,
    };
    match kind & !SOFT {
        INVALIDATION => Change::Invalidation(bytes),
        URL => Change::Purge(Purge::Url(bytes), effect),
        PREFIX => Change::Purge(Purge::Prefix(bytes), effect),
        TAG => Change::Purge(Purge::Tag(bytes), effect),
        _ => Change::Purge(Purge::All, effect),
    }
}
