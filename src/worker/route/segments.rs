//! Cuts a host or path at its separators, eight bytes at a time: most segments are shorter than that, and their ends are
//! then found without a loop whose end the processor cannot foresee.

const WORD: usize = size_of::<u64>();
const LOW_BITS: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// One label of a host or segment of a path.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The first eight bytes, the very first one lowest, filled up with zeros.
    pub head: u64,
    pub bytes: &'a [u8],
}

impl<'a> Segment<'a> {
    /// A segment that was not cut from anything.
    pub fn new(bytes: &'a [u8]) -> Segment<'a> {
        Segment {
            head: word_at(bytes, 0),
            bytes,
        }
    }

    /// The words that follow `head`; the last one reaches back so that it is full.
    #[inline]
    pub fn tail(&self) -> impl Iterator<Item = u64> {
        let after_head = self.bytes.get(WORD..).unwrap_or_default();
        let (whole, rest) = after_head.as_chunks::<WORD>();
        let last = if rest.is_empty() {
            None
        } else {
            self.bytes.last_chunk()
        };
        whole
            .iter()
            .chain(last)
            .map(|word| u64::from_le_bytes(*word))
    }
}

/// The segments between separators, empty ones included; at least one.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    bytes: &'a [u8],
    /// The separator in every byte.
    separators: u64,
    /// Where the next segment begins; beyond the end when the last one was given.
    start: usize,
}

impl<'a> Segments<'a> {
    /// Cuts `bytes` at every `separator`, which is not zero.
    pub fn new(bytes: &'a [u8], separator: u8) -> Segments<'a> {
        Segments {
            bytes,
            separators: LOW_BITS * u64::from(separator),
            start: 0,
        }
    }

    /// Where in `word` the first separator is.
    #[inline]
    fn find_in(&self, word: u64) -> Option<usize> {
        // A byte is zero where it was the separator; the lowest such byte is found exactly (those above it may be wrong).
        let zeroed = word ^ self.separators;
        let found = zeroed.wrapping_sub(LOW_BITS) & !zeroed & HIGH_BITS;
        (found != 0).then(|| found.trailing_zeros() as usize / 8)
    }

    /// Where the segment that began at `start` and has no end in its first word ends.
    fn find_end(&self) -> usize {
        let mut place = self.start + WORD;
        while place < self.bytes.len() {
            match self.find_in(word_at(self.bytes, place)) {
                Some(within) => return place + within,
                None => place += WORD,
            }
        }
        self.bytes.len()
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        if self.start > self.bytes.len() {
            return None;
        }
        let word = word_at(self.bytes, self.start);
        let (head, end) = match self.find_in(word) {
            Some(within) => (word & !(u64::MAX << (8 * within)), self.start + within),
            None => (word, self.find_end()),
        };
        let bytes = &self.bytes[self.start..end];
        self.start = end + 1;
        Some(Segment { head, bytes })
    }
}

/// The eight bytes from `start`, the first one lowest, filled up with zeros beyond the end. Range of `start`:
/// `0..=bytes.len()`.
#[inline]
fn word_at(bytes: &[u8], start: usize) -> u64 {
    let rest = &bytes[start..];
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    match bytes.last_chunk::<WORD>() {
        Some(last) if !rest.is_empty() => u64::from_le_bytes(*last) >> (8 * (WORD - rest.len())),
        _ => rest
            .iter()
            .rev()
            .fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}
