//! Requests at a backend that turns unhealthy. Requests that may be repeated leave the backend for another one; the
//! others go on or end, as `on_unhealthy` of the pool says. While a pool panics, the states of its backends are
//! ignored.

use std::task::{Context, Poll};

use crate::snapshot::OnUnhealthy;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::retry::{self, Again, Allowance, FailedAttempt, Repeatable};
use crate::worker::shard::Shard;
use crate::worker::upstream::{is_well, prefers_well};

/// A request of which the backend has got no byte.
const UNSENT: Repeatable = Repeatable {
    is_kept: true,
    is_idempotent: true,
    is_answered: false,
};

/// Watches a request that waits for its connection. Ready when the client has gone, or when the request leaves its
/// backend. A request that may not leave waits on, because the time for a connection is short.
pub fn poll_unsent(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    if let Poll::Ready(failure) = client.poll_gone(shard, cx) {
        return Poll::Ready(failure);
    }
    if is_down(shard, exchange) && may_leave(shard, exchange, UNSENT, true) {
        Poll::Ready(Failure::BackendDown)
    } else {
        Poll::Pending
    }
}

/// Watches a request that waits for the head of its answer. Ready when the client has gone, when the request leaves its
/// backend, or when it is cut. `request` says how far the request was sent.
#[inline]
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
    poll_unanswered_alone(shard, exchange, request, cx)
}

/// Watches a request as [`poll_unanswered`] does, without its client.
#[inline]
pub fn poll_unanswered_alone(
    shard: &Shard,
    exchange: &Exchange,
    request: impl FnOnce() -> Repeatable,
    _: &mut Context<'_>,
) -> Poll<Failure> {
    if !is_down(shard, exchange) {
        return Poll::Pending;
    }
    if may_leave(shard, exchange, request(), false) || is_cut(shard, exchange) {
        Poll::Ready(Failure::BackendDown)
    } else {
        Poll::Pending
    }
}

/// Watches an exchange whose answer is being passed on. Ready when the client has gone, or when the answer is cut.
#[inline]
pub fn poll_answered(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    if is_cut(shard, exchange) {
        Poll::Ready(Failure::BackendDown)
    } else {
        client.poll_gone(shard, cx)
    }
}

/// Whether an exchange ends because its backend has become unhealthy.
pub fn is_cut(shard: &Shard, exchange: &Exchange) -> bool {
    is_down(shard, exchange)
        && exchange.config.pool(exchange.route().pool).on_unhealthy == OnUnhealthy::Cut
}

fn is_down(shard: &Shard, exchange: &Exchange) -> bool {
    exchange
        .progress
        .place
        .is_some_and(|place| shard.under_way.is_down(place))
        && !exchange.config.panics(exchange.route().pool, &shard.tables)
}

fn may_leave(
    shard: &Shard,
    exchange: &Exchange,
    request: Repeatable,
    is_unprocessed: bool,
) -> bool {
    let failed = FailedAttempt {
        failure: Failure::BackendDown,
        is_unprocessed,
        lost_reused: false,
    };
    decide(shard, exchange, request, &failed) == Again::Leave
}

/// Decides whether and how the request of an exchange is sent again.
pub fn decide(
    shard: &Shard,
    exchange: &Exchange,
    request: Repeatable,
    failed: &FailedAttempt,
) -> Again {
    let route = exchange.route();
    let has_next = || {
        let last = exchange.last_backend();
        // A request that leaves a backend may go back to a backend that it has left before, because that backend may be
        // healthy again.
        let is_left = failed.failure == Failure::BackendDown;
        let avoids_others = prefers_well(shard, &exchange.config, route.pool, last);
        let may_go_to = |id| {
            last != Some(id)
                && (is_left || !exchange.has_tried(id))
                && (!avoids_others || is_well(shard, id))
        };
        let config = &exchange.config;
        // If all other backends are at their `max_connections`, the request has to wait in the queue, which must have
        // space for it.
        (!is_left || config.live(route.pool).queue().has_place())
            && config.takes_any(route.pool, &shard.tables, may_go_to)
    };
    let allowance = Allowance {
        used: exchange.progress.used,
        retries: route.retries,
    };
    let again = retry::again(request, failed, allowance, has_next);
    if exchange
        .last_backend()
        .is_some_and(|id| exchange.has_tried(id))
    {
        again.after_second_try(allowance)
    } else {
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::RouteId;
    use crate::net::Timer;
    use crate::shared::backend_table::BackendState;
    use crate::snapshot::sample::with_route;
    use crate::worker::sample::{POOL, refusing, run_worker_with};

    /// The fate of a request in the first of so many backends, when that backend is unhealthy.
    fn fate(backends: usize, on_unhealthy: OnUnhealthy, request: Repeatable) -> (Again, bool) {
        let addrs: Vec<_> = (0..backends).map(|_| refusing()).collect();
        run_worker_with(
            &addrs,
            |pool| pool.options.on_unhealthy = on_unhealthy,
            with_route,
            async |shard| {
                let mut exchange = shard.begin_exchange();
                exchange.take_route(RouteId(0));
                exchange.note(|tally| tally.backend = Some(0));
                let id = exchange.config.backend(POOL, 0).id();
                let timer = Timer::new(&shard.timers);
                let counted = shard.under_way.begin(id, false, &timer);
                exchange.progress.place = Some(counted.number());
                assert!(!is_down(&shard, &exchange));
                shard.set_backend_state(id, BackendState::Unhealthy, true);
                let failed = FailedAttempt::without_connection(Failure::BackendDown);
                let again = decide(&shard, &exchange, request, &failed);
                (again, is_cut(&shard, &exchange))
            },
        )
    }

    #[test]
    fn a_request_leaves_an_unhealthy_backend_if_it_may_and_can() {
        let (finish, cut) = (OnUnhealthy::Finish, OnUnhealthy::Cut);
        let answered = Repeatable {
            is_answered: true,
            ..UNSENT
        };
        let unsafe_one = Repeatable {
            is_idempotent: false,
            ..UNSENT
        };
        let rows = [
            (2, finish, UNSENT, Again::Leave, false),
            (2, cut, UNSENT, Again::Leave, true),
            (2, cut, answered, Again::Never, true),
            (2, finish, unsafe_one, Again::Never, false),
            // There is nowhere to go.
            (1, finish, UNSENT, Again::Never, false),
        ];
        for (backends, on_unhealthy, request, again, is_cut) in rows {
            let found = fate(backends, on_unhealthy, request);
            assert_eq!(
                found,
                (again, is_cut),
                "{backends} {on_unhealthy:?} {request:?}"
            );
        }
    }
}
