//! HTTP/1 (RFC 9112): heads, framing, chunked coding.

/// Bounds on a request's head; beyond them it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line: 431.
    pub head_bytes: u32,
    /// Fields: 431.
    pub fields: u16,
    /// Bytes of the request target: 414.
    pub target_bytes: u32,
}
