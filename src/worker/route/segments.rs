//! Cuts a host or path at its separators, eight bytes at a time: most segments are shorter than that, and a look-up
//! then needs no loop over bytes whose end the processor cannot foresee.

const WORD: usize = size_of::<u64>();
const LOW_BITS: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// One label of a host or segment of a path.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The first eight bytes, little end first, filled up with zeros.
    pub head: u64,
    pub bytes: &'a [u8],
}

impl Segment<'_> {
    /// The bytes after those in `head`.
    pub fn tail(&self) -> &[u8] {
        self.bytes.get(WORD..).unwrap_or_default()
    }
}

/// The segments between separators, empty ones included; at least one.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    bytes: &'a [u8],
    separator: u8,
    /// Where the next segment begins; beyond the end when the last one was given.
    start: usize,
}

impl<'a> Segments<'a> {
    /// Cuts `bytes` at every `separator`.
    pub fn new(bytes: &'a [u8], separator: u8) -> Segments<'a> {
        Segments {
            bytes,
            separator,
            start: 0,
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        let rest = self.bytes.get(self.start..)?;
        let word = first_word(rest);
        let (head, length) = match find_in_word(word, self.separator) {
            Some(length) => (word & ((1 << (8 * length)) - 1), length),
            None if rest.len() <= WORD => (word, rest.len()),
            None => {
                let beyond = &rest[WORD..];
                let length = beyond.iter().position(|&byte| byte == self.separator);
                (word, WORD + length.unwrap_or(beyond.len()))
            }
        };
        self.start += length + 1;
        Some(Segment {
            head,
            bytes: &rest[..length],
        })
    }
}

/// Up to eight bytes as a number, the first one in its lowest bits.
#[inline]
pub fn first_word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}

/// Which byte of the word is the first `separator`. The zero byte that fills up a word is none.
#[inline]
fn find_in_word(word: u64, separator: u8) -> Option<usize> {
    // A byte is zero where it was the separator; the lowest such byte is found exactly (those above it may be wrong).
    let zeroed = word ^ (LOW_BITS * u64::from(separator));
    let found = zeroed.wrapping_sub(LOW_BITS) & !zeroed & HIGH_BITS;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}
