//! The byte of a refused request head that is at fault. The parser does not say, because it has no time to lose; the
//! search asks the parser again and again, for people, off the way of a request.

use super::{FieldSlots, HeadLimits, parse_request};
use crate::http::max_forwards::Forwards;
use crate::http::path;
use crate::http::refusal::Refusal;

/// The byte of `bytes`, the beginning of a request head, for which it was refused; of a whole field, the first byte of
/// its value, and of a whole target, its first byte. `None`: what is at fault is not there (a missing `Host`), or is
/// not among these bytes.
pub fn fault_at(bytes: &[u8], refusal: Refusal, limits: &HeadLimits) -> Option<usize> {
    let is_refused = |bytes: &[u8]| refusal_of(bytes, limits) == Some(refusal);
    if !is_refused(bytes) {
        return None;
    }
    if refusal == Refusal::BadLineEnd {
        return bare_line_end(bytes);
    }
    // The bytes behind the byte at fault do not matter, so the byte at fault is the last one of the shortest refused
    // beginning.
    let shortest = (1..=bytes.len()).rev();
    let shortest = shortest
        .take_while(|len| is_refused(&bytes[..*len]))
        .last()?;
    let head = match head_len(bytes) {
        Some(len) if len == shortest => &bytes[..len],
        _ => return Some(shortest - 1),
    };
    // Only the whole head was refused: for its first line, or for the field without which it would not have been.
    match refusal {
        Refusal::MissingHost => None,
        Refusal::MethodNotAllowed => Some(0),
        Refusal::BadTarget
        | Refusal::BadEscape
        | Refusal::PathAboveRoot
        | Refusal::AmbiguousPath => target_at(head, refusal),
        _ => field_at(head, is_refused),
    }
}

/// Why these bytes are refused as a request, whatever its route; `None` if they are not, or not yet.
fn refusal_of(bytes: &[u8], limits: &HeadLimits) -> Option<Refusal> {
    match parse_request(bytes, &mut FieldSlots::new(), limits) {
        Ok(Some(head)) => {
            let path = path::normalise(head.path, &mut Vec::new()).err();
            path.or(Forwards::of(head.method.as_bytes(), head.fields).err())
        }
        Ok(None) => None,
        Err(refusal) => Some(refusal),
    }
}

fn bare_line_end(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = memchr::memchr_iter(b'\n', bytes);
    line_ends.find(|at| *at == 0 || bytes[at - 1] != b'\r')
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// The last field without which the head is not refused.
fn field_at(head: &[u8], is_refused: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', head).map(|at| at + 1).collect();
    // From the first line to the last one of a field; then there is the empty line.
    let fields = ends.windows(2).rev().skip(1);
    for line in fields.map(|ends| ends[0]..ends[1]) {
        let without = [&head[..line.start], &head[line.end..]].concat();
        if !is_refused(&without) {
            let text = &head[line.clone()];
            let colon = memchr::memchr(b':', text)?;
            let value = &text[colon + 1..];
            let blanks = value.len() - value.trim_ascii_start().len();
            // An empty value has no first byte.
            let offset = if blanks == value.len() {
                colon
            } else {
                colon + 1 + blanks
            };
            return Some(line.start + offset);
        }
    }
    None
}

/// Where in the target it goes wrong.
fn target_at(head: &[u8], refusal: Refusal) -> Option<usize> {
    let start = memchr::memchr(b' ', head)? + 1;
    let len = memchr::memchr2(b' ', b'?', &head[start..])?;
    Some(start + path_fault(&head[start..start + len], refusal))
}

/// The last byte of the shortest beginning of a path that is refused whatever follows; 0 if the path is not to blame.
fn path_fault(path: &[u8], refusal: Refusal) -> usize {
    let is_refused = |path: &[u8]| path::normalise(path, &mut Vec::new()) == Err(refusal);
    let lens = (1..=path.len()).rev();
    let shortest = lens.take_while(|len| is_refused(&path[..*len])).last();
    shortest.map_or(0, |len| len - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        head_bytes: 400,
        fields: 4,
        target_bytes: 100,
    };

    /// `^` stands before the byte at fault.
    #[test]
    fn faults_table() {
        let rows = [
            ("G^\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line"),
            (
                "GET /a^\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
                "bad_request_line",
            ),
            ("GET / HTTP/^3.0\r\nHost: a\r\n\r\n", "unsupported_version"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKL^M / HTTP/1.1\r\n\r\n",
                "method_too_long",
            ),
            ("^TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed"),
            ("GET ^a/b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
            ("GET / HTTP/1.1\r\nHo^ st: a\r\n\r\n", "bad_field_name"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: b^\x01c\r\n\r\n",
                "bad_field_value",
            ),
            ("GET / HTTP/1.1\r\nHost: a^\nX: b\r\n\r\n", "bad_line_end"),
            ("GET / HTTP/1.1\r\nX: b\r\n\r\n", "missing_host"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nHost: ^b\r\n\r\n",
                "repeated_host",
            ),
            ("GET / HTTP/1.1\r\nX: b\r\nHost: ^a b\r\n\r\n", "bad_host"),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:   ^+1\r\n\r\n",
                "bad_content_length",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: ^1\r\n\r\n",
                "repeated_content_length",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ^gzip\r\nX: b\r\n\r\n",
                "unknown_transfer_coding",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nX: 3\r\nX: 4\r^\n\r\n",
                "too_many_fields",
            ),
            (
                "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: ^-1\r\n\r\n",
                "bad_max_forwards",
            ),
            ("GET /a/^%zz/b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_escape"),
            (
                "GET /a/../.^./b?c HTTP/1.1\r\nHost: a\r\n\r\nrest",
                "path_above_root",
            ),
            (
                "GET /a/..^;/b HTTP/1.1\r\nHost: a\r\n\r\n",
                "ambiguous_path",
            ),
        ];
        for (marked, word) in rows {
            let bytes = marked.replacen('^', "", 1).into_bytes();
            let refusal = refusal_of(&bytes, &LIMITS).unwrap_or_else(|| panic!("{marked:?}"));
            assert_eq!(refusal.label(), word, "{marked:?}");
            let found = fault_at(&bytes, refusal, &LIMITS);
            assert_eq!(found, marked.find('^'), "{marked:?}");
        }
    }

    #[test]
    fn what_is_not_among_the_bytes_is_not_marked() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x01\r\n\r\n";
        for len in 0..30 {
            assert_eq!(
                fault_at(&head[..len], Refusal::BadFieldValue, &LIMITS),
                None
            );
        }
        assert_eq!(fault_at(head, Refusal::BadHost, &LIMITS), None);
    }

    proptest::proptest! {
        /// For each refused head the search ends within the bytes of the head.
        #[test]
        fn any_bytes_will_do(bytes in "[ -~\\r\\n\\x00-\\x02:/%.]{0,80}") {
            let head = format!("GET /{bytes} HTTP/1.1\r\nHost: a\r\n{bytes}\r\n\r\n");
            if let Some(refusal) = refusal_of(head.as_bytes(), &LIMITS)
                && let Some(at) = fault_at(head.as_bytes(), refusal, &LIMITS)
            {
                assert!(at < head.len());
            }
        }
    }
}
