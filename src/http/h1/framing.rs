//! Where a message ends (RFC 9112 section 6), decided more strictly than the RFC allows.

use super::head_facts::HeadFacts;
use super::{Asked, RequestBody, ResponseBody, Version};
use crate::http::fields::{is_token, list, trim};
use crate::http::refusal::Refusal;

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
        // `chunked` has no parameters (RFC 9112 section 7.1) and must be the last coding (RFC 9112 section 6.3).
        let malformed =
            coding.is_empty() || (is_chunked(coding) && coding.len() != b"chunked".len());
        if malformed || (is_chunked(coding) && codings.peek().is_some()) {
            return Err(Refusal::BadTransferEncoding);
        }
    }
    Err(Refusal::UnknownTransferCoding)
}

/// Whether the body is chunked, after every check that `Transfer-Encoding` calls for.
fn is_chunked(facts: &HeadFacts<'_>, version: Version) -> Result<bool, Refusal> {
    let Some(value) = facts.transfer_encoding else {
        return Ok(false);
    };
    // A message with both fields may be an attempt to smuggle another one (RFC 9112 section 6.3, rule 3).
    if facts.content_length.is_some() {
        return Err(Refusal::LengthAndCoding);
    }
    // A transfer coding in HTTP/1.0 is faulty framing (RFC 9112 section 6.1).
    if version == Version::Http10 {
        return Err(Refusal::CodingInHttp10);
    }
    transfer_encoding(value)?;
    Ok(true)
}

/// The framing of a request's body.
pub(super) fn request_body(
    facts: &HeadFacts<'_>,
    version: Version,
) -> Result<RequestBody, Refusal> {
    if is_chunked(facts, version)? {
        return Ok(RequestBody::Chunked);
    }
    // A request with neither of the two fields has no body (RFC 9112 section 6.3, rule 7).
    Ok(match facts.content_length {
        None | Some(0) => RequestBody::None,
        Some(length) => RequestBody::Length(length),
    })
}

/// The end of a response, as its fields tell it.
pub(super) struct ReceivedFraming {
    pub(super) body: ResponseBody,
    /// Whether `Content-Length` may be passed on.
    pub(super) keeps_length: bool,
    /// Whether another response may follow on the same connection.
    pub(super) is_sound: bool,
}

/// The framing of a response.
#[inline]
pub(super) fn response(
    facts: &HeadFacts<'_>,
    version: Version,
    status: u16,
    asked: Asked,
) -> Result<ReceivedFraming, Refusal> {
    if asked.strict {
        return strict_response(facts, version, status, asked);
    }
    let coding = facts.transfer_encoding.filter(|value| !is_identity(value));
    let announces = coding.is_some()
        || facts.framing_fault.is_some()
        || facts.content_length.is_some_and(|length| length > 0);
    if has_no_body(status) {
        // The response ends with its head, even if its fields announce a body (RFC 9112 section 6.3 rule 1). A backend
        // that announces a body may send one, so the connection takes no other request.
        return Ok(ReceivedFraming {
            body: ResponseBody::None,
            keeps_length: false,
            is_sound: !announces,
        });
    }
    if asked.head || status == 304 {
        // A response to HEAD and a 304 end with their heads (RFC 9112 section 6.3, rule 1). Their fields describe the
        // answer to a GET (RFC 9110 sections 8.6 and 9.3.2).
        let is_coded = coding.is_some();
        return Ok(ReceivedFraming {
            body: ResponseBody::None,
            keeps_length: !is_coded && facts.framing_fault.is_none(),
            is_sound: facts.framing_fault.is_none(),
        });
    }
    facts.framing_fault.map_or(Ok(()), Err)?;
    let chunked = is_chunked_answer(coding, facts.content_length)?;
    // The status has no content (RFC 9110 section 15.3.6), so the response ends with its head and not with the
    // connection.
    let is_bare_reset = status == 205 && !announces && facts.content_length.is_none();
    Ok(ReceivedFraming {
        body: if is_bare_reset {
            ResponseBody::None
        } else {
            body_of(chunked, facts.content_length)
        },
        keeps_length: true,
        // HTTP/1.0 knows no chunks. Such framing is faulty, and no other response is read behind it (RFC 9112 section
        // 6.1).
        is_sound: !(is_bare_reset || chunked && version == Version::Http10),
    })
}

/// The framing of a response that must follow the RFCs to the letter.
fn strict_response(
    facts: &HeadFacts<'_>,
    version: Version,
    status: u16,
    asked: Asked,
) -> Result<ReceivedFraming, Refusal> {
    let chunked = is_chunked(facts, version)?;
    let length = facts.content_length;
    let (ends_with_head, bare) = (
        asked.head || status == 304,
        matches!((chunked, length), (false, None | Some(0))),
    );
    // A response with one of these statuses must not announce a body (RFC 9110 section 8.6).
    if has_no_body(status) && !bare {
        return Err(Refusal::BodyNotAllowed);
    }
    Ok(ReceivedFraming {
        body: if has_no_body(status) || ends_with_head {
            ResponseBody::None
        } else {
            body_of(chunked, length)
        },
        keeps_length: !has_no_body(status),
        is_sound: true,
    })
}

fn body_of(chunked: bool, length: Option<u64>) -> ResponseBody {
    match (chunked, length) {
        (true, _) => ResponseBody::Chunked,
        (false, Some(0)) => ResponseBody::None,
        (false, Some(length)) => ResponseBody::Length(length),
        // The end of the connection is the end of the body (RFC 9112 section 6.3, rule 8).
        (false, None) => ResponseBody::UntilClose,
    }
}

/// Whether the only coding is `identity` of RFC 2616 (section 3.6), which changes nothing: the field is then ignored.
fn is_identity(value: &[u8]) -> bool {
    let mut codings = list(value);
    let is_known = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    codings.next().is_some_and(is_known) && codings.next().is_none()
}

/// Whether a backend's answer is chunked. `chunked` must be the only coding; empty members of the list mean nothing
/// (RFC 9110 section 5.6.1).
fn is_chunked_answer(coding: Option<&[u8]>, length: Option<u64>) -> Result<bool, Refusal> {
    let Some(value) = coding else {
        return Ok(false);
    };
    // A message with both fields may be an attempt to smuggle another one (RFC 9112 section 6.3, rule 3).
    if length.is_some() {
        return Err(Refusal::LengthAndCoding);
    }
    let mut codings = list(value);
    match (codings.next(), codings.next()) {
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Ok(true),
        // The body ends with the connection, as that of every answer whose last coding is not `chunked` (RFC 9112
        // section 6.3, rule 4). No reader has ever decoded a coding that nobody has defined.
        (Some(only), None) if is_undefined(only) => Ok(false),
        _ => Err(transfer_encoding(value)
            .err()
            .unwrap_or(Refusal::BadTransferEncoding)),
    }
}

/// Whether a transfer coding is none that any registry or RFC has ever named (RFC 9112 section 7).
fn is_undefined(coding: &[u8]) -> bool {
    const DEFINED: [&[u8]; 8] = [
        b"chunked",
        b"compress",
        b"deflate",
        b"gzip",
        b"identity",
        b"trailers",
        b"x-compress",
        b"x-gzip",
    ];
    let is_named = |name: &&[u8]| coding.eq_ignore_ascii_case(name);
    is_token(coding) && !DEFINED.iter().any(is_named)
}

/// Statuses whose responses end with the head and must not announce a body (RFC 9110 section 8.6).
pub(super) fn has_no_body(status: u16) -> bool {
    status < 200 || status == 204
}
