//! The errors of reading a field section.

/// Why a section cannot be read. The table is then no longer what the peer believes, so the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// The section ends within a field.
    Truncated,
    /// An integer beyond 28 bits.
    IntegerTooLarge,
    /// An index of no entry.
    BadIndex,
    /// The Huffman code of the end, or bad padding.
    BadHuffman,
    /// A change of the table's size behind a field, or beyond what was allowed.
    BadSizeUpdate,
    /// Far more fields than the limits, from few bytes: see [`crate::base::limits::H2_BOMB_MULTIPLE`].
    Bomb,
}
