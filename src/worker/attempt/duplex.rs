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

/// The state of an attempt that both directions read and change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duplex {
    /// Whether an interim head is being sent to the client.
    pub is_sending_interim: bool,
    /// Whether an interim head was sent. The client may take any interim head for the permission to send its body.
    pub told_interim: bool,
    /// The side for which the transfer of the answer's body waits.
    pub answer_waits_for: Option<Side>,
    /// The side for which the transfer of the request's body waits.
    pub upload_waits_for: Side,
    /// The bytes of the request that the backend had not acknowledged when they were last counted.
    pub unacknowledged: usize,
    /// Whether more of the request's body may be sent.
    pub is_uploading: bool,
    /// The reason why the request was not sent to its end; `None`: the upload has not failed.
    pub upload_failure: Option<Failure>,
}
