//! The configuration of a run with a cache.

use std::sync::Arc;

use super::scenario::{CachePolicy, CachedScenario};
use crate::shared::slots::Slots;
use crate::simulated::world::scenario::PoolKind;
use crate::simulated::world::settings::compiled;
use crate::snapshot::Snapshot;

/// Bytes of the cache, most of which its tables take: a few bodies displace each other.
pub const CACHE_BYTES: u64 = 1 << 20;

/// The compiled configuration of a scenario.
pub fn snapshot(scenario: &CachedScenario, slots: &mut Slots) -> Arc<Snapshot> {
    Arc::new(compiled(text(scenario), slots, 1))
}

fn text(scenario: &CachedScenario) -> String {
    let mut text = format!(
        "shutdown_timeout = 2\nworkers = {}\n[cache]\nmax_size = {CACHE_BYTES}\n[timeouts]\n\
         client_header = 1\nclient_body = 1\nclient_idle = 3\nclient_stream_stall = 3\nconnect = 1\n\
         upstream_response = 3\nupstream_idle = 3\nupstream_keepalive = 2\n\
         [[listeners]]\naddr = \"127.0.0.1:80\"\n",
        scenario.workers,
    );
    let pools = [
        (PoolKind::One, "one", "h1", 1),
        (PoolKind::Two, "two", "h2", 2),
    ];
    for (kind, name, protocol, prefix) in pools {
        let (addr, cache) = (CachedScenario::addr(kind), cache(&scenario.policy));
        text += &format!(
            "[[pools]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nbackends = [{{ addr = \"{addr}\" }}]\n\
             [[routes]]\nprefix = \"/{prefix}\"\npool = \"{name}\"\nretries = 1\n{cache}\n",
        );
    }
    text
}

fn cache(policy: &CachePolicy) -> String {
    let patience = match policy.stale_after {
        0 => String::new(),
        millis => format!(", stale_after = \"{millis}ms\""),
    };
    format!(
        "cache = {{ status = \"full\", max_object = {}, max_percent = {}, stale_while_revalidate = \"{}s\", \
         stale_if_error = \"{}s\", stale_if_unreachable = \"{}s\", collapse_timeout = \"1s\", \
         uncacheable_memory = \"2s\"{patience} }}",
        policy.max_object,
        policy.max_percent,
        policy.stale_while_revalidate,
        policy.stale_if_error,
        policy.stale_if_unreachable,
    )
}

impl CachedScenario {
    /// The address of the origin of a pool.
    pub fn addr(pool: PoolKind) -> std::net::SocketAddr {
        let last = if pool == PoolKind::One { 1 } else { 2 };
        ([10, 1, 0, last], 80).into()
    }
}
