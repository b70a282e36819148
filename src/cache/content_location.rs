//! Whether `Content-Location` of a response names the target of its request (RFC 9110 section 8.7).

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetUri<'t> {
    /// The scheme, in lower case: `http` or `https`.
    pub scheme: &'t [u8],
    /// Host and port as the request names them.
    pub authority: &'t [u8],
    /// The path with its query, as it is forwarded.
    pub path_and_query: &'t [u8],
}

/// Whether a reference in `Content-Location` is the target itself: as a whole URI, without its scheme, as a path, as a
/// query, as a last segment, or empty. A reference in any other form is taken for another resource.
pub fn names_target(reference: &[u8], target: &TargetUri<'_>) -> bool {
    let (path, query) = split_query(target.path_and_query);
    if let Some(rest) = strip_scheme(reference, target.scheme) {
        return rest
            .strip_prefix(b"//")
            .is_some_and(|rest| is_at(rest, target));
    }
    if let Some(rest) = reference.strip_prefix(b"//") {
        return is_at(rest, target);
    }
    match reference.first() {
        None => true,
        Some(b'/') => reference == target.path_and_query,
        Some(b'?') => Some(&reference[1..]) == query,
        Some(_) => {
            let (name, own_query) = split_query(reference);
            let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            // A dot segment would have to be resolved, and a colon in the name makes a scheme of it.
            let is_plain = !matches!(name, b"." | b"..") && !name.contains(&b':');
            is_plain && name == last && own_query == query
        }
    }
}

/// Whether an authority with a path is the target.
fn is_at(rest: &[u8], target: &TargetUri<'_>) -> bool {
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    let is_same_path =
        path == target.path_and_query || (path.is_empty() && target.path_and_query == b"/");
    let default_port: &[u8] = if target.scheme == b"https" {
        b":443"
    } else {
        b":80"
    };
    let plain = |authority: &[u8]| {
        let bare = authority.strip_suffix(default_port).unwrap_or(authority);
        bare.to_ascii_lowercase()
    };
    is_same_path && plain(authority) == plain(target.authority)
}

/// The text behind the scheme and its colon.
fn strip_scheme<'r>(reference: &'r [u8], scheme: &[u8]) -> Option<&'r [u8]> {
    let (start, rest) = reference.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn split_query(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == b'?') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_table() {
        let target = TargetUri {
            scheme: b"https",
            authority: b"Example.org:443",
            path_and_query: b"/a/b?c",
        };
        let rows = [
            ("https://example.org/a/b?c", true),
            ("HTTPS://EXAMPLE.org:443/a/b?c", true),
            ("http://example.org/a/b?c", false),
            ("https://example.org:80/a/b?c", false),
            ("https://example.org/a/b", false),
            ("https://example.com/a/b?c", false),
            ("https:/a/b?c", false),
            ("//example.org/a/b?c", true),
            ("//example.org", false),
            ("/a/b?c", true),
            ("/a/b", false),
            ("/a/./b?c", false),
            ("?c", true),
            ("?", false),
            ("b?c", true),
            ("b", false),
            ("c?c", false),
            ("", true),
            ("#x", false),
        ];
        for (reference, expected) in rows {
            assert_eq!(
                names_target(reference.as_bytes(), &target),
                expected,
                "{reference}"
            );
        }
        let root = TargetUri {
            path_and_query: b"/",
            ..target
        };
        assert!(names_target(b"https://example.org", &root));
        assert!(!names_target(b".", &root));
        let colon = TargetUri {
            path_and_query: b"/a:b",
            ..target
        };
        assert!(!names_target(b"a:b", &colon));
        assert!(names_target(b"/a:b", &colon));
    }
}
