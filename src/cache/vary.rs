//! Variants: which of the responses stored for one key a request selects (RFC 9111 section 4.1).

use httparse::Header;

use crate::cache::policy::Policy;
use crate::cache::storable::NotStored;

/// Whether the response may be stored as a variant.
pub fn check(policy: &Policy, response: &[Header<'_>]) -> Result<(), NotStored> {
    let _ = (policy, response);
    Ok(())
}

/// The bytes that stand for the variant of a response: names and normalised values of the fields of the request that
/// `Vary` names, in order of their names, and what the response says of its coding and language. No bytes: every
/// request selects the response.
pub fn variant_of(
    policy: &Policy,
    response: &[Header<'_>],
    request: &[Header<'_>],
) -> Result<Vec<u8>, NotStored> {
    check(policy, response)?;
    let _ = request;
    Ok(Vec::new())
}

/// Whether a request selects a variant.
pub fn matches(variant: &[u8], request: &[Header<'_>]) -> bool {
    let _ = request;
    variant.is_empty()
}
