//! Sends a request to a backend, and again to another backend if that is safe and promises success.

mod connection;

use std::rc::Rc;

use crate::base::limits;
use crate::base::time::Micros;
use crate::snapshot::Protocol;
use crate::worker::attempt;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::record::count_failed_attempt;
use crate::worker::retry::{self, Again, Blame, FailedAttempt, Repeatable};
use crate::worker::shard::Shard;
use crate::worker::upstream::{Carrier, Connected, ConnectionMode, Target};
use connection::{choose_for, connect_for};

/// The outcome of an attempt.
enum Tried {
    /// The client has its answer.
    Answered,
    /// Another core has opened the last connection that the backend may have.
    LostRace,
    Failed(FailedAttempt),
}

/// Gets the request answered by a backend of its pool.
pub async fn forward(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
    request: &mut PreparedRequest,
) -> Result<(), Failure> {
    exchange.config.live(request.pool).note_request();
    if request.is_whole {
        client.watch();
    }
    let mut target = request.first.map(|index| Target::at(request.pool, index));
    let mut is_fresh = wants_fresh(exchange, request);
    loop {
        debug_assert!(
            exchange.progress.used.rounds() <= limits::FORWARD_ROUNDS,
            "a request goes round without an end: {:?}",
            exchange.progress.used
        );
        let next = match target.take() {
            Some(target) => target,
            None => choose_for(shard, client, exchange, request).await?,
        };
        let began = Micros::now();
        let failed = match attempt_at(shard, client, exchange, request, (next, is_fresh)).await {
            Tried::Answered => return Ok(()),
            Tried::LostRace => {
                pass_after_lost_race(shard, exchange).await?;
                continue;
            }
            Tried::Failed(failed) => failed,
        };
        let again = how_again(shard, exchange, request, &failed);
        // The backend may have another number after an attempt: another address of the same name may have been
        // connected to.
        let same = exchange.tally().backend;
        let same = same.map(|index| Target::at(request.pool, index));
        (target, is_fresh) = match again {
            Again::Fresh => (same, true),
            Again::Elsewhere => (same, false),
            Again::Next | Again::Leave | Again::Retry | Again::Never => {
                give_up_on(shard, client, exchange, request, failed.failure);
                (None, wants_fresh(exchange, request))
            }
        };
        match again {
            Again::Never => return Err(failed.failure),
            Again::Leave => exchange.leaves(began, exchange.route().timeouts.upstream_response),
            _ => {}
        }
        exchange.progress.used.count(again, failed.failure);
    }
}

/// Lets other tasks run before a backend is tried again whose last connection another core has opened. Errors: that has
/// happened too often.
async fn pass_after_lost_race(shard: &Shard, exchange: &mut Exchange) -> Result<(), Failure> {
    #[cfg(test)]
    if crate::simulated::is_planted(crate::simulated::Fault::SpinsAtBound) {
        return Ok(());
    }
    let used = &mut exchange.progress.used;
    used.lost_races += 1;
    if used.lost_races > limits::LOST_RACES {
        return Err(Failure::Saturated);
    }
    shard.turn.pass().await;
    Ok(())
}

/// Sends the request to the backend of `target`. `is_fresh`: the connection must never have been idle.
async fn attempt_at(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
    request: &mut PreparedRequest,
    (target, is_fresh): (Target, bool),
) -> Tried {
    let picked = target.index;
    exchange.note(|tally| tally.backend = Some(picked));
    exchange.backend_has_time();
    let is_down = |id| shard.tables.of(shard.worker).is_down(id);
    let first = exchange.config.backend(request.pool, picked).id();
    let under_way = (shard.under_way).begin(first, is_down(first), &client.timer);
    exchange.progress.place = Some(under_way.number());
    let mode = ConnectionMode {
        carrier: request.carrier,
        is_fresh,
    };
    let upstream = match connect_for(shard, client, exchange, target, mode).await {
        Connected::Ready(upstream) => upstream,
        Connected::LostRace => return Tried::LostRace,
        Connected::Failed { failure, backend } => {
            exchange.note_backend(backend);
            return Tried::Failed(FailedAttempt::unsent(failure));
        }
    };
    let id = upstream.backend();
    exchange.note_backend(id);
    (shard.under_way).note_backend(under_way.number(), id, is_down(id));
    request.prepare_for(exchange, exchange.tally().backend.unwrap_or(picked));
    match attempt::make(shard, client, exchange, request, upstream).await {
        Ok(()) => Tried::Answered,
        Err(failed) => Tried::Failed(failed),
    }
}

/// Decides whether the request is sent again. A retry takes from the budget of the pool and is counted.
fn how_again(
    shard: &Shard,
    exchange: &Exchange,
    request: &PreparedRequest,
    failed: &FailedAttempt,
) -> Again {
    let tally = exchange.tally();
    let repeatable = Repeatable {
        is_kept: request.is_kept,
        is_idempotent: request.idempotent,
        is_answered: tally.is_heard || tally.is_answered,
    };
    let again = leave::decide(shard, exchange, repeatable, failed);
    let budget = exchange.config.live(request.pool).retry_budget();
    match again {
        Again::Retry if !budget.borrow_mut().try_take(Micros::now()) => return Again::Never,
        Again::Retry | Again::Next | Again::Leave => {}
        Again::Never | Again::Fresh | Again::Elsewhere => return again,
    }
    if let Some(route) = exchange.route_counters() {
        route.retries.add(1);
    }
    again
}

fn wants_fresh(exchange: &Exchange, request: &PreparedRequest) -> bool {
    let protocol = exchange.config.pool(request.pool).protocol;
    retry::wants_fresh(request.is_whole, protocol == Protocol::Http1)
}

/// Notes that the request leaves, without an answer, the backend that it was sent to last. The failure counts against
/// the backend if the backend is to blame.
fn give_up_on(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    request: &PreparedRequest,
    failure: Failure,
) {
    let Some(id) = exchange.last_backend() else {
        return;
    };
    exchange.note_tried(id);
    let tally = exchange.tally();
    if request.carrier == Carrier::WebSocket && !tally.is_answered {
        shard.shared_upstreams.ask_for_websockets(id);
    }
    let blame = Blame {
        is_of_pools_protocol: request.carrier == Carrier::Pools,
        is_body_pending: client.is_body_pending(),
        has_sent_body: tally.request_bytes > 0,
        is_bound_by_client: exchange.is_bound_by_client(),
        is_answered: tally.is_answered,
        backend_had_most: exchange.backend_had_most(),
    };
    if retry::is_backends_fault(failure, blame) {
        count_failed_attempt(shard, exchange, failure);
        shard.report_failure(exchange, id, failure.label());
    }
}
