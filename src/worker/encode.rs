//! Encodes a request for its backend: the head with the fields that palantir adds, and the facts of the request that
//! are needed when its head is gone from the receive buffer.

mod told;

use std::ops::Range;

use crate::base::ids::PoolId;
use crate::http::h1::{
    self, Asked, ReplacedFields, RequestBody, RequestEdits, RequestHead, Version,
};
use crate::http::max_forwards::Forwards;
use crate::http::websocket::KEY_BYTES;
use crate::http::{fields, path};
use crate::net::Block;
use crate::snapshot::{HostHeader, Protocol, Route};
use crate::worker::body::Body;
use crate::worker::body::framing;
use crate::worker::body::trailers::TrailerRules;
use crate::worker::cache::fetch::CacheFetch;
use crate::worker::decide::{Balanced, Incoming};
use crate::worker::exchange::Exchange;
use crate::worker::references::{AskedFor, asked_for};
use crate::worker::upstream::Carrier;
use told::{forwarding, identity};

/// A request that is ready to be forwarded, with all facts that the following steps need when its head is gone from the
/// receive buffer.
pub struct PreparedRequest {
    /// The pool that the request goes to.
    pub pool: PoolId,
    /// Hash of the value by which the balancing algorithm picks a backend.
    pub key: u64,
    /// The protocol by which the request is sent.
    pub carrier: Carrier,
    /// The facts of the request that decide how its response is read.
    pub asked: Asked,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// Whether the method is idempotent (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The part of the body that is still to come behind `bytes`.
    pub body: Body,
    /// Whether the request came with a body, even if the whole body has been received.
    pub has_body: bool,
    /// Whether `bytes` is the whole request.
    pub is_whole: bool,
    /// Whether `bytes` and the rest of `body` are the whole request, so that the request can be sent again.
    pub is_kept: bool,
    /// The encoded head, and the kept part of the body.
    pub bytes: Block,
    /// The backend to try first, as index in the pool; `None`: no backend could take the request.
    pub first: Option<u32>,
    /// The protocols that the client offers to switch to, separated by `, `; empty unless `asked` has an upgrade.
    offered: Box<[u8]>,
    /// The host and scheme that the client has asked for, if references in the answer may be rewritten.
    pub asked_for: Option<AskedFor>,
    /// The key of the WebSocket that the client asks for: the client's own key, or palantir's if the client speaks
    /// HTTP/2. `None`: palantir need not know a key.
    pub websocket_key: Option<[u8; KEY_BYTES]>,
    /// The position of the value of `Host` in `bytes`.
    host_value: Range<usize>,
    /// The backend that the value of `Host` names, as index in the pool; `None`: the value names no backend.
    host_of: Option<u32>,
    /// The part of the cache in the request; `None`: the cache is not concerned.
    pub fetch: Option<Box<CacheFetch>>,
}

/// Encodes the request of an exchange for the backend that was picked.
#[inline]
pub fn encode(
    incoming: &Incoming<'_>,
    exchange: &Exchange,
    balanced: Balanced,
    fetch: Option<Box<CacheFetch>>,
) -> PreparedRequest {
    let route = exchange.route();
    let (client, head) = (incoming.client, incoming.head);
    let is_trusted = client.arrival.is_trusted(exchange.config.snapshot());
    let mut bytes = incoming.shard.blocks.take();
    let host_value = match &fetch {
        None => encode_head(incoming, exchange, &balanced, AsCached::NONE, &mut bytes),
        Some(fetch) => encode_fetch(incoming, exchange, &balanced, fetch, &mut bytes),
    };
    debug_assert!(host_value.end <= bytes.len() && host_value.start <= host_value.end);
    PreparedRequest {
        pool: route.pool,
        key: balanced.key,
        carrier: balanced.carrier,
        asked: Asked {
            head: head.method.is_head(),
            upgrade: head.upgrade,
            strict: exchange.config.pool(route.pool).strict_responses,
        },
        version: head.version,
        idempotent: head.method.is_idempotent(),
        expects_continue: head.expect_continue,
        body: body_of(incoming, exchange, balanced.carrier),
        has_body: head.body != RequestBody::None,
        is_whole: head.body == RequestBody::None,
        is_kept: true,
        bytes,
        first: balanced.first,
        offered: offered(head),
        asked_for: asked_for(client, head, route, is_trusted),
        websocket_key: balanced.websocket_key,
        host_value,
        fetch,
        host_of: matches!(route.host_header, HostHeader::Backend)
            .then_some(balanced.first.unwrap_or(0)),
    }
}

