//! The URLs whose stored responses become invalid by a request that may have changed something (RFC 9111 section 4.4).

use crate::cache::content_location::TargetUri;
use crate::cache::key::write_authority;
use crate::http::host;
use crate::http::path;

/// Whether a response invalidates the target of its request, and what `Location` and `Content-Location` name.
pub fn invalidates(method: &[u8], status: u16) -> bool {
    // RFC 9111 section 4.4 (MUST): after a non-error answer to an unsafe method, or one whose safety is unknown.
    !is_safe(method) && changes(status)
}

/// Whether an answer of this status to an unsafe method says that the method may have changed something.
pub fn changes(status: u16) -> bool {
    (200..400).contains(&status)
}

/// Whether a method is known to change nothing (RFC 9110 section 9.2.1 and the registry of methods). Methods are
/// case-sensitive.
pub fn is_safe(method: &[u8]) -> bool {
    const SAFE: [&[u8]; 8] = [
        b"GET",
        b"HEAD",
        b"OPTIONS",
        b"TRACE",
        b"PROPFIND",
        b"QUERY",
        b"REPORT",
        b"SEARCH",
    ];
    SAFE.contains(&method)
}

/// A path and a query that belong to the origin of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidated {
    text: Vec<u8>,
    /// Where the query begins; `None`: there is none.
    query_start: Option<usize>,
}

impl Invalidated {
    /// The path, in the normal form in which requests are forwarded.
    pub fn path(&self) -> &[u8] {
        match self.query_start {
            Some(start) => &self.text[..start - 1],
            None => &self.text,
        }
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.query_start.map(|start| &self.text[start..])
    }
}

/// The path and query that a reference in `Location` or `Content-Location` names, resolved against the target of the
/// request (RFC 3986 section 5.2). `None`: the reference has another origin or is malformed.
///
/// The reference is read as the client gets it, since the target is the one that the client asked for.
pub fn resolve(target: &TargetUri<'_>, reference: &[u8]) -> Option<Invalidated> {
    let reference = before(reference, b'#');
    let base = before(target.path_and_query, b'#');
    let (base_path, base_query) = split_query(base);
    let rest = match scheme_of(reference) {
        Some((scheme, rest)) => {
            // RFC 9111 section 4.4 (MUST NOT): nothing of another origin is invalidated.
            let is_same = scheme.eq_ignore_ascii_case(target.scheme);
            let named = rest.strip_prefix(b"//").filter(|_| is_same)?;
            behind_authority(target, named)?
        }
        None => match reference.strip_prefix(b"//") {
            Some(named) => behind_authority(target, named)?,
            None => return relative(base_path, base_query, reference),
        },
    };
    let (path, query) = split_query(rest);
    normal(if path.is_empty() { b"/" } else { path }, query)
}

/// Resolves a reference that has neither scheme nor authority.
fn relative(base_path: &[u8], base_query: Option<&[u8]>, reference: &[u8]) -> Option<Invalidated> {
    let (path, query) = split_query(reference);
    if path.is_empty() {
        return normal(base_path, query.or(base_query));
    }
    if path.starts_with(b"/") {
        return normal(path, query);
    }
    let folder = memchr::memrchr(b'/', base_path)? + 1;
    normal(&[&base_path[..folder], path].concat(), query)
}

/// The path and query behind an authority, if it is the one of the target.
fn behind_authority<'r>(target: &TargetUri<'_>, named: &'r [u8]) -> Option<&'r [u8]> {
    let end = named.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, rest) = named.split_at(end.unwrap_or(named.len()));
    (canonical(target, authority)? == canonical(target, target.authority)?).then_some(rest)
}

/// An authority as keys have it.
fn canonical(target: &TargetUri<'_>, authority: &[u8]) -> Option<Vec<u8>> {
    let (name, port) = host::split(authority)?;
    let scheme = if target.scheme == b"https" {
        "https"
    } else {
        "http"
    };
    let mut out = Vec::with_capacity(authority.len());
    write_authority(scheme, name, port, &mut out);
    Some(out)
}

/// The path as the path of a request would be forwarded.
fn normal(path: &[u8], query: Option<&[u8]>) -> Option<Invalidated> {
    let mut scratch = Vec::new();
    let mut text = path::normalise(path, &mut scratch).ok()?.to_vec();
    let mut query_start = None;
    if let Some(query) = query {
        text.push(b'?');
        query_start = Some(text.len());
        text.extend_from_slice(query);
    }
    Some(Invalidated { text, query_start })
}

/// Scheme and rest of a reference that has a scheme (RFC 3986 section 3.1).
fn scheme_of(reference: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b':', reference)?;
    let scheme = &reference[..at];
    let is_scheme_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let is_scheme =
        scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(is_scheme_byte);
    is_scheme.then_some((scheme, &reference[at + 1..]))
}

