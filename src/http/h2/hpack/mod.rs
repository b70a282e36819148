//! HPACK (RFC 7541): field sections as HTTP/2 carries them, made and read with the bounds of a proxy.
//!
//! A field is kept as it would stand in an HTTP/1 head, `name: value CRLF`, in the tables as well as in the result: a
//! field that both sides know is one copy, and a decoded section is ready to be forwarded as lines.

mod decoder;
mod encoder;
mod error;
mod huffman;
mod integer;
mod list;
#[cfg(test)]
mod properties;
mod static_table;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::HpackError;
pub use list::{FieldList, ListLimits, Span};

/// The bytes between name and value in a line.
const SEPARATOR: &[u8] = b": ";
/// The number of bytes between name and value in a line.
pub(super) const SEPARATOR_BYTES: usize = SEPARATOR.len();
/// Bytes of a line besides its name and value.
const LINE_EXTRA: usize = b": \r\n".len();
/// The cost of an entry besides its name and value (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: usize = 32;
