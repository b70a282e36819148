//! The reasons for which a response does not come into the store.

/// The store has no room for a response, or for the rest of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The store is full of what cannot be evicted now.
    #[error("the store is full")]
    Full,
    /// The body is longer than an object may be.
    #[error("the body is too large")]
    TooLarge,
    /// The body is longer than its head has said.
    #[error("the body is longer than announced")]
    TooLong,
}

/// Why a response that was fetched whole is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// The body has another length than its head has said.
    #[error("the body is shorter than announced")]
    TooShort,
    /// A purge came after the request was sent.
    #[error("a purge came first")]
    Purged,
    /// An invalidation of the key came after the request was sent.
    #[error("an invalidation came first")]
    Invalidated,
    /// The store had no room.
    #[error("{0}")]
    NoRoom(#[from] NoRoom),
}
