//! HTTP/2 (RFC 9113).

mod check;
mod error;
mod field;
mod flood;
mod frame;
mod head;
pub mod hpack;
mod priority;
mod settings;

/// Identifies a stream within its connection; odd, because nobody may push. 31 bits.
pub type StreamId = u32;

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Towards a client.
    Server,
    /// Towards a backend.
    Client,
}
