//! Repairs heads and trailers of backends that are malformed but have only one reading. The repaired text is then
//! parsed like every other. A well-formed head never comes here.

use crate::base::limits;
use crate::http::fields::{is_token, trim};
use crate::http::refusal::Refusal;

/// A response's head in its proper form.
#[derive(Debug, PartialEq, Eq)]
pub struct RepairedHead {
    pub text: Vec<u8>,
    /// Bytes of the head as the backend sent it.
    pub taken: usize,
    /// Whether no empty lines came before the head. The backend may have counted such lines as a part of the response
    /// before.
    pub is_first: bool,
}

/// Whether a head that was refused for this reason may be malformed only in a way that can be repaired.
pub fn may_be_repaired(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BadStatusLine
            | Refusal::UnsupportedVersion
            | Refusal::BadLineEnd
            | Refusal::BadFieldName
    )
}

/// Brings the response's head at the start of `bytes` into its proper form. Lines may end in LF alone (RFC 9112 section
/// 2.2). Some empty lines may come before the status line. The status line may have any number of blanks (section 4).
/// Blanks before a colon must be removed (section 5.1). A line that goes on in the next one is joined with it (section
/// 5.2). `None`: more bytes are needed. Errors: a line has no reading, or more than one.
pub fn repair_response(bytes: &[u8]) -> Result<Option<RepairedHead>, Refusal> {
    let mut lines = Lines { rest: bytes };
    let mut empty_lines = 0;
    let first = loop {
        match lines.next() {
            None if may_begin(lines.rest) => return Ok(None),
            None => return Err(Refusal::BadStatusLine),
            Some([]) if empty_lines < limits::EMPTY_LINES_BEFORE_ANSWER => empty_lines += 1,
            Some(first) => break first,
        }
    };
    let is_first = empty_lines == 0;
    let mut text = status_line(first)?;
    let fields_start = text.len();
    for line in &mut lines {
        if line.is_empty() {
            text.extend_from_slice(b"\r\n");
            let taken = bytes.len() - lines.rest.len();
            debug_assert!(taken <= bytes.len() && text.ends_with(b"\r\n"));
            return Ok(Some(RepairedHead {
                text,
                taken,
                is_first,
            }));
        }
        add_line(&mut text, fields_start, line)?;
    }
    Ok(None)
}

/// Brings the lines of a trailer section into their proper form.
pub(super) fn repair_trailers(section: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::with_capacity(section.len());
    for line in (Lines { rest: section }) {
        add_line(&mut text, 0, line).map_err(|_| Refusal::BadTrailer)?;
    }
    Ok(text)
}

/// The complete lines of a text, without their ends.
struct Lines<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Lines<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// Whether these bytes without the end of a line may be the beginning of a status line, or the first half of an empty
/// line. Everything else is refused at once, because a backend of another protocol may send no line.
fn may_begin(bytes: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"HTTP/";
    let known = bytes.len().min(BEGINNING.len());
    bytes == b"\r" || bytes[..known] == BEGINNING[..known]
}

/// Reads `HTTP/1.x`, blanks, three digits, and optionally blanks and a reason. A higher minor version is read as the
/// highest version that palantir knows (RFC 9110 section 2.5).
fn status_line(line: &[u8]) -> Result<Vec<u8>, Refusal> {
    let version = match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ b'0'..=b'9',
            ..,
        ] => match minor {
            b'0' => b"HTTP/1.0 ",
            _ => b"HTTP/1.1 ",
        },
        [b'H', b'T', b'T', b'P', b'/', ..] => return Err(Refusal::UnsupportedVersion),
        _ => return Err(Refusal::BadStatusLine),
    };
    let rest = &line[b"HTTP/1.1".len()..];
    let behind = trim(rest);
    let (status, reason) = behind
        .split_at_checked(b"200".len())
        .ok_or(Refusal::BadStatusLine)?;
    let is_apart = is_blank(rest.first()) && (reason.is_empty() || is_blank(reason.first()));
    if !is_apart || !status.iter().all(u8::is_ascii_digit) || has_control(reason) {
        return Err(Refusal::BadStatusLine);
    }
    Ok([&version[..], status, b" ", trim(reason), b"\r\n"].concat())
}

