//! Path normalisation (RFC 3986 section 6.2.2). The path that is matched is the path that is forwarded, so no two
//! readers of the path may disagree on its segments. `readings.rs` checks the paths that servers still read in more
//! than one way.

mod readings;

pub use readings::{Readings, is_plain, only_reading};

use crate::http::refusal::Refusal;

/// How slashes that follow one another are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeSlashes {
    /// The slashes are one slash when the route is looked for, and in the path that is forwarded.
    #[default]
    On,
    /// The slashes are one slash when the route is looked for, and are forwarded as they came.
    MatchOnly,
    /// Each slash counts.
    Off,
}

/// The normal form of a path: unreserved characters are not escaped, escapes are in capitals, dot segments are
/// resolved. Everything else stays byte for byte: `//`, other percent-encodings, `%2F` and backslashes, which separate
/// nothing here. The result is `path` itself if it is normal; otherwise it is written to `scratch`. `*` is its own
/// normal form.
///
/// Errors: a malformed percent-encoding or `%00`; a path that climbs above the root; a part of a segment that is a dot
/// segment only to servers which take `%2F`, `%5C` or a backslash for a slash, or cut segments at `;`. (Two dots are
/// refused beside any of these. One dot is allowed beside `%2F` alone: it leads nowhere else, and names of stored
/// objects have it.)
pub fn normalise<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refusal> {
    if !needs_care(path)? {
        return Ok(path);
    }
    scratch.clear();
    put_escapes_right(path, scratch);
    resolve(scratch)?;
    Ok(scratch)
}

/// Appends a path with unreserved characters unescaped and other escapes in capitals (RFC 3986 sections 6.2.2.1 and
/// 6.2.2.2). The percent-encodings must be well-formed.
pub fn put_escapes_right(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        match escaped(&rest[at..]) {
            Ok(byte) if is_unreserved(byte) => out.push(byte),
            _ => out.extend(rest[at..].iter().take(3).map(u8::to_ascii_uppercase)),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// A path in which one slash replaces several that follow one another. The result is `path` itself if there are none;
/// otherwise it is written to `scratch`.
pub fn merge_slashes<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memmem::find(path, b"//").is_none() {
        return path;
    }
    scratch.clear();
    for &byte in path {
        if byte != b'/' || scratch.last() != Some(&b'/') {
            scratch.push(byte);
        }
    }
    scratch
}

/// The path without its prefix, as it is forwarded. The result is never empty and begins with one slash: a backend that
/// redirects to a path which begins with `//` or `/\` would send its client to another host. The result is a part of
/// `path` if that part begins so; otherwise it is written to `scratch`. A path whose slashes are not merged may have
/// more slashes than the prefix.
pub fn without_prefix<'a>(path: &'a [u8], prefix: &str, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let rest = behind_prefix(path, prefix.as_bytes()).unwrap_or(path);
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    match rest.iter().take_while(|byte| is_slash(byte)).count() {
        0 if rest.is_empty() => b"/",
        0 | 1 => rest,
        slashes => {
            scratch.clear();
            scratch.push(b'/');
            scratch.extend_from_slice(&rest[slashes..]);
            scratch
        }
    }
}

/// The part of the path behind the prefix. Several slashes of the path may stand for one slash of the prefix.
fn behind_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = path.strip_prefix(prefix) {
        return Some(rest);
    }
    let mut rest = path;
    for byte in prefix {
        rest = rest.strip_prefix(&[*byte])?;
        if *byte == b'/' {
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            rest = &rest[slashes..];
        }
    }
    Some(rest)
}

/// Checks every percent-encoding. The result says whether one of them is not in its normal form, or whether a segment
/// (in the widest sense) begins with a dot.
fn needs_care(path: &[u8]) -> Result<bool, Refusal> {
    let mut care = false;
    for at in memchr::memchr3_iter(b'.', b'%', b'\\', path) {
        care |= match path[at] {
            b'.' => at > 0 && path[at - 1] == b'/',
            b'%' => {
                let byte = escaped(&path[at..])?;
                let is_normal = !path[at + 1..at + 3].iter().any(u8::is_ascii_lowercase);
                !is_normal || is_unreserved(byte) || matches!(byte, b'/' | b'\\')
            }
            _ => true,
        };
    }
    Ok(care)
}

