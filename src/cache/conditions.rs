//! The conditions of a client against a stored response (RFC 9110 section 13, RFC 9111 section 4.3.2).

use httparse::Header;

use crate::cache::stored_head;
use crate::cache::validators::{DateField, Validators};
use crate::http::entity_tag::{EntityTag, TagMatch, named};
use crate::http::fields::{find, values};

/// The meaning of the conditions of a request for a stored response that may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The stored response is the answer, in full or in the ranges that the client wants.
    Met,
    /// The client has the representation: the answer is a 304.
    NotModified,
    /// Only the backend can tell: the request is forwarded.
    ForBackend,
}

/// Evaluates the conditions of a request, `status` being that of the stored response.
pub fn evaluate(
    method: &[u8],
    fields: &[Header<'_>],
    status: u16,
    stored: &Validators<'_>,
) -> Precondition {
    // RFC 9111 section 4.3.2 (MUST NOT, a): conditions that only an origin server can evaluate are left to it, and so
    // are those of a request that no stored response answers. RFC 9110 section 13.2.1 (MUST, d): other methods than
    // these two select no representation here.
    let is_read = matches!(method, b"GET" | b"HEAD");
    if !is_read || has(fields, "if-match") || has(fields, "if-unmodified-since") {
        return Precondition::ForBackend;
    }
    // RFC 9110 section 13.2.1 (MUST, b): conditions count only where the answer without them would be a success.
    if !(200..300).contains(&status) {
        return Precondition::Met;
    }
    // RFC 9111 section 4.3.2 (SHOULD, a): the conditions are evaluated against the validators of the stored response.
    let is_unmodified = if has(fields, "if-none-match") {
        // RFC 9110 sections 13.1.3 (MUST, a) and 13.2.2 (MUST): If-Modified-Since has no effect beside If-None-Match,
        // malformed or not.
        is_named(fields, stored.etag.as_ref())
    } else {
        is_unmodified_since(fields, stored)
    };
    if is_unmodified {
        Precondition::NotModified
    } else {
        Precondition::Met
    }
}

/// Whether the `Range` of a request counts: the request has no `If-Range`, or one that is the strong validator of the
/// stored response.
pub fn range_counts(fields: &[Header<'_>], stored: &Validators<'_>) -> bool {
    let mut conditions = values(fields, "if-range");
    let Some(condition) = conditions.next() else {
        return true;
    };
    if conditions.next().is_some() {
        return false;
    }
    // RFC 9110 section 13.1.5 (MUST, c; MUST, d; SHOULD): entity tags are compared strongly, and a date must be a
    // strong validator and the very one of the stored response.
    match (EntityTag::read(condition), stored.etag) {
        (Some(wanted), Some(etag)) => etag.is_strongly(&wanted),
        (Some(_), None) => false,
        (None, _) => {
            let wanted = DateField::read(condition).map(|date| date.secs);
            wanted.is_some() && wanted == stored.strong_date().map(|date| date.secs)
        }
    }
}

/// Appends the head of a 304 for a stored head, from the status line to the empty line. What varies with each answer,
/// such as `Age`, is for the caller to write.
pub fn write_not_modified(head: &[u8], out: &mut Vec<u8>) {
    let has_etag = stored_head::find(head, "etag").is_some();
    out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n");
    for (name, value) in stored_head::fields(head) {
        if stays_in_304(name, has_etag) {
            stored_head::write_field(name, value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of a stored response is sent with a 304.
pub fn stays_in_304(name: &[u8], has_etag: bool) -> bool {
    // RFC 9110 section 15.4.5 (MUST): Content-Location, Date, ETag, Vary, Cache-Control and Expires stay. Metadata of
    // the representation does not (SHOULD NOT), unless nothing else tells a cache which response is meant.
    const OF_CONTENT: [&[u8]; 13] = [
        b"accept-ranges",
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
        b"repr-digest",
        b"trailer",
        b"transfer-encoding",
    ];
    let is_of_content = OF_CONTENT
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
    let is_spare = has_etag && name.eq_ignore_ascii_case(b"last-modified");
    !(is_of_content || is_spare)
}

fn has(fields: &[Header<'_>], name: &str) -> bool {
    find(fields, name).is_some()
}

/// Whether `If-None-Match` names the stored response.
fn is_named(fields: &[Header<'_>], etag: Option<&EntityTag<'_>>) -> bool {
    // RFC 9110 section 13.1.2 (MUST, a): weak comparison.
    let is_own = |tag: &EntityTag<'_>| etag.is_some_and(|own| own.is_weakly(tag));
    match named(values(fields, "if-none-match"), is_own) {
        TagMatch::Any | TagMatch::Listed => true,
        // A text that is no list may mean anything: the whole answer is never wrong.
        TagMatch::Unlisted | TagMatch::Malformed => false,
    }
}

fn is_unmodified_since(fields: &[Header<'_>], stored: &Validators<'_>) -> bool {
    // RFC 9110 section 13.1.3 (MUST, b): a value that is no date, or several of them, have no effect.
    let mut dates = values(fields, "if-modified-since");
    let since = dates.next().and_then(DateField::read);
    let Some(since) = since.filter(|_| dates.next().is_none()) else {
        return false;
    };
    // RFC 9111 section 4.3.2 (SHOULD, b): Date stands in for an absent Last-Modified. It is there in every stored head.
    // RFC 9110 section 13.1.3 (MUST, c; MUST, d): without either the condition has no effect. Both are times by the
    // clock of the backend.
    let changed = stored.last_modified.or(stored.date);
    changed.is_some_and(|changed| changed.secs <= since.secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'f> = &'f [(&'static str, &'static str)];

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 09:49:37 GMT";

    fn headers(fields: &[(&'static str, &'static str)]) -> Vec<Header<'static>> {
        let header = |(name, value): &(&'static str, &'static str)| Header {
            name,
            value: value.as_bytes(),
        };
        fields.iter().map(header).collect()
    }

    fn stored(fields: &[(&'static str, &'static str)]) -> Validators<'static> {
        Validators::of(&headers(fields))
    }

    #[test]
    fn entity_tags_table() {
        use Precondition::{Met, NotModified};
        let rows: [(Option<&str>, &[&str], Precondition); 20] = [
            (Some("\"a\""), &["\"a\""], NotModified),
            (Some("\"a\""), &["\"b\", \"a\""], NotModified),
            (Some("\"a\""), &["\"b\"", "\"a\", \"c\""], NotModified),
            (Some("\"a\""), &["\"b\""], Met),
            (Some("\"a\""), &[""], Met),
            (Some("\"a\u{fc}\""), &["\"a\u{fc}\""], NotModified),
            // RFC 9110 section 13.1.2 (MUST, a): weak comparison.
            (Some("W/\"a\""), &["W/\"a\""], NotModified),
            (Some("W/\"a\""), &["\"a\""], NotModified),
            (Some("\"a\""), &["W/\"a\""], NotModified),
            (Some("\"a\""), &["*"], NotModified),
            (None, &["*"], NotModified),
            (None, &["\"a\""], Met),
            // A text that is no list of entity tags is never taken for one.
            (Some("\"a\""), &["a"], Met),
            (Some("a"), &["a"], Met),
            (Some("a"), &["\"a\""], Met),
            (Some("\"a\""), &["\"a\", b"], Met),
            (Some("\"a\""), &["*, \"a\""], Met),
            (Some("w/\"a\""), &["w/\"a\""], Met),
            (Some("*"), &["\"*\""], Met),
            (Some("\"a\", \"b\""), &["\"a\", \"b\""], Met),
        ];
        for (etag, wanted, expected) in rows {
            let etag: Vec<_> = etag.iter().map(|etag| ("ETag", *etag)).collect();
            let wanted: Vec<_> = wanted
                .iter()
                .map(|value| ("if-none-match", *value))
                .collect();
            for method in [&b"GET"[..], b"HEAD"] {
                let found = evaluate(method, &headers(&wanted), 200, &stored(&etag));
                assert_eq!(found, expected, "{etag:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn dates_table() {
        use Precondition::{Met, NotModified};
        let modified = [("Last-Modified", MODIFIED), ("Date", DATE)];
        let dated = [("Date", DATE)];
        let rows: [(Fields<'_>, &str, Precondition); 16] = [
            (&modified, MODIFIED, NotModified),
            (&modified, DATE, NotModified),
            (&modified, BEFORE, Met),
            (&modified, "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            (&modified, "Sunday, 06-Nov-94 08:49:36 GMT", Met),
            (&modified, "Sun Nov  6 08:49:37 1994", NotModified),
            (&modified, "Sun Nov  6 08:49:36 1994", Met),
            // RFC 9110 section 13.1.3 (MUST, b): a value that is no date has no effect.
            (&modified, "", Met),
            (&modified, "0", Met),
            (&modified, "tomorrow", Met),
            (&modified, "Sun, 06 Nov 1994 08:49:37 GMT; length=5", Met),
            // RFC 9111 section 4.3.2 (SHOULD, b): Date stands in for Last-Modified. RFC 9110 section 13.1.3 (MUST, d):
            // the clock of the backend counts, whatever the time is here.
            (&dated, DATE, NotModified),
            (&dated, "Mon, 07 Nov 1994 09:49:37 GMT", NotModified),
            (&dated, MODIFIED, Met),
            (&[("Last-Modified", "x"), ("Date", DATE)], DATE, NotModified),
            // RFC 9110 section 13.1.3 (MUST, c): without either date the condition has no effect.
            (&[], DATE, Met),
        ];
        for (fields, since, expected) in rows {
            let asked = headers(&[("If-Modified-Since", since)]);
            let found = evaluate(b"GET", &asked, 200, &stored(fields));
            assert_eq!(found, expected, "{fields:?} {since}");
        }
        let twice = headers(&[("If-Modified-Since", DATE), ("If-Modified-Since", DATE)]);
        assert_eq!(evaluate(b"GET", &twice, 200, &stored(&modified)), Met);
    }

    #[test]
    fn precedence_table() {
        use Precondition::{ForBackend, Met, NotModified};
        let held = stored(&[
            ("ETag", "\"a\""),
            ("Last-Modified", MODIFIED),
            ("Date", DATE),
        ]);
        let rows: [(&[u8], Fields<'_>, u16, Precondition); 13] = [
            (b"GET", &[], 200, Met),
            // RFC 9110 section 13.1.3 (MUST, a): If-Modified-Since has no effect beside If-None-Match.
            (
                b"GET",
                &[("If-None-Match", "\"a\""), ("If-Modified-Since", BEFORE)],
                200,
                NotModified,
            ),
            (
                b"GET",
                &[("If-None-Match", "\"b\""), ("If-Modified-Since", DATE)],
                200,
                Met,
            ),
            (
                b"GET",
                &[("If-None-Match", "b"), ("If-Modified-Since", DATE)],
                200,
                Met,
            ),
            // RFC 9111 section 4.3.2 (MUST NOT, a): conditions for an origin server are not evaluated by a cache.
            (b"GET", &[("If-Match", "\"a\"")], 200, ForBackend),
            (
                b"GET",
                &[("If-Match", "*"), ("If-None-Match", "\"a\"")],
                200,
                ForBackend,
            ),
            (b"GET", &[("If-Unmodified-Since", DATE)], 200, ForBackend),
            (b"POST", &[("If-None-Match", "\"a\"")], 200, ForBackend),
            // RFC 9110 section 13.2.1 (MUST, d): no representation is selected.
            (b"OPTIONS", &[("If-Modified-Since", DATE)], 200, ForBackend),
            // RFC 9110 section 13.2.1 (MUST, b): conditions count only where the answer would be a success.
            (b"GET", &[("If-None-Match", "\"a\"")], 404, Met),
            (b"GET", &[("If-Modified-Since", DATE)], 301, Met),
            (b"GET", &[("If-None-Match", "*")], 500, Met),
            (b"GET", &[("If-None-Match", "\"a\"")], 206, NotModified),
        ];
        for (method, fields, status, expected) in rows {
            let found = evaluate(method, &headers(fields), status, &held);
            assert_eq!(found, expected, "{fields:?} {status}");
        }
    }

    #[test]
    fn if_range_table() {
        let strong = [
            ("ETag", "\"a\""),
            ("Last-Modified", MODIFIED),
            ("Date", DATE),
        ];
        let weak = [
            ("ETag", "W/\"a\""),
            ("Last-Modified", MODIFIED),
            ("Date", DATE),
        ];
        let fresh = [("Last-Modified", MODIFIED), ("Date", MODIFIED)];
        let rows: [(Fields<'_>, &[&str], bool); 15] = [
            (&strong, &[], true),
            (&[], &[], true),
            (&strong, &["\"a\""], true),
            (&strong, &["\"b\""], false),
            // RFC 9110 section 13.1.5 (MUST, c): strong comparison.
            (&strong, &["W/\"a\""], false),
            (&weak, &["W/\"a\""], false),
            (&weak, &["\"a\""], false),
            (&strong, &["\"a\", \"a\""], false),
            (&strong, &["\"a\"", "\"a\""], false),
            (&strong, &["*"], false),
            // RFC 9110 section 13.1.5 (MUST, c): a date that is strong, and exactly the one of the stored response.
            (&strong, &[MODIFIED], true),
            (&strong, &[DATE], false),
            (&strong, &[BEFORE], false),
            (&fresh, &[MODIFIED], false),
            (&[], &["yesterday"], false),
        ];
        for (fields, wanted, expected) in rows {
            let wanted: Vec<_> = wanted.iter().map(|value| ("If-Range", *value)).collect();
            let found = range_counts(&headers(&wanted), &stored(fields));
            assert_eq!(found, expected, "{fields:?} {wanted:?}");
        }
    }

    /// RFC 9110 section 15.4.5 (MUST): the fields by which a client updates what it stored.
    #[test]
    fn a_304_has_the_fields_that_a_client_needs() {
        let kept = "Date: x\r\nETag: \"a\"\r\nVary: b\r\nCache-Control: c\r\nExpires: d\r\n\
            Content-Location: /e\r\nX-Own: f\r\nSet-Cookie: g=h\r\n";
        let left = "Content-Type: a\r\ncontent-length: 5\r\nContent-Encoding: gzip\r\nLast-Modified: x\r\n\
            Content-Language: de\r\nRepr-Digest: x\r\n";
        let head = format!("HTTP/1.1 200 OK\r\n{left}{kept}\r\n");
        let mut out = Vec::new();
        write_not_modified(head.as_bytes(), &mut out);
        let expected = format!("HTTP/1.1 304 Not Modified\r\n{kept}\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        // Without an entity tag, the date tells a client which response is meant.
        assert!(stays_in_304(b"Last-Modified", false));
        assert!(!stays_in_304(b"Last-Modified", true));
    }
}
