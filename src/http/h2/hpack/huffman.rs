//! The Huffman code of RFC 7541 appendix B. It is canonical: the lengths say all, the code follows from them.

use super::HpackError;

/// Bits of each byte's code.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits of the shortest and of the longest code.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// Bits that one look decides: two short codes often fit, and the table stays within a few cache lines of its 8 KiB.
const LOOK_BITS: usize = 11;

/// The canonical code by length.
struct Canonical {
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// Where its symbols begin in `symbols`.
    offset: [u16; LONGEST + 2],
    /// All bytes, by length and value.
    symbols: [u8; 256],
}

static CANONICAL: Canonical = canonical();

const fn canonical() -> Canonical {
    let mut table = Canonical {
        first: [0; LONGEST + 1],
        offset: [0; LONGEST + 2],
        symbols: [0; 256],
    };
    let (mut len, mut code, mut count) = (1, 0u32, 0);
    while len <= LONGEST {
        table.first[len] = code;
        table.offset[len] = count as u16;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == len {
                table.symbols[count] = symbol as u8;
                count += 1;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        len += 1;
    }
    table.offset[LONGEST + 1] = count as u16;
    table
}

/// The meaning of the next [`LOOK_BITS`] bits: up to two whole codes.
#[derive(Clone, Copy)]
struct Look {
    symbols: [u8; 2],
    /// Bits of the first code; 0 if it is longer than a look.
    first_bits: u8,
    /// Bits of both codes; the same if there is only one.
    bits: u8,
}

static LOOKS: [Look; 1 << LOOK_BITS] = looks();

const fn looks() -> [Look; 1 << LOOK_BITS] {
    let mut looks = [Look {
        symbols: [0; 2],
        first_bits: 0,
        bits: 0,
    }; 1 << LOOK_BITS];
    let mut at = 0;
    while at < looks.len() {
        let (symbol, bits) = leading_symbol(at as u32, LOOK_BITS);
        let (next, next_bits) = match bits {
            0 => (0, 0),
            _ => leading_symbol(
                at as u32 & ((1 << (LOOK_BITS - bits)) - 1),
                LOOK_BITS - bits,
            ),
        };
        looks[at] = Look {
            symbols: [symbol, next],
            first_bits: bits as u8,
            bits: (bits + next_bits) as u8,
        };
        at += 1;
    }
    looks
}

/// The byte whose code begins the low `have` bits of `bits`, and the code's length; length 0 if it is not whole.
const fn leading_symbol(bits: u32, have: usize) -> (u8, usize) {
    let mut len = SHORTEST;
    while len <= have {
        let code = bits >> (have - len);
        let count = (CANONICAL_HERE.offset[len + 1] - CANONICAL_HERE.offset[len]) as u32;
        if code >= CANONICAL_HERE.first[len] && code - CANONICAL_HERE.first[len] < count {
            let index =
                CANONICAL_HERE.offset[len] as usize + (code - CANONICAL_HERE.first[len]) as usize;
            return (CANONICAL_HERE.symbols[index], len);
        }
        len += 1;
    }
    (0, 0)
}

/// A copy of the table for values that are computed at compile time, where a static cannot be read.
const CANONICAL_HERE: Canonical = canonical();
const _: () = assert!(
    CANONICAL_HERE.offset[LONGEST + 1] == 256,
    "each byte has a code"
);

/// Bits not yet decoded, at the top of a word.
struct Bits<'b> {
    word: u64,
    /// How many there are; those below them are zero.
    have: usize,
    rest: &'b [u8],
}

impl Bits<'_> {
    /// Brings at least 56 bits, or all there are.
    #[inline(always)]
    fn refill(&mut self) {
        if let Some(eight) = self.rest.first_chunk::<8>() {
            let bytes = (63 - self.have) / 8;
            let kept = !(u64::MAX >> (self.have + 8 * bytes));
            self.word = (self.word | u64::from_be_bytes(*eight) >> self.have) & kept;
            self.have += 8 * bytes;
            self.rest = &self.rest[bytes..];
        } else {
            while self.have <= 56
                && let [byte, rest @ ..] = self.rest
            {
                self.word |= u64::from(*byte) << (56 - self.have);
                self.have += 8;
                self.rest = rest;
            }
        }
    }

    #[inline(always)]
    fn drop(&mut self, bits: usize) {
        self.word <<= bits;
        self.have -= bits;
    }

    /// A symbol whose code is longer than a look; `None` at the end.
    #[cold]
    fn long_symbol(&mut self) -> Result<Option<u8>, HpackError> {
        self.refill();
        for len in SHORTEST..=self.have.min(LONGEST) {
            let code = (self.word >> (64 - len)) as u32;
            let (start, end) = (CANONICAL.offset[len], CANONICAL.offset[len + 1]);
            let index = code.wrapping_sub(CANONICAL.first[len]);
            if index < u32::from(end - start) {
                self.drop(len);
                return Ok(Some(CANONICAL.symbols[usize::from(start) + index as usize]));
            }
        }
        // The remaining bits must be the beginning of the code of all ones, and fewer than eight (RFC 7541 section
        // 5.2).
        let is_padding =
            self.have < 8 && self.rest.is_empty() && self.word.count_ones() as usize == self.have;
        is_padding.then_some(None).ok_or(HpackError::BadHuffman)
    }
}