/// Appends a field, or the rest of the field before it.
fn add_line(text: &mut Vec<u8>, fields_start: usize, line: &[u8]) -> Result<(), Refusal> {
    if has_control(line) {
        return Err(Refusal::BadFieldValue);
    }
    if is_blank(line.first()) {
        return join_line(text, fields_start, trim(line));
    }
    let colon = memchr::memchr(b':', line).ok_or(Refusal::BadFieldName)?;
    let (name, value) = (trim(&line[..colon]), trim(&line[colon + 1..]));
    if !is_token(name) {
        return Err(Refusal::BadFieldName);
    }
    for part in [name, b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
    Ok(())
}

/// Joins the rest of a field with the field's first line by one blank. A line of blanks is refused, because it ends the
/// head for some readers.
fn join_line(text: &mut Vec<u8>, fields_start: usize, rest: &[u8]) -> Result<(), Refusal> {
    if text.len() == fields_start || rest.is_empty() {
        return Err(Refusal::BadFieldName);
    }
    debug_assert!(text.ends_with(b"\r\n"), "the line before is complete");
    text.truncate(text.len() - b"\r\n".len());
    if text.last() != Some(&b' ') {
        text.push(b' ');
    }
    text.extend_from_slice(rest);
    text.extend_from_slice(b"\r\n");
    Ok(())
}

fn is_blank(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t'))
}

/// Whether there is a control byte that readers treat differently, such as a CR within a line.
fn has_control(text: &[u8]) -> bool {
    text.iter()
        .any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::h1::{Asked, FieldSlots, parse_response};

    #[test]
    fn repaired_table() {
        let rows = [
            (
                "HTTP/1.1 200 OK\nA: b\n\nrest",
                "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b\n\r\nrest",
                "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            ),
            ("HTTP/1.1 200\n\nrest", "HTTP/1.1 200 \r\n\r\n"),
            (
                "HTTP/1.0  404\tNot  Found \r\n\r\nrest",
                "HTTP/1.0 404 Not  Found\r\n\r\n",
            ),
            ("HTTP/1.2 200 OK\r\n\r\nrest", "HTTP/1.1 200 OK\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nA : b\r\nC\t :d \r\n\r\nrest",
                "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t  d\r\nE:\r\n f\r\n\r\nrest",
                "HTTP/1.1 200 OK\r\nA: b c d\r\nE: f\r\n\r\n",
            ),
        ];
        for (head, expected) in rows {
            let repaired = repair_response(head.as_bytes()).unwrap().unwrap();
            assert_eq!(
                String::from_utf8(repaired.text).unwrap(),
                expected,
                "{head:?}"
            );
            assert_eq!(&head[repaired.taken..], "rest", "{head:?}");
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_left_out() {
        for before in ["\r\n", "\n", "\r\n\n\r\n\r\n"] {
            let bytes = format!("{before}HTTP/1.1 200 OK\r\n\r\nrest");
            let repaired = repair_response(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(repaired.text, b"HTTP/1.1 200 OK\r\n\r\n", "{before:?}");
            assert_eq!(&bytes[repaired.taken..], "rest", "{before:?}");
            assert!(!repaired.is_first, "{before:?}");
            for len in 0..repaired.taken {
                assert_eq!(repair_response(&bytes.as_bytes()[..len]), Ok(None));
            }
        }
    }

    #[test]
    fn what_has_no_one_reading_table() {
        let rows = [
            ("garbage\n", Refusal::BadStatusLine),
            ("\r\ngarbage\n", Refusal::BadStatusLine),
            ("garbage", Refusal::BadStatusLine),
            ("\r\ng", Refusal::BadStatusLine),
            ("\r\r", Refusal::BadStatusLine),
            ("HTTPS", Refusal::BadStatusLine),
            ("\x15\x03\x01\0\x02", Refusal::BadStatusLine),
            ("\0\0\x12\x04\0\0\0\0\0", Refusal::BadStatusLine),
            (
                "\r\n\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\n",
                Refusal::BadStatusLine,
            ),
            ("HTTP/2.0 200 OK\r\n", Refusal::UnsupportedVersion),
            ("HTTP/1.1200 OK\r\n", Refusal::BadStatusLine),
            ("HTTP/1.1 2000\r\n", Refusal::BadStatusLine),
            ("HTTP/1.1 20\r\n", Refusal::BadStatusLine),
            ("HTTP/1.1 2x0\r\n", Refusal::BadStatusLine),
            ("HTTP/1.1 200 a\rb\r\n", Refusal::BadStatusLine),
            ("HTTP/1.1 200 OK\r\n A: b\r\n", Refusal::BadFieldName),
            ("HTTP/1.1 200 OK\r\nA: b\r\n \r\n", Refusal::BadFieldName),
            ("HTTP/1.1 200 OK\r\nA b: c\r\n", Refusal::BadFieldName),
            ("HTTP/1.1 200 OK\r\nA\r\n", Refusal::BadFieldName),
            ("HTTP/1.1 200 OK\r\n : b\r\n", Refusal::BadFieldName),
            ("HTTP/1.1 200 OK\r\nA: b\rc\r\n", Refusal::BadFieldValue),
            ("HTTP/1.1 200 OK\r\nA: b\r\r\n", Refusal::BadFieldValue),
            ("HTTP/1.1 200 OK\r\nA: b\0\r\n", Refusal::BadFieldValue),
        ];
        for (head, expected) in rows {
            assert_eq!(repair_response(head.as_bytes()), Err(expected), "{head:?}");
        }
        assert_eq!(repair_response(b"HTTP/1.1 200 OK\nA: b\nC"), Ok(None));
        for begun in ["", "\r", "\n", "\r\n\r", "H", "HTTP/", "HTTP/1.1 200"] {
            assert_eq!(repair_response(begun.as_bytes()), Ok(None), "{begun:?}");
        }
    }

    proptest! {
        /// A repaired head is well-formed, a second repair changes nothing, and the head ends where it should.
        #[test]
        fn repaired_heads_are_proper(lines in prop::collection::vec(
            prop::sample::select(vec!["A: b", "A : b", " c", "\tc ", "A:", "D: e ", " ", "", "A\0: b", "A: \r"]), 0..6),
            ends in prop::collection::vec(prop::sample::select(vec!["\r\n", "\n"]), 7))
        {
            let mut head = format!("HTTP/1.1 200 OK{}", ends[0]);
            for (line, end) in lines.iter().zip(&ends[1..]) {
                head += &format!("{line}{end}");
            }
            head += "\nrest";
            if let Ok(Some(repaired)) = repair_response(head.as_bytes()) {
                let again = repair_response(&repaired.text).unwrap().unwrap();
                prop_assert_eq!(&again.text, &repaired.text);
                let strict = Asked { strict: true, ..Asked::default() };
                let mut slots = FieldSlots::new();
                let parsed = parse_response(&repaired.text, &mut slots, strict, 10_000).unwrap().unwrap();
                prop_assert_eq!(parsed.head_bytes, repaired.text.len());
                for len in 0..repaired.taken {
                    prop_assert_eq!(repair_response(&head.as_bytes()[..len]), Ok(None));
                }
            }
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = repair_response(&[b"HTTP/1.1 200\n", &bytes[..]].concat());
            let _ = repair_trailers(&bytes);
        }
    }
}
