//! Validation of stored responses with their backend (RFC 9111 section 4.3): the conditions that are sent, and the
//! stored responses that a 304 or the answer to a HEAD is for. `update` makes the head that follows.

use httparse::Header;

use crate::base::limits;
use crate::cache::validators::Validators;
use crate::http::entity_tag::EntityTag;
use crate::http::fields::{self, trim, values};
use crate::http::range::decimal;

/// Appends the value of the `If-None-Match` that validates stored responses: their entity tags, each once, in the order
/// given, so that the most likely ones come first. The number of tags that were written; 0: there is none, and the
/// field is not sent.
///
/// The tag of a stored part must not be among them, unless the part answers the request.
pub fn write_if_none_match<'b>(
    tags: impl Iterator<Item = EntityTag<'b>>,
    out: &mut Vec<u8>,
) -> usize {
    // RFC 9111 section 4.3.1 (MUST), RFC 9110 section 13.1.2 (SHOULD): the tags of what is validated are sent.
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

/// The value of the `If-Modified-Since` that validates stored responses. `has_range`: a range of them is asked for.
pub fn if_modified_since<'b>(stored: &[Validators<'b>], has_range: bool) -> Option<&'b [u8]> {
    let (first, further) = stored.split_first()?;
    let has_tags = stored.iter().any(|stored| stored.etag.is_some());
    // RFC 9111 section 4.3.1 (SHOULD): Last-Modified of a single response beside its tag, for backends that know no
    // tags; and as it came, since some backends compare the text. Date does not stand in: the backend would have to
    // know that it is no date of modification.
    let is_sent = !has_tags || (further.is_empty() && !has_range);
    first
        .last_modified
        .filter(|_| is_sent)
        .map(|date| date.text)
}

