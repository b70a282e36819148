//! A stored response that answers a request, and in which form.

use crate::cache::ranges::Selection;
use crate::cache::status::Handling;
use crate::shared::SharedEntry;
use crate::shared::access::CachePart;
use crate::shared::cache::Follower;
use crate::worker::encode::PreparedRequest;

/// A stored response that answers a request.
pub struct Serving {
    /// The entry.
    pub entry: SharedEntry,
    /// The fill that still stores the entry; `None`: the entry is whole.
    pub fill: Option<Follower>,
    /// The part of the response that the client gets.
    pub form: Form,
    /// Where the answer came from, for `Cache-Status`.
    pub handling: Handling,
    /// Seconds for which the entry is still fresh; 0 or less: since when the entry is stale.
    pub ttl: i64,
    /// The age of the entry in seconds.
    pub age: u32,
    /// The part that the cache had.
    pub part: CachePart,
    /// The label of the reason.
    pub reason: &'static str,
    /// A request that refreshes the entry while it answers.
    pub refresh: Option<Box<PreparedRequest>>,
}

/// The part of a stored response that a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// The response as it is.
    Whole,
    /// A 304: the client has the representation.
    NotModified,
    /// Ranges of the body, or a 416.
    Ranges(Selection),
}
