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
    /// The request has a body, on which the answer may depend, and which is no part of the key.
    Body,
}

impl BypassReason {
    /// All reasons.
    pub const ALL: [BypassReason; 5] = [
        BypassReason::Method,
        BypassReason::Path,
        BypassReason::Header,
        BypassReason::Cookie,
        BypassReason::Body,
    ];

    /// The label for logs, metrics and `palantir explain`.
    pub const fn label(self) -> &'static str {
        match self {
            BypassReason::Method => "method",
            BypassReason::Path => "bypass_path",
            BypassReason::Header => "bypass_header",
            BypassReason::Cookie => "bypass_cookie",
            BypassReason::Body => "bypass_body",
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
    // RFC 9111 section 4 (MUST NOT, b; MUST, b): only GET and HEAD are answered from the store, by what GET has
    // brought. Requests with other methods go to a backend, unsafe ones above all.
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

/// The rest of a value of `Cookie` without the stripped cookies.
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

/// The cookies of a request without those that are stripped, in one line; empty if none is left. `None`: none is
/// stripped.
pub fn remaining_cookies(policy: &Policy, fields: &[Header<'_>]) -> Option<Vec<u8>> {
    let (mut remaining, mut is_changed) = (Vec::new(), false);
    for value in values(fields, "cookie") {
        let mut changed = Vec::new();
        let left = match strip_cookies(&policy.strip_cookies, value, &mut changed) {
            StrippedCookie::Unchanged => value,
            StrippedCookie::Changed => &changed,
            StrippedCookie::Removed => b"",
        };
        is_changed |= left != value;
        if !left.is_empty() {
            if !remaining.is_empty() {
                remaining.extend_from_slice(b"; ");
            }
            remaining.extend_from_slice(left);
        }
    }
    is_changed.then_some(remaining)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sample;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        let read = texts.iter().map(|text| Pattern::read(text).unwrap());
        read.collect()
    }

    #[test]
    fn remaining_cookies_table() {
        let mut policy = sample::policy();
        policy.strip_cookies = patterns(&["_ga*"]);
        let rows: [(&[&str], Option<&str>); 6] = [
            (&[], None),
            (&["Cookie: a=1; b=2"], None),
            (&["Cookie: a=1; _ga=2"], Some("a=1")),
            (&["Cookie: _ga=1"], Some("")),
            (&["Cookie: a=1", "Cookie: _gat=1; b=2"], Some("a=1; b=2")),
            (&["Cookie: _ga=1", "Cookie: _gat=1"], Some("")),
        ];
        for (lines, expected) in rows {
            let found = remaining_cookies(&policy, &sample::fields(lines));
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn reasons_table() {
        use BypassReason::{Cookie, Header, Method, Path};
        let mut policy = sample::policy();
        policy.bypass.cookies = patterns(&["session*", "_ga"]);
        policy.bypass.headers = vec!["x-preview".to_owned()];
        policy.bypass.paths = patterns(&["/cart*"]);
        policy.strip_cookies = patterns(&["_ga*"]);
        let rows: [(&str, &str, &[&str], Option<BypassReason>); 19] = [
            ("GET", "/", &[], None),
            ("HEAD", "/", &[], None),
            // RFC 9111 section 4 (MUST NOT, b; MUST, b): other methods go to a backend.
            ("POST", "/", &[], Some(Method)),
            ("get", "/", &[], Some(Method)),
            ("OPTIONS", "*", &[], Some(Method)),
            ("GET", "/cart", &[], Some(Path)),
            ("GET", "/cart/1", &[], Some(Path)),
            ("GET", "/a/cart", &[], None),
            ("GET", "/", &["X-Preview: 1"], Some(Header)),
            ("GET", "/", &["x-preview:"], Some(Header)),
            ("GET", "/", &["X_Preview: 1"], Some(Header)),
            ("GET", "/", &["X-Previews: 1"], None),
            ("GET", "/", &["Cookie: session=1"], Some(Cookie)),
            ("GET", "/", &["Cookie: a=b; sessionid=1"], Some(Cookie)),
            (
                "GET",
                "/",
                &["Cookie: a=b", "cookie: c=d;session"],
                Some(Cookie),
            ),
            ("GET", "/", &["Cookie: Session=1"], None),
            ("GET", "/", &["Cookie: a=session"], None),
            // A cookie that is stripped does not count.
            ("GET", "/", &["Cookie: _ga=1"], None),
            ("GET", "/", &["Cookie: _ga=1; session=2"], Some(Cookie)),
        ];
        for (method, path, lines, expected) in rows {
            let fields = sample::fields(lines);
            let found = reason(&policy, method.as_bytes(), path.as_bytes(), &fields);
            assert_eq!(found, expected, "{method} {path} {lines:?}");
        }
        let fields = sample::fields(&["Cookie: session=1", "X-Preview: 1"]);
        assert_eq!(reason(&sample::policy(), b"GET", b"/cart", &fields), None);
    }

    #[test]
    fn stripped_cookies_table() {
        use StrippedCookie::{Changed, Removed, Unchanged};
        let stripped = patterns(&["_ga*", "x"]);
        let rows = [
            ("a=b", Unchanged, ""),
            ("a=b;c=d ;; e", Unchanged, ""),
            ("", Unchanged, ""),
            ("_ga=1", Removed, ""),
            ("_ga=1; _gat=2;x", Removed, ""),
            ("_ga=1; a=b", Changed, "a=b"),
            ("a=b; _ga=1", Changed, "a=b"),
            ("a=b;_ga_X=1;  c=\"d\" ", Changed, "a=b; c=\"d\""),
            ("a=_ga; x=1; b=c=d", Changed, "a=_ga; b=c=d"),
            ("x =1; X=2", Changed, "X=2"),
            ("a=b; a=b; x=", Changed, "a=b; a=b"),
        ];
        for (value, result, expected) in rows {
            let mut out = b"before ".to_vec();
            let found = strip_cookies(&stripped, value.as_bytes(), &mut out);
            assert_eq!(found, result, "{value}");
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("before {expected}")
            );
        }
    }

    proptest::proptest! {
        /// A stripped value has no cookie of these names any more, and the others in their order.
        #[test]
        fn nothing_else_is_taken(value in "[ax=; ]{0,24}") {
            let stripped = patterns(&["x*"]);
            let mut out = Vec::new();
            let kept: Vec<_> = pairs(value.as_bytes()).filter(|pair| !name_of(pair).starts_with(b"x")).collect();
            match strip_cookies(&stripped, value.as_bytes(), &mut out) {
                StrippedCookie::Unchanged => proptest::prop_assert!(kept.iter().copied().eq(pairs(value.as_bytes()))),
                StrippedCookie::Removed => proptest::prop_assert!(kept.is_empty() && out.is_empty()),
                StrippedCookie::Changed => proptest::prop_assert_eq!(out, kept.join(&b"; "[..])),
            }
        }
    }
}
