//! The numbers of late requests for keys without an entry: a table of fixed size in which keys that share a place
//! displace each other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of a word that tell the key, the second of its first use, and the number of its uses.
const KEY_BITS: u32 = 24;
const SECOND_BITS: u32 = 32;

/// The latest keys with their uses.
#[derive(Debug)]
pub struct Uses {
    places: Box<[AtomicU64]>,
    /// Seconds after which the uses of a key are counted anew.
    window: u64,
}

impl Uses {
    /// A table of so many places for uses within so many seconds.
    pub fn new(places: usize, window: u64) -> Uses {
        Uses {
            places: (0..places.max(1)).map(|_| AtomicU64::new(0)).collect(),
            window,
        }
    }

    /// Notes a use of a key at this time, in milliseconds since 1970; returns how often it was used in the window. Uses
    /// on several cores at once may count as one.
    pub fn note(&self, hash: u64, now: u64) -> u8 {
        let place = &self.places[hash as usize % self.places.len()];
        let key = hash >> (64 - KEY_BITS);
        let now = (now / 1_000) & ((1 << SECOND_BITS) - 1);
        let word = place.load(Relaxed);
        let since = (word >> 8) & ((1 << SECOND_BITS) - 1);
        let is_known = word != 0 && word >> (8 + SECOND_BITS) == key;
        let is_recent = now.checked_sub(since).is_some_and(|age| age < self.window);
        let (since, uses) = if is_known && is_recent {
            (since, (word as u8).saturating_add(1))
        } else {
            (now, 1)
        };
        let word = key << (8 + SECOND_BITS) | since << 8 | u64::from(uses);
        place.store(word, Relaxed);
        uses
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        size_of_val(&*self.places) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_within_a_window() {
        let uses = Uses::new(16, 60);
        let (one, other) = (1 << 40, 2 << 40);
        let rows = [
            (one, 1_000, 1),
            (one, 1_500, 2),
            (one, 60_999, 3),
            (one, 61_000, 1),
            (one, 61_000, 2),
            // A key at the same place displaces the other one.
            (other, 61_000, 1),
            (one, 61_000, 1),
            // A clock that was set back makes no use older.
            (one, 5_000, 1),
        ];
        for (hash, now, expected) in rows {
            assert_eq!(uses.note(hash, now), expected, "{hash} {now}");
        }
        for _ in 0..300 {
            uses.note(one, 5_000);
        }
        assert_eq!(uses.note(one, 5_000), u8::MAX);
    }
}
