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

/// The words of a response on the state of its representation. A field that is malformed, or there more than once, is
/// as if absent.
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

    /// The strong validator by which parts of the representation may be joined, as `If-Range` names it. `None`: there
    /// is none.
    pub fn strong(&self) -> Option<&'b [u8]> {
        match self.etag {
            // RFC 9110 section 13.1.5 (MUST NOT, b; MUST NOT, c): no date where there is an entity tag, and no weak
            // one.
            Some(etag) => (!etag.is_weak).then_some(etag.text),
            None => self.strong_date().map(|date| date.text),
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

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'f> = &'f [(&'static str, &'static str)];

    const EARLY: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
    const MINUTE_LATER: &str = "Thu, 01 Jan 1970 00:01:01 GMT";
    const LESS_LATER: &str = "Thu, 01 Jan 1970 00:01:00 GMT";

    fn header(field: &(&'static str, &'static str)) -> Header<'static> {
        Header {
            name: field.0,
            value: field.1.as_bytes(),
        }
    }

    fn of(fields: &[(&'static str, &'static str)]) -> Validators<'static> {
        let headers: Vec<_> = fields.iter().map(header).collect();
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (name, value) in fields {
            stored_head::write_field(name.as_bytes(), value.as_bytes(), &mut head);
        }
        let received = Validators::of(&headers);
        assert_eq!(received, Validators::of_head(&head));
        received
    }

    #[test]
    fn validators_are_read_from_fields_and_from_stored_heads() {
        let read = of(&[
            ("etag", "W/\"a\""),
            ("LAST-MODIFIED", EARLY),
            ("Date", MINUTE_LATER),
        ]);
        assert!(read.etag.unwrap().is_weak && !read.is_empty());
        assert_eq!(read.last_modified.unwrap().secs, 1);
        assert_eq!(read.last_modified.unwrap().text, EARLY.as_bytes());
        assert_eq!(read.date.unwrap().secs, 61);
        for bad in [
            &[("ETag", "a"), ("Last-Modified", "yesterday")][..],
            &[("ETag", "\"a\""), ("ETag", "\"a\"")],
            &[("Last-Modified", EARLY), ("Last-Modified", EARLY)],
            &[],
        ] {
            assert!(of(bad).is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn strong_table() {
        let rows: [(Fields<'_>, Option<&str>); 8] = [
            (&[("ETag", "\"a\"")], Some("\"a\"")),
            (&[("ETag", "W/\"a\"")], None),
            // RFC 9110 section 8.8.2.2: two states of one second cannot be told apart by their second.
            (
                &[("Last-Modified", EARLY), ("Date", MINUTE_LATER)],
                Some(EARLY),
            ),
            (&[("Last-Modified", EARLY), ("Date", LESS_LATER)], None),
            (&[("Last-Modified", EARLY), ("Date", EARLY)], None),
            (&[("Last-Modified", MINUTE_LATER), ("Date", EARLY)], None),
            (&[("Last-Modified", EARLY)], None),
            // RFC 9110 section 13.1.5 (MUST NOT, b; MUST NOT, c): no weak tag, and no date where there is a tag.
            (
                &[
                    ("ETag", "W/\"a\""),
                    ("Last-Modified", EARLY),
                    ("Date", MINUTE_LATER),
                ],
                None,
            ),
        ];
        for (fields, expected) in rows {
            assert_eq!(
                of(fields).strong(),
                expected.map(str::as_bytes),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn shared_validators_table() {
        let dated = [("Last-Modified", EARLY), ("Date", MINUTE_LATER)];
        let doubtful = [("Last-Modified", EARLY), ("Date", LESS_LATER)];
        let other = [
            ("Last-Modified", LESS_LATER),
            ("Date", "Thu, 01 Jan 1970 01:00:00 GMT"),
        ];
        let rows: [(Fields<'_>, Fields<'_>, bool); 9] = [
            (&[("ETag", "\"a\"")], &[("ETag", "\"a\"")], true),
            (&[("ETag", "\"a\"")], &[("ETag", "\"b\"")], false),
            (&[("ETag", "W/\"a\"")], &[("ETag", "W/\"a\"")], false),
            (&[("ETag", "W/\"a\"")], &[("ETag", "\"a\"")], false),
            (&[("ETag", "\"a\"")], &[], false),
            (&dated, &dated, true),
            (&dated, &doubtful, false),
            (&dated, &other, false),
            (&[], &[], false),
        ];
        for (one, other, expected) in rows {
            assert_eq!(
                of(one).share_strong(&of(other)),
                expected,
                "{one:?} {other:?}"
            );
            assert_eq!(
                of(other).share_strong(&of(one)),
                expected,
                "{one:?} {other:?}"
            );
        }
    }
}