/// The characters that mean the same whether or not they are escaped (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The byte that the percent-encoding at the start of `text` stands for.
fn escaped(text: &[u8]) -> Result<u8, Refusal> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match (digit(1), digit(2)) {
        (Some(0), Some(0)) => Err(Refusal::BadEscape),
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(Refusal::BadEscape),
    }
}

/// Resolves dot segments in place (RFC 3986 section 5.2.4).
fn resolve(path: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut written = 0;
    let mut at = 0;
    let mut ends_in_dots = false;
    // At the start of each turn `at` is the position of a slash. No byte comes before the first slash.
    while at < path.len() {
        let start = at + 1;
        let len = memchr::memchr(b'/', &path[start..]).unwrap_or(path.len() - start);
        let segment = &path[start..start + len];
        let dots = dots(segment);
        match dots {
            Some(1) => {}
            Some(_) => {
                let parent = memchr::memrchr(b'/', &path[..written]);
                written = parent.ok_or(Refusal::PathAboveRoot)?;
            }
            None if hides_dots(segment) => return Err(Refusal::AmbiguousPath),
            None => {
                debug_assert!(written <= at, "segments only move to the front");
                path.copy_within(at..start + len, written);
                written += 1 + len;
            }
        }
        ends_in_dots = dots.is_some();
        at = start + len;
    }
    path.truncate(written);
    // A directory stays one: `/a/.` is `/a/`.
    if ends_in_dots {
        path.push(b'/');
    }
    Ok(())
}

/// How many dots a segment consists of, if it is a dot segment: one or two.
fn dots(segment: &[u8]) -> Option<usize> {
    match segment {
        b"." => Some(1),
        b".." => Some(2),
        _ => None,
    }
}

/// Whether some part of a segment is a dot segment to servers that separate segments at more than a slash, or that take
/// the text behind a semicolon for a parameter. Escapes are in their normal form.
fn hides_dots(segment: &[u8]) -> bool {
    let mut part_start = 0;
    let mut in_parameter = false;
    // Whether only slashes and `%2F` bound the part.
    let mut is_named = true;
    let mut at = 0;
    while at < segment.len() {
        let (len, separates, names) = match segment[at..] {
            [b'\\', ..] => (1, true, false),
            [b'%', b'2', b'F', ..] => (3, true, true),
            [b'%', b'5', b'C', ..] => (3, true, false),
            [b';', ..] => (1, false, false),
            [b'%', b'3', b'B', ..] => (3, false, false),
            _ => {
                at += 1;
                continue;
            }
        };
        if !in_parameter && is_hidden(&segment[part_start..at], is_named && names) {
            return true;
        }
        at += len;
        part_start = at;
        in_parameter = !separates;
        is_named = names;
    }
    // Without any separator the segment was seen to be no dot segment.
    !in_parameter && is_hidden(&segment[part_start..], is_named)
}

