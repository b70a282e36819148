//! HTTP/2 (RFC 9113).

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
mod settings;
mod stream;

pub use connection::{Closed, Connection, Event, Request};
pub use error::{Abuse, ConnectionError, ErrorCode};
pub use head::{Field, Head};
pub use priority::Priority;
pub use settings::LocalSettings;

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
