//! How a request that offers to switch to another protocol reaches a backend of HTTP/2: HTTP/2 has no such offer (RFC
//! 9113 section 8.6).

use crate::base::ids::BackendId;
use crate::worker::failure::Failure;
use crate::worker::live_config::LiveConfig;
use crate::worker::multiplex::Gone;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::connecting::Connecting;
use crate::worker::upstream::{Carrier, Upstream};

/// Whether a request goes to a backend by HTTP/1.1 although its pool speaks HTTP/2, as far as is known now. A request
/// of this kind needs a connection of its own.
pub fn goes_by_http1(shard: &Shard, config: &LiveConfig, carrier: Carrier, id: BackendId) -> bool {
    match carrier {
        Carrier::Pools => false,
        Carrier::Http1 => true,
        Carrier::WebSocket => {
            let key = config.reuse_key(id);
            key.is_some_and(|key| shard.shared_upstreams.takes_no_websockets(id, key))
        }
    }
}

/// Makes a stream ready for a WebSocket. `None`: the backend takes no extended CONNECT. The function waits for the
/// backend's first SETTINGS, which announce that (RFC 8441 section 3).
pub(super) async fn for_websocket(
    connecting: &Connecting<'_>,
    mut upstream: Box<Upstream>,
) -> Result<Option<Box<Upstream>>, Failure> {
    let Stream::Multiplexed(stream) = &upstream.wire.stream else {
        return Ok(None);
    };
    let (shard, caller) = (connecting.shard, connecting.caller);
    let step = (caller.connect, Failure::ConnectTimeout);
    let settled = caller.await_step(Some(connecting.backend.id()), step, |cx| {
        stream.poll_extended_connect(cx).map_err(of_gone)
    });
    let takes = settled.await?;
    upstream.is_websocket = takes;
    let id = upstream.backend();
    if let Some(key) = caller.config.reuse_key(id) {
        shard.shared_upstreams.note_websockets(id, key, takes);
    }
    Ok(takes.then_some(upstream))
}

/// The failure of a connection that ends before any byte of the request was sent.
fn of_gone(gone: Gone) -> Failure {
    match gone {
        Gone::Unconnected(unconnected) => Failure::of_unconnected(unconnected),
        _ => Failure::Unprocessed,
    }
}
