//! The fields of a request on which its answer may depend.

use std::borrow::Cow;

use httparse::Header;

use crate::http::fields::{list, values};

/// The fields of a request that its backend gets: those that `Connection` names are for palantir alone (RFC 9110
/// section 7.6.1), so that no answer depends on them.
pub fn forwarded<'f>(fields: &'f [Header<'f>]) -> Cow<'f, [Header<'f>]> {
    let named = || values(fields, "connection").flat_map(list);
    let is_named = |field: &Header<'_>| {
        named().any(|option| option.eq_ignore_ascii_case(field.name.as_bytes()))
    };
    if named().next().is_none() || !fields.iter().any(is_named) {
        return fields.into();
    }
    let others = fields.iter().copied();
    others.filter(|field| !is_named(field)).collect()
}

/// The fields of a request with these cookies in the place of its own.
pub fn with_cookies<'f>(fields: &[Header<'f>], cookies: &'f [u8]) -> Vec<Header<'f>> {
    let others = fields.iter().copied();
    let others = others.filter(|field| !field.name.eq_ignore_ascii_case("cookie"));
    let left = (!cookies.is_empty()).then_some(Header {
        name: "cookie",
        value: cookies,
    });
    others.chain(left).collect()
}
