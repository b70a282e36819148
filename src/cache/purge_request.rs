//! `PURGE` and `BAN`: requests by which content management systems purge the cache in front of them. No standard
//! describes them; their forms are those that plugins for Varnish send.
//!
//! A form that is not understood is refused: a purge that silently meets nothing would leave old pages in the cache.

use httparse::Header;

use crate::base::limits;
use crate::http::fields::{find, values};

/// The responses that a request purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeRequest {
    /// Stored responses of URLs.
    Urls(Urls),
    /// Stored responses with one of these tags.
    Tags(Vec<Vec<u8>>),
}

/// The URLs that a request purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urls {
    /// The target of the request.
    Target,
    /// The path of the request with any query.
    AnyQuery,
    /// A path, perhaps with a query, of the host of the request.
    Exact(Vec<u8>),
    /// All paths of the host of the request that begin so.
    Prefix(Vec<u8>),
    /// Everything of the zone.
    Zone,
}

/// A request is not understood: its regular expression is more than a prefix, or it names too many tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnderstood;

/// The fields in which requests name tags.
const TAGS: [&str; 10] = [
    "surrogate-key",
    "cache-tag",
    "cache-tags",
    "x-cache-tag",
    "x-cache-tags",
    "purge-cache-tags",
    "xkey",
    "xkey-purge",
    "xkey-softpurge",
    "x-tags",
];
/// The texts that stand around a tag in regular expressions that find it in a list.
const AROUND_TAGS: [&[u8]; 14] = [
    b"(?:^|,)",
    b"(^|,)",
    b"(^|\\s)",
    b"(^| )",
    b"(\\s|^)",
    b"(,|^)",
    b"(?:,|$)",
    b"(,|$)",
    b"(\\s|$)",
    b"( |$)",
    b"($|\\s)",
    b"($|,)",
    b"(?=\\s|$)",
    b"(?=,|$)",
];

/// Whether a request has one of the methods.
pub fn is_purge(method: &[u8]) -> bool {
    matches!(method, b"PURGE" | b"BAN")
}

