//! The facts of a request that replies and the log need when the head is gone.

use std::borrow::Cow;

use super::Incoming;
use super::access::client_of;
use crate::base::limits;
use crate::http::grpc;
use crate::http::h1::{RequestHead, Version};
use crate::shared::access::{LoggedTexts, RequestFacts, RequestTexts};
use crate::worker::exchange::Exchange;

/// Keeps the facts of the request.
#[inline]
pub fn note(incoming: &Incoming<'_>, exchange: &mut Exchange) {
    let head = incoming.head;
    exchange.facts = RequestFacts {
        client: client_of(incoming),
        version: match head.version {
            Version::Http10 => 10,
            Version::Http11 => 11,
            Version::Http2 => 20,
        },
        is_head: head.method.is_head(),
        is_grpc: is_grpc(head),
        wants_json: head.field("accept").is_some_and(prefers_json),
        ..RequestFacts::default()
    };
    if incoming.config.snapshot().access_log.is_some() {
        exchange.texts = texts_of(incoming);
    }
}

/// Whether the request is a gRPC call. Calls come over HTTP/2 only.
fn is_grpc(head: &RequestHead<'_, '_>) -> bool {
    head.version == Version::Http2 && head.field("content-type").is_some_and(grpc::is_grpc)
}

/// Copies the texts of the access log.
fn texts_of(incoming: &Incoming<'_>) -> LoggedTexts {
    let head = incoming.head;
    let field = |name| head.field(name).unwrap_or_default();
    LoggedTexts::new(&RequestTexts {
        method: head.method.as_bytes(),
        target: &target_of(head, incoming.target.forwarded),
        host: head.host,
        referer: field("referer"),
        user_agent: field("user-agent"),
        trace_id: incoming.trace.id(head),
    })
}

/// The target with the path that is forwarded, if that path differs from the received one.
fn target_of<'a>(head: &RequestHead<'a, '_>, path: &[u8]) -> Cow<'a, [u8]> {
    match head.query {
        _ if path == head.path => Cow::Borrowed(head.target),
        Some(query) => Cow::Owned([path, b"?", query].concat()),
        None => Cow::Owned(path.to_vec()),
    }
}

/// Whether an `Accept` names JSON and not HTML. Only the first `limits::ACCEPT_BYTES` bytes of the value are read,
/// because the answer only decides the form of a reply.
fn prefers_json(accept: &[u8]) -> bool {
    let accept = &accept[..accept.len().min(limits::ACCEPT_BYTES)];
    let names = |kind: &[u8]| {
        accept
            .windows(kind.len())
            .any(|at| at.eq_ignore_ascii_case(kind))
    };
    names(b"application/json") && !names(b"text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_prefers_json_if_it_names_json_and_not_html() {
        let far = [&[b' '; limits::ACCEPT_BYTES][..], b"application/json"].concat();
        let rows: [(&[u8], bool); 6] = [
            (b"", false),
            (b"*/*", false),
            (b"application/json", true),
            (b"text/plain, Application/JSON;q=0.1", true),
            (b"text/html, application/json", false),
            (&far, false),
        ];
        for (accept, expected) in rows {
            assert_eq!(prefers_json(accept), expected, "{accept:?}");
        }
    }
}
