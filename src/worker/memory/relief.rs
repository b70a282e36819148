//! Frees memory when it is full: closes idle connections, and ends stalled exchanges.

use tracing::warn;

use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::worker::shard::Shard;

/// Frees memory if it is full: at most once a tick, and as soon as a worker notices that it is.
pub fn relieve(shard: &Shard) {
    if shard.memory.is_relief_due(shard.timers.millis()) {
        close_idle(shard);
        let ended = shard.memory.end_stalled(&shard.timers);
        shard.links.counters(shard.worker).note_ended(ended);
    }
}

/// Closes connections that serve no request at this moment.
fn close_idle(shard: &Shard) {
    shard.upstreams.close_idle(shard.tables.of(shard.worker));
    for _ in 0..limits::IDLE_CLOSED_AT_ONCE {
        shard.idle_clients.close_oldest(|_| true);
    }
}

/// Does the work of a tick that depends on the use of memory. `now`: the core's millisecond.
pub fn look_around(shard: &Shard, now: u64) {
    relieve(shard);
    shard.memory.begin_tick();
    if memory::level() >= Level::Tight {
        shard.blocks.drop_free();
    }
    let is_busy = shard.links.counters(shard.worker).exchanges() > 0;
    shard.memory.purge_if_due(is_busy, now, &shard.blocks);
    if now.is_multiple_of(1000)
        && let Some(complaint) = shard.memory.complaint()
    {
        warn!(worker = shard.worker.0, "{complaint}");
    }
}