/// Whether stored responses become stale, rather than not used any more.
pub fn is_soft(fields: &[Header<'_>]) -> bool {
    let says = |name, wanted: &str| {
        find(fields, name).is_some_and(|value| value.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    says("x-purge-mode", "soft")
        || says("x-soft-purge", "1")
        || says("fastly-soft-purge", "1")
        || find(fields, "xkey-softpurge").is_some()
}

/// Reads a request. `target`: its path and query, in the form in which they are forwarded.
pub fn read(target: &[u8], fields: &[Header<'_>]) -> Result<PurgeRequest, NotUnderstood> {
    let named = TAGS.iter().filter(|name| find(fields, name).is_some());
    let mut tags = Vec::new();
    let mut has_tags = false;
    for name in named {
        has_tags = true;
        for value in values(fields, name) {
            read_tags(value, &mut tags)?;
        }
    }
    if has_tags {
        let is_bounded = (1..=limits::CACHE_TAGS_PURGED).contains(&tags.len());
        return is_bounded
            .then_some(PurgeRequest::Tags(tags))
            .ok_or(NotUnderstood);
    }
    if let Some(url) = find(fields, "x-url") {
        let is_kind_open = find(fields, "x-content-type").is_none_or(is_open);
        let is_host_open = find(fields, "x-host").is_some_and(is_open);
        return match (is_kind_open, find(fields, "x-host"), is_host_open) {
            (true, _, true) => Ok(PurgeRequest::Urls(Urls::Zone)),
            (true, None, _) => read_pattern(url).map(PurgeRequest::Urls),
            _ => Err(NotUnderstood),
        };
    }
    let urls = match find(fields, "x-purge-method") {
        Some(b"regex") => read_pattern(target)?,
        Some(b"default") => Urls::AnyQuery,
        None | Some(b"exact") if target.ends_with(b".*") => read_pattern(target)?,
        None | Some(b"exact") => Urls::Target,
        Some(_) => return Err(NotUnderstood),
    };
    Ok(PurgeRequest::Urls(urls))
}

/// Reads a regular expression for paths that is a prefix, or a path as a whole.
fn read_pattern(pattern: &[u8]) -> Result<Urls, NotUnderstood> {
    let (text, is_anchored) = match pattern.strip_prefix(b"^") {
        Some(text) => (text, true),
        None => (pattern, false),
    };
    let bare = text.strip_suffix(b"$").unwrap_or(text);
    let is_closed = bare.len() < text.len();
    let (bare, is_open) = match bare.strip_suffix(b".*") {
        Some(bare) => (bare, true),
        None => (bare, !is_closed),
    };
    let path = unescaped(bare)?;
    match path.first() {
        // The expression may be found anywhere in a path, so that it is none of a prefix.
        Some(b'/') if is_anchored || text.ends_with(b".*") => Ok(if is_open {
            Urls::Prefix(path)
        } else {
            Urls::Exact(path)
        }),
        Some(b'/') if path.len() == 1 => Ok(Urls::Prefix(path)),
        None if is_open => Ok(Urls::Prefix(b"/".to_vec())),
        _ => Err(NotUnderstood),
    }
}

/// Whether an expression is met by everything.
fn is_open(pattern: &[u8]) -> bool {
    matches!(pattern, b".*" | b"^.*" | b".*$" | b"^.*$" | b"")
}

/// A text without the backslashes before its punctuation. Errors: the text is more than a text.
fn unescaped(pattern: &[u8]) -> Result<Vec<u8>, NotUnderstood> {
    let mut text = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => text.push(*escaped),
                _ => return Err(NotUnderstood),
            },
            b'*' | b'+' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'$' => {
                return Err(NotUnderstood);
            }
            // A question mark begins the query: an optional character is not written without a group.
            _ => text.push(byte),
        }
    }
    Ok(text)
}

/// Adds the tags of a value: a list with blanks or commas, or a regular expression that finds one of several tags in a
/// list.
fn read_tags(value: &[u8], tags: &mut Vec<Vec<u8>>) -> Result<(), NotUnderstood> {
    let mut inner = value;
    while let Some(rest) = AROUND_TAGS
        .iter()
        .find_map(|around| inner.strip_prefix(*around))
    {
        inner = rest;
    }
    while let Some(rest) = AROUND_TAGS
        .iter()
        .find_map(|around| inner.strip_suffix(*around))
    {
        inner = rest;
    }
    let bare = inner.strip_prefix(b"(?:").or(inner.strip_prefix(b"("));
    let bare = bare.and_then(|bare| bare.strip_suffix(b")"));
    let parts = bare.unwrap_or(inner).split(|byte| b" \t,|".contains(byte));
    for part in parts.filter(|part| !part.is_empty()) {
        tags.push(unescaped(part)?);
        if tags.len() > limits::CACHE_TAGS_PURGED {
            return Err(NotUnderstood);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header<'a>(name: &'a str, value: &'a str) -> Header<'a> {
        Header {
            name,
            value: value.as_bytes(),
        }
    }

    #[test]
    fn urls_table() {
        let prefix = |text: &str| Some(Urls::Prefix(text.into()));
        let exact = |text: &str| Some(Urls::Exact(text.into()));
        type Fields<'a> = &'a [(&'a str, &'a str)];
        const REGEX: Fields<'_> = &[("X-Purge-Method", "regex")];
        let rows: [(&str, Fields<'_>, Option<Urls>); 21] = [
            ("/a?b", &[], Some(Urls::Target)),
            ("/a", &[("X-Purge-Method", "exact")], Some(Urls::Target)),
            ("/a", &[("X-Purge-Method", "default")], Some(Urls::AnyQuery)),
            ("/a", &[("X-Purge-Method", "fetch")], None),
            ("/.*", &[], prefix("/")),
            ("/a/.*", REGEX, prefix("/a/")),
            ("/a/b\\.js.*", REGEX, prefix("/a/b.js")),
            ("/a/(b|c)", REGEX, None),
            ("/a/[0-9]+.*", REGEX, None),
            ("/a", REGEX, None),
            ("/", &[("X-Url", "^/img/")], prefix("/img/")),
            ("/", &[("X-Url", "^/img/1$")], exact("/img/1")),
            ("/", &[("X-Url", ".*")], prefix("/")),
            ("/", &[("X-Url", "^/img/.*$")], prefix("/img/")),
            ("/", &[("X-Url", "img")], None),
            ("/", &[("X-Url", "^/a"), ("X-Host", ".*")], Some(Urls::Zone)),
            ("/", &[("X-Url", "^/a"), ("X-Host", "^a\\.test$")], None),
            (
                "/",
                &[("X-Url", "^/a"), ("X-Content-Type", "text/css")],
                None,
            ),
            (
                "/",
                &[("X-Url", "^/a"), ("X-Content-Type", ".*")],
                prefix("/a"),
            ),
            ("/", &[("X-Url", "^/a$b")], None),
            ("/", &[("X-Url", "^/a\\d")], None),
        ];
        for (target, fields, expected) in rows {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| header(name, value))
                .collect();
            let found = read(target.as_bytes(), &fields).ok();
            let expected = expected.map(PurgeRequest::Urls);
            assert_eq!(found, expected, "{target} {fields:?}");
        }
    }

    #[test]
    fn tags_table() {
        let rows: [(&str, &str, Option<&[&str]>); 11] = [
            ("Surrogate-Key", "a b  c", Some(&["a", "b", "c"])),
            ("Cache-Tag", "a, b", Some(&["a", "b"])),
            ("xkey", "node:1", Some(&["node:1"])),
            ("XKey-SoftPurge", "a", Some(&["a"])),
            ("X-Cache-Tags", "(^|,)(a|b-1)(,|$)", Some(&["a", "b-1"])),
            ("X-Cache-Tags", "(?:^|,)(?:a|b)(?:,|$)", Some(&["a", "b"])),
            (
                "Cache-Tags",
                "(node\\:1|c\\.d)(?=\\s|$)",
                Some(&["node:1", "c.d"]),
            ),
            ("Cache-Tags", "a.*|b", None),
            ("Cache-Tags", "^a", None),
            ("Cache-Tags", "(a|(b))", None),
            ("Surrogate-Key", " ", None),
        ];
        for (name, value, expected) in rows {
            let found = read(b"/", &[header(name, value)]).ok();
            let expected = expected.map(|tags| {
                let tags = tags.iter();
                PurgeRequest::Tags(tags.map(|tag| tag.as_bytes().to_vec()).collect())
            });
            assert_eq!(found, expected, "{name}: {value}");
        }
        let many = "a ".repeat(limits::CACHE_TAGS_PURGED + 1);
        assert_eq!(read(b"/", &[header("xkey", &many)]), Err(NotUnderstood));
    }

    #[test]
    fn soft_purges_table() {
        let rows = [
            ("X-Purge-Mode", "SOFT", true),
            ("X-Purge-Mode", "hard", false),
            ("X-Soft-Purge", "1", true),
            ("Fastly-Soft-Purge", "1", true),
            ("XKey-SoftPurge", "a", true),
            ("XKey-Purge", "a", false),
        ];
        for (name, value, expected) in rows {
            assert_eq!(is_soft(&[header(name, value)]), expected, "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(target: Vec<u8>, value: Vec<u8>, name in 0..TAGS.len() + 2) {
            let name = TAGS.get(name).copied().unwrap_or("x-url");
            let field = Header { name, value: &value };
            if let Ok(PurgeRequest::Tags(tags)) = read(&target, &[field]) {
                prop_assert!(tags.iter().all(|tag| !tag.is_empty()));
            }
        }
    }
}
