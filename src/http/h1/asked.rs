//! The facts of a request that decide how its response is read.

use super::head_facts::Sender;

/// The facts of a request on which the framing of its response depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether the method is HEAD.
    pub head: bool,
    /// Whether the request offered to switch protocols.
    pub upgrade: bool,
    /// Whether the response must follow the RFCs to the letter. Otherwise every response with one possible reading is
    /// taken.
    pub strict: bool,
}

impl Asked {
    /// How strictly the response's fields are read.
    pub(super) fn sender(self) -> Sender {
        if self.strict {
            Sender::Stranger
        } else {
            Sender::Ours
        }
    }

    /// Whether a response may have this status. A status of 600 or above belongs to no class, and is treated like a 5xx
    /// (RFC 9110 section 15).
    pub(super) fn takes_status(self, status: u16) -> bool {
        let last = if self.strict { 599 } else { 999 };
        (100..=last).contains(&status)
    }
}
