//! A fetch of the cache's own: its request has no client, and differs from that of the client which caused it.

use crate::cache::extent::Completion;
use crate::cache::slices::Slicing;
use crate::cache::status::Forwarded;
use crate::shared::SharedEntry;
use crate::shared::cache::{Follower, Widened};

/// The difference of a fetch of the cache's own to that of a client.
#[derive(Debug, Default)]
pub struct OwnFetch {
    /// The stored part that the answer completes; `None`: the whole is asked for.
    pub completing: Option<Completing>,
    /// The count of a fetch of the whole that a client has caused by asking for less: for a range, or on a condition.
    #[expect(dead_code, reason = "the fetch is counted until this is dropped")]
    pub widened: Option<Widened>,
    /// The slice that is asked for; `None`: none is.
    pub slice: Option<SliceFetch>,
}

/// A slice that is asked for.
#[derive(Debug)]
pub struct SliceFetch {
    /// The division into slices.
    pub slicing: Slicing,
    /// The number of the slice.
    pub number: u64,
    /// The slice that the answer of the client began with, of whose state of the representation this one must be.
    /// `None`: the answer begins with this slice.
    pub first: Option<SharedEntry>,
    /// Whether an answer waits for the slice; else a stored slice is refreshed, which answers meanwhile.
    pub is_awaited: bool,
    /// The hash and the key of the URL.
    pub url: (u64, Box<[u8]>),
}

/// How an answer in slices begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceStart {
    /// The division into slices.
    pub slicing: Slicing,
    /// The number of the slice that is probably the first.
    pub number: u64,
    /// The bytes of the head of the request, which the decision has left where they are.
    pub head_bytes: usize,
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

/// How far a request has come with waiting for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collapsed {
    /// How often the request has waited.
    pub waits: u8,
    /// The time for waiting is over: the request goes alone.
    pub is_over: bool,
    /// The time after which a stale response answers is over.
    pub is_stale_due: bool,
    /// The request has caused a fetch of the cache's own.
    pub has_led: bool,
    /// The disk was asked for the key.
    pub has_recalled: bool,
}
