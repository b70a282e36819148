//! The state that the two directions of an attempt share: the request's body, which goes to the backend, and the
//! answer, which comes back meanwhile.

use crate::worker::failure::Failure;

/// One side of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Client,
    Backend,
}

/// The state that both directions look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duplex {
    /// Whether an interim head is being sent to the client.
    pub is_sending_interim: bool,
    /// Whether one was sent: the client may take any for the permission to send its body.
    pub told_interim: bool,
    /// The side for which the passing on of the answer's body waits.
    pub answer_waits_for: Option<Side>,
    /// The side for which the passing on of the request's body waits.
    pub upload_waits_for: Side,
    /// The bytes of the request that the backend had not acknowledged when the answer last moved.
    pub unacknowledged: usize,
    /// Whether more of the request's body may be sent.
    pub is_uploading: bool,
    /// Why the request was not sent to its end.
    pub upload_failure: Option<Failure>,
}
