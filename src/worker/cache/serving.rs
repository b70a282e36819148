//! A stored response that answers a request, and in which form.

use std::rc::Rc;

use httparse::Header;

use crate::cache::conditions::{Precondition, evaluate, range_counts};
use crate::cache::ranges::{RangeSelection, select};
use crate::cache::request::{AskedMethod, Asking};
use crate::cache::status::Handling;
use crate::cache::stored_head;
use crate::cache::validators::Validators;
use crate::shared::SharedEntry;
use crate::shared::access::CachePart;
use crate::shared::cache::{Entry, Follower};
use crate::worker::cache::front::Held;
use crate::worker::encode::PreparedRequest;

/// A stored response that answers a request.
pub struct Serving {
    /// The entry.
    pub entry: SharedEntry,
    /// The place of the entry in front of the store; `None`: the entry came from the store, or is being stored.
    pub held: Option<Rc<Held>>,
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
    Ranges(RangeSelection),
}

/// The form in which an entry answers a request with these fields. `None`: the request has conditions that only a
/// backend can evaluate.
pub fn form_of(asking: &Asking, fields: &[Header<'_>], entry: &Entry) -> Option<Form> {
    let stored = Validators::of_head(entry.head());
    let status = stored_head::status(entry.head());
    let method: &[u8] = match asking.method {
        AskedMethod::Head => b"HEAD",
        _ => b"GET",
    };
    match evaluate(method, fields, status, &stored) {
        Precondition::ForBackend => return None,
        Precondition::NotModified => return Some(Form::NotModified),
        Precondition::Met => {}
    }
    if !asking.has_range || !range_counts(fields, &stored) {
        return Some(Form::Whole);
    }
    Some(match select(method, fields, status, entry.body_len()) {
        RangeSelection::Whole => Form::Whole,
        ranges => Form::Ranges(ranges),
    })
}
