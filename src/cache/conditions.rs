//! The conditions of a client against a stored response (RFC 9110 section 13, RFC 9111 section 4.3.2).

use httparse::Header;

use crate::cache::stored_head;
use crate::cache::validators::{DateField, Validators};
use crate::http::entity_tag::{EntityTag, Named, named};
use crate::http::fields::{find, values};

/// What the conditions of a request mean for a stored response that may be reused.
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
    // RFC 9111 section 4.3.2 (MUST NOT): conditions that only an origin server can evaluate are left to it, and so are
    // those of a request that no stored response answers.
    let is_read = matches!(method, b"GET" | b"HEAD");
    if !is_read || has(fields, "if-match") || has(fields, "if-unmodified-since") {
        return Precondition::ForBackend;
    }
    // RFC 9110 section 13.2.1 (MUST): conditions count only where the answer without them would be a success.
    if !(200..300).contains(&status) {
        return Precondition::Met;
    }
    let is_unmodified = if has(fields, "if-none-match") {
        // RFC 9110 section 13.1.3 (MUST): If-Modified-Since has no effect beside If-None-Match, malformed or not.
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
    // RFC 9110 section 13.1.5 (MUST): entity tags are compared strongly, and a date must be a strong validator and the
    // very one of the stored response.
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
    !is_of_content && !(has_etag && name.eq_ignore_ascii_case(b"last-modified"))
}

fn has(fields: &[Header<'_>], name: &str) -> bool {
    find(fields, name).is_some()
}

/// Whether `If-None-Match` names the stored response.
fn is_named(fields: &[Header<'_>], etag: Option<&EntityTag<'_>>) -> bool {
    // RFC 9110 section 13.1.2 (MUST): weak comparison.
    let is_own = |tag: &EntityTag<'_>| etag.is_some_and(|own| own.is_weakly(tag));
    match named(values(fields, "if-none-match"), is_own) {
        Named::Any | Named::Listed => true,
        // A text that is no list may mean anything: the whole answer is never wrong.
        Named::Unlisted | Named::Malformed => false,
    }
}

fn is_unmodified_since(fields: &[Header<'_>], stored: &Validators<'_>) -> bool {
    // RFC 9110 section 13.1.3 (MUST): a value that is no date, or several of them, have no effect.
    let mut dates = values(fields, "if-modified-since");
    let since = dates.next().and_then(DateField::read);
    let Some(since) = since.filter(|_| dates.next().is_none()) else {
        return false;
    };
    // RFC 9111 section 4.3.2: Date stands in for an absent Last-Modified. It is there in every stored head.
    let changed = stored.last_modified.or(stored.date);
    changed.is_some_and(|changed| changed.secs <= since.secs)
}
