//! A stored response that answers a request, and in which form.

use std::rc::Rc;

use httparse::Header;

use crate::cache::conditions::{Precondition, evaluate, range_counts};
use crate::cache::extent::Extent;
use crate::cache::facts::Flags;
use crate::cache::partial::{FromParts, from_parts};
use crate::cache::policy::Policy;
use crate::cache::ranges::{RangeSelection, select};
use crate::cache::request::{AskedMethod, Asking};
use crate::cache::reuse::{Trouble, may_serve_purged, may_serve_stale};
use crate::cache::status::Handling;
use crate::cache::stored_head;
use crate::cache::validators::Validators;
use crate::http::range::ByteRange;
use crate::shared::SharedEntry;
use crate::shared::access::CachePart;
use crate::shared::cache::{Entry, EntryState, Follower};
use crate::worker::cache::front::FrontEntry;

/// A stored response that answers a request.
pub struct Serving {
    /// The entry.
    pub entry: SharedEntry,
    /// The place of the entry in front of the store; `None`: the entry came from the store, or is being stored.
    pub held: Option<Rc<FrontEntry>>,
    /// The fill that still stores the entry; `None`: the entry is whole.
    pub fill: Option<Follower>,
    /// The part of the response that the client gets.
    pub form: AnswerForm,
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
}

/// The part of a stored response that a client gets.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a stored response that answers lies in a box"
)]
pub enum AnswerForm {
    /// The response as it is.
    Whole,
    /// A 304: the client has the representation.
    NotModified,
    /// Ranges of the body, or a 416.
    Ranges(RangeSelection),
}

/// Why an entry answers a request in no form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Formless {
    /// The request has conditions that only a backend can evaluate.
    ForBackend,
    /// The entry is a part of a representation, and has not all of what is asked for.
    Missing(Missing),
}

/// The bytes that a request asks for and a stored part has not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missing {
    /// From the first to the last byte that is asked for and not stored.
    pub range: ByteRange,
    /// The one range that is asked for; `None`: the whole, or several ranges.
    pub single: Option<ByteRange>,
}

/// The part that an entry has; `None`: the entry is whole.
pub fn part_of(entry: &Entry) -> Option<Extent> {
    if !entry.facts().flags.has(Flags::PARTIAL) {
        return None;
    }
    let extent = Extent::of_head(entry.head());
    debug_assert!(extent.is_some(), "the head of a part says which part it is");
    extent
}

/// Whether a stored response may answer although it is stale, since asking a backend went wrong.
pub fn may_answer_stale(
    policy: &Policy,
    entry: &Entry,
    asking: &Asking,
    trouble: Trouble,
    now: u64,
) -> bool {
    let may_serve = match entry.state() {
        EntryState::Live => may_serve_stale,
        // An entry that has ended since it was found may have been made stale before.
        EntryState::Stale | EntryState::Dead => may_serve_purged,
    };
    may_serve(policy, &entry.facts(), asking, trouble, now)
}