/// Appends what `bytes` stand for to `out`. Errors: the code of the end, or padding that is not less than eight ones.
#[expect(
    unsafe_code,
    reason = "writing to reserved memory directly spares a check per byte"
)]
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    // Two more than the shortest codes can bring: a look writes two bytes even if only one counts.
    let most = bytes.len() * 8 / SHORTEST + 2;
    out.reserve(most);
    let room = &mut out.spare_capacity_mut()[..most];
    let mut written = 0;
    let mut bits = Bits {
        word: 0,
        have: 0,
        rest: bytes,
    };
    loop {
        bits.refill();
        loop {
            let look = LOOKS[(bits.word >> (64 - LOOK_BITS)) as usize];
            let (first_bits, both_bits) = (usize::from(look.first_bits), usize::from(look.bits));
            if both_bits == 0 || first_bits > bits.have {
                break;
            }
            room[written].write(look.symbols[0]);
            room[written + 1].write(look.symbols[1]);
            // Near the end, what lies behind the last bits may look like a second code.
            let has_both = both_bits > first_bits && both_bits <= bits.have;
            written += 1 + usize::from(has_both);
            bits.drop(if has_both { both_bits } else { first_bits });
        }
        if bits.have >= LOOK_BITS || bits.rest.is_empty() {
            // A long code or the end.
            let Some(symbol) = bits.long_symbol()? else {
                break;
            };
            room[written].write(symbol);
            written += 1;
        }
    }
    debug_assert!(written <= most, "only reserved memory has been written");
    // SAFETY: the first `written` bytes of the spare room were written one after the other.
    unsafe { out.set_len(out.len() + written) };
    Ok(())
}

/// Appends the code of `text`, padded: what peers send and we only read.
#[cfg(test)]
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut word, mut have) = (0u64, 0);
    for &byte in text {
        let len = usize::from(LENGTHS[usize::from(byte)]);
        let start = usize::from(CANONICAL.offset[len]);
        let index = CANONICAL.symbols[start..]
            .iter()
            .position(|symbol| *symbol == byte);
        let code = u64::from(CANONICAL.first[len]) + index.unwrap() as u64;
        word = (word << len) | code;
        have += len;
        while have >= 8 {
            have -= 8;
            out.push((word >> have) as u8);
        }
    }
    if have > 0 {
        out.push((word << (8 - have)) as u8 | 0xff >> have);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = b"before".to_vec();
        decode(bytes, &mut out)?;
        Ok(out.split_off(b"before".len()))
    }

    #[test]
    fn every_byte_and_every_pair_comes_back() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let text = [first, second, b'a'];
                let mut code = Vec::new();
                encode(&text, &mut code);
                assert_eq!(decoded(&code).as_deref(), Ok(&text[..]));
            }
        }
    }

    #[test]
    fn malformed_table() {
        let rows: [&[u8]; 6] = [
            &[0xff],                   // Eight bits of padding.
            &[0x1f, 0xff],             // "a" and eleven of them.
            &[0x18],                   // "a" and zeros.
            &[0xff, 0xff, 0xff, 0xff], // The code of the end.
            &[0xff, 0xff, 0xff, 0xfc],
            &[0xff, 0xff], // Cut in the middle of a code.
        ];
        for bytes in rows {
            assert_eq!(decoded(bytes), Err(HpackError::BadHuffman), "{bytes:x?}");
        }
        assert_eq!(decoded(&[]).as_deref(), Ok(&b""[..]));
        assert_eq!(decoded(&[0x1f]).as_deref(), Ok(&b"a"[..]));
    }
}
