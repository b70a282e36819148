//! The last validations that clients have caused, so that each key is validated for them at most once in a second.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::base::limits;

/// The latest keys and the seconds of their validations. Two keys that share a place may be validated more often.
#[derive(Debug)]
pub struct Validations(Box<[AtomicU64]>);

impl Default for Validations {
    fn default() -> Validations {
        let places = (0..limits::VALIDATION_PLACES).map(|_| AtomicU64::new(0));
        Validations(places.collect())
    }
}

impl Validations {
    /// Whether the key of this hash may be validated at this time, in milliseconds since 1970. A validation is noted.
    pub fn may_begin(&self, hash: u64, now: u64) -> bool {
        let place = &self.0[hash as usize % self.0.len()];
        let word = (hash & !u64::from(u32::MAX)) | u64::from((now / 1_000) as u32);
        // Of several that ask at once, one finds another word.
        place.swap(word, Relaxed) != word
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        size_of_val(&*self.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_validated_once_in_a_second() {
        let validations = Validations::default();
        let (one, other) = (1 << 40, (2 << 40) + 1);
        let rows = [
            (one, 5_000, true),
            (one, 5_999, false),
            (other, 5_999, true),
            (one, 6_000, true),
            (one, 6_000, false),
        ];
        for (hash, now, expected) in rows {
            assert_eq!(validations.may_begin(hash, now), expected, "{hash} {now}");
        }
    }
}
