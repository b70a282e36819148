//! HTTP/2 (RFC 9113), for both sides of a proxy and without I/O.
//!
//! [`Connection`] is one side of one connection: bytes in, [`Event`]s out; commands in, bytes out. Below it, in reading
//! order: `frame` (bytes), [`hpack`] (field sections), `field` and `check` (what a head must be), `stream` (what is open and
//! how the rest ended), `flood` (what is an attack in numbers). `lower` gives a [`Head`] the form of an HTTP/1 head, so that
//! routing, caching and forwarding know no difference.

mod check;
mod connection;
mod error;
mod field;
mod flood;
mod frame;
mod head;
pub mod hpack;
mod lower;
mod priority;
pub mod raise;
mod settings;
mod stream;

pub use connection::{Closed, Connection, Event, Request};
pub use error::{Abuse, ConnectionError, ErrorCode};
pub use head::{Field, Head};
pub use priority::Priority;
pub use settings::LocalSettings;
pub use stream::{ById, IdHasher};

/// Whether `bytes` begin a client's connection (RFC 9113 section 3.4); `None` if there are too few to tell. No request of
/// HTTP/1 begins like that.
pub fn begins_connection(bytes: &[u8]) -> Option<bool> {
    let known = bytes.len().min(frame::PREFACE.len());
    if bytes[..known] != frame::PREFACE[..known] {
        return Some(false);
    }
    (known == frame::PREFACE.len()).then_some(true)
}

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

impl Role {
    fn other(self) -> Role {
        match self {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }
}
