//! The work of a worker at every tick.

use std::rc::Rc;

use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::net::operations;
use crate::worker::memory::relief;
use crate::worker::shard::Shard;
use crate::worker::upstream::{go_on_with_rests, spare_descriptors};

/// Does the work of a tick, which began `lag` microseconds late.
pub fn tick(shard: &Rc<Shard>, lag: u64) {
    panic_on_demand("worker");
    let counters = shard.links.counters(shard.worker);
    counters.pulse().beat(Micros::now());
    shard.note_lag(lag);
    shard.timers.advance();
    let now = shard.timers.millis();
    shard.upstreams.sweep(now, shard.tables.of(shard.worker));
    shard.shared_upstreams.share();
    shard.look_for_places();
    spare_descriptors(shard);
    go_on_with_rests(shard);
    relief::look_around(shard, now);
    if let Some(cache) = &shard.cache {
        cache.tick();
    }
    counters.set_operations(operations());
    shard.end_tick(now);
}
