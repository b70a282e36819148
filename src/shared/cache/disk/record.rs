//! A record of a segment: a stored response, or the removal of one, in a form that tells all by itself. A sum is over
//! the fields in front, and one over the rest, so that what is damaged is not taken for a response.

use sha2::{Digest, Sha256};

use crate::base::limits;
use crate::cache::facts::EntryFacts;

/// The first bytes of every record, with the version of the form.
const MAGIC: u32 = 0x7061_6401;
/// Bytes of the fields in front.
pub const HEADER_BYTES: usize = FACTS + EntryFacts::BYTES;
/// Bytes of the sum at the end.
pub const SUM_BYTES: usize = 8;
/// Records begin at multiples of so many bytes.
const UNIT: u64 = 8;

/// Where the fields are.
const KIND: usize = 4;
const SUM: usize = 8;
const LENGTHS: usize = 16;
const VARIANT: usize = 36;
const BODY: usize = 40;
const NUMBER: usize = 48;
const HASH: usize = 56;
const STAMP: usize = 64;
const FACTS: usize = 72;

const ENTRY: u32 = 1;
const STALE_ENTRY: u32 = 2;
const REMOVAL: u32 = 3;

/// Where a record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordPosition {
    /// The number of the segment.
    pub segment: u32,
    /// The first byte in the segment.
    pub offset: u32,
}

/// A record that does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRemoval {
    /// The hash of the key.
    pub hash: u64,
    /// Where the record begins.
    pub position: RecordPosition,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A response. A soft purge has made it stale, if `is_stale`.
    Entry {
        /// Whether a soft purge has made the response stale.
        is_stale: bool,
    },
    /// The record at this position does not count any more.
    Removal(RecordPosition),
}

/// The fields in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The content.
    pub kind: RecordKind,
    /// The lengths of key, variant, tags, head and trailers, which follow in this order.
    pub lengths: [u32; 5],
    /// The length of the body, which follows the trailers.
    pub body: u64,
    /// The number of the last purge of the disk that the response was compared with.
    pub number: u64,
    /// The hash of the key.
    pub hash: u64,
    /// The hash of the variant.
    pub variant: u32,
    /// A number that tells the response from another one for the same key and variant.
    pub stamp: u32,
    /// The facts of the response.
    pub facts: [u8; EntryFacts::BYTES],
}

impl RecordHeader {
    /// The removal of a record.
    pub fn removal(of: RecordRemoval) -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Removal(of.position),
            lengths: [0; 5],
            body: 0,
            number: 0,
            hash: of.hash,
            variant: 0,
            stamp: 0,
            facts: [0; EntryFacts::BYTES],
        }
    }

    /// Bytes of the whole record.
    pub fn total(&self) -> u64 {
        let texts: u64 = self.lengths.iter().map(|length| u64::from(*length)).sum();
        let bytes = (HEADER_BYTES + SUM_BYTES) as u64;
        let bytes = bytes.saturating_add(texts).saturating_add(self.body);
        bytes.checked_next_multiple_of(UNIT).unwrap_or(u64::MAX)
    }

    /// Bytes between the last byte of the body and the sum.
    pub fn padding(&self) -> usize {
        let texts: u64 = self.lengths.iter().map(|length| u64::from(*length)).sum();
        let used = HEADER_BYTES as u64 + texts + self.body + SUM_BYTES as u64;
        (self.total() - used) as usize
    }

    /// The fields as bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (kind, number) = match self.kind {
            RecordKind::Entry { is_stale: false } => (ENTRY, self.number),
            RecordKind::Entry { is_stale: true } => (STALE_ENTRY, self.number),
            RecordKind::Removal(of) => {
                let position = u64::from(of.segment) << 32 | u64::from(of.offset);
                (REMOVAL, position)
            }
        };
        let mut words = vec![
            (0, MAGIC),
            (KIND, kind),
            (VARIANT, self.variant),
            (STAMP, self.stamp),
        ];
        words.extend((LENGTHS..).step_by(4).zip(self.lengths));
        for (at, word) in words {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        for (at, long) in [(BODY, self.body), (NUMBER, number), (HASH, self.hash)] {
            bytes[at..at + 8].copy_from_slice(&long.to_le_bytes());
        }
        bytes[FACTS..].copy_from_slice(&self.facts);
        let sum = sum_of_fields(&bytes);
        bytes[SUM..SUM + 8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The fields at the beginning of these bytes; `None`: the bytes are no record, or a damaged one.
    pub fn read(bytes: &[u8]) -> Option<RecordHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| u32_at(bytes, at);
        if word(0) != MAGIC || u64_at(bytes, SUM) != sum_of_fields(bytes) {
            return None;
        }
        let number = u64_at(bytes, NUMBER);
        let kind = match word(KIND) {
            ENTRY => RecordKind::Entry { is_stale: false },
            STALE_ENTRY => RecordKind::Entry { is_stale: true },
            REMOVAL => RecordKind::Removal(RecordPosition {
                segment: (number >> 32) as u32,
                offset: number as u32,
            }),
            _ => return None,
        };
        let mut facts = [0; EntryFacts::BYTES];
        facts.copy_from_slice(&bytes[FACTS..]);
        let header = RecordHeader {
            kind,
            lengths: std::array::from_fn(|at| word(LENGTHS + 4 * at)),
            body: u64_at(bytes, BODY),
            number: if word(KIND) == REMOVAL { 0 } else { number },
            hash: u64_at(bytes, HASH),
            variant: word(VARIANT),
            stamp: word(STAMP),
            facts,
        };
        header.is_bounded().then_some(header)
    }

    /// Whether all lengths are within their bounds.
    pub fn is_bounded(&self) -> bool {
        let fits = |length: &u32| *length <= limits::RECORD_TEXT_BYTES;
        self.lengths.iter().all(fits) && self.total() <= limits::RECORD_BYTES
    }
}

