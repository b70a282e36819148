//! How many bytes the store has, and where they are: everything counts from when it is allocated to when it is freed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes that a store may have, and those that it has.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(most: u64) -> Budget {
        Budget {
            most,
            used: AtomicU64::new(0),
        }
    }

    /// The bytes that may be used.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The bytes that are used.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Takes bytes if no more than `most` are used then; no bytes can always be taken.
    pub fn take(&self, bytes: u64, most: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.used.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(bytes) <= most;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    /// Takes bytes that are in use already: tables that have grown.
    pub fn note(&self, bytes: u64) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives bytes back.
    pub fn give(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "more is given back than was taken");
    }
}
