//! The head of a stored response as the clients of one route get it, all but what differs from answer to answer.

use crate::base::ids::RouteId;

/// A head without its last lines.
pub struct Rendered {
    /// The snapshot and the route whose settings the head has.
    pub look: HeadLook,
    /// The lines.
    pub text: Box<[u8]>,
    /// The status.
    pub status: u16,
}

/// The settings by which a head is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLook {
    /// The generation of the snapshot.
    pub generation: u64,
    /// The route.
    pub route: RouteId,
}
