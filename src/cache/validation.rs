//! Validation of stored responses with their backend (RFC 9111 section 4.3): the conditions that are sent, the stored
//! responses that a 304 or the answer to a HEAD is for, and the head that follows from stored and new fields.

use httparse::Header;

use crate::base::limits;
use crate::cache::stored_head;
use crate::cache::validators::Validators;
use crate::http::date;
use crate::http::entity_tag::EntityTag;
use crate::http::fields::{self, KnownField, list, recognise, values};

/// Appends the value of the `If-None-Match` that validates stored responses: their entity tags, each once, in the order
/// given, so that the most likely ones come first. The number of tags that were written; 0: there is none, and the
/// field is not sent.
///
/// The tag of a stored part must not be among them, unless the part answers the request.
pub fn write_if_none_match<'b>(
    tags: impl Iterator<Item = EntityTag<'b>>,
    out: &mut Vec<u8>,
) -> usize {
    let start = out.len();
    let mut written = [&b""[..]; limits::CACHE_VALIDATION_TAGS];
    let mut count = 0;
    for tag in tags {
        let has_room = count < written.len()
            && out.len() - start + tag.text.len() + 2 <= limits::CACHE_VALIDATION_BYTES;
        if !has_room {
            break;
        }
        if written[..count].contains(&tag.text) {
            continue;
        }
        if count > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(tag.text);
        written[count] = tag.text;
        count += 1;
    }
    count
}

/// The value of the `If-Modified-Since` that validates a single stored response.
pub fn if_modified_since<'b>(stored: &Validators<'b>) -> Option<&'b [u8]> {
    // RFC 9111 section 4.3.1 (SHOULD): Last-Modified as it came, since some backends compare the text. Date does not
    // stand in: the backend would have to know that it is no date of modification.
    stored.last_modified.map(|date| date.text)
}

/// Which of the stored responses a 304 is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshened {
    /// Each stored response that has this strong validator: see [`Freshened::includes`].
    Sharing,
    /// The stored response at this position.
    One(usize),
    /// None. The 304 tells nothing of what is stored; it is the client's if the client's own conditions were sent, or
    /// else the request is repeated without conditions.
    None,
}

impl Freshened {
    /// Whether the stored response at a position is one that the 304 is for.
    pub fn includes(
        &self,
        position: usize,
        stored: &Validators<'_>,
        of_304: &Validators<'_>,
    ) -> bool {
        match *self {
            Freshened::Sharing => has_strong(stored, of_304),
            Freshened::One(only) => only == position,
            Freshened::None => false,
        }
    }
}

/// Finds the stored responses that a 304 is for (RFC 9111 section 4.3.4). `stored` are the responses that the request
/// could have selected and that it named in its conditions, the newest one first.
pub fn freshened(stored: &[Validators<'_>], of_304: &Validators<'_>) -> Freshened {
    if of_304.strong_etag().is_some() {
        // RFC 9111 section 4.3.4 (MUST NOT): a strong validator that no stored response has is for none of them.
        return match stored.iter().any(|stored| has_strong(stored, of_304)) {
            true => Freshened::Sharing,
            false => Freshened::None,
        };
    }
    if of_304.is_empty() {
        // A 304 without any validator can only be for the one response that the request named: its condition was
        // false (RFC 9110 section 15.4.5), whether or not the backend keeps the rule to repeat the validator.
        return match stored {
            [_] => Freshened::One(0),
            _ => Freshened::None,
        };
    }
    let position = stored.iter().position(|stored| corresponds(stored, of_304));
    position.map_or(Freshened::None, Freshened::One)
}

fn has_strong(stored: &Validators<'_>, of_304: &Validators<'_>) -> bool {
    match (stored.etag, of_304.etag) {
        (Some(stored), Some(new)) => stored.is_strongly(&new),
        _ => false,
    }
}

/// Whether the weak validators of a 304 are those of a stored response.
fn corresponds(stored: &Validators<'_>, of_304: &Validators<'_>) -> bool {
    match (stored.etag, of_304.etag) {
        (Some(stored), Some(new)) => stored.is_weakly(&new),
        (None, Some(_)) => false,
        (_, None) => {
            let secs = |validators: &Validators<'_>| validators.last_modified.map(|date| date.secs);
            secs(stored) == secs(of_304)
        }
    }
}

/// What the answer to a HEAD means for a stored response to GET that the request could have selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// Nothing: the status is not 200.
    None,
    /// The stored response is still right, and takes over the fields: see [`updated_head`].
    Update,
    /// The representation has changed: the stored response is invalid.
    Invalidate,
}

