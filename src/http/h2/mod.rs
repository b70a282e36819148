//! HTTP/2 (RFC 9113).

mod field;
pub mod hpack;