fn is_hidden(part: &[u8], is_named: bool) -> bool {
    match dots(part) {
        Some(1) => !is_named,
        found => found.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> Result<String, Refusal> {
        let mut scratch = Vec::new();
        normalise(path.as_bytes(), &mut scratch)
            .map(|path| String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn resolved_table() {
        let rows = [
            ("/", "/"),
            ("*", "*"),
            ("/a/b.c", "/a/b.c"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/./b", "/a/b"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e/b", "/a/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e./b", "/b"),
            ("//", "//"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/..a/.b/c..", "/..a/.b/c.."),
            ("/%7Ea%2fb", "/~a%2Fb"),
            ("/a%2fb/../c", "/c"),
            ("/%61dmin/%41%2d%5f%30", "/admin/A-_0"),
            ("/a%3a%c3%a9%25%20", "/a%3A%C3%A9%25%20"),
            ("/a%2eb/%2ec", "/a.b/.c"),
            ("/a/b%2e%2e", "/a/b.."),
            ("/bucket/.%2fkey", "/bucket/.%2Fkey"),
            ("/bucket/a%2F.%2Fkey", "/bucket/a%2F.%2Fkey"),
            ("/bucket/key%2f%2e", "/bucket/key%2F."),
            ("/%2e%2Fa", "/.%2Fa"),
            ("/a\\b", "/a\\b"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/a;../b", "/a;../b"),
            ("/%252e%252e/a", "/%252e%252e/a"),
        ];
        for (path, expected) in rows {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn refused_table() {
        let rows = [
            ("/..", Refusal::PathAboveRoot),
            ("/../a", Refusal::PathAboveRoot),
            ("/a/../..", Refusal::PathAboveRoot),
            ("/%2e%2e/a", Refusal::PathAboveRoot),
            ("/a/%", Refusal::BadEscape),
            ("/a/%4", Refusal::BadEscape),
            ("/a/%zz", Refusal::BadEscape),
            ("/%4g", Refusal::BadEscape),
            ("/a%00b", Refusal::BadEscape),
            ("/../%zz", Refusal::BadEscape),
            ("/a/..%2fb", Refusal::AmbiguousPath),
            ("/a/b%2F..", Refusal::AmbiguousPath),
            ("/a/b%2f%2e%2e/c", Refusal::AmbiguousPath),
            ("/a/..\\b", Refusal::AmbiguousPath),
            ("/a/b\\..", Refusal::AmbiguousPath),
            ("/a/b%5c..%5Cc", Refusal::AmbiguousPath),
            ("/a/..;/b", Refusal::AmbiguousPath),
            ("/a/..;x=1/b", Refusal::AmbiguousPath),
            ("/a/..%3b/b", Refusal::AmbiguousPath),
            ("/.;/admin", Refusal::AmbiguousPath),
            ("/a\\.\\b", Refusal::AmbiguousPath),
            ("/a/.%2f..%2fb", Refusal::AmbiguousPath),
            ("/a/.%2f.;x", Refusal::AmbiguousPath),
            ("/a/.%5cb", Refusal::AmbiguousPath),
            ("/a/b%2f.\\c", Refusal::AmbiguousPath),
        ];
        for (path, expected) in rows {
            assert_eq!(normal(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn without_prefix_table() {
        let rows = [
            ("/api/users", "/api", "/users"),
            ("/api", "/api", "/"),
            ("/api/", "/api", "/"),
            ("/", "", "/"),
            ("*", "", "*"),
            ("/users//", "", "/users//"),
            ("//host", "", "/host"),
            ("/api//host", "/api", "/host"),
            ("/api/\\host", "/api", "/host"),
            ("/api/\\//\\host/\\x", "/api", "/host/\\x"),
            ("/api///", "/api", "/"),
        ];
        let doubled = [
            ("//api///x", "/api", "/x"),
            ("/api//v1/x//y", "/api/v1", "/x//y"),
            ("//api", "/api", "/"),
        ];
        for (path, prefix, expected) in rows.into_iter().chain(doubled) {
            let mut scratch = Vec::new();
            let rest = without_prefix(path.as_bytes(), prefix, &mut scratch);
            assert_eq!(rest, expected.as_bytes(), "{path} without {prefix}");
        }
    }

    #[test]
    fn slashes_are_merged_table() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("///a//b/", "/a/b/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
        ] {
            let mut scratch = Vec::new();
            assert_eq!(
                merge_slashes(path.as_bytes(), &mut scratch),
                expected.as_bytes(),
                "{path}"
            );
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        let mut scratch = Vec::new();
        let path = b"/api/v1/users/jane.doe%40example.com/";
        assert_eq!(normalise(path, &mut scratch), Ok(&path[..]));
        assert_eq!(scratch.capacity(), 0);
    }

    proptest! {
        /// Of pieces that make dot segments likely: the result is normal, stays below the root and names no segment
        /// that was not there.
        #[test]
        fn results_are_normal(pieces in proptest::collection::vec(
            prop::sample::select(vec!["/", ".", "..", "%2e", "%2F", "\\", "a", ";", "%41", "%5c", "//"]), 0..24))
        {
            let path = format!("/{}", pieces.concat());
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/'));
                for segment in once.split('/') {
                    prop_assert!(segment != "." && segment != "..", "{path} became {once}");
                    let mut right = Vec::new();
                    put_escapes_right(path.as_bytes(), &mut right);
                    let right = String::from_utf8(right).unwrap();
                    prop_assert!(right.split('/').any(|original| original == segment));
                }
            }
        }

        #[test]
        fn any_bytes_are_safe(path in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut scratch = Vec::new();
            let _ = normalise(&path, &mut scratch);
        }
    }
}
