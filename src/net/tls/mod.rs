//! TLS inside a socket (RFC 8446, RFC 5246), both roles: after the handshake `receive` and `send` of
//! [`crate::net::Socket`] speak plaintext, and nothing above this folder knows.
//!
//! Read in this order: `records.rs` turns received bytes into plaintext and plaintext into bytes to send, without a
//! socket (`step.rs` is how it talks to rustls); `handshake.rs` brings a socket to the point where that is possible;
//! `connection.rs` is what a socket does with it then.
//!
//! rustls does the protocol, through its unbuffered interface: the bytes stay in our own blocks. A block for received
//! bytes is taken when there are some and given back at once, so a connection that waits holds none; only an
//! incomplete record is kept, or what did not fit into the caller's block.

mod alert;
mod connection;
mod failure;
mod handshake;
mod records;
mod step;
#[cfg(test)]
mod tests;

pub(super) use connection::Tls;
pub use connection::{Negotiated, TlsVersion};
pub use failure::TlsFailure;
pub use records::TlsRecords;
