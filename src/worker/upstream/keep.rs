//! Keeping a connection to a backend for another request.

use crate::snapshot::{Pool, Protocol};
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;
use crate::worker::upstream::idle::Keep;

/// Keeps a connection whose exchange is complete for another exchange, if another request may use it.
pub fn keep_idle(shard: &Shard, mut upstream: Box<Upstream>) {
    upstream.let_go();
    let config = shard.config();
    if let Some(pool) = config.pool_with(upstream.backend)
        && is_of_use(shard, &config, pool, &upstream)
        && shard.descriptor_waiters.may_keep(upstream.backend)
        && let most = config.most_connections(upstream.backend)
        && let Some(upstream) = upstream.unless_beyond(most.unwrap_or(u32::MAX))
    {
        let keep = Keep {
            most: pool.idle_connections,
            keepalive: pool.keepalive.as_millis() as u64,
        };
        let table = shard.tables.of(shard.worker);
        let now = shard.timers.millis();
        shard.upstreams.give(upstream, keep, now, table);
    }
}

/// Whether another request may use a connection: the connection has the settings that a new one would have, and no
/// PROXY header has bound it to one client.
fn is_of_use(shard: &Shard, config: &LiveConfig, pool: &Pool, upstream: &Upstream) -> bool {
    #[cfg(test)]
    if crate::simulated::is_planted(crate::simulated::Fault::KeepsOldSettings) {
        return matches!(upstream.wire.stream, Stream::Socket(_)) && !shard.is_draining();
    }
    matches!(upstream.wire.stream, Stream::Socket(_))
        && pool.protocol == Protocol::Http1
        && pool.proxy_protocol.is_none()
        && config.is_current(upstream.backend, upstream.key())
        && !shard.is_draining()
}