/// Writes the head of a request whose answer concerns the cache.
#[inline(never)]
fn encode_fetch(
    incoming: &Incoming<'_>,
    exchange: &Exchange,
    balanced: &Balanced,
    fetch: &CacheFetch,
    bytes: &mut Block,
) -> Range<usize> {
    let keyed = exchange.route().cache.as_ref();
    let keyed = keyed.map_or(&[][..], |policy| &policy.key_headers);
    let as_cached = AsCached {
        replaced: ReplacedFields {
            left_out: &fetch.left_out(incoming.head, keyed),
            written: &fetch.written(),
        },
        host: fetch.asked_host(),
    };
    encode_head(incoming, exchange, balanced, as_cached, bytes)
}

/// The changes of a request whose answer may be stored.
struct AsCached<'a> {
    replaced: ReplacedFields<'a>,
    /// The host that the client asked for, in the one form that keys have; `None`: as the client wrote it.
    host: Option<&'a [u8]>,
}

impl AsCached<'static> {
    const NONE: AsCached<'static> = AsCached {
        replaced: ReplacedFields::NONE,
        host: None,
    };
}

/// Writes the head for the backend. The result is the position of the value of `Host`.
fn encode_head(
    incoming: &Incoming<'_>,
    exchange: &Exchange,
    balanced: &Balanced,
    as_cached: AsCached<'_>,
    bytes: &mut Block,
) -> Range<usize> {
    let (client, route) = (incoming.client, exchange.route());
    let mut scratch = Vec::new();
    let path = if route.strip_prefix {
        path::without_prefix(incoming.target.forwarded, &route.prefix, &mut scratch)
    } else {
        incoming.target.forwarded
    };
    let client_trusted = client.arrival.is_trusted(exchange.config.snapshot());
    let edits = RequestEdits {
        path,
        host: host_of(exchange, route, balanced.first).or(as_cached.host),
        asked_host: as_cached.host,
        client: client.arrival.peer.ip(),
        client_trusted,
        forwarding: forwarding(exchange, incoming.head, client_trusted),
        proto: client.arrival.scheme(),
        operator: &route.request_fields,
        identity: identity(exchange, client),
        via: route.via,
        expect: !route.answer_continue,
        trace: incoming.trace.fields(),
        websocket_key: balanced.own_key.as_ref().map(|key| &key[..]),
        max_forwards: incoming.forwards.ok().and_then(Forwards::written),
        replaced: as_cached.replaced,
    };
    h1::encode_request(bytes.vec(), incoming.head, &edits).host_value
}

/// The value of `Host` for the backend; `None`: the value that the client sent.
fn host_of<'a>(exchange: &'a Exchange, route: &'a Route, first: Option<u32>) -> Option<&'a [u8]> {
    match &route.host_header {
        HostHeader::Preserve => None,
        HostHeader::Literal(host) => Some(host.as_bytes()),
        HostHeader::Backend => {
            let backend = exchange.config.backend(route.pool, first.unwrap_or(0));
            Some(backend.host.as_bytes())
        }
    }
}

/// The protocols that the client offers, for use after its head is gone.
fn offered(head: &RequestHead<'_, '_>) -> Box<[u8]> {
    if head.upgrade {
        head.offered().collect::<Vec<_>>().join(&b", "[..]).into()
    } else {
        Box::default()
    }
}

/// The body of a request of which no part was received yet.
fn body_of(incoming: &Incoming<'_>, exchange: &Exchange, carrier: Carrier) -> Body {
    let (route, head) = (exchange.route(), incoming.head);
    let speaks_http1 =
        carrier == Carrier::Http1 || exchange.config.pool(route.pool).protocol == Protocol::Http1;
    let framing = framing::of_request(head.body, head.version, speaks_http1);
    Body {
        chunked: framing.chunked,
        coming: framing.coming,
        most: route.request_body_bytes,
        trailers: Vec::new(),
        rules: (head.body != RequestBody::None)
            .then(|| TrailerRules::of_request(exchange, incoming.client)),
        filters: None,
        fill: None,
    }
}

