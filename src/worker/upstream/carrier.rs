//! The protocol by which a request goes to its backend.

/// The protocol by which a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// By the protocol of its pool.
    Pools,
    /// By an extended CONNECT if the backend takes that (RFC 8441), else by HTTP/1.1. Only pools of HTTP/2 have such
    /// requests.
    WebSocket,
    /// By HTTP/1.1, whatever protocol its pool speaks.
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
