//! Path normalisation (RFC 3986 sections 5.2.4 and 6.2.2.3): what is matched is what is forwarded, so no two readers of
//! the path may disagree on its segments. What remains that servers read in more than one way is in `readings.rs`.

mod readings;

pub use readings::{Readings, is_plain, only_reading};

use crate::http::refusal::Refusal;

/// Resolves dot segments, `%2e` counting as a dot. Everything else stays byte for byte: `//`, other percent-encodings,
/// `%2f` and backslashes, which separate nothing here. The result is `path` itself if it has no dot segment, else it is
/// written to `scratch`. `*` is its own normal form.
///
/// Errors: a malformed percent-encoding or `%00`; a path that climbs above the root; a part that is a dot segment only
/// to servers which take `%2f`, `%5c` or a backslash for a slash, or cut segments at `;`.
pub fn normalise<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refusal> {
    if !needs_care(path)? {
        return Ok(path);
    }
    scratch.clear();
    resolve(path, scratch)?;
    Ok(scratch)
}

/// The path without a prefix that it has, as it is forwarded. It is never empty and begins with one slash: a backend
/// that redirects to a path which begins with `//` or `/\` sends its client to another host. The result is a part of
/// `path` if that is so already, else it is written to `scratch`.
pub fn without_prefix<'a>(path: &'a [u8], prefix: &str, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let rest = path.strip_prefix(prefix.as_bytes()).unwrap_or(path);
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

/// Checks every percent-encoding, and tells whether a segment (in the widest sense) begins with a dot.
fn needs_care(path: &[u8]) -> Result<bool, Refusal> {
    let mut care = false;
    for at in memchr::memchr3_iter(b'.', b'%', b'\\', path) {
        care |= match path[at] {
            b'.' => at > 0 && path[at - 1] == b'/',
            b'%' => matches!(escaped(&path[at..])?, b'.' | b'/' | b'\\'),
            _ => true,
        };
    }
    Ok(care)
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

fn resolve(path: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut segments = path.split(|&byte| byte == b'/');
    // What stands before the first slash: nothing.
    segments.next();
    let mut ends_in_dots = false;
    for segment in segments {
        let dots = dots(segment);
        match dots {
            Some(1) => {}
            Some(_) => {
                let parent = memchr::memrchr(b'/', out).ok_or(Refusal::PathAboveRoot)?;
                out.truncate(parent);
            }
            None if hides_dots(segment) => return Err(Refusal::AmbiguousPath),
            None => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
        ends_in_dots = dots.is_some();
    }
    // A directory stays one: `/a/.` is `/a/`.
    if ends_in_dots {
        out.push(b'/');
    }
    Ok(())
}

/// How many dots a segment consists of, if it is a dot segment: one or two.
fn dots(segment: &[u8]) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = after_dot(rest)?;
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}

fn after_dot(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Whether some part of a segment is a dot segment to servers that separate segments at more than a slash, or that take
/// what follows a semicolon for a parameter.
fn hides_dots(segment: &[u8]) -> bool {
    let mut part_start = 0;
    let mut in_parameter = false;
    let mut at = 0;
    while at < segment.len() {
        let (len, separates) = match segment[at..] {
            [b'\\', ..] => (1, true),
            [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => (3, true),
            [b';', ..] => (1, false),
            [b'%', b'3', b'b' | b'B', ..] => (3, false),
            _ => {
                at += 1;
                continue;
            }
        };
        if !in_parameter && dots(&segment[part_start..at]).is_some() {
            return true;
        }
        at += len;
        part_start = at;
        in_parameter = !separates;
    }
    // Without any separator the segment was seen to be no dot segment.
    !in_parameter && dots(&segment[part_start..]).is_some()
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
            ("/%7Ea%2fb", "/%7Ea%2fb"),
            ("/a%2fb/../c", "/c"),
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
        for (path, prefix, expected) in rows {
            let mut scratch = Vec::new();
            let rest = without_prefix(path.as_bytes(), prefix, &mut scratch);
            assert_eq!(rest, expected.as_bytes(), "{path} without {prefix}");
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
                    let decoded = segment.replace("%2e", ".").replace("%2E", ".");
                    prop_assert!(decoded != "." && decoded != "..", "{path} became {once}");
                    prop_assert!(path.split('/').any(|original| original == segment));
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
