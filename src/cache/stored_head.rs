//! The head of a stored response: HTTP/1 text from the status line to the empty line, without hop-by-hop fields.

use crate::http::fields::trim;

/// The status of a stored head; 0 if there is none, which no stored head shows.
pub fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).unwrap_or_default();
    digits.iter().fold(0, |status, digit| {
        status * 10 + u16::from(digit.wrapping_sub(b'0').min(9))
    })
}

/// The fields of a stored head in order: names as the backend wrote them, values without blanks around them.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(head).skip(1).filter_map(|line| {
        let at = memchr::memchr(b':', line)?;
        Some((&line[..at], trim(&line[at + 1..])))
    })
}

/// The value of the first field of this name in a stored head, whatever its case.
pub fn find<'b>(head: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let mut fields = fields(head);
    fields
        .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value)
}

/// The first line of a stored head, without its end.
pub fn status_line(head: &[u8]) -> &[u8] {
    lines(head).next().unwrap_or_default()
}

/// Appends a field with the end of its line.
pub fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for piece in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

/// The lines before the empty one, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"HTTP/1.1 203 Other\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nA:b\r\na:  c \r\nEmpty:\r\n\r\n";

    #[test]
    fn a_head_is_taken_apart() {
        assert_eq!(status(HEAD), 203);
        assert_eq!(status_line(HEAD), b"HTTP/1.1 203 Other");
        let read: Vec<_> = fields(HEAD).collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (b"A", b"b"),
            (b"a", b"c"),
            (b"Empty", b""),
        ];
        assert_eq!(read, expected);
        assert_eq!(find(HEAD, "a"), Some(&b"b"[..]));
        assert_eq!(find(HEAD, "b"), None);
    }

    #[test]
    fn nothing_behind_the_empty_line_is_a_field() {
        let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nC: d\r\n";
        assert_eq!(fields(head).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(head in "[a:0-9 \r\n]{0,40}") {
            let head = head.as_bytes();
            let _ = (status(head), fields(head).count(), find(head, "a"));
        }

        #[test]
        fn written_fields_are_read_again(name in "[a-zA-Z-]{1,8}", value in "([!-~]([ -~]{0,8}[!-~])?)?") {
            let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
            write_field(name.as_bytes(), value.as_bytes(), &mut head);
            head.extend_from_slice(b"\r\n");
            proptest::prop_assert_eq!(find(&head, &name), Some(value.as_bytes()));
            proptest::prop_assert_eq!(fields(&head).count(), 1);
        }
    }
}
