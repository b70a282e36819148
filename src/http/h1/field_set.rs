//! A set of a head's fields, by index.

use crate::base::limits;

const WORDS: usize = limits::HEAD_FIELDS / 64;
const _: () = assert!(limits::HEAD_FIELDS.is_multiple_of(64));

/// One bit per field of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet([u64; WORDS]);

impl FieldSet {
    pub(super) fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    pub(super) fn union(mut self, other: &FieldSet) -> FieldSet {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }

    /// The indices in rising order.
    pub(super) fn iter(self) -> Indices {
        Indices { set: self, word: 0 }
    }
}

/// The rest of a set that is being read.
pub(super) struct Indices {
    set: FieldSet,
    word: usize,
}

impl Iterator for Indices {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.set.0.get_mut(self.word) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.word * 64 + bit);
            }
            self.word += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterates_over_what_was_inserted_in_order() {
        let indices = [0, 5, 63, 64, 130, 255];
        let mut set = FieldSet::default();
        for index in indices.iter().rev() {
            set.insert(*index);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), indices);
        assert!(set.contains(130) && !set.contains(131));
        let mut other = FieldSet::default();
        other.insert(7);
        assert_eq!(set.union(&other).iter().count(), indices.len() + 1);
    }
}
