//! Where a message ends (RFC 9112 section 6), decided more strictly than the RFC allows.

use super::survey::Survey;
use super::{Asked, RequestBody, ResponseBody, Version};
use crate::http::fields::trim;
use crate::http::refusal::Refusal;

/// Largest length: 63 bits.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The value of `Content-Length`: digits alone, no leading zero (which some would read as octal), at most 63 bits.
pub(in crate::http) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || (value.len() > 1 && value[0] == b'0') {
        return Err(Refusal::BadContentLength);
    }
    let mut length: u64 = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Refusal::BadContentLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= LENGTH_MAX)
            .ok_or(Refusal::BadContentLength)?;
    }
    Ok(length)
}

/// Checks that `Transfer-Encoding` is exactly `chunked`, in any case.
fn transfer_encoding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| {
        let name = coding
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or_default();
        trim(name).eq_ignore_ascii_case(b"chunked")
    };
    let mut codings = value.split(|&byte| byte == b',').map(trim).peekable();
    while let Some(coding) = codings.next() {
        let malformed =
            coding.is_empty() || (is_chunked(coding) && coding.len() != b"chunked".len());
        if malformed || (is_chunked(coding) && codings.peek().is_some()) {
            return Err(Refusal::BadTransferEncoding);
        }
    }
    Err(Refusal::UnknownTransferCoding)
}

/// Whether the body is chunked, after every check that `Transfer-Encoding` calls for.
fn is_chunked(survey: &Survey<'_>, version: Version) -> Result<bool, Refusal> {
    let Some(value) = survey.transfer_encoding else {
        return Ok(false);
    };
    if survey.content_length.is_some() {
        return Err(Refusal::LengthAndCoding);
    }
    if version == Version::Http10 {
        return Err(Refusal::CodingInHttp10);
    }
    transfer_encoding(value)?;
    Ok(true)
}

/// The framing of a request's body.
pub(super) fn request_body(survey: &Survey<'_>, version: Version) -> Result<RequestBody, Refusal> {
    if is_chunked(survey, version)? {
        return Ok(RequestBody::Chunked);
    }
    Ok(match survey.content_length {
        None | Some(0) => RequestBody::None,
        Some(length) => RequestBody::Length(length),
    })
}

/// The framing of a response's body.
pub(super) fn response_body(
    survey: &Survey<'_>,
    version: Version,
    status: u16,
    asked: Asked,
) -> Result<ResponseBody, Refusal> {
    let chunked = is_chunked(survey, version)?;
    let length = survey.content_length;
    if has_no_body(status) {
        // `Content-Length: 0` is common here and says nothing wrong.
        return match (chunked, length) {
            (false, None | Some(0)) => Ok(ResponseBody::None),
            _ => Err(Refusal::BodyNotAllowed),
        };
    }
    // Here the fields tell what a GET would have got (RFC 9112 section 6.3).
    if asked.head || status == 304 {
        return Ok(ResponseBody::None);
    }
    Ok(match (chunked, length) {
        (true, _) => ResponseBody::Chunked,
        (false, Some(0)) => ResponseBody::None,
        (false, Some(length)) => ResponseBody::Length(length),
        (false, None) => ResponseBody::UntilClose,
    })
}

/// Statuses whose responses end with the head and must not announce a body (RFC 9110 section 8.6).
pub(super) fn has_no_body(status: u16) -> bool {
    status < 200 || status == 204
}
