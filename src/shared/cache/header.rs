//! The part before the head of an entry in its block, so that the index can be made anew from the blocks alone.

use crate::cache::facts::EntryFacts;

/// The first bytes of every entry, with the version of the form.
const MAGIC: u32 = 0x7061_6301;
/// Bytes of the header.
pub const HEADER_BYTES: usize = FACTS + EntryFacts::BYTES;

/// Where the fields are.
const CHECKSUM: usize = 4;
const LENGTHS: usize = 8;
const ZONE: usize = 24;
const PURGE: usize = 32;
const BODY: usize = 40;
const BODY_LENGTH: usize = 48;
const FACTS: usize = 56;

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// The lengths of key, variant, tags and head, which follow in this order.
    pub lengths: [u32; 4],
    /// The zone of the entry.
    pub zone: u16,
    /// The purge number at the time when the request for the response was sent.
    pub purge_number: u64,
    /// The number of the body whose blocks lie elsewhere; 0: the body follows the head.
    pub body: u64,
    /// The length of the body, if it was known at the start; else `u64::MAX`.
    pub body_length: u64,
    /// The facts of the response.
    pub facts: EntryFacts,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

impl EntryHeader {
    /// The header as bytes. The checksum is over them and `rest`: key, variant, tags and head.
    pub fn to_bytes(self, rest: [&[u8]; 4]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        for (at, length) in self.lengths.iter().enumerate() {
            let at = LENGTHS + 4 * at;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        bytes[ZONE..ZONE + 2].copy_from_slice(&self.zone.to_le_bytes());
        let numbers = [
            (PURGE, self.purge_number),
            (BODY, self.body),
            (BODY_LENGTH, self.body_length),
        ];
        for (at, number) in numbers {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[FACTS..].copy_from_slice(&self.facts.to_bytes());
        let mut sum = checksum(0, &bytes[LENGTHS..]);
        for part in rest {
            sum = checksum(sum, part);
        }
        bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&(sum as u32).to_le_bytes());
        bytes
    }

    /// The header at the beginning of these bytes, without a check.
    pub fn read(bytes: &[u8]) -> EntryHeader {
        let mut facts = [0; EntryFacts::BYTES];
        facts.copy_from_slice(&bytes[FACTS..HEADER_BYTES]);
        let length = |at: usize| u32_at(bytes, LENGTHS + 4 * at);
        EntryHeader {
            lengths: [length(0), length(1), length(2), length(3)],
            zone: u16::from_le_bytes([bytes[ZONE], bytes[ZONE + 1]]),
            purge_number: u64_at(bytes, PURGE),
            body: u64_at(bytes, BODY),
            body_length: u64_at(bytes, BODY_LENGTH),
            // The store alone writes facts, and a checksum tells what another process wrote.
            facts: EntryFacts::from_bytes(&facts).unwrap_or_default(),
        }
    }

    /// The header at the beginning of a block's bytes, if the block begins with a whole head part whose checksum is
    /// right.
    pub fn checked(bytes: &[u8]) -> Option<EntryHeader> {
        if bytes.len() < HEADER_BYTES || u32_at(bytes, 0) != MAGIC {
            return None;
        }
        let header = EntryHeader::read(bytes);
        let parts: u64 = header.lengths.iter().map(|length| u64::from(*length)).sum();
        let end = HEADER_BYTES as u64 + parts;
        let rest = bytes.get(HEADER_BYTES..usize::try_from(end).ok()?)?;
        let mut sum = checksum(0, &bytes[LENGTHS..HEADER_BYTES]);
        let mut at = 0;
        for length in header.lengths {
            sum = checksum(sum, &rest[at..at + length as usize]);
            at += length as usize;
        }
        let is_whole = sum as u32 == u32_at(bytes, CHECKSUM);
        let mut facts = [0; EntryFacts::BYTES];
        facts.copy_from_slice(&bytes[FACTS..HEADER_BYTES]);
        (is_whole && EntryFacts::from_bytes(&facts).is_some()).then_some(header)
    }

    /// Where the key, the variant, the tags, the head and the body begin.
    pub fn starts(&self) -> [usize; 5] {
        let mut at = HEADER_BYTES;
        let mut starts = [at; 5];
        for (start, length) in starts[1..].iter_mut().zip(self.lengths) {
            at += length as usize;
            *start = at;
        }
        starts
    }
}

/// The length of the key, for a look-up that compares nothing else.
pub fn key_of(bytes: &[u8]) -> &[u8] {
    let length = u32_at(bytes, LENGTHS) as usize;
    &bytes[HEADER_BYTES..HEADER_BYTES + length]
}

/// The variant, for a look-up that compares nothing else.
pub fn variant_of(bytes: &[u8]) -> &[u8] {
    let start = HEADER_BYTES + u32_at(bytes, LENGTHS) as usize;
    &bytes[start..start + u32_at(bytes, LENGTHS + 4) as usize]
}

/// A sum that damage changes; nobody forges what only processes of one machine hand over.
pub fn checksum(start: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let words = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    let sum = words.fold(start, |sum, word| mix(sum, u64_at(word, 0)));
    let sum = mix(sum, u64::from_le_bytes(last) ^ bytes.len() as u64);
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_part_tells_all_by_itself_and_damage_is_found() {
        let parts: [&[u8]; 4] = [b"the key", b"", b"tag", b"HTTP/1.1 200 OK\r\n\r\n"];
        let header = EntryHeader {
            lengths: parts.map(|part| part.len() as u32),
            zone: 7,
            purge_number: 1 << 40,
            body: 3,
            body_length: u64::MAX,
            facts: EntryFacts {
                date: -5,
                status: 404,
                ..EntryFacts::default()
            },
        };
        let mut bytes = header.to_bytes(parts).to_vec();
        bytes.extend(parts.concat());
        let end = bytes.len();
        bytes.extend(b"a body");
        assert_eq!(EntryHeader::checked(&bytes), Some(header));
        assert_eq!(key_of(&bytes), parts[0]);
        assert_eq!(variant_of(&bytes), parts[1]);
        for cut in 0..end {
            assert_eq!(EntryHeader::checked(&bytes[..cut]), None, "{cut}");
        }
        for at in 0..end {
            for bit in [1, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                assert_eq!(EntryHeader::checked(&damaged), None, "{at}");
            }
        }
    }
}
