//! What becomes of the requests in a backend that turns unhealthy: those that may be repeated leave it for another
//! backend, and the others stay or end as the pool says. While its pool panics, a backend's state decides nothing.

use std::task::{Context, Poll};

use crate::snapshot::OnUnhealthy;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::retry::{self, Again, Repeatable, Setback};
use crate::worker::shard::Shard;

/// A request of which nothing was given to its backend.
const UNSENT: Repeatable = Repeatable {
    is_kept: true,
    is_idempotent: true,
    is_answered: false,
};

/// While a request waits for its connection: ready when the client has gone, or the request leaves. A request that may
/// not leave stays, because the time for a connection is short.
pub fn poll_unsent(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    if let Poll::Ready(failure) = client.poll_gone(shard, cx) {
        return Poll::Ready(failure);
    }
    match is_down(shard, exchange) && may_leave(shard, exchange, UNSENT, true) {
        true => Poll::Ready(Failure::BackendDown),
        false => Poll::Pending,
    }
}

/// While a request waits for the head of its answer: ready when the client has gone, or the request leaves or ends.
/// `request` says how far the request was sent.
pub fn poll_unanswered(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    request: impl FnOnce() -> Repeatable,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    if let Poll::Ready(failure) = client.poll_gone(shard, cx) {
        return Poll::Ready(failure);
    }
    if !is_down(shard, exchange) {
        return Poll::Pending;
    }
    match may_leave(shard, exchange, request(), false) || is_cut(shard, exchange) {
        true => Poll::Ready(Failure::BackendDown),
        false => Poll::Pending,
    }
}

/// While an answer is passed on: ready when the client has gone, or the answer is cut.
pub fn poll_answered(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    match is_cut(shard, exchange) {
        true => Poll::Ready(Failure::BackendDown),
        false => client.poll_gone(shard, cx),
    }
}

/// Whether an exchange ends because its backend has become unhealthy.
pub fn is_cut(shard: &Shard, exchange: &Exchange) -> bool {
    is_down(shard, exchange)
        && exchange.plan.pool(exchange.route().pool).on_unhealthy == OnUnhealthy::Cut
}

fn is_down(shard: &Shard, exchange: &Exchange) -> bool {
    shard.under_way.is_down(exchange.place.get())
        && !exchange.plan.panics(exchange.route().pool, &shard.tables)
}

fn may_leave(
    shard: &Shard,
    exchange: &Exchange,
    request: Repeatable,
    is_unprocessed: bool,
) -> bool {
    let setback = Setback {
        failure: Failure::BackendDown,
        is_unprocessed,
        lost_reused: false,
    };
    decide(shard, exchange, request, &setback) == Again::Leave
}

/// Decides whether the request of an exchange is sent again.
pub fn decide(shard: &Shard, exchange: &Exchange, request: Repeatable, setback: &Setback) -> Again {
    let route = exchange.route();
    let has_next = || {
        let last = exchange.backend.get();
        let last = last.map(|index| exchange.plan.backend(route.pool, index).id());
        // A backend that the request has left before may be well by now, when the next one has become unhealthy.
        let is_left = setback.failure == Failure::BackendDown;
        let may_go_to = |id| last != Some(id) && (is_left || !exchange.has_tried(id));
        let plan = &exchange.plan;
        // A place among those that wait is needed if all others have as many connections as they may.
        (!is_left || plan.live(route.pool).queue().has_place())
            && plan.takes_any(route.pool, &shard.tables, may_go_to)
    };
    retry::again(
        request,
        setback,
        exchange.used.get(),
        route.retries,
        has_next,
    )
}
