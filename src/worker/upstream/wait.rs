//! Chooses a backend for a request, and waits for one while all backends have as many connections as they may have.

use std::task::Poll;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::messages::ToWorker;
use crate::snapshot::Protocol;
use crate::worker::failure::Failure;
use crate::worker::live_config::Pick;
use crate::worker::shard::Shard;
use crate::worker::upstream::pick::{Picking, Selection};
use crate::worker::upstream::queue::{Offer, QueueEntry};
use crate::worker::upstream::{Caller, Granted, Hold, Target};

/// A backend for the request. If all backends have as many connections as they may have, the request waits until a
/// connection becomes free. Errors: no backend takes requests, the queue is full, or the time to wait is over.
pub async fn choose(
    shard: &Shard,
    selection: Selection,
    caller: &Caller<'_>,
) -> Result<Target, Failure> {
    let picking = Picking {
        shard,
        config: caller.config,
        tried: caller.tried,
        selection,
    };
    let Selection { pool, carrier, .. } = selection;
    match picking.pick_in_turn() {
        Pick::Backend(index) => return Ok(Target::at(pool, index)),
        Pick::None => return Err(Failure::NoBackend),
        Pick::Saturated => {}
    }
    let queue = caller.config.live(pool).queue();
    let Some(entry) = queue.join(caller.config.clone(), carrier, Micros::now()) else {
        return Err(Failure::Saturated);
    };
    if entry.is_alone() {
        // From now on the request gets offers. A connection that became free just before was offered to no request.
        entry.look_first();
        picking.ask_for_idle();
    }
    let step = (caller.queue, Failure::Saturated);
    let waited = caller.await_step(None, step, |cx| {
        let offer = entry.offer(cx);
        match offer.and_then(|offer| picking.consider(offer, &entry)) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    });
    waited.await
}

impl Picking<'_> {
    /// Has the workers that keep idle connections to the pool close them. (A worker does not publish how many of its
    /// shared connections are idle.)
    fn ask_for_idle(&self) {
        let shard = self.shard;
        let pool = self.config.pool(self.selection.pool);
        for worker in shard.other_workers() {
            let table = shard.tables.of(worker);
            let may_have = |&id: &BackendId| pool.protocol == Protocol::Http2 || table.idle(id) > 0;
            let mut backends = pool.backends.iter().map(|backend| backend.id());
            if let Some(id) = backends.find(may_have) {
                // If the mailbox is full, that worker does so at its next tick.
                let _ = shard.neighbours.tell(worker, ToWorker::GiveIdle(id));
            }
        }
    }

    /// The outcome of an offer; `None`: the offer is of no use.
    fn consider(&self, offer: Offer, entry: &QueueEntry) -> Option<Result<Target, Failure>> {
        let (config, pool) = (self.config, self.selection.pool);
        match offer {
            Offer::Connection(upstream) => {
                Some(self.take(upstream.backend, Granted::Connection(upstream)))
            }
            Offer::Permit(permit) => {
                let hold = Hold::permit(config.live(pool).queue(), permit);
                Some(self.take(hold.backend(), Granted::Hold(hold)))
            }
            Offer::Room(id) => {
                let index = config.index_of(id)?;
                if self.is_full(id, config.backend(pool, index).max_connections) {
                    self.make_room(id);
                    return None;
                }
                Some(Ok(Target::at(pool, index)))
            }
            Offer::Look => self.look(entry),
        }
    }

    fn take(&self, id: BackendId, granted: Granted) -> Result<Target, Failure> {
        Ok(Target {
            pool: self.selection.pool,
            index: self.config.index_of(id).ok_or(Failure::NoBackend)?,
            granted: Some(Box::new(granted)),
        })
    }

    fn look(&self, entry: &QueueEntry) -> Option<Result<Target, Failure>> {
        let pool = self.selection.pool;
        let outcome = match self.pick() {
            Pick::Backend(index) => Ok(Target::at(pool, index)),
            Pick::None => Err(Failure::NoBackend),
            Pick::Saturated => {
                let backends = self.config.pool(pool).backends.iter();
                backends.for_each(|backend| self.make_room(backend.id()));
                entry.found_nothing();
                return None;
            }
        };
        entry.found();
        Some(outcome)
    }
}

#[cfg(test)]
mod tests;
