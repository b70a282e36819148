//! A fetch of the cache's own: its request has no client, and differs from that of the client which caused it.

use crate::cache::extent::Completion;
use crate::cache::request::AskedMethod;
use crate::cache::status::Forwarded;
use crate::shared::SharedEntry;
use crate::shared::cache::{Follower, Widened};
use crate::worker::attempt::Attempt;
use crate::worker::stream::Stream;

/// What makes a fetch one of the cache's own.
#[derive(Debug, Default)]
pub struct OwnFetch {
    /// The stored part that the answer completes; `None`: the whole is asked for.
    pub completing: Option<Completing>,
    /// The count of a fetch of the whole that a client has caused by asking for less: for a range, or on a condition.
    #[expect(dead_code, reason = "the fetch is counted until this is dropped")]
    pub widened: Option<Widened>,
}

/// A stored part that a fetch completes.
#[derive(Debug)]
pub struct Completing {
    /// The part.
    pub entry: SharedEntry,
    /// The bytes that are missing, and what they make of the part.
    pub completion: Completion,
}

/// A fetch of the cache's own that a request has caused, and whose answer is meant for that request.
#[derive(Debug)]
pub struct Led {
    /// The fill of the fetch.
    pub fill: Follower,
    /// The reason for which the request could not be answered from the store.
    pub reason: Forwarded,
    /// The label of that reason.
    pub label: &'static str,
}

/// The fields with which a client makes its request conditional on what it has, or asks for a part of the answer. A
/// fetch of the cache's own has none of its client's.
pub const OF_CLIENT: [&str; 4] = ["if-none-match", "if-modified-since", "range", "if-range"];

impl Attempt<'_> {
    /// Whether nobody needs the rest of the answer: its only reader was the cache, which does not store it.
    pub fn is_for_nobody(&self, is_stored: bool) -> bool {
        let Some(fetch) = &self.request.fetch else {
            return false;
        };
        let policy = self.exchange.route().cache.as_ref();
        let is_too_large = || {
            let received = self.exchange.tally().response_bytes;
            policy.is_some_and(|policy| received > policy.max_object)
        };
        // Who asked for the rest of a part may have gone meanwhile; what has come of the rest is kept.
        let is_completing = fetch
            .own
            .as_ref()
            .is_some_and(|own| own.completing.is_some());
        let is_left = is_completing && !self.goes_on_without_client();
        matches!(self.client.wire.stream, Stream::Absent)
            && fetch.asking.method == AskedMethod::Get
            && (!is_stored || is_too_large() || is_left)
    }
}
