//! The protocol by which a request goes to its backend.

/// The protocol by which a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The protocol of the pool.
    Pools,
    /// An extended CONNECT if the backend takes it (RFC 8441), otherwise HTTP/1.1. Only pools of HTTP/2 have requests
    /// of this kind.
    WebSocket,
    /// HTTP/1.1, whatever protocol the pool speaks.
    Http1,
}

const _: () = {
    let mut at = 0;
    while at < Carrier::ALL.len() {
        assert!(
            Carrier::ALL[at] as usize == at,
            "a carrier stands at its number"
        );
        at += 1;
    }
};
impl Carrier {
    /// All carriers, in the order of their numbers.
    pub const ALL: [Carrier; 3] = [Carrier::Pools, Carrier::WebSocket, Carrier::Http1];
}
