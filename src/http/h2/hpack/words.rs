//! Text eight bytes at a time: hashing and comparing fields without a call or a loop over bytes.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bit that sets a letter's case, in every byte.
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

/// The last eight bytes, or all there are. Some of them were in a word before, which is cheaper than taking the rest of
/// a text byte by byte.
#[inline(always)]
fn last_word(text: &[u8]) -> u64 {
    match (
        text.last_chunk::<8>(),
        text.first_chunk::<4>(),
        text.last_chunk::<4>(),
    ) {
        (Some(eight), ..) => u64::from_le_bytes(*eight),
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => text
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[inline(always)]
fn fold(text: &[u8], start: u64, step: impl Fn(u64, u64) -> u64) -> u64 {
    let (words, _) = text.as_chunks::<8>();
    let folded = words.iter().fold(start, |folded, word| {
        step(folded, u64::from_le_bytes(*word))
    });
    step(folded, last_word(text))
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER)
}

/// A hash of a name, the same for all cases. Collisions cost a comparison, nothing else.
#[inline(always)]
pub(super) fn hash_name(name: &[u8]) -> u32 {
    let start = mix(0, name.len() as u64);
    (fold(name, start, |hash, word| mix(hash, word | CASE_BITS)) >> 32) as u32
}

/// A hash of a value behind that of its name; never 0.
#[inline(always)]
pub(super) fn hash_value(name_hash: u32, value: &[u8]) -> u32 {
    let start = mix(u64::from(name_hash), value.len() as u64);
    (fold(value, start, mix) >> 32) as u32 | 1
}

/// Whether `name` in lower case is `lower`.
#[inline(always)]
pub(super) fn is_lower_of(lower: &[u8], name: &[u8]) -> bool {
    if lower.len() != name.len() {
        return false;
    }
    let (words, _) = lower.as_chunks::<8>();
    let (others, _) = name.as_chunks::<8>();
    let difference = words
        .iter()
        .zip(others)
        .fold(0, |difference, (word, other)| {
            difference | (u64::from_le_bytes(*word) ^ to_lower(u64::from_le_bytes(*other)))
        });
    difference == 0 && last_word(lower) == to_lower(last_word(name))
}

/// Every byte of a word in lower case.
#[inline(always)]
fn to_lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * ONES);
    let from_a = low_bits + (0x80 - u64::from(b'A')) * ONES;
    let above_z = low_bits + (0x7f - u64::from(b'Z')) * ONES;
    // The top bit of every byte that is a letter in upper case, moved to where the case is.
    let is_upper = (from_a ^ above_z) & !word & (0x80 * ONES);
    word | is_upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_and_lengths_are_compared_and_hashed() {
        let lower: Vec<u8> = (0..40).map(|at| b"abz{`[@-_09~\xc1\xe1"[at % 14]).collect();
        for len in 0..lower.len() {
            let text = &lower[..len];
            let upper = text.to_ascii_uppercase();
            assert!(is_lower_of(text, &upper) && is_lower_of(text, text));
            assert_eq!(hash_name(text), hash_name(&upper));
            assert!(!is_lower_of(text, &lower[..len + 1]));
            for at in 0..len {
                for bit in [0x01, 0x04, 0x40, 0x80] {
                    let mut other = text.to_vec();
                    other[at] ^= bit;
                    assert!(!is_lower_of(text, &other), "{len} {at} {bit}");
                    assert_ne!(hash_name(text), hash_name(&other));
                    assert_ne!(hash_value(7, text), hash_value(7, &other));
                }
            }
        }
    }

    #[test]
    fn every_byte_becomes_lower() {
        for byte in 0..=255u8 {
            let text = [byte; 9];
            assert!(is_lower_of(&text.to_ascii_lowercase(), &text));
            assert_eq!(is_lower_of(&text, &text), !byte.is_ascii_uppercase());
        }
    }
}
