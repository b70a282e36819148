//! The step that picks the first backend of a request, and the protocol by which the request goes there.

use std::net::IpAddr;

use super::Incoming;
use super::carrier::{carrier_of, needs_key};
use crate::balance::{HashKey, hash_key};
use crate::http::fields;
use crate::http::websocket::KEY_BYTES;
use crate::snapshot::{Pool, Route};
use crate::worker::exchange::Exchange;
use crate::worker::upstream::{Carrier, Selection, choose_first};

/// The outcome of balancing.
pub struct Balanced {
    /// Hash of the value by which the balancing algorithm picks a backend.
    pub key: u64,
    /// The protocol by which the request is sent.
    pub carrier: Carrier,
    /// The backend to try first, as index in the pool; `None`: no backend can take the request now.
    pub first: Option<u32>,
    /// The key that palantir makes for a WebSocket request without a key of its own.
    pub own_key: Option<[u8; KEY_BYTES]>,
    /// The key of the WebSocket that the client asks for, if palantir must know the key.
    pub websocket_key: Option<[u8; KEY_BYTES]>,
}

/// Picks the backend to try first.
#[inline]
pub fn choose(incoming: &Incoming<'_>, exchange: &Exchange, route: &Route) -> Balanced {
    let (shard, head, config) = (incoming.shard, incoming.head, incoming.config);
    let pool = config.pool(route.pool);
    let key = key_of(incoming, exchange, pool);
    let own_key = needs_key(head).then(|| shard.make_websocket_key());
    let (carrier, websocket_key) = carrier_of(pool, head, own_key);
    let selection = Selection {
        pool: route.pool,
        key,
        carrier,
        last: None,
    };
    Balanced {
        key,
        carrier,
        first: choose_first(shard, config, selection),
        own_key,
        websocket_key,
    }
}

/// Hash of the value by which the balancing algorithm of the pool picks a backend; 0 if the algorithm uses no value of
/// the request.
fn key_of(incoming: &Incoming<'_>, exchange: &Exchange, pool: &Pool) -> u64 {
    let head = incoming.head;
    if !pool.algorithm.uses_key() {
        return 0;
    }
    match &pool.algorithm.key {
        HashKey::Path => hash_key(incoming.target.path.unwrap_or_default()),
        HashKey::Header(name) => hash_key(head.field(name).unwrap_or_default()),
        HashKey::Cookie(name) => hash_key(fields::cookie(head.fields, name).unwrap_or_default()),
        HashKey::ClientAddress => match exchange.facts.client {
            Some(IpAddr::V4(address)) => hash_key(&address.octets()),
            Some(IpAddr::V6(address)) => hash_key(&address.octets()),
            None => 0,
        },
    }
}
