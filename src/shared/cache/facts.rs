//! The facts of an entry as the store keeps them: bytes that only the decisions of the cache read.

/// Bytes of the facts.
pub const FACTS_BYTES: usize = 48;

/// The facts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts([u8; FACTS_BYTES]);

impl Facts {
    /// The facts as bytes.
    pub fn to_bytes(self) -> [u8; FACTS_BYTES] {
        self.0
    }

    /// The facts that [`Facts::to_bytes`] made bytes of.
    pub fn from_bytes(bytes: [u8; FACTS_BYTES]) -> Facts {
        Facts(bytes)
    }
}
