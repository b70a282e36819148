//! The requests that neither look up nor store, and the cookies that are taken out of requests.

use httparse::Header;

use crate::cache::pattern::Pattern;
use crate::cache::policy::Policy;
use crate::http::fields::{trim, values};
use crate::http::names;

/// Why a request bypasses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BypassReason {
    /// The method is neither GET nor HEAD.
    Method,
    /// The path is one of `bypass.paths`.
    Path,
    /// A field is one of `bypass.headers`.
    Header,
    /// A cookie is one of `bypass.cookies`.
    Cookie,
}

impl BypassReason {
    /// The label for logs, metrics and `palantir explain`.
    pub const fn label(self) -> &'static str {
        match self {
            BypassReason::Method => "method",
            BypassReason::Path => "bypass_path",
            BypassReason::Header => "bypass_header",
            BypassReason::Cookie => "bypass_cookie",
        }
    }
}

/// Why a request bypasses the cache of its route; `None`: it does not. Cookies that are stripped do not count. `path`
/// is the one that is forwarded, before a prefix is stripped, without the query.
pub fn reason(
    policy: &Policy,
    method: &[u8],
    path: &[u8],
    fields: &[Header<'_>],
) -> Option<BypassReason> {
    let rules = &policy.bypass;
    if !matches!(method, b"GET" | b"HEAD") {
        return Some(BypassReason::Method);
    }
    if rules.paths.iter().any(|pattern| pattern.matches(path)) {
        return Some(BypassReason::Path);
    }
    // A gateway may read `X_Preview` as `X-Preview`, so that the answer would be the one for it.
    let is_listed = |field: &Header<'_>| {
        let mut listed = rules.headers.iter();
        listed.any(|name| names::same(name.as_bytes(), field.name.as_bytes()))
    };
    if !rules.headers.is_empty() && fields.iter().any(is_listed) {
        return Some(BypassReason::Header);
    }
    let is_meant =
        |name: &[u8]| is_one_of(&rules.cookies, name) && !is_one_of(&policy.strip_cookies, name);
    let mut cookies = values(fields, "cookie").flat_map(pairs).map(name_of);
    let has_cookie = !rules.cookies.is_empty() && cookies.any(is_meant);
    has_cookie.then_some(BypassReason::Cookie)
}

/// What remains of a value of `Cookie` without the stripped cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrippedCookie {
    /// The value has none of them and stays as it is.
    Unchanged,
    /// The new value has been written.
    Changed,
    /// No cookie remains: the field is left out.
    Removed,
}

/// Appends a value of `Cookie` without the cookies of these names. Nothing is written unless the result is
/// [`StrippedCookie::Changed`]. The other cookies stay byte for byte.
pub fn strip_cookies(stripped: &[Pattern], value: &[u8], out: &mut Vec<u8>) -> StrippedCookie {
    if !pairs(value).any(|pair| is_one_of(stripped, name_of(pair))) {
        return StrippedCookie::Unchanged;
    }
    let mut result = StrippedCookie::Removed;
    for pair in pairs(value).filter(|pair| !is_one_of(stripped, name_of(pair))) {
        if result == StrippedCookie::Changed {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
        result = StrippedCookie::Changed;
    }
    result
}

/// The pairs of a value of `Cookie` (RFC 6265 section 4.2.1), without blanks around them.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pairs = value.split(|&byte| byte == b';').map(trim);
    pairs.filter(|pair| !pair.is_empty())
}

/// The name of a cookie; a pair without `=` is all name.
fn name_of(pair: &[u8]) -> &[u8] {
    trim(pair.split(|&byte| byte == b'=').next().unwrap_or(pair))
}

fn is_one_of(patterns: &[Pattern], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}
