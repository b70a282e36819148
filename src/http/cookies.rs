//! Changes the attributes of cookies that say where a client sends a cookie back to (RFC 6265 section 5.2), for a
//! backend that does not know by which host and path its client reaches it.

use super::fields::trim;

/// Replacements of the values of `Domain` and `Path`. The first entry that fits is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieEdits {
    /// Domains and their replacements, without dots in front. An empty replacement takes the attribute out.
    pub domains: Vec<(String, String)>,
    /// Paths and their replacements. An entry also fits a longer path whose first segments are its path.
    pub paths: Vec<(String, String)>,
}

/// Edits that change nothing.
pub static NO_COOKIE_EDITS: CookieEdits = CookieEdits {
    domains: Vec::new(),
    paths: Vec::new(),
};

impl CookieEdits {
    /// Whether the edits change nothing.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty()
    }

    /// Passes a value of `Set-Cookie` with changed attributes to `put`, piece by piece.
    pub fn write<'b>(&'b self, value: &'b [u8], mut put: impl FnMut(&'b [u8])) {
        let mut parts = value.split(|&byte| byte == b';');
        put(parts.next().unwrap_or_default());
        for part in parts {
            match self.change(part) {
                None => {
                    put(b";");
                    put(part);
                }
                Some([b"", b"", b""]) => {}
                Some([name, start, end]) => {
                    for piece in [b"; ", name, b"=", start, end] {
                        put(piece);
                    }
                }
            }
        }
    }

    /// The name of an attribute and the two parts of its new value, all empty if the attribute is taken out; `None`:
    /// the attribute stays as it is.
    fn change<'b>(&'b self, part: &'b [u8]) -> Option<[&'b [u8]; 3]> {
        let at = memchr::memchr(b'=', part)?;
        let (name, value) = (trim(&part[..at]), trim(&part[at + 1..]));
        if name.eq_ignore_ascii_case(b"domain") {
            let bare = value.strip_prefix(b".").unwrap_or(value);
            let is_meant =
                |(from, _): &&(String, String)| bare.eq_ignore_ascii_case(from.as_bytes());
            let (_, to) = self.domains.iter().find(is_meant)?;
            return Some(if to.is_empty() {
                [b"", b"", b""]
            } else {
                [name, to.as_bytes(), b""]
            });
        }
        if name.eq_ignore_ascii_case(b"path") {
            let mut changed = self.paths.iter();
            let [start, end] = changed.find_map(|(from, to)| moved(value, from, to))?;
            return Some([name, start, end]);
        }
        None
    }
}

/// Replaces the prefix `from` of a path by `to`. The result is the new path in two parts.
fn moved<'b>(path: &'b [u8], from: &str, to: &'b str) -> Option<[&'b [u8]; 2]> {
    let rest = path.strip_prefix(from.trim_end_matches('/').as_bytes())?;
    if !matches!(rest, [] | [b'/', ..]) {
        return None;
    }
    let to = to.trim_end_matches('/').as_bytes();
    match (to, rest) {
        (b"", b"") => Some([b"/", b""]),
        // `/` itself becomes `/api`: a cookie for `/api/` would not be sent to `/api`.
        (to, b"/") if !to.is_empty() => Some([to, b""]),
        (to, rest) => Some([to, rest]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(domains: &[(&str, &str)], paths: &[(&str, &str)]) -> CookieEdits {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(from, to)| (from.to_string(), to.to_string()))
                .collect()
        };
        CookieEdits {
            domains: owned(domains),
            paths: owned(paths),
        }
    }

    #[test]
    fn cookies_table() {
        let edits = edits(
            &[("backend.internal", "www.example"), ("gone.internal", "")],
            &[("/app/", "/"), ("/old", "/new/x"), ("/", "/api")],
        );
        let rows = [
            ("a=b", "a=b"),
            (
                "a=Domain=backend.internal; Secure",
                "a=Domain=backend.internal; Secure",
            ),
            (
                "a=b; Domain=backend.internal; HttpOnly",
                "a=b; Domain=www.example; HttpOnly",
            ),
            (
                "a=b;DOMAIN = .Backend.Internal ;x",
                "a=b; DOMAIN=www.example;x",
            ),
            (
                "a=b; domain=sub.backend.internal",
                "a=b; domain=sub.backend.internal",
            ),
            ("a=b; Domain=gone.internal; Secure", "a=b; Secure"),
            ("a=b; Path=/app/x", "a=b; Path=/x"),
            ("a=b; Path=/app", "a=b; Path=/"),
            ("a=b; path=/application", "a=b; path=/api/application"),
            ("a=b; Path=/old/y", "a=b; Path=/new/x/y"),
            ("a=b; Path=/old/", "a=b; Path=/new/x"),
            ("a=b; Path=/", "a=b; Path=/api"),
            ("a=b; Path=x", "a=b; Path=x"),
            ("a=b; Path=", "a=b; Path=/api"),
            ("a=b; Path", "a=b; Path"),
            (
                "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT;",
                "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT;",
            ),
        ];
        for (value, expected) in rows {
            let mut written = Vec::new();
            edits.write(value.as_bytes(), |piece| written.extend_from_slice(piece));
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{value}");
        }
    }

    proptest::proptest! {
        /// Attributes that no entry names, and all other text of a backend, pass byte for byte.
        #[test]
        fn what_is_not_meant_stays(value in "[a-z=;. /A-Z\"]{0,40}") {
            let edits = edits(&[("backend.internal", "www.example")], &[("/0", "/1")]);
            let mut written = Vec::new();
            edits.write(value.as_bytes(), |piece| written.extend_from_slice(piece));
            proptest::prop_assert_eq!(written, value.as_bytes());
        }
    }
}
