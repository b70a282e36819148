//! The validators of a response (RFC 9110 section 8.8): what tells one state of a representation from another one.

use httparse::Header;

use crate::base::limits;
use crate::cache::stored_head;
use crate::http::date;
use crate::http::entity_tag::EntityTag;

/// A field with a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateField<'b> {
    /// Seconds since 1970.
    pub secs: i64,
    /// The value as it came.
    pub text: &'b [u8],
}

impl<'b> DateField<'b> {
    /// Reads a date. `None`: the value is no date of HTTP.
    pub fn read(text: &'b [u8]) -> Option<DateField<'b>> {
        date::parse(text).map(|secs| DateField { secs, text })
    }
}

/// What a response says of the state of its representation. A field that is malformed, or there more than once, is as
/// if absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'b> {
    /// `ETag`.
    pub etag: Option<EntityTag<'b>>,
    /// `Last-Modified`.
    pub last_modified: Option<DateField<'b>>,
    /// `Date`, by which `Last-Modified` may be a strong validator.
    pub date: Option<DateField<'b>>,
}

impl<'b> Validators<'b> {
    /// The validators of a received response.
    pub fn of(fields: &[Header<'b>]) -> Validators<'b> {
        let fields = fields.iter();
        Validators::among(fields.map(|field| (field.name.as_bytes(), field.value)))
    }

    /// The validators of a stored response.
    pub fn of_head(head: &'b [u8]) -> Validators<'b> {
        Validators::among(stored_head::fields(head))
    }

    fn among<'n>(fields: impl Iterator<Item = (&'n [u8], &'b [u8])>) -> Validators<'b> {
        const NAMES: [&[u8]; 3] = [b"etag", b"last-modified", b"date"];
        let mut found: [(usize, &[u8]); 3] = [(0, b""); 3];
        for (name, value) in fields {
            let at = NAMES
                .iter()
                .position(|known| name.eq_ignore_ascii_case(known));
            if let Some(at) = at {
                found[at] = (found[at].0 + 1, value);
            }
        }
        let only = |at: usize| (found[at].0 == 1).then_some(found[at].1);
        Validators {
            etag: only(0).and_then(EntityTag::read),
            last_modified: only(1).and_then(DateField::read),
            date: only(2).and_then(DateField::read),
        }
    }

    /// Whether the response has neither an entity tag nor a date of modification.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The entity tag, if it is strong.
    pub fn strong_etag(&self) -> Option<EntityTag<'b>> {
        self.etag.filter(|etag| !etag.is_weak)
    }

    /// `Last-Modified`, if it is a strong validator: two states of one second would have had a `Date` of that second.
    pub fn strong_date(&self) -> Option<DateField<'b>> {
        // RFC 9110 section 8.8.2.2: Date is later by so much that the clocks of the two dates do not matter.
        let (modified, date) = (self.last_modified?, self.date?);
        let is_strong = date.secs - modified.secs >= limits::CACHE_STRONG_DATE_SECS;
        is_strong.then_some(modified)
    }

    /// Whether the response has a validator by which parts of its representation may be joined.
    pub fn is_strong(&self) -> bool {
        match self.etag {
            Some(etag) => !etag.is_weak,
            None => self.strong_date().is_some(),
        }
    }

    /// Whether two responses share a strong validator: their representations are the same, byte for byte.
    pub fn share_strong(&self, other: &Validators<'_>) -> bool {
        match (self.etag, other.etag) {
            (Some(own), Some(other)) => own.is_strongly(&other),
            (None, None) => match (self.strong_date(), other.strong_date()) {
                (Some(own), Some(other)) => own.secs == other.secs,
                _ => false,
            },
            _ => false,
        }
    }
}