fn split_query(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn before(text: &[u8], end: u8) -> &[u8] {
    &text[..memchr::memchr(end, text).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(base: &TargetUri<'_>, reference: &str) -> String {
        let Some(found) = resolve(base, reference.as_bytes()) else {
            return "other".to_owned();
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let query = found
            .query()
            .map_or(String::new(), |query| format!("?{}", text(query)));
        text(found.path()) + &query
    }

    #[test]
    fn methods_and_statuses_table() {
        let rows: [(&[u8], u16, bool); 22] = [
            (b"POST", 200, true),
            (b"PUT", 201, true),
            (b"DELETE", 204, true),
            (b"PATCH", 299, true),
            (b"POST", 303, true),
            (b"POST", 399, true),
            (b"M-SEARCH", 200, true),
            (b"UNHEARD-OF", 200, true),
            // Methods are case-sensitive.
            (b"get", 200, true),
            (b"", 200, true),
            (b"POST", 400, false),
            (b"POST", 404, false),
            (b"POST", 500, false),
            (b"POST", 101, false),
            (b"POST", 0, false),
            (b"GET", 200, false),
            (b"HEAD", 200, false),
            (b"OPTIONS", 200, false),
            (b"TRACE", 200, false),
            (b"PROPFIND", 207, false),
            (b"REPORT", 200, false),
            (b"QUERY", 200, false),
        ];
        for (method, status, expected) in rows {
            assert_eq!(invalidates(method, status), expected, "{method:?} {status}");
        }
    }

    /// The examples of RFC 3986 section 5.4, as far as they name an origin of HTTP.
    #[test]
    fn references_table() {
        let base = TargetUri {
            scheme: b"http",
            authority: b"a",
            path_and_query: b"/b/c/d;p?q",
        };
        let rows = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("//g", "other"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g/../h", "/b/c/h"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("g#s/../x", "/b/c/g"),
            ("g:h", "other"),
            ("http:g", "other"),
            // A path that climbs above the root is none that a request can have.
            ("../../../g", "other"),
        ];
        for (reference, expected) in rows {
            assert_eq!(resolved(&base, reference), expected, "{reference}");
        }
    }

    /// RFC 9111 section 4.4 (MUST NOT): nothing of another origin is invalidated.
    #[test]
    fn origins_table() {
        let base = TargetUri {
            scheme: b"https",
            authority: b"www.Example",
            path_and_query: b"/a?b",
        };
        let rows = [
            ("https://www.example/c", "/c"),
            ("HTTPS://WWW.EXAMPLE:443/c?d", "/c?d"),
            ("https://www.example./c", "/c"),
            ("https://www.example", "/"),
            ("https://www.example?", "/?"),
            ("https://www.example?d", "/?d"),
            ("https://www.example#d", "/"),
            ("//www.example/c/../%64", "/d"),
            ("/c?d=https://other.example/", "/c?d=https://other.example/"),
            ("c?d=http://other.example/", "/c?d=http://other.example/"),
            ("http://www.example/c", "other"),
            ("https://www.example:444/c", "other"),
            ("https://example/c", "other"),
            ("https://user@www.example/c", "other"),
            ("https://www.example@other.example/c", "other"),
            ("https://www.example.other.example/c", "other"),
            ("https:/c", "other"),
            ("https:c", "other"),
            ("ftp://www.example/c", "other"),
            ("//other.example/c", "other"),
            ("///c", "other"),
            ("/%zz", "other"),
            ("/a/..%2f..", "other"),
        ];
        for (reference, expected) in rows {
            assert_eq!(resolved(&base, reference), expected, "{reference}");
        }
        let ported = TargetUri {
            authority: b"[2001:db8::1]:8443",
            ..base
        };
        assert_eq!(resolved(&ported, "https://[2001:DB8::1]:8443/c"), "/c");
        assert_eq!(resolved(&ported, "https://[2001:db8:0::1]:8443/c"), "/c");
        assert_eq!(resolved(&ported, "https://[2001:db8::1]/c"), "other");
    }

    #[test]
    fn a_request_without_a_path_resolves_no_relative_reference() {
        let base = TargetUri {
            scheme: b"http",
            authority: b"a",
            path_and_query: b"*",
        };
        assert_eq!(resolved(&base, "g"), "other");
        assert_eq!(resolved(&base, "/g"), "/g");
    }

    proptest::proptest! {
        /// A resolved path is one that a request can have, and stays as it is when it is a reference itself.
        #[test]
        fn resolved_paths_are_settled(reference in "[a/.?:#%2eh-]{0,16}") {
            let base = TargetUri { scheme: b"http", authority: b"a", path_and_query: b"/b/c?d" };
            if let Some(found) = resolve(&base, reference.as_bytes()) {
                proptest::prop_assert!(found.path().starts_with(b"/"));
                let again = resolve(&base, &found.text);
                // A path that begins with two slashes is the authority of a reference.
                if !found.path().starts_with(b"//") {
                    proptest::prop_assert_eq!(again, Some(found));
                }
            }
        }

        #[test]
        fn any_bytes_are_safe(reference: Vec<u8>, path: Vec<u8>) {
            let base = TargetUri { scheme: b"http", authority: b"a", path_and_query: &path };
            let _ = resolve(&base, &reference);
        }
    }
}
