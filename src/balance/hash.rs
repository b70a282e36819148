//! Hashing that gives the same number on every core, machine and version.

/// A number for a request's key or a backend's address. The same bytes give the same number everywhere and always, so
/// it is no defence against a client that chooses its key; it can only send itself to the backend of its choice.
pub fn hash_key(bytes: &[u8]) -> u64 {
    let mut hash = mix(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word));
    }
    hash
}

/// Spreads every bit of `word` over all bits, one to one: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast
/// Splittable Pseudorandom Number Generators, 2014).
pub(super) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// `hash` as a number in `0..count`, by its upper bits and without a division (Lemire: Fast Random Integer Generation
/// in an Interval, 2019).
pub(super) fn scale(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_number() {
        let rows: [(&[u8], u64); 3] = [
            (b"", 0xe220_a839_7b1d_cdaf),
            (b"10.0.0.1:80", 0xbaa0_69e1_9805_9227),
            (b"session=7f2c9a10d3", 0x9aec_ce1c_bf3a_54de),
        ];
        for (bytes, expected) in rows {
            assert_eq!(hash_key(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn padding_is_not_content() {
        assert_ne!(hash_key(b"a"), hash_key(b"a\0"));
        assert_ne!(hash_key(b"12345678"), hash_key(b"12345678\0"));
    }

    #[test]
    fn scale_stays_below_count() {
        for count in [1, 2, 100, 65_537] {
            assert_eq!(scale(0, count), 0);
            assert_eq!(scale(u64::MAX, count), count - 1);
        }
    }
}
