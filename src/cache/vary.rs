//! Variants: which of the responses stored for one key a request selects (RFC 9111 section 4.1).
//!
//! A variant is kept as one record for each field that `Vary` names, in the order of their names. A record has the
//! name, whether the request had the field, the normal form of its value, and what the response itself says of its
//! coding or language; each part but the second begins with its length.

use httparse::Header;

use crate::base::limits::{CACHE_VARIANT_BYTES, CACHE_VARY_NAMES};
use crate::cache::negotiated::{is_acceptable, outcome};
use crate::cache::normal_form::{Comparison, write};
use crate::cache::not_stored::NotStored;
use crate::cache::policy::Policy;
use crate::http::fields::{is_token, list, values};

/// Whether a response may be stored as a variant. Only the fields of the response decide.
pub fn check(policy: &Policy, response: &[Header<'_>]) -> Result<(), NotStored> {
    names(policy, response).map(|_| ())
}

/// The bytes that stand for the variant of a response: the fields of the request that `Vary` names, in their normal
/// form. No bytes: every request selects the response.
pub fn variant_of(
    policy: &Policy,
    response: &[Header<'_>],
    request: &[Header<'_>],
) -> Result<Vec<u8>, NotStored> {
    let mut variant = Vec::new();
    for name in names(policy, response)? {
        put(&mut variant, |part| part.extend_from_slice(name.as_bytes()))?;
        let at = variant.len();
        variant.push(0);
        let mut is_there = false;
        put(&mut variant, |part| {
            is_there = write(name.as_bytes(), request, part)
        })?;
        variant[at] = u8::from(is_there);
        put(&mut variant, |part| part.extend(outcome(&name, response)))?;
    }
    Ok(variant)
}

/// The values that a request has in the fields by which a known variant was selected. Requests with the same bytes
/// would select the same variant. `None`: the bytes are no variant, or the request has too much of these fields.
pub fn variant_like(known: &[u8], request: &[Header<'_>]) -> Option<Vec<u8>> {
    let (mut rest, mut variant) = (known, Vec::new());
    while !rest.is_empty() {
        let name = Record::take(&mut rest)?.name;
        put(&mut variant, |part| part.extend_from_slice(name)).ok()?;
        let at = variant.len();
        variant.push(0);
        let mut is_there = false;
        put(&mut variant, |part| is_there = write(name, request, part)).ok()?;
        variant[at] = u8::from(is_there);
    }
    Some(variant)
}

/// The names of the fields that select a variant with the normal forms of their values, `None` for a field that the
/// request did not have.
pub fn fields_of(variant: &[u8]) -> Vec<(&[u8], Option<&[u8]>)> {
    let mut rest = variant;
    std::iter::from_fn(|| Record::take(&mut rest))
        .map(|record| (record.name, record.value))
        .collect()
}

/// Whether a request selects a variant. Bytes that are no variant are selected by none.
pub fn matches(variant: &[u8], request: &[Header<'_>]) -> bool {
    #[cfg(test)]
    if crate::simulated::is_planted(crate::simulated::Fault::IgnoresVariant) {
        return true;
    }
    // RFC 9111 sections 4 (MUST NOT, c) and 4.1 (MUST NOT): every field that `Vary` names matches, or the response does
    // not answer.
    let mut rest = variant;
    while !rest.is_empty() {
        let Some(record) = Record::take(&mut rest) else {
            return false;
        };
        if !record.is_met(request) {
            return false;
        }
    }
    true
}

/// One field that selects the variant.
struct Record<'v> {
    name: &'v [u8],
    value: Option<&'v [u8]>,
    outcome: &'v [u8],
}

impl<'v> Record<'v> {
    fn take(rest: &mut &'v [u8]) -> Option<Record<'v>> {
        let name = take(rest)?;
        let (is_there, behind) = rest.split_first()?;
        *rest = behind;
        let value = take(rest)?;
        Some(Record {
            name,
            value: (*is_there != 0).then_some(value),
            outcome: take(rest)?,
        })
    }

    fn is_met(&self, request: &[Header<'_>]) -> bool {
        let mut comparison = Comparison::with(self.value.unwrap_or_default());
        let is_there = write(self.name, request, &mut comparison);
        // RFC 9111 section 4.1: a field that is absent from one request is absent from the other.
        let is_same = is_there == self.value.is_some() && comparison.is_equal();
        is_same || is_acceptable(self.name, self.value, self.outcome, request)
    }
}

/// The names in `Vary` that count, in lower case, each one once and in order.
fn names(policy: &Policy, response: &[Header<'_>]) -> Result<Vec<String>, NotStored> {
    let mut names = Vec::new();
    for member in values(response, "vary").flat_map(list) {
        // RFC 9111 section 4.1: `*` matches no request, wherever it stands in the list.
        if member == b"*" || !is_token(member) {
            return Err(NotStored::Vary);
        }
        let name = String::from_utf8_lossy(member).to_ascii_lowercase();
        if policy.vary_uncacheable.contains(&name) {
            return Err(NotStored::Vary);
        }
        if !policy.vary_ignore.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
        if names.len() > CACHE_VARY_NAMES {
            return Err(NotStored::VariantTooLong);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Adds a part with its length before it.
fn put(variant: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), NotStored> {
    let at = variant.len();
    variant.extend_from_slice(&[0; 2]);
    write(variant);
    if variant.len() > CACHE_VARIANT_BYTES {
        return Err(NotStored::VariantTooLong);
    }
    let length = (variant.len() - at - 2) as u16;
    variant[at..at + 2].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Takes a part that begins with its length.
fn take<'v>(rest: &mut &'v [u8]) -> Option<&'v [u8]> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let (part, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = behind;
    Some(part)
}

#[cfg(test)]
mod tests;
