//! Sending a request to a backend, and again to another one where that is safe and promises something.

use std::rc::Rc;

use crate::base::limits;
use crate::base::time::Micros;
use crate::snapshot::Protocol;
use crate::worker::admit::Admitted;
use crate::worker::attempt::{Attempt, choose_for, connect_for};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::record::count_failed_attempt;
use crate::worker::retry::{Again, Repeatable, Setback};
use crate::worker::shard::Shard;
use crate::worker::upstream::{Carrier, Connected, ConnectionMode, Target};

/// Gets the request answered by some backend of its pool.
pub async fn forward(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
) -> Result<(), Failure> {
    exchange.plan.live(admitted.pool).note_request();
    if admitted.is_whole {
        client.watch();
    }
    let mut preferred = admitted.first;
    let mut fresh = wants_fresh(exchange, admitted);
    loop {
        let mut used = exchange.used.get();
        debug_assert!(
            used.rounds() <= limits::FORWARD_ROUNDS,
            "a request goes round without an end: {used:?}"
        );
        let target = match preferred.take() {
            Some(index) => Target::at(admitted.pool, index),
            None => choose_for(shard, client, exchange, admitted.key).await?,
        };
        let (picked, began) = (target.index, Micros::now());
        let tried = match attempt(shard, client, exchange, admitted, (target, fresh)).await {
            Some(tried) => tried,
            // Another core was quicker to open the last connection: the others have their turn before it is tried
            // again.
            None => {
                used.lost_races += 1;
                exchange.used.set(used);
                match used.lost_races > limits::LOST_RACES {
                    true => return Err(Failure::Saturated),
                    false => shard.turn.pass().await,
                }
                continue;
            }
        };
        let Err(setback) = tried else {
            return Ok(());
        };
        // It may be another address of the name that was picked.
        let index = exchange.backend.get().unwrap_or(picked);
        let again = how_again(shard, exchange, admitted, &setback);
        (preferred, fresh) = match again {
            Again::Fresh => (Some(index), true),
            Again::Elsewhere => (Some(index), false),
            Again::Next | Again::Leave | Again::Retry | Again::Never => {
                give_up_on(shard, client, exchange, admitted, index, setback.failure);
                (None, wants_fresh(exchange, admitted))
            }
        };
        match again {
            Again::Never => return Err(setback.failure),
            Again::Leave => exchange.leaves(began, exchange.route().timeouts.upstream_response),
            _ => {}
        }
        used.count(again, setback.failure);
        exchange.used.set(used);
    }
}

/// Sends the request to the backend of `target`. `None`: no connection to the backend is available.
async fn attempt(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    (target, is_fresh): (Target, bool),
) -> Option<Result<(), Setback>> {
    let picked = target.index;
    let backend = exchange.plan.backend(admitted.pool, picked);
    exchange.backend.set(Some(picked));
    exchange.backend_has_time();
    let is_down = |id| shard.tables.of(shard.worker).is_down(id);
    let first = backend.id();
    let under_way = (shard.under_way).begin(first, is_down(first), &client.timer);
    exchange.place.set(under_way.number());
    let mode = ConnectionMode {
        carrier: exchange.carrier.get(),
        is_fresh,
    };
    let upstream = match connect_for(shard, client, exchange, target, mode).await {
        Connected::Ready(upstream) => upstream,
        Connected::LostRace => return None,
        Connected::Failed { failure, backend } => {
            exchange.note_backend(backend);
            return Some(Err(Setback::unsent(failure)));
        }
    };
    let id = upstream.backend();
    exchange.note_backend(id);
    (shard.under_way).note_backend(under_way.number(), id, is_down(id));
    admitted.prepare_for(exchange, exchange.backend.get().unwrap_or(picked));
    let attempt = Attempt {
        shard,
        client,
        exchange,
        backend: id,
    };
    Some(attempt.make(admitted, upstream).await)
}

/// Decides whether the request is sent again; a retry takes from the pool's budget and is counted.
fn how_again(shard: &Shard, exchange: &Exchange, admitted: &Admitted, setback: &Setback) -> Again {
    let request = Repeatable {
        is_kept: admitted.is_kept,
        is_idempotent: admitted.idempotent,
        is_answered: exchange.heard.get() || exchange.answered.get(),
    };
    let again = leave::decide(shard, exchange, request, setback);
    let budget = exchange.plan.live(admitted.pool).retry_budget();
    match again {
        Again::Retry if !budget.borrow_mut().try_take(Micros::now()) => return Again::Never,
        Again::Retry | Again::Next | Again::Leave => {}
        Again::Never | Again::Fresh | Again::Elsewhere => return again,
    }
    if let Some(route) = exchange.route_counts() {
        route.retries.add(1);
    }
    again
}

/// Whether the request should have a new connection: one that cannot be sent again should not go out on an old one,
/// which may just have died (a connection of HTTP/2 is said to end before it does).
fn wants_fresh(exchange: &Exchange, admitted: &Admitted) -> bool {
    let pool = exchange.plan.pool(admitted.pool);
    !admitted.is_whole && pool.protocol == Protocol::Http1
}

fn give_up_on(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    admitted: &Admitted,
    index: u32,
    failure: Failure,
) {
    let id = exchange.plan.backend(admitted.pool, index).id();
    exchange.note_tried(id);
    if exchange.carrier.get() == Carrier::WebSocket {
        shard.shared_upstreams.ask_for_websockets(id);
    }
    let is_innocent = || may_be_others_fault(client, exchange, failure);
    if failure.blames_backend() && !is_innocent() {
        count_failed_attempt(shard, exchange, failure);
        shard.report_failure(exchange, id, failure.consequences().word);
    }
}

/// Whether somebody else than the backend may have used up the time for the exchange: the client set the time itself,
/// has sent its request late or incompletely, or was to read the answer; or the request had to wait for others. A
/// client that asks a backend of HTTP/2 for a protocol which the backend may not support is to blame itself, too.
/// Otherwise one client, or mere load, could have any backend ejected.
fn may_be_others_fault(client: &Client, exchange: &Exchange, failure: Failure) -> bool {
    match failure {
        _ if exchange.carrier.get() != Carrier::Pools => true,
        // The client waits for `100 Continue`, for longer than it should: the backend need not know of that.
        Failure::ResponseTimeout => client.is_body_pending() && exchange.request_bytes.get() == 0,
        Failure::ExchangeTimeout => {
            exchange.is_bound_by_client()
                || client.is_body_pending()
                || exchange.answered.get()
                || !exchange.backend_had_most()
        }
        _ => false,
    }
}
