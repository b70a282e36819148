//! Responses that a backend chose by what the client accepts: which of them another client accepts as well, although it
//! says so in other words.

use httparse::Header;

use crate::cache::weighted::{Accepted, members, weighted};
use crate::http::fields::{list, values};

/// The text that stands in a variant for a coding or language that is more than one.
const SEVERAL: &[u8] = b",";

/// The coding or language of a response, in lower case, for the record of this field of requests. Empty: the response
/// is not coded, its language is unknown, or the field is another one.
pub fn outcome(name: &str, response: &[Header<'_>]) -> Vec<u8> {
    let field = match name {
        "accept-encoding" => "content-encoding",
        "accept-language" => "content-language",
        _ => return Vec::new(),
    };
    let mut members = values(response, field).flat_map(list);
    match (members.next(), members.next()) {
        (None, _) => Vec::new(),
        (Some(only), None) => Accepted::of(only).value.to_ascii_lowercase(),
        _ => SEVERAL.to_vec(),
    }
}

/// Whether a request accepts a response with this outcome no less than any other one, where the request for which the
/// response was stored had the value `stored` (in normal form) in the field.
pub fn is_acceptable(
    name: &[u8],
    stored: Option<&[u8]>,
    outcome: &[u8],
    request: &[Header<'_>],
) -> bool {
    match name {
        b"accept-language" => is_language_preferred(outcome, request),
        b"accept-encoding" if outcome.is_empty() => is_left_plain(stored, request),
        b"accept-encoding" => is_coding_preferred(outcome, request),
        _ => false,
    }
}

/// Whether the client likes the language of the response better than all others. Of two that it likes equally the
/// backend decides.
fn is_language_preferred(language: &[u8], request: &[Header<'_>]) -> bool {
    let accepted = || weighted(request, "accept-language");
    let own = accepted().find(|member| member.is(language));
    let weight = own.map_or(0, |member| member.weight);
    let mut others = accepted().filter(|member| !member.is(language));
    !language.is_empty() && weight > 0 && others.all(|member| member.weight < weight)
}

/// Whether the client names the coding of the response and likes no other better.
fn is_coding_preferred(coding: &[u8], request: &[Header<'_>]) -> bool {
    let accepted = || weighted(request, "accept-encoding");
    let own = accepted().find(|member| member.is(coding));
    let weight = own.map_or(0, |member| member.weight);
    // RFC 9110 section 12.5.3: a weight of 0 means that the coding is not acceptable.
    weight > 0 && accepted().all(|member| member.weight <= weight)
}

/// Whether a response without coding suits a client: it accepts no coding that the first client did not accept, so that
/// the backend would have coded no more for it.
fn is_left_plain(stored: Option<&[u8]>, request: &[Header<'_>]) -> bool {
    let accepted = || weighted(request, "accept-encoding");
    let mut first = members(stored.unwrap_or_default()).map(Accepted::of);
    let was_asked_for = first.any(|member| member.is(b"identity"));
    let was_accepted = |coding: &[u8]| {
        let mut first = members(stored.unwrap_or_default()).map(Accepted::of);
        first.any(|member| member.is(coding) && member.weight > 0)
    };
    let is_known = |member: Accepted<'_>| {
        member.weight == 0 || member.is(b"identity") || was_accepted(member.value)
    };
    !was_asked_for && accepts_plain(request) && accepted().all(is_known)
}

/// Whether a client accepts a response without coding.
fn accepts_plain(request: &[Header<'_>]) -> bool {
    let weight_of = |name: &[u8]| {
        let mut accepted = weighted(request, "accept-encoding");
        accepted
            .find(|member| member.is(name))
            .map(|member| member.weight)
    };
    // RFC 9110 section 12.5.3: plain responses are acceptable unless `identity;q=0` or `*;q=0` excludes them.
    weight_of(b"identity").or(weight_of(b"*")) != Some(0)
}