/// The stored responses that a 304 is for.
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
        let is_known = stored.iter().any(|stored| has_strong(stored, of_304));
        return if is_known {
            Freshened::Sharing
        } else {
            Freshened::None
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

/// The meaning of the answer to a HEAD for a stored response to GET that the request could have selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// Nothing: the status is not 200.
    None,
    /// The stored response is still right, and takes over the fields: see `update`.
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
    let mut lengths = values(fields, "content-length");
    let is_same_length = lengths.all(|value| decimal(trim(value)) == Some(stored_length));
    // RFC 9111 section 4.3.5 (SHOULD, b; SHOULD, c): what agrees is updated, and what does not is no longer fresh.
    if is_same_tag && is_same_date && is_same_length {
        HeadEffect::Update
    } else {
        HeadEffect::Invalidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'f> = &'f [(&'f str, &'f str)];

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn headers<'f>(fields: &[(&'f str, &'f str)]) -> Vec<Header<'f>> {
        let header = |&(name, value): &(&'f str, &'f str)| Header {
            name,
            value: value.as_bytes(),
        };
        fields.iter().map(header).collect()
    }

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_tag_is_sent_once() {
        // RFC 9111 section 4.3.1 (MUST), RFC 9110 section 13.1.2 (SHOULD): the tags of what is validated are sent.
        let tags = ["\"a\"", "W/\"b\"", "\"a\"", "W/\"a\""];
        let mut out = b"before ".to_vec();
        assert_eq!(write_if_none_match(tags.into_iter().map(tag), &mut out), 3);
        assert_eq!(out, b"before \"a\", W/\"b\", W/\"a\"");
        assert_eq!(write_if_none_match(std::iter::empty(), &mut out), 0);
    }

    #[test]
    fn the_tags_of_a_validation_are_bounded() {
        let short: Vec<_> = (0..1_000).map(|number| format!("\"{number}\"")).collect();
        let long: Vec<_> = (0..3)
            .map(|digit| format!("\"{digit}{}\"", "x".repeat(900)))
            .collect();
        let mut out = Vec::new();
        let written = write_if_none_match(short.iter().map(|text| tag(text)), &mut out);
        assert_eq!(written, limits::CACHE_VALIDATION_TAGS);
        out.clear();
        assert_eq!(
            write_if_none_match(long.iter().map(|text| tag(text)), &mut out),
            2
        );
        assert!(out.len() <= limits::CACHE_VALIDATION_BYTES);
    }

    #[test]
    fn a_date_is_sent_as_it_came() {
        // RFC 9111 section 4.3.1 (SHOULD): the date of the last change, in the very words of the backend.
        let odd = "Sun Nov  6 08:49:37 1994";
        let changed = headers(&[("Last-Modified", odd), ("Date", LATER)]);
        let changed = Validators::of(&changed);
        let tagged = headers(&[("ETag", "\"a\""), ("Last-Modified", odd)]);
        let tagged = Validators::of(&tagged);
        let dated = headers(&[("Date", LATER)]);
        let dated = Validators::of(&dated);
        let rows = [
            (vec![changed], false, true),
            (vec![changed], true, true),
            (vec![changed, changed], false, true),
            (vec![tagged], false, true),
            (vec![tagged], true, false),
            (vec![tagged, changed], false, false),
            (vec![changed, tagged], false, false),
            (vec![dated], false, false),
            (vec![], false, false),
        ];
        for (stored, has_range, is_sent) in rows {
            let expected = is_sent.then_some(odd.as_bytes());
            let found = if_modified_since(&stored, has_range);
            assert_eq!(found, expected, "{stored:?} {has_range}");
        }
    }

    #[test]
    fn freshened_table() {
        const STRONG: Fields<'_> = &[("ETag", "\"a\"")];
        const OTHER: Fields<'_> = &[("ETag", "\"b\"")];
        const WEAK: Fields<'_> = &[("ETag", "W/\"a\"")];
        const DATED: Fields<'_> = &[("Last-Modified", MODIFIED)];
        const BOTH: Fields<'_> = &[("ETag", "\"a\""), ("Last-Modified", MODIFIED)];
        let rows: [(&[Fields<'_>], Fields<'_>, &[usize]); 21] = [
            (&[STRONG], STRONG, &[0]),
            (&[OTHER, STRONG, BOTH], STRONG, &[1, 2]),
            // RFC 9111 section 4.3.4 (MUST NOT): a strong validator that no stored response has.
            (&[OTHER], STRONG, &[]),
            (&[WEAK], STRONG, &[]),
            (&[DATED], STRONG, &[]),
            (&[DATED], BOTH, &[]),
            (&[&[]], STRONG, &[]),
            // Weak validators: the newest one of the stored responses that have them.
            (&[WEAK], WEAK, &[0]),
            (&[OTHER, WEAK, STRONG], WEAK, &[1]),
            (&[OTHER, BOTH, WEAK], WEAK, &[1]),
            (&[OTHER], WEAK, &[]),
            (&[DATED], DATED, &[0]),
            (&[OTHER, DATED, DATED], DATED, &[1]),
            (&[BOTH], DATED, &[0]),
            (&[DATED], &[("Last-Modified", LATER)], &[]),
            (&[&[]], DATED, &[]),
            // No validator at all: the only stored response.
            (&[&[]], &[], &[0]),
            (&[STRONG], &[], &[0]),
            (&[DATED], &[("Date", LATER)], &[0]),
            (&[STRONG, OTHER], &[], &[]),
            (&[], &[], &[]),
        ];
        for (stored, new, expected) in rows {
            let stored: Vec<_> = stored.iter().map(|fields| headers(fields)).collect();
            let stored: Vec<_> = stored.iter().map(|fields| Validators::of(fields)).collect();
            let new = headers(new);
            let new = Validators::of(&new);
            let found = freshened(&stored, &new);
            let meant = stored.iter().enumerate();
            let meant = meant.filter(|(position, stored)| found.includes(*position, stored, &new));
            let meant: Vec<_> = meant.map(|(position, _)| position).collect();
            assert_eq!(meant, expected, "{stored:?} {new:?}");
        }
    }

    /// RFC 9111 section 4.3.5 (SHOULD, a; SHOULD, b; SHOULD, c): the answer to a HEAD updates or invalidates what is
    /// stored.
    #[test]
    fn head_effects_table() {
        use HeadEffect::{Invalidate, Update};
        let held = headers(&[("ETag", "\"a\""), ("Last-Modified", MODIFIED)]);
        let held = Validators::of(&held);
        let plain = Validators::default();
        let rows: [(&Validators<'_>, u16, Fields<'_>, HeadEffect); 16] = [
            (&held, 200, &[], Update),
            (
                &held,
                200,
                &[("ETag", "\"a\""), ("Content-Length", "10")],
                Update,
            ),
            (&held, 200, &[("Last-Modified", MODIFIED)], Update),
            (&held, 200, &[("ETag", "\"b\"")], Invalidate),
            (&held, 200, &[("ETag", "W/\"a\"")], Invalidate),
            (&held, 200, &[("ETag", "a")], Invalidate),
            (&held, 200, &[("Last-Modified", LATER)], Invalidate),
            (
                &held,
                200,
                &[("ETag", "\"a\""), ("Last-Modified", LATER)],
                Invalidate,
            ),
            (
                &held,
                200,
                &[("ETag", "\"a\""), ("Content-Length", "11")],
                Invalidate,
            ),
            (&held, 200, &[("Content-Length", "x")], Invalidate),
            (&plain, 200, &[], Update),
            (&plain, 200, &[("Content-Length", "10")], Update),
            (&plain, 200, &[("ETag", "\"a\"")], Invalidate),
            (&plain, 200, &[("Last-Modified", MODIFIED)], Invalidate),
            (&held, 410, &[("ETag", "\"b\"")], HeadEffect::None),
            (&held, 304, &[("ETag", "\"a\"")], HeadEffect::None),
        ];
        for (stored, status, fields, expected) in rows {
            let found = head_effect(status, &headers(fields), stored, 10);
            assert_eq!(found, expected, "{stored:?} {status} {fields:?}");
        }
    }
}
