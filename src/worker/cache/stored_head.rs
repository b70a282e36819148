//! The head of a response as it is stored: as the backend sent it, without the fields that belong to the connection,
//! that must not be stored, or that are computed anew for every client.

use httparse::Header;
use memchr::{memchr, memchr_iter};

use crate::cache::omitted::Omitted;
use crate::cache::policy::{Policy, SetCookie};
use crate::cache::stored_head::write_field;
use crate::http::date::imf_fixdate;
use crate::http::h1::{self, ResponseBody, ResponseEdits, ResponseHead, Rewriting, Version};
use crate::http::names::NO_EDITS;
use crate::http::references::References;

/// The lines of a response that are stored. `references`: how references to the backend are rewritten, which must be
/// done while it is known which backend answered. `omitted`: the fields that are left out.
pub fn stored_head(
    policy: &Policy,
    head: &ResponseHead<'_, '_>,
    references: Option<References<'_>>,
    (omitted, received): (Omitted<'_>, u64),
) -> Vec<u8> {
    let edits = ResponseEdits {
        client_version: Version::Http11,
        body: match head.body {
            ResponseBody::Chunked => ResponseBody::UntilClose,
            other => other,
        },
        close: false,
        operator: &NO_EDITS,
        computed: &[],
        via: false,
        rewriting: Rewriting {
            references,
            ..Rewriting::NONE
        },
        accept: None,
    };
    let mut whole = Vec::new();
    h1::encode_response(&mut whole, head, &edits);
    // RFC 9111 section 3.1 (MUST): every field is stored, known or not, but those of the connection, which are gone
    // already, and those that are left out here.
    let is_left_out = |name: &[u8]| is_unkept(policy, name) || omitted.contains(name);
    let mut stored = Vec::with_capacity(whole.len() + DATE_BYTES);
    let mut has_date = false;
    for (line, name) in lines(&whole) {
        if line == b"\r\n" && !has_date {
            // RFC 9110 section 6.6.1 (MUST): a response without Date gets the time at which it came.
            write_field(b"Date", &imf_fixdate(received / 1_000), &mut stored);
        }
        has_date |= name.eq_ignore_ascii_case(b"date");
        if !is_left_out(name) {
            stored.extend_from_slice(line);
        }
    }
    stored
}

/// A stored head that a validation has changed, without the fields that are not stored.
pub fn kept_head(policy: &Policy, head: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(head.len());
    for (line, name) in lines(head) {
        if !is_unkept(policy, name) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// The lines of a head with their ends, each with the name of its field. The first line and the empty one have none.
fn lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut start = 0;
    memchr_iter(b'\n', head).map(move |end| {
        let line = &head[start..=end];
        let colon = memchr(b':', line).filter(|_| start > 0);
        start = end + 1;
        (line, &line[..colon.unwrap_or(0)])
    })
}

/// The names of the fields of an answer that its client does not get although they came from the backend. `is_stored`:
/// the answer to a request that reads is being stored.
pub fn withheld<'f>(policy: &Policy, fields: &[Header<'f>], is_stored: bool) -> Vec<&'f str> {
    // The first client does not get what no later one gets.
    let has_no_cookies = is_stored && policy.set_cookie == SetCookie::Strip;
    let is_withheld = |name: &&str| {
        is_for_caches(policy, name.as_bytes())
            || (has_no_cookies && name.eq_ignore_ascii_case("set-cookie"))
    };
    let names = fields.iter().map(|field| field.name);
    names.filter(is_withheld).collect()
}

/// Whether a field is not stored, whatever it says.
fn is_unkept(policy: &Policy, name: &[u8]) -> bool {
    // RFC 9111 section 5.1: the age is computed anew for every answer. RFC 9111 section 3.1 (MUST NOT, a): the other
    // fields that are meant for one proxy are gone already, as those of the connection.
    const UNKEPT: [&[u8]; 2] = [b"age", b"proxy-authentication-info"];
    let is_one = |known: &[u8]| known.eq_ignore_ascii_case(name);
    UNKEPT.into_iter().any(is_one) || is_for_caches(policy, name)
}

/// Whether a field is for caches alone, so that clients do not get it.
fn is_for_caches(policy: &Policy, name: &[u8]) -> bool {
    let is_one = |known: &[u8]| known.eq_ignore_ascii_case(name);
    // RFC 9111 section 5.2 (MUST): Cache-Control is never among them. Targeted fields are for the caches that they
    // name.
    (!policy.forward_tags && TAGS.into_iter().any(is_one))
        || (policy.strip_targeted && policy.targeted.iter().any(|known| is_one(known.as_bytes())))
}

/// Bytes of the line of a date.
const DATE_BYTES: usize = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len();

/// The fields with the tags of a response.
const TAGS: [&[u8]; 2] = [b"surrogate-key", b"cache-tag"];
