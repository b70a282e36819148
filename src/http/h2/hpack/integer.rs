//! Integers with a prefix (RFC 7541 section 5.1).

use super::HpackError;

/// Bytes that may follow a prefix: they bring 28 bits, more than any length or index that is accepted.
const CONTINUATION_BYTES: u32 = 4;

/// Reads an integer whose prefix is the low `prefix_bits` (1 to 8) of the byte at `at`; moves `at` behind it.
#[inline]
pub(super) fn read(bytes: &[u8], at: &mut usize, prefix_bits: u32) -> Result<usize, HpackError> {
    let first = *bytes.get(*at).ok_or(HpackError::Truncated)?;
    *at += 1;
    debug_assert!((1..=8).contains(&prefix_bits));
    let most = (1usize << prefix_bits) - 1;
    let prefix = usize::from(first) & most;
    if prefix < most {
        return Ok(prefix);
    }
    read_rest(bytes, at, most)
}

fn read_rest(bytes: &[u8], at: &mut usize, prefix: usize) -> Result<usize, HpackError> {
    let mut value = prefix;
    for count in 0..CONTINUATION_BYTES {
        let byte = *bytes.get(*at).ok_or(HpackError::Truncated)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << (7 * count);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(HpackError::IntegerTooLarge)
}

/// Appends an integer; `pattern` is what stands above its prefix.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, value: usize) {
    let most = (1usize << prefix_bits) - 1;
    debug_assert_eq!(
        usize::from(pattern) & most,
        0,
        "the pattern lies above the number"
    );
    if value < most {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendix C.1, and the edges.
    #[test]
    fn integers_table() {
        let rows: [(u32, usize, &[u8]); 8] = [
            (5, 10, &[0b01010]),
            (5, 1337, &[0b11111, 0b1001_1010, 0b0000_1010]),
            (8, 42, &[42]),
            (7, 0, &[0]),
            (7, 126, &[126]),
            (7, 127, &[127, 0]),
            (7, 254, &[127, 127]),
            (7, 255, &[127, 0x80, 1]),
        ];
        for (prefix_bits, value, expected) in rows {
            let mut out = Vec::new();
            write(&mut out, 0, prefix_bits, value);
            assert_eq!(out, expected, "{value}");
            let mut at = 0;
            assert_eq!(read(&out, &mut at, prefix_bits), Ok(value));
            assert_eq!(at, out.len());
        }
    }

    #[test]
    fn malformed_table() {
        let rows: [(&[u8], HpackError); 4] = [
            (&[], HpackError::Truncated),
            (&[0xff], HpackError::Truncated),
            (&[0xff, 0x80], HpackError::Truncated),
            (
                &[0xff, 0x80, 0x80, 0x80, 0x80, 0],
                HpackError::IntegerTooLarge,
            ),
        ];
        for (bytes, error) in rows {
            assert_eq!(read(bytes, &mut 0, 7), Err(error), "{bytes:?}");
        }
    }
}
