//! Parses requests whose cookies have control bytes, for listeners that tolerate such cookies. Scripts of old sites
//! store them, and a browser sends them with every request until they expire. A request without control bytes never
//! comes here.

use httparse::Header;

use super::request::accept;
use super::{FieldSlots, HeadLimits, RequestHead, parse_request};
use crate::http::fields::is_tolerable;
use crate::http::refusal::Refusal;

/// Parses a request's head as [`parse_request`] does, but allows control bytes other than NUL, CR and LF in the values
/// of `Cookie`. The values are passed on unchanged.
#[cold]
#[expect(unsafe_code, reason = "slots are not initialised before they are used")]
pub fn parse_tolerant<'b, 's>(
    bytes: &'b [u8],
    slots: &'s mut FieldSlots<'b>,
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'b, 's>>, Refusal> {
    let most = limits.head_bytes as usize + b"\r\n".len();
    let clean = with_clean_cookies(&bytes[..bytes.len().min(most)]);
    let mut clean_slots = FieldSlots::new();
    let Some(parsed) = parse_request(&clean, &mut clean_slots, limits)? else {
        return Ok(None);
    };
    // Every part has the same position in both texts.
    let as_came = |part: &[u8]| {
        let start = part.as_ptr().addr() - clean.as_ptr().addr();
        debug_assert!(
            start + part.len() <= clean.len(),
            "each part is one of the copy"
        );
        &bytes[start..start + part.len()]
    };
    let text = |part: &[u8]| std::str::from_utf8(as_came(part)).unwrap_or_default();
    for (slot, field) in slots.slots.iter_mut().zip(parsed.fields) {
        slot.write(Header {
            name: text(field.name.as_bytes()),
            value: as_came(field.value),
        });
    }
    // SAFETY: the loop above has written as many slots as there are fields.
    let fields = unsafe { slots.slots[..parsed.fields.len()].assume_init_mut() };
    let mut request = httparse::Request::new(fields);
    request.method = Some(text(parsed.method.as_bytes()));
    request.path = Some(text(parsed.target));
    request.version = Some(u8::from(parsed.version == super::Version::Http11));
    let skipped = parsed.head_bytes - parsed.head.len();
    accept(
        as_came(parsed.head),
        request,
        &mut slots.facts,
        skipped,
        limits,
    )
}

/// A copy of the bytes in which `?` replaces each tolerated control byte of a cookie.
fn with_clean_cookies(bytes: &[u8]) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    for line in clean.split_mut(|&byte| byte == b'\n') {
        let is_cookie = line
            .split_at_checked(b"cookie:".len())
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"cookie:"));
        if is_cookie {
            let odd = line.iter_mut().filter(|byte| is_tolerable(**byte));
            odd.for_each(|byte| *byte = b'?');
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        head_bytes: 1_000,
        fields: 5,
        target_bytes: 100,
    };

    #[test]
    fn cookies_keep_their_bytes() {
        let head = b"\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\ncookie: a=\x01\x1f\x7f; b=\xe9\tc\r\nContent-Length: 3\r\n\r\nabc";
        assert!(matches!(
            parse_request(head, &mut FieldSlots::new(), &LIMITS),
            Err(Refusal::BadFieldValue)
        ));
        let mut slots = FieldSlots::new();
        let parsed = parse_tolerant(head, &mut slots, &LIMITS).unwrap().unwrap();
        assert_eq!(
            parsed.field("cookie"),
            Some(&b"a=\x01\x1f\x7f; b=\xe9\tc"[..])
        );
        assert_eq!((parsed.target, parsed.host), (&b"/a?b"[..], &b"h"[..]));
        assert_eq!(parsed.head_bytes, head.len() - 3);
        for len in 0..parsed.head_bytes {
            let mut slots = FieldSlots::new();
            let early = parse_tolerant(&head[..len], &mut slots, &LIMITS);
            assert!(matches!(early, Ok(None)), "{len}");
        }
    }

    #[test]
    fn other_bytes_and_other_fields_are_refused() {
        for line in [
            "Cookie: a\0b",
            "Cookie: a\rb",
            "Cookie: a\r\r",
            "X: a\u{1}b",
            "Cookie\u{1}: a",
            "X-Cookie: a\u{1}",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
            let mut slots = FieldSlots::new();
            let parsed = parse_tolerant(head.as_bytes(), &mut slots, &LIMITS);
            assert!(parsed.is_err(), "{line:?}");
        }
    }
}
