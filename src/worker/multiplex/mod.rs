//! HTTP/2 connections, on either side: one socket shared by many streams. [`MultiplexConnection`] moves bytes between
//! the socket and the protocol (`http::h2`, which does no I/O); a [`MultiplexStream`] is what an exchange holds of it:
//! heads, and a body in each direction under the peer's flow control.

mod connection;
mod state;

pub use connection::{End, MultiplexConnection, MultiplexStream, Terms};
pub use state::{Gone, Piece, Unconnected};

#[cfg(test)]
pub mod tests;
