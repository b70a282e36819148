//! The checks of OCSP responses (RFC 6960) before they are stapled.

use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime};

/// The outermost status of a response with content (RFC 6960 section 4.2.1).
const SUCCESSFUL: &[u8] = &[0];

/// When a response is superseded (`nextUpdate`), in seconds since 1970; the earliest time, if the response covers
/// several certificates. `None`: the response names no time. Errors: the bytes are no OCSPResponse with the status
/// "successful". Clients check whether the response is about the certificate, and ignore it if not.
pub(super) fn next_update(response: &[u8]) -> Result<Option<i64>, String> {
    let wrong = || "is no OCSP response (DER)".to_owned();
    let mut parts = Parts::within(response).ok_or_else(wrong)?;
    let status = parts.next().ok_or_else(wrong)?;
    if status.tag().0 != 10 {
        return Err(wrong());
    }
    if status.data != SUCCESSFUL {
        let number = status.data.first().copied().unwrap_or_default();
        return Err(format!(
            "is an OCSP response with the error status {number}"
        ));
    }
    let answers = parts
        .next()
        .and_then(|bytes| answers(bytes.data))
        .ok_or_else(wrong)?;
    let ends: Option<Vec<Option<i64>>> =
        answers.map(|answer| next_update_of(answer.data)).collect();
    let ends = ends.ok_or_else(wrong)?;
    Ok(ends.into_iter().flatten().min())
}

/// The elements of a sequence, in their order.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// The elements inside the one at the beginning of the bytes.
    fn within(bytes: &'a [u8]) -> Option<Parts<'a>> {
        let (_, element) = Any::from_der(bytes).ok()?;
        Some(Parts(element.data))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Any<'a>;

    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, part) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(part)
    }
}

/// The field `responses` of the BasicOCSPResponse in these ResponseBytes.
fn answers(response_bytes: &[u8]) -> Option<Parts<'_>> {
    let mut bytes = Parts::within(response_bytes)?;
    let basic = bytes.nth(1)?;
    let mut parts = Parts(Parts::within(basic.data)?.next()?.data).peekable();
    // The fields before: version [0] EXPLICIT DEFAULT v1, responderID [1] or [2], producedAt, responses.
    parts.next_if(|part| is_zero(part));
    Some(Parts(parts.nth(2)?.data))
}

/// The field `nextUpdate` of a SingleResponse: certID, certStatus, thisUpdate, `nextUpdate [0] EXPLICIT OPTIONAL`,
/// `singleExtensions [1]`.
fn next_update_of(answer: &[u8]) -> Option<Option<i64>> {
    let mut parts = Parts(answer).skip(3);
    let next = parts.next();
    match next.filter(|part| is_zero(part)) {
        None => Some(None),
        Some(part) => {
            let (_, time) = GeneralizedTime::from_der(part.data).ok()?;
            Some(Some(time.utc_datetime().ok()?.unix_timestamp()))
        }
    }
}

/// Whether the tag is `[0]`.
fn is_zero(part: &Any<'_>) -> bool {
    part.class() == Class::ContextSpecific && part.tag().0 == 0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag];
        match content.len() {
            short @ 0..0x80 => bytes.push(short as u8),
            long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        bytes.extend(content);
        bytes
    }

    /// A response with one answer for each of `ends`, which is the time of its end, if any. All other fields are made
    /// up.
    pub(in crate::tls) fn response(ends: &[Option<&str>], is_version_told: bool) -> Vec<u8> {
        let time = |text: &str| element(0x18, &[text.as_bytes()]);
        let this_update = time("20200101000000Z");
        let answer = |end: &Option<&str>| {
            let id = element(0x30, &[&element(0x02, &[&[1]])]);
            let end = end.map(|end| element(0xa0, &[&time(end)]));
            let extensions = element(0xa1, &[&element(0x30, &[])]);
            let end = end.unwrap_or_default();
            element(0x30, &[&id, &[0x80, 0], &this_update, &end, &extensions])
        };
        let answers: Vec<u8> = ends.iter().flat_map(answer).collect();
        let version = element(0xa0, &[&element(0x02, &[&[0]])]);
        let version = if is_version_told { version } else { Vec::new() };
        let responder = element(0xa2, &[&element(0x04, &[&[7; 20]])]);
        let answers = element(0x30, &[&answers]);
        let answered = element(0x30, &[&version, &responder, &this_update, &answers]);
        let basic = element(
            0x30,
            &[&answered, &element(0x30, &[]), &element(0x03, &[&[0]])],
        );
        let kind = element(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let bytes = element(0x30, &[&kind, &element(0x04, &[&basic])]);
        element(0x30, &[&[0x0a, 1, 0], &element(0xa0, &[&bytes])])
    }

    #[test]
    fn ends_table() {
        let (early, late) = (Some("20300101000000Z"), Some("20310101000000Z"));
        let rows: [(&[Option<&str>], Option<i64>); 5] = [
            (&[], None),
            (&[None], None),
            (&[early], Some(1_893_456_000)),
            (&[late, early], Some(1_893_456_000)),
            (&[None, late], Some(1_924_992_000)),
        ];
        for (ends, expected) in rows {
            for is_version_told in [true, false] {
                let found = next_update(&response(ends, is_version_told));
                assert_eq!(found, Ok(expected), "{ends:?}");
            }
        }
    }

    #[test]
    fn what_is_no_response_is_told() {
        let whole = response(&[Some("20300101000000Z")], false);
        for bytes in [
            &b"no"[..],
            b"",
            &whole[..whole.len() / 2],
            &[0x30, 3, 2, 1, 0],
        ] {
            assert_eq!(next_update(bytes).unwrap_err(), "is no OCSP response (DER)");
        }
        let refused = next_update(&[0x30, 3, 0x0a, 1, 6]).unwrap_err();
        assert_eq!(refused, "is an OCSP response with the error status 6");
        let odd = response(&[Some("tomorrow")], false);
        assert!(next_update(&odd).is_err());
    }
}
