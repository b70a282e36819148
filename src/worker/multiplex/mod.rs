//! HTTP/2 connections, on either side: many streams share one socket. [`MultiplexConnection`] moves bytes between the
//! socket and the protocol (`http::h2`, which does no I/O). An exchange holds a [`MultiplexStream`]: heads, and a body
//! in each direction under the peer's flow control.

mod connection;
mod state;

pub use connection::{End, MultiplexConnection, MultiplexStream, Terms};
pub use state::{Gone, Piece, Unconnected};

#[cfg(test)]
pub mod tests;
