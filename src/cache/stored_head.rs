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
