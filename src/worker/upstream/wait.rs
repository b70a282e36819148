//! Choosing a backend for a request, and waiting for one while all have as many connections as they may.

use std::task::Poll;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::messages::ToWorker;
use crate::net::Expired;
use crate::snapshot::Protocol;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::plan::{Choice, Pick};
use crate::worker::shard::Shard;
use crate::worker::upstream::queue::{Offer, Place};
use crate::worker::upstream::websocket::goes_by_http1;
use crate::worker::upstream::{Granted, Hold};

/// The backend that a request goes to first, as index in the pool; `None`: it has to wait, or there is none.
pub fn choose_first(shard: &Shard, exchange: &Exchange, key: u64) -> Option<u32> {
    match pick_in_turn(shard, exchange, key) {
        Pick::Backend(index) => Some(index),
        Pick::Saturated | Pick::None => None,
    }
}

/// A backend for the request; waits for a connection to become free if all may have no more. What the request is given
/// then is in [`Exchange::granted`].
pub async fn choose(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    key: u64,
) -> Result<u32, Failure> {
    match pick_in_turn(shard, exchange, key) {
        Pick::Backend(index) => return Ok(index),
        Pick::None => return Err(Failure::NoBackend),
        Pick::Saturated => {}
    }
    let route = exchange.route();
    let queue = exchange.plan.live(route.pool).queue();
    let Some(place) = queue.join(exchange.plan.clone(), exchange.carrier.get(), Micros::now())
    else {
        return Err(Failure::Saturated);
    };
    if place.is_alone() {
        // From now on it is told of all that becomes free; of what became free just before, it was not.
        place.look_first();
        ask_for_idle(shard, exchange);
    }
    let waiting = Waiting {
        shard,
        exchange,
        key,
        place,
    };
    client
        .timer
        .set(exchange.wait_for_connection(route.timeouts.connect));
    let waited = client.timer.bound(|cx| {
        let offer = waiting.place.offer(cx);
        match offer.and_then(|offer| waiting.consider(offer)) {
            Some(outcome) => Poll::Ready(outcome),
            None => client.poll_gone(shard, cx).map(Err),
        }
    });
    match waited.await {
        Ok(outcome) => outcome,
        Err(Expired) => Err(exchange.expired(Failure::Saturated)),
    }
}

/// Asks the pool for a backend, unless others wait for one already: what becomes free is theirs.
fn pick_in_turn(shard: &Shard, exchange: &Exchange, key: u64) -> Pick {
    let plan = &exchange.plan;
    let queue = plan.live(exchange.route().pool).queue();
    match queue.is_ahead(plan.snapshot().generation, exchange.carrier.get()) {
        true => Pick::Saturated,
        false => pick(shard, exchange, key),
    }
}

fn pick(shard: &Shard, exchange: &Exchange, key: u64) -> Pick {
    let tried = |id| exchange.has_tried(id);
    let avoids_others = leave::prefers_well(shard, exchange);
    let choice = Choice {
        tables: &shard.tables,
        now: Micros::now(),
        key,
        tried: exchange.has_tried_any().then_some(&tried),
        is_full: &|id, most| {
            (avoids_others && !leave::is_well(shard, id)) || is_full(shard, exchange, id, most)
        },
    };
    exchange.plan.pick(exchange.route().pool, &choice)
}

/// Whether [`super::obtain`] would have nothing to give of a backend that may have `most` connections.
fn is_full(shard: &Shard, exchange: &Exchange, id: BackendId, most: u32) -> bool {
    let may_not_open = most != u32::MAX && shard.tables.open(id) >= most;
    let key = exchange.plan.reuse_key(id);
    match exchange.plan.pool(exchange.route().pool).protocol {
        Protocol::Http1 => may_not_open && !shard.upstreams.has_idle_for(id, key),
        // An idle connection of HTTP/2 makes room for such a request: see [`Waiting::make_room`].
        Protocol::Http2 if goes_by_http1(shard, exchange, id) => may_not_open,
        Protocol::Http2 => {
            let shared = &shard.shared_upstreams;
            let has_room = || key.is_some_and(|key| shared.has_room(id, key));
            (may_not_open || shared.is_full(id)) && !has_room()
        }
    }
}

/// Has the workers that keep idle connections to the pool give them up. (How many of those that streams share are
/// idle, a worker does not tell.)
fn ask_for_idle(shard: &Shard, exchange: &Exchange) {
    let pool = exchange.plan.pool(exchange.route().pool);
    for worker in shard.other_workers() {
        let table = shard.tables.of(worker);
        let may_have = |&id: &BackendId| pool.protocol == Protocol::Http2 || table.idle(id) > 0;
        let mut backends = pool.backends.iter().map(|backend| backend.id());
        if let Some(id) = backends.find(may_have) {
            // A full mailbox delays them until that worker's next tick.
            let _ = shard.neighbours.tell(worker, ToWorker::GiveIdle(id));
        }
    }
}

/// A request that waits.
struct Waiting<'a> {
    shard: &'a Shard,
    exchange: &'a Exchange,
    key: u64,
    place: Place,
}

impl Waiting<'_> {
    /// What an offer comes to; `None`: to nothing.
    fn consider(&self, offer: Offer) -> Option<Result<u32, Failure>> {
        let plan = &self.exchange.plan;
        match offer {
            Offer::Connection(upstream) => {
                Some(self.take(upstream.backend, Granted::Connection(upstream)))
            }
            Offer::Permit(permit) => {
                let queue = plan.live(self.exchange.route().pool).queue();
                let hold = Hold::permit(queue, permit);
                Some(self.take(hold.backend(), Granted::Hold(hold)))
            }
            Offer::Room(id) => {
                let index = plan.index_of(id)?;
                let most = plan
                    .backend(self.exchange.route().pool, index)
                    .max_connections;
                if is_full(self.shard, self.exchange, id, most) {
                    self.make_room(id);
                    return None;
                }
                Some(Ok(index))
            }
            Offer::Look => self.look(),
        }
    }

    fn take(&self, id: BackendId, granted: Granted) -> Result<u32, Failure> {
        let index = self.exchange.plan.index_of(id).ok_or(Failure::NoBackend)?;
        self.exchange.granted.replace(Some(Box::new(granted)));
        Ok(index)
    }

    fn look(&self) -> Option<Result<u32, Failure>> {
        let outcome = match pick(self.shard, self.exchange, self.key) {
            Pick::Backend(index) => Ok(index),
            Pick::None => Err(Failure::NoBackend),
            Pick::Saturated => {
                let pool = self.exchange.plan.pool(self.exchange.route().pool);
                let backends = pool.backends.iter();
                backends.for_each(|backend| self.make_room(backend.id()));
                self.place.found_nothing();
                return None;
            }
        };
        self.place.found();
        Some(outcome)
    }

    /// Ends an unused connection of HTTP/2 for a request that cannot be sent on it. The permit of the connection comes
    /// to the queue.
    fn make_room(&self, id: BackendId) {
        if goes_by_http1(self.shard, self.exchange, id) {
            self.shard.shared_upstreams.end_idle(id);
        }
    }
}
