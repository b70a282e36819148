//! The wire, without I/O: what a message must look like to be forwarded, and how it is written.
//!
//! A message that two parsers could read in two ways is refused, never repaired and forwarded: see
//! [`refusal::Refusal`].

pub mod cache_control;
pub mod cookies;
pub mod date;
pub mod entity_tag;
pub mod fields;
pub mod forwarded;
pub mod grpc;
pub mod host;
pub mod max_forwards;
pub mod names;
pub mod path;
mod proxy_fields;
pub mod proxy_protocol;
pub mod range;
pub mod references;
pub mod refusal;
pub mod status;
pub mod structured;
pub mod traceparent;
pub mod websocket;

pub mod h1;
pub mod h2;
