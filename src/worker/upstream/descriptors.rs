//! The descriptors for connections to backends: when they become few, those of idle connections are given back, and no
//! client's connection gets more than a part of what is left for the requests that it carries at once. (A bound for
//! each that follows what is free: A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
//! Packet Switches", 1998. However many clients want more, some is left.)

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::net::{Expired, Timer};
use crate::shared::sockets::socket_counts;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;

/// A connection to a backend that serves a request of a client's connection, counted for the latter.
pub struct Held(Rc<Cell<usize>>);

impl Held {
    /// Counts one more for this client's connection.
    pub fn by(client: &Client) -> Held {
        let count = client.arrival.upstreams.clone();
        count.set(count.get() + 1);
        Held(count)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Connections to backends that may still be opened.
fn free(shard: &Shard) -> usize {
    let counts = socket_counts();
    let plan = shard.plan();
    let most = plan.snapshot().descriptors;
    let in_all = most
        .sockets
        .saturating_sub(counts.accepted + counts.connected);
    in_all.min(most.backends.saturating_sub(counts.connected))
}

/// Whether another connection to a backend may be opened for a client's connection that has `held` of them.
pub fn may_open(shard: &Shard, held: usize) -> bool {
    let free = free(shard);
    free > 0 && held <= free / limits::HELD_PART
}

/// Waits until another connection to a backend may be opened for the client. Errors: none may in the time for a
/// connection, or the client left meanwhile.
pub async fn wait_for_one(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<(), Failure> {
    let may_open = || may_open(shard, client.arrival.upstreams.get());
    if may_open() {
        return Ok(());
    }
    let timer = &client.timer;
    timer.set(exchange.bounded(exchange.route().timeouts.connect));
    let wait = Duration::from_millis(limits::TICK_MILLIS);
    let next_look = Timer::new(&shard.timers);
    next_look.set(wait);
    let waited = timer.bound(|cx| {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
        match may_open() || next_look.is_due_again(wait, cx) && may_open() {
            true => Poll::Ready(Ok(())),
            false => client.poll_gone(shard, cx).map(Err),
        }
    });
    match waited.await {
        Ok(outcome) => outcome,
        Err(Expired) => Err(exchange.expired(Failure::Exhausted)),
    }
}

/// Gives the descriptors of idle connections back when few are left: somebody may need them on another core.
pub fn spare(shard: &Shard) {
    let few = shard.plan().snapshot().descriptors.backends / limits::FEW_LEFT;
    if free(shard) <= few {
        shard.upstreams.close_idle(shard.tables.of(shard.worker));
    }
}
