//! The contents of a block, as the marks of the arena say it: three bits, and a sum of the bytes whose contents nothing
//! else checks. Kinds without such bytes have a sum of ones, so that a damaged mark is not another one.

use super::header::checksum;

/// The bits of a sum.
const SUM: u32 = u32::MAX >> 3;

/// An entry that is being stored.
pub const FILLING: u32 = 1 | SUM << 3;
/// A whole entry that is live, with the sum of a body behind the head; the block's own number tells the parts of
/// another body, see [`parts`].
pub const WHOLE: u32 = 2;
/// An entry that is not used any more.
pub const DEAD: u32 = 3 | SUM << 3;
/// A part of a body, with its sum; the block's own number is the length of the part.
pub const PART: u32 = 4;
/// A part that is being written.
pub const OPEN_PART: u32 = PART | SUM << 3;
/// The trailers of a body, with their sum; the block's own number is their length.
pub const TRAILERS: u32 = 5;
/// A whole entry that a soft purge has made stale, with the inverted sum.
pub const STALE: u32 = 6;

/// The kind of a mark.
pub fn kind(mark: u32) -> u32 {
    mark & 7
}

/// The sum in a mark.
pub fn sum(mark: u32) -> u32 {
    match kind(mark) {
        STALE => !mark >> 3 & SUM,
        _ => mark >> 3,
    }
}

/// A mark with a sum.
pub fn with_sum(kind: u32, bytes: &[u8]) -> u32 {
    kind | (checksum(1, bytes) as u32 & SUM) << 3
}

/// Whether the sum in a mark is that of these bytes.
pub fn is_of(mark: u32, bytes: &[u8]) -> bool {
    sum(mark) == sum(with_sum(PART, bytes))
}

/// The mark of a whole entry after a soft purge.
pub fn stale(mark: u32) -> u32 {
    STALE | (!mark >> 3 & SUM) << 3
}

/// The own number of an entry whose body has so many parts.
pub fn parts(count: usize, has_trailers: bool) -> u32 {
    count as u32 | u32::from(has_trailers) << 31
}