impl PreparedRequest {
    /// Whether the client offered to switch to each of these protocols (RFC 9110 section 7.8).
    pub fn has_offered(&self, protocols: &[u8]) -> bool {
        let is_offered = |chosen: &[u8]| {
            fields::list(&self.offered).any(|offered| offered.eq_ignore_ascii_case(chosen))
        };
        fields::list(protocols).all(is_offered)
    }

    /// Another request like this one, which has no body, with the fields of a fetch of the cache's own behind the
    /// others. `first`: the backend to try first.
    pub fn with_fetch(
        &self,
        fetch: CacheFetch,
        first: Option<u32>,
        mut bytes: Block,
    ) -> PreparedRequest {
        debug_assert!(self.is_whole, "the request has no body");
        let head = self.bytes.filled();
        let lines = bytes.vec();
        lines.extend_from_slice(head.strip_suffix(b"\r\n").unwrap_or(head));
        for field in fetch.written() {
            for piece in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                lines.extend_from_slice(piece);
            }
        }
        lines.extend_from_slice(b"\r\n");
        PreparedRequest {
            pool: self.pool,
            key: self.key,
            carrier: self.carrier,
            asked: self.asked,
            version: self.version,
            idempotent: self.idempotent,
            expects_continue: false,
            body: Body::none(),
            has_body: false,
            is_whole: true,
            is_kept: true,
            bytes,
            first,
            offered: Box::default(),
            asked_for: self.asked_for.clone(),
            websocket_key: None,
            host_value: self.host_value.clone(),
            host_of: self.host_of,
            fetch: Some(Box::new(fetch)),
        }
    }

    /// Takes the conditions of the cache out of the request, which is sent again.
    pub fn drop_conditions(&mut self) {
        let Some(fetch) = &mut self.fetch else {
            return;
        };
        self.bytes.rewind();
        for (name, value) in fetch.take_conditions() {
            let line = [name.as_bytes(), b": ", &value, b"\r\n"].concat();
            // The fields of the client stand in front, and may end in the same text.
            let found = memchr::memmem::rfind(self.bytes.filled(), &[b"\r\n", &line[..]].concat());
            debug_assert!(found.is_some(), "the head has the line that was written");
            let Some(at) = found.map(|before| before + b"\r\n".len()) else {
                continue;
            };
            self.bytes.vec().drain(at..at + line.len());
            if at < self.host_value.start {
                let moved = line.len();
                self.host_value = self.host_value.start - moved..self.host_value.end - moved;
            }
        }
    }

    /// Makes the request ready to be sent from its beginning. `Host` names the backend that the request goes to, if the
    /// route wants `Host` to name the backend.
    #[inline]
    pub fn prepare_for(&mut self, exchange: &Exchange, index: u32) {
        self.bytes.rewind();
        if self.host_of.is_none_or(|named| named == index) {
            return;
        }
        let host = exchange.config.backend(self.pool, index).host.as_bytes();
        let value = self.host_value.clone();
        debug_assert!(
            self.host_of.is_none_or(|named| {
                let written = exchange.config.backend(self.pool, named);
                self.bytes.filled()[value.clone()] == *written.host.as_bytes()
            }),
            "the head names the backend that it was encoded for"
        );
        self.bytes.vec().splice(value.clone(), host.iter().copied());
        debug_assert!(value.end <= self.bytes.len() + value.len());
        self.host_value.end = value.start + host.len();
        self.host_of = Some(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide::sample::with_head;

    #[test]
    fn an_offer_is_kept_for_the_time_when_the_head_is_gone() {
        let rows: [(&str, &[u8]); 3] = [
            ("Connection: upgrade\nUpgrade: websocket\n", b"websocket"),
            ("Connection: upgrade\nUpgrade: a, b/1\n", b"a, b/1"),
            ("Upgrade: websocket\n", b""),
        ];
        for (fields, expected) in rows {
            let text = format!("GET / HTTP/1.1\nHost: a\n{fields}");
            let offered = with_head(&text, offered);
            assert_eq!(*offered, *expected, "{fields}");
        }
    }
}
