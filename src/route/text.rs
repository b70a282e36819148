//! Hosts and paths, eight bytes at a time and with the general end first.

const WORD: usize = size_of::<u64>();

/// A text that can be cut into segments.
pub trait PathText: Copy {
    /// The unit that stands between two segments; not zero.
    const SEPARATOR: u8;

    /// Bytes there are.
    fn len(self) -> usize;

    /// The eight bytes from `start`, the first one lowest, filled up with zeros beyond the end. Range of `start`:
    /// `0..=len()`.
    fn word_at(self, start: usize) -> u64;
}

/// A path, after the slash that begins it.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a>(pub &'a [u8]);

impl PathText for Path<'_> {
    const SEPARATOR: u8 = b'/';

    fn len(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn word_at(self, start: usize) -> u64 {
        let rest = &self.0[start..];
        match (rest.first_chunk(), self.0.last_chunk()) {
            (Some(word), _) => u64::from_le_bytes(*word),
            (None, Some(last)) => u64::from_le_bytes(*last).unbounded_shr(missing_bits(rest)),
            (None, None) => rest.iter().rev().fold(0, append),
        }
    }
}

/// A host back to front, so that its most general label comes first, in lower case and without the dot that may end it.
#[derive(Clone, Copy, Debug)]
pub struct ReversedHost<'a>(&'a [u8]);

impl<'a> ReversedHost<'a> {
    /// Of a host longer than `longest` one byte more than that is taken: enough to see that it goes on where the
    /// longest pattern ends.
    pub fn new(host: &'a [u8], longest: usize) -> ReversedHost<'a> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        ReversedHost(&host[host.len().saturating_sub(longest + 1)..])
    }
}

impl PathText for ReversedHost<'_> {
    const SEPARATOR: u8 = b'.';

    fn len(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn word_at(self, start: usize) -> u64 {
        let rest = &self.0[..self.0.len() - start];
        lower_case(match (rest.last_chunk(), self.0.first_chunk()) {
            (Some(word), _) => u64::from_be_bytes(*word),
            (None, Some(first)) => u64::from_be_bytes(*first).unbounded_shr(missing_bits(rest)),
            (None, None) => rest.iter().fold(0, append),
        })
    }
}

/// Bits by which `rest` is less than a word.
fn missing_bits(rest: &[u8]) -> u32 {
    debug_assert!(rest.len() < WORD, "a whole word misses no bits");
    8 * (WORD - rest.len()) as u32
}

fn append(word: u64, byte: &u8) -> u64 {
    (word << 8) | u64::from(*byte)
}

/// Eight bytes with `A` to `Z` made `a` to `z`.
fn lower_case(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; WORD]);
    let low = word & (0x7f * EACH);
    // The upper bit of each byte tells whether it is `A` or above, and above `Z`; no byte overflows into the next.
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let after_z = low + (0x7f - b'Z' as u64) * EACH;
    let capital = (from_a ^ after_z) & !word & (0x80 * EACH);
    word | (capital >> 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_becomes_what_ascii_says() {
        for byte in 0..=u8::MAX {
            let bytes = [b'Z', byte, b'@', b'[', byte, 0xff, b'A', 0];
            let lower = lower_case(u64::from_le_bytes(bytes));
            assert_eq!(
                lower.to_le_bytes(),
                bytes.map(|byte| byte.to_ascii_lowercase())
            );
        }
    }

    /// All bytes, read word by word from every start.
    fn check(text: impl PathText, expected: &[u8]) {
        assert_eq!(text.len(), expected.len());
        for start in 0..=expected.len() {
            let mut word = [0; WORD];
            for (place, &byte) in word.iter_mut().zip(&expected[start..]) {
                *place = byte;
            }
            assert_eq!(
                text.word_at(start),
                u64::from_le_bytes(word),
                "{expected:?} from {start}"
            );
        }
    }

    proptest! {
        #[test]
        fn words_are_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            check(Path(&bytes), &bytes);
        }

        #[test]
        fn hosts_are_reversed(host in "[a-zA-Z0-9.]{0,30}", longest in 0usize..30) {
            let plain = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
            let expected: Vec<u8> = plain.bytes().rev().take(longest + 1).collect();
            check(ReversedHost::new(host.as_bytes(), longest), &expected);
        }
    }
}