/// The form in which an entry answers a request with these fields. `length`: the bytes of the whole representation.
/// Errors: the entry does not answer.
pub fn form_of(
    asking: &Asking,
    fields: &[Header<'_>],
    entry: &Entry,
    length: u64,
) -> Result<AnswerForm, Formless> {
    form_from(asking, fields, entry, (part_of(entry), length))
}

/// The form in which the slices of a representation answer a request with these fields, as [`form_of`] says it of an
/// entry. `entry`: one of the slices; `total`: the bytes of the representation.
pub fn form_of_slices(
    asking: &Asking,
    fields: &[Header<'_>],
    entry: &Entry,
    total: u64,
) -> Result<AnswerForm, Formless> {
    form_from(asking, fields, entry, (None, total))
}

/// `part`: the only bytes that there are, if these are not all.
fn form_from(
    asking: &Asking,
    fields: &[Header<'_>],
    entry: &Entry,
    (part, length): (Option<Extent>, u64),
) -> Result<AnswerForm, Formless> {
    if !asking.has_conditions && !asking.has_range && part.is_none() {
        return Ok(AnswerForm::Whole);
    }
    let stored = Validators::of_head(entry.head());
    let status = stored_head::status(entry.head());
    let method: &[u8] = match asking.method {
        AskedMethod::Head => b"HEAD",
        _ => b"GET",
    };
    match evaluate(method, fields, status, &stored) {
        Precondition::ForBackend => return Err(Formless::ForBackend),
        Precondition::NotModified => return Ok(AnswerForm::NotModified),
        Precondition::Met => {}
    }
    // RFC 9110 sections 13.1.5 (MUST, a) and 13.2.2 (MUST): If-Range counts with Range alone, and after the conditions.
    let counts = asking.has_range && range_counts(fields, &stored);
    if let Some(extent) = part {
        return form_of_part(&extent, method, fields, counts).map_err(Formless::Missing);
    }
    if !counts {
        return Ok(AnswerForm::Whole);
    }
    Ok(match select(method, fields, status, length) {
        RangeSelection::Whole => AnswerForm::Whole,
        ranges => AnswerForm::Ranges(ranges),
    })
}

/// The form in which an entry answers where no backend answers: conditions that only a backend could evaluate do not
/// count then. `None`: the entry is a part that has not all of what is asked for.
pub fn form_without_backend(
    asking: &Asking,
    fields: &[Header<'_>],
    entry: &Entry,
) -> Option<AnswerForm> {
    match form_of(asking, fields, entry, entry.body_len()) {
        Ok(form) => Some(form),
        Err(Formless::ForBackend) => part_of(entry).is_none().then_some(AnswerForm::Whole),
        Err(Formless::Missing(_)) => None,
    }
}

/// The form in which a stored part answers.
fn form_of_part(
    extent: &Extent,
    method: &[u8],
    fields: &[Header<'_>],
    counts: bool,
) -> Result<AnswerForm, Missing> {
    let all = ByteRange {
        first: 0,
        last: extent.total.saturating_sub(1),
    };
    let nothing = Missing {
        range: all,
        single: None,
    };
    let stretches = extent.stretches().ok_or(nothing)?;
    match from_parts(&stretches, method, fields, counts) {
        FromParts::Answer(RangeSelection::Whole) => Err(nothing),
        FromParts::Answer(ranges) => Ok(AnswerForm::Ranges(ranges)),
        FromParts::Missing(range) => Err(Missing {
            range,
            single: match select(method, fields, 200, extent.total) {
                RangeSelection::Single(single) if counts => Some(single),
                _ => None,
            },
        }),
    }
}

/// The length of the representation that an entry which is being stored has, or is a part of. `None`: not known yet.
pub fn announced_length(entry: &Entry) -> Option<u64> {
    let named = stored_head::find(entry.head(), "content-length")?;
    std::str::from_utf8(named).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sample::fields;

    /// RFC 9111 section 3.3 (MUST NOT, b): a part answers requests for ranges that lie within, and nothing else.
    #[test]
    fn forms_of_a_part_table() {
        let range = |first, last| ByteRange { first, last };
        let stored = Extent {
            range: range(10, 19),
            total: 40,
        };
        // The method, the fields, whether the range counts; the part that is served, or what is missing and the one
        // range that is asked for.
        type Row<'r> = (
            &'r [u8],
            &'r [&'r str],
            bool,
            Result<ByteRange, (ByteRange, Option<ByteRange>)>,
        );
        let one = |range: ByteRange| Some(range);
        let rows: [Row<'_>; 9] = [
            (b"GET", &["Range: bytes=10-19"], true, Ok(range(10, 19))),
            (b"GET", &["Range: bytes=12-12"], true, Ok(range(12, 12))),
            (
                b"GET",
                &["Range: bytes=12-20"],
                true,
                Err((range(20, 20), one(range(12, 20)))),
            ),
            (
                b"GET",
                &["Range: bytes=-5"],
                true,
                Err((range(35, 39), one(range(35, 39)))),
            ),
            (
                b"GET",
                &["Range: bytes=5-25"],
                true,
                Err((range(5, 25), one(range(5, 25)))),
            ),
            (
                b"GET",
                &["Range: bytes=10-11, 30-31"],
                true,
                Err((range(30, 31), None)),
            ),
            (
                b"GET",
                &["Range: bytes=10-19"],
                false,
                Err((range(0, 39), None)),
            ),
            (b"GET", &[], true, Err((range(0, 39), None))),
            (
                b"HEAD",
                &["Range: bytes=10-19"],
                true,
                Err((range(0, 39), None)),
            ),
        ];
        for (method, lines, counts, expected) in rows {
            let found = form_of_part(&stored, method, &fields(lines), counts);
            let expected = match expected {
                Ok(range) => Ok(AnswerForm::Ranges(RangeSelection::Single(range))),
                Err((range, single)) => Err(Missing { range, single }),
            };
            assert_eq!(found, expected, "{lines:?} {counts}");
        }
    }
}