fn sum_of_fields(bytes: &[u8; HEADER_BYTES]) -> u64 {
    let mut sum = RunningSum::default();
    sum.add(&bytes[..SUM]);
    sum.add(&bytes[LENGTHS..]);
    sum.end()
}

/// The number of four bytes.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// The number of eight bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// A sum of bytes that come piece by piece, whatever the pieces are. Every change of up to eight bytes within a word
/// changes the sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningSum {
    sum: u64,
    rest: [u8; 8],
    bytes: u64,
}

impl RunningSum {
    /// Adds bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        let filled = (self.bytes % 8) as usize;
        self.bytes += bytes.len() as u64;
        if filled > 0 {
            let taken = bytes.len().min(8 - filled);
            self.rest[filled..filled + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if filled + taken < 8 {
                return;
            }
            self.mix(u64::from_le_bytes(self.rest));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    fn mix(&mut self, word: u64) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        self.sum = (self.sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }

    /// The sum of all bytes.
    pub fn end(mut self) -> u64 {
        let filled = (self.bytes % 8) as usize;
        self.rest[filled..].fill(0);
        self.mix(u64::from_le_bytes(self.rest));
        self.mix(self.bytes);
        self.sum ^ (self.sum >> 32)
    }
}

/// The hash of a key, a variant or a tag by which the disk knows it: the same in every process. Nobody finds many keys
/// of one hash, since that takes as long for a cryptographic hash that is cut as for any other one of that length.
pub fn lasting_hash(bytes: &[u8]) -> u64 {
    u64_at(&Sha256::digest(bytes), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Entry { is_stale: true },
            lengths: [3, 0, 9, 40, 1],
            body: 1_000_001,
            number: 1 << 40,
            hash: u64::MAX - 5,
            variant: 77,
            stamp: 78,
            facts: EntryFacts {
                status: 404,
                ..EntryFacts::default()
            }
            .to_bytes(),
        }
    }

    #[test]
    fn the_fields_in_front_are_read_again_and_damage_is_found() {
        let position = RecordPosition {
            segment: 9,
            offset: 1 << 25,
        };
        let removal = RecordRemoval { hash: 5, position };
        for header in [sample(), RecordHeader::removal(removal)] {
            let bytes = header.to_bytes();
            assert_eq!(RecordHeader::read(&bytes), Some(header));
            assert_eq!(header.total() % UNIT, 0);
            assert!(header.padding() < UNIT as usize);
            for at in 0..HEADER_BYTES {
                assert_eq!(RecordHeader::read(&bytes[..at]), None, "cut at {at}");
                for bit in 0..8 {
                    let mut damaged = bytes;
                    damaged[at] ^= 1 << bit;
                    assert_eq!(RecordHeader::read(&damaged), None, "{at} {bit}");
                }
            }
        }
    }

    #[test]
    fn lengths_beyond_all_bounds_are_damage() {
        for change in [
            |header: &mut RecordHeader| header.body = u64::MAX,
            |header: &mut RecordHeader| header.lengths = [u32::MAX; 5],
        ] {
            let mut header = sample();
            change(&mut header);
            assert_eq!(RecordHeader::read(&header.to_bytes()), None);
        }
    }

    #[test]
    fn the_hash_stays_the_same_from_version_to_version() {
        // The first eight bytes of SHA-256 of "abc" (FIPS 180-4), as a little-endian number.
        assert_eq!(lasting_hash(b"abc"), 0xeacf_018f_bf16_78ba);
    }

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_the_pieces(bytes: Vec<u8>, cuts: Vec<u8>) {
            let mut whole = RunningSum::default();
            whole.add(&bytes);
            let (mut sum, mut rest) = (RunningSum::default(), &bytes[..]);
            for cut in cuts {
                let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
                sum.add(piece);
                rest = behind;
            }
            sum.add(rest);
            prop_assert_eq!(whole.end(), sum.end());
        }

        #[test]
        fn a_flipped_bit_changes_a_sum(mut bytes in prop::collection::vec(any::<u8>(), 1..200), at: usize, bit in 0..8) {
            let sum = |bytes: &[u8]| {
                let mut sum = RunningSum::default();
                sum.add(bytes);
                sum.end()
            };
            let before = sum(&bytes);
            let at = at % bytes.len();
            bytes[at] ^= 1u8 << bit;
            prop_assert_ne!(before, sum(&bytes));
            bytes.push(0);
            prop_assert_ne!(before, sum(&bytes));
        }
    }
}
