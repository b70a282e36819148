//! The URLs whose stored responses become invalid by a request that may have changed something (RFC 9111 section 4.4).

use crate::cache::content_location::TargetUri;
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
    let default_port = if target.scheme == b"https" { 443 } else { 80 };
    let split =
        |authority| host::split(authority).map(|(name, port)| (host::without_root(name), port));
    host::same(split(authority)?, split(target.authority)?, default_port).then_some(rest)
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
