//! The four forms of a request target (RFC 9112 section 3.2).

use super::Method;
use crate::http::host;
use crate::http::refusal::Refusal;

/// A target taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestTarget<'b> {
    /// The authority of a target in absolute form.
    pub(super) authority: Option<&'b [u8]>,
    /// Begins with a slash, or is `*`.
    pub(super) path: &'b [u8],
    /// The query: the bytes behind the first `?`.
    pub(super) query: Option<&'b [u8]>,
}

impl<'b> RequestTarget<'b> {
    /// Takes a target apart. httparse has made sure that it is not empty and has no blank and no control byte.
    #[inline(always)]
    pub(super) fn of(method: Method<'_>, target: &'b [u8]) -> Result<RequestTarget<'b>, Refusal> {
        if !target.is_ascii() {
            return Err(Refusal::BadTarget);
        }
        debug_assert!(!target.is_empty(), "a request line has a target");
        if target[0] == b'/' {
            let (path, query) = split_query(target)?;
            return Ok(RequestTarget {
                authority: None,
                path,
                query,
            });
        }
        let is_options = method.as_bytes() == b"OPTIONS";
        if target == b"*" && is_options {
            return Ok(RequestTarget {
                authority: None,
                path: target,
                query: None,
            });
        }
        RequestTarget::absolute(target, is_options)
    }

    /// Bytes of a target, even of an incomplete one, that count against the bound. As over HTTP/2, only the path and
    /// the query count, not the scheme and the authority.
    #[inline(always)]
    pub(super) fn counted_bytes(target: &[u8]) -> usize {
        match target {
            [b'/', ..] => target.len(),
            _ => bytes_behind_authority(target),
        }
    }

    #[cold]
    fn absolute(target: &'b [u8], is_options: bool) -> Result<RequestTarget<'b>, Refusal> {
        let scheme_len = memchr::memmem::find(target, b"://").ok_or(Refusal::BadTarget)?;
        let scheme = &target[..scheme_len];
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(Refusal::BadTarget);
        }
        let rest = &target[scheme_len + 3..];
        let authority_len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_len);
        let (path, query) = split_query(rest)?;
        let path: &[u8] = match (path, query) {
            // The last proxy makes an asterisk of it (RFC 9112 section 3.2.4).
            (b"", None) if is_options => b"*",
            (b"", _) => b"/",
            (path, _) => path,
        };
        Ok(RequestTarget {
            authority: Some(authority),
            path,
            query,
        })
    }

    /// The authority that the request is for, and the name in the authority, given the value of its `Host`. Both are
    /// empty if the request names no host. Target and field must be well-formed. The authority of an absolute target
    /// takes precedence over `Host` (RFC 9112 section 3.2.2).
    #[inline(always)]
    pub(super) fn host(&self, field: Option<&'b [u8]>) -> Result<(&'b [u8], &'b [u8]), Refusal> {
        let split = |authority: &'b [u8]| match host::split(authority) {
            Some((name, _port)) => Ok((host::without_empty_port(authority), name)),
            None => Err(Refusal::BadHost),
        };
        match (self.authority, field) {
            (None, None) => Ok((b"", b"")),
            (None, Some(value)) => split(value),
            // An empty field names no host. A request with an absolute target need not name one in `Host`.
            (Some(authority), None | Some(b"")) => split(authority),
            (Some(authority), Some(value)) => {
                split(value)?;
                split(authority)
            }
        }
    }
}

#[cold]
fn bytes_behind_authority(target: &[u8]) -> usize {
    let Some(scheme_len) = memchr::memmem::find(target, b"://") else {
        return target.len();
    };
    let rest = &target[scheme_len + 3..];
    match memchr::memchr2(b'/', b'?', rest) {
        // The empty path stands for a slash.
        Some(at) => rest.len() - at + usize::from(rest[at] == b'?'),
        None => 1,
    }
}

/// Splits at the first `?`. A fragment is no part of a request.
fn split_query(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), Refusal> {
    let Some(at) = memchr::memchr2(b'?', b'#', text) else {
        return Ok((text, None));
    };
    let query = &text[at + 1..];
    if text[at] == b'#' || memchr::memchr(b'#', query).is_some() {
        return Err(Refusal::BadTarget);
    }
    Ok((&text[..at], Some(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_bytes_table() {
        let rows = [
            ("/", 1),
            ("/a?b", 4),
            ("/http://a/b", 11),
            ("*", 1),
            ("http://a.example/b?c", 4),
            ("HTTPS://a.example:8/", 1),
            ("http://a.example", 1),
            ("http://a.example?b/c", 5),
            ("http://", 1),
            ("http:/", 6),
            ("example.com:80", 14),
        ];
        for (target, expected) in rows {
            assert_eq!(
                RequestTarget::counted_bytes(target.as_bytes()),
                expected,
                "{target}"
            );
        }
    }
}