/// Compares the answer to a HEAD with a stored response (RFC 9111 section 4.3.5). `stored_length`: the bytes of the
/// stored body, or of the whole representation that it is a part of.
pub fn head_effect(
    status: u16,
    fields: &[Header<'_>],
    stored: &Validators<'_>,
    stored_length: u64,
) -> HeadEffect {
    if status != 200 {
        return HeadEffect::None;
    }
    let new = Validators::of(fields);
    let is_same_tag = match (new.etag, fields::find(fields, "etag")) {
        (Some(new), _) => stored.etag == Some(new),
        (None, None) => true,
        // A malformed tag tells nothing about the stored one.
        (None, Some(_)) => stored.etag.is_none(),
    };
    let is_same_date = new.last_modified.is_none_or(|new| {
        stored
            .last_modified
            .is_some_and(|stored| stored.secs == new.secs)
    });
    let is_same_length = values(fields, "content-length").all(|value| {
        let text = std::str::from_utf8(value).ok();
        text.and_then(|text| text.trim().parse().ok()) == Some(stored_length)
    });
    if is_same_tag && is_same_date && is_same_length {
        HeadEffect::Update
    } else {
        HeadEffect::Invalidate
    }
}

/// The new fields of a stored response: those of a 304, of the answer to a HEAD, or of a 206 that completes a stored
/// part.
#[derive(Clone, Copy)]
pub struct NewFields<'a> {
    /// The fields as they were received.
    pub fields: &'a [Header<'a>],
    /// Seconds since 1970 when they were received.
    pub received_secs: u64,
    /// Whether `Set-Cookie` may be stored.
    pub keeps_cookies: bool,
    /// Whether a field of this name must not be stored: one that `private` or `no-cache` names.
    pub is_unstorable: &'a dyn Fn(&str) -> bool,
}

/// The stored head with the new fields (RFC 9111 section 3.2). A field of the new ones replaces all stored ones of its
/// name.
pub fn updated_head(head: &[u8], new: &NewFields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 256);
    out.extend_from_slice(stored_head::status_line(head));
    out.extend_from_slice(b"\r\n");
    let taken = |field: &&Header<'_>| new.takes(field.name);
    let is_replaced = |name: &[u8]| {
        let mut taken = new.fields.iter().filter(taken);
        taken.any(|field| field.name.as_bytes().eq_ignore_ascii_case(name))
    };
    for (name, value) in stored_head::fields(head) {
        // The stored Age was one of the old answer. Date is there in every stored head (RFC 9110 section 6.6.1).
        let is_of_receipt = name.eq_ignore_ascii_case(b"age") || name.eq_ignore_ascii_case(b"date");
        if !is_of_receipt && !is_replaced(name) {
            stored_head::write_field(name, value, &mut out);
        }
    }
    for field in new.fields.iter().filter(taken) {
        stored_head::write_field(field.name.as_bytes(), field.value, &mut out);
    }
    if fields::find(new.fields, "date").is_none() {
        // RFC 9110 section 6.6.1 (MUST): a recipient with a clock notes when a response without Date came.
        stored_head::write_field(b"Date", &date::imf_fixdate(new.received_secs), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    out
}

impl NewFields<'_> {
    /// Whether a new field replaces the stored ones of its name.
    fn takes(&self, name: &str) -> bool {
        // RFC 9111 section 3.2: Content-Length is excepted, and so is what describes the bytes that are stored, which
        // a 304 does not change: a coding that does not fit would make the body unreadable.
        const OF_BODY: [&str; 3] = ["content-encoding", "content-length", "content-range"];
        const OF_COOKIES: [&str; 2] = ["set-cookie", "set-cookie2"];
        let is_one = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        !is_one(&OF_BODY)
            && !is_of_connection(name, self.fields)
            && (self.keeps_cookies || !is_one(&OF_COOKIES))
            && !(self.is_unstorable)(name)
    }
}

/// Whether a field is meant for one connection only.
fn is_of_connection(name: &str, fields: &[Header<'_>]) -> bool {
    // RFC 9111 section 3.1 (MUST NOT): such fields are not stored.
    let is_known = matches!(
        recognise(name.as_bytes()),
        KnownField::Connection
            | KnownField::KeepAlive
            | KnownField::ProxyAuthenticate
            | KnownField::ProxyAuthorization
            | KnownField::ProxyConnection
            | KnownField::Te
            | KnownField::Trailer
            | KnownField::TransferEncoding
            | KnownField::Upgrade
            | KnownField::Disguised
    );
    let is_info = name.eq_ignore_ascii_case("proxy-authentication-info");
    let mut options = values(fields, "connection").flat_map(list);
    is_known || is_info || options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}
