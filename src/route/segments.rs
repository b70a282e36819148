//! Cuts a host or path at its separators, eight bytes at a time: most segments are shorter than that, and their ends
//! are then found without a loop whose end the processor cannot foresee.

use crate::route::text::PathText;

const WORD: usize = size_of::<u64>();
const LOW_BITS: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// One label of a host or segment of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment<T> {
    /// The first eight bytes, filled up with zeros.
    pub head: u64,
    pub length: usize,
    text: T,
    start: usize,
}

impl<T: PathText> Segment<T> {
    /// Whether `head` is all there is.
    #[inline(always)]
    pub fn is_short(&self) -> bool {
        self.length <= WORD
    }

    /// The words after `head`; the last one reaches back so that it is full.
    #[inline(always)]
    pub fn tail(&self) -> impl Iterator<Item = u64> {
        let last = self.length.saturating_sub(WORD);
        let places = (1..self.length.div_ceil(WORD)).map(move |word| (word * WORD).min(last));
        places.map(|place| self.text.word_at(self.start + place))
    }
}

/// The segments between separators, empty ones included; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Segments<T> {
    text: T,
    /// Where the next segment begins; beyond the end when the last one was given.
    start: usize,
}

impl<T: PathText> Segments<T> {
    /// Cuts `text` at every separator.
    pub fn new(text: T) -> Segments<T> {
        Segments { text, start: 0 }
    }

    /// The end of the segment that began at `start` and does not end in its first word.
    #[inline(never)]
    fn find_end(&self) -> usize {
        let mut place = self.start + WORD;
        while place < self.text.len() {
            match find(self.text.word_at(place), T::SEPARATOR) {
                Some(within) => return place + within,
                None => place += WORD,
            }
        }
        self.text.len()
    }
}

impl<T: PathText> Iterator for Segments<T> {
    type Item = Segment<T>;

    #[inline(always)]
    fn next(&mut self) -> Option<Segment<T>> {
        let start = self.start;
        if start > self.text.len() {
            return None;
        }
        let word = self.text.word_at(start);
        let (head, end) = match find(word, T::SEPARATOR) {
            Some(within) => (word & !(u64::MAX << (8 * within)), start + within),
            None => (word, self.find_end()),
        };
        debug_assert!(start <= end && end <= self.text.len());
        self.start = end + 1;
        Some(Segment {
            head,
            length: end - start,
            text: self.text,
            start,
        })
    }
}

/// Where in `word` the first `separator` is.
#[inline]
fn find(word: u64, separator: u8) -> Option<usize> {
    // A byte is zero where it was the separator; the lowest such byte is found exactly (those above it may be wrong).
    let zeroed = word ^ (LOW_BITS * u64::from(separator));
    let found = zeroed.wrapping_sub(LOW_BITS) & !zeroed & HIGH_BITS;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::text::Path;

    /// Bytes with many separators, their neighbours and zeros among them.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'/'), Just(b'.'), Just(b'0'), Just(0), any::<u8>()];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #[test]
        fn segments_are_those_of_split(bytes in bytes()) {
            let cut = Segments::new(Path(&bytes)).map(|segment| (segment.start, segment.length));
            let split = bytes.split(|&byte| byte == b'/').scan(0, |start, part| {
                let place = *start;
                *start += part.len() + 1;
                Some((place, part.len()))
            });
            prop_assert_eq!(cut.collect::<Vec<_>>(), split.collect::<Vec<_>>());
        }

        #[test]
        fn segments_with_the_same_words_are_the_same(one in "[ab]{0,20}", other in "[ab]{0,20}") {
            let words = |text: &str| {
                let segment = Segments::new(Path(text.as_bytes())).next().unwrap();
                let tail: Vec<u64> = segment.tail().collect();
                (segment.length, segment.head, tail, segment.is_short())
            };
            let (one_words, other_words) = (words(&one), words(&other));
            prop_assert_eq!(one_words.2.is_empty(), one_words.3);
            prop_assert_eq!(one_words == other_words, one == other);
        }
    }
}
