//! Chooses the protocol by which a request that offers to switch to another protocol goes to a backend of HTTP/2.

use crate::http::fields;
use crate::http::h1::{RequestBody, RequestHead, Version};
use crate::http::websocket::{self, KEY_BYTES};
use crate::snapshot::{Pool, Protocol};
use crate::worker::upstream::Carrier;

/// Whether a request for a WebSocket lacks the key that HTTP/1.1 requires (RFC 6455 section 4.1): a request over HTTP/2
/// has none (RFC 8441 section 5). No other protocol has such a key.
pub fn needs_key(head: &RequestHead<'_, '_>) -> bool {
    head.version == Version::Http2 && head.offered().any(is_websocket)
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// The protocol by which a request is sent, and the key of the WebSocket that the request asks for, if palantir must
/// know the key.
#[inline]
pub fn carrier_of(
    pool: &Pool,
    head: &RequestHead<'_, '_>,
    own_key: Option<[u8; KEY_BYTES]>,
) -> (Carrier, Option<[u8; KEY_BYTES]>) {
    if !head.upgrade || pool.protocol == Protocol::Http1 {
        return (Carrier::Pools, own_key);
    }
    let mut keys = fields::values(head.fields, "sec-websocket-key");
    let given = keys.next().and_then(websocket::given_key);
    let key = own_key.or(given.filter(|_| keys.next().is_none()));
    let mut offered = head.offered();
    // An extended CONNECT replaces only a request in exactly this form of HTTP/1.1 (RFC 8441 section 5).
    let has_form = head.method.as_bytes() == b"GET"
        && head.body == RequestBody::None
        && offered.next().is_some_and(is_websocket)
        && offered.next().is_none();
    if has_form && key.is_some() {
        (Carrier::WebSocket, key)
    } else {
        (Carrier::Http1, own_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample;
    use crate::worker::decide::sample::with_head;

    #[test]
    fn an_offer_to_switch_protocols_decides_how_a_request_goes_to_a_backend_of_http2() {
        let offer = "Connection: upgrade\nUpgrade: websocket\n";
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
        let other = "Connection: upgrade\nUpgrade: foo\n";
        let both = "Connection: upgrade\nUpgrade: foo, websocket\n";
        let rows = [
            (Protocol::Http2, "", Carrier::Pools, false),
            (
                Protocol::Http1,
                &*[offer, key].concat(),
                Carrier::Pools,
                false,
            ),
            (
                Protocol::Http2,
                &*[offer, key].concat(),
                Carrier::WebSocket,
                true,
            ),
            (
                Protocol::Http2,
                &*[offer, key, key].concat(),
                Carrier::Http1,
                false,
            ),
            (Protocol::Http2, offer, Carrier::Http1, false),
            (Protocol::Http2, other, Carrier::Http1, false),
            (
                Protocol::Http2,
                &*[both, key].concat(),
                Carrier::Http1,
                false,
            ),
        ];
        for (protocol, lines, expected, knows_key) in rows {
            let mut pool = sample::pool(&mut sample::slots(), "api", &sample::addrs(1));
            pool.options.protocol = protocol;
            let text = format!("GET / HTTP/1.1\nHost: a\n{lines}");
            let (carrier, key) = with_head(&text, |head| carrier_of(&pool, head, None));
            assert_eq!((carrier, key.is_some()), (expected, knows_key), "{lines}");
        }
    }
}
