//! The record of an exchange that has ended: the exchange is counted, as far as possible here only; the access log gets
//! its line, and the program's own log gets one if the exchange failed.

use tracing::{Level, debug, error, warn};

use crate::base::time::Micros;
use crate::shared::access::{AccessLine, RequestFacts};
use crate::shared::route_counters::status_class;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::{Failure, FailureRow, Fault, STATUS_5XX};
use crate::worker::shard::Shard;

/// Records an exchange that has ended.
#[inline]
pub fn record(shard: &Shard, client: &Client, exchange: &mut Exchange) {
    let row = exchange.progress.failure.map(Failure::row);
    if let Some(row) = row {
        log_failure(shard, client, exchange, row);
    }
    let mut tally = exchange.tally();
    if let Some(row) = row
        && (tally.status == 0 || row.status == 499)
    {
        tally.status = row.status;
    }
    debug_assert!(
        row.is_some() || tally.status >= 100,
        "an exchange without a failure has a status"
    );
    count(shard, exchange, tally.status);
    if exchange.config.snapshot().access_log.is_none() {
        return;
    }
    let line = AccessLine {
        began: exchange.began,
        request_id: exchange.id,
        generation: exchange.config.snapshot().generation,
        facts: RequestFacts {
            client: exchange.facts.client.or(client.arrival.peer.ip()),
            ..exchange.facts
        },
        texts: std::mem::take(&mut exchange.texts),
        tally,
        cache: exchange.cache_outcome(),
        total_micros: Micros::now().since(exchange.began),
        failure: row.map_or("", |row| row.label),
    };
    shard.links.log(shard.worker, line);
}

/// Counts the exchange for its worker, its route and the backend that answered it. `status`: the status of the answer,
/// or the one that a client which has left would have got.
fn count(shard: &Shard, exchange: &Exchange, status: u16) {
    let class = status_class(status);
    let worker = shard.links.counters(shard.worker);
    worker.answer(class);
    let (tally, failure) = (exchange.tally(), exchange.progress.failure);
    match failure {
        None if status >= 500 => worker.fail(),
        None => {}
        Some(failure) => {
            worker.note_reason(failure.reason());
            match failure.row().fault {
                Fault::Client => worker.refuse(),
                Fault::Backend | Fault::Pool | Fault::Ours => worker.fail(),
            }
        }
    }
    if let Some(cache) = exchange.cache_counters() {
        cache.note_outcome(exchange.cache_outcome(), tally.response_bytes);
        cache
            .collapsed
            .add(u64::from(exchange.progress.collapsed.waits > 0));
    }
    if let Some(route) = exchange.route_counters() {
        route.classes[class].add(1);
        route.request_bytes.add(tally.request_bytes);
        route.response_bytes.add(tally.response_bytes);
        route.response_times.observe(match tally.head_micros {
            0 => Micros::now().since(exchange.began), // A reply has no head of a backend.
            micros => micros,
        });
        if let Some(failure) = failure {
            route.failures.0[failure.reason_group()].add(1);
        }
    }
    count_answer(shard, exchange);
}

/// Counts the answer for its backend. Attempts that failed by the backend's fault have been counted before.
fn count_answer(shard: &Shard, exchange: &Exchange) {
    let Some(backend) = exchange.backend_counters() else {
        return;
    };
    let tally = exchange.tally();
    if tally.attempts == 0 {
        return; // The backend was chosen, but never reached.
    }
    backend.request_bytes.add(tally.request_bytes);
    let Some(micros) = tally.upstream_micros else {
        return; // The bytes are those of a reply of our own, or of the cache.
    };
    if tally.is_answered {
        backend.response_bytes.add(tally.response_bytes);
    }
    if exchange
        .progress
        .failure
        .is_some_and(Failure::blames_backend)
    {
        return;
    }
    count_unpassed(shard, exchange, tally.status, micros);
}

/// Counts an answer of a backend that a stored response takes the place of.
pub fn count_unpassed(shard: &Shard, exchange: &Exchange, status: u16, micros: u64) {
    let Some(backend) = exchange.backend_counters() else {
        return;
    };
    let succeeded = status < 500;
    backend.answers[status_class(status)].add(1);
    backend.response_times.observe(micros);
    shard.links.counters(shard.worker).attempt(succeeded);
    if !succeeded {
        backend.note_failure(STATUS_5XX, Micros::now());
    }
}

/// Records a request of the cache's own: it counts for its backend, and for no client.
pub fn record_refresh(shard: &Shard, exchange: &Exchange) {
    if let Some(cache) = exchange.cache_counters() {
        cache.refreshes.add(1);
    }
    count_answer(shard, exchange);
}

/// Counts an attempt that failed by the fault of its backend.
pub fn count_failed_attempt(shard: &Shard, exchange: &Exchange, failure: Failure) {
    if let Some(backend) = exchange.backend_counters() {
        backend.fail(failure.reason_group(), Micros::now());
    }
    shard.links.counters(shard.worker).attempt(false);
}

fn log_failure(shard: &Shard, client: &Client, exchange: &Exchange, row: &FailureRow) {
    if row.level() == Level::DEBUG && !tracing::enabled!(Level::DEBUG) {
        return;
    }
    if !shard.log_ration.may_log_failure() {
        return;
    }
    let id = format!("{:016x}", exchange.id.0);
    let client = exchange.facts.client.or(client.arrival.peer.ip());
    let client = client.map_or("-".to_owned(), |ip| ip.to_string());
    let route = exchange.facts.route.map_or("-", |_| &exchange.route().name);
    let backend = match (exchange.facts.pool, exchange.tally().backend) {
        (Some(pool), Some(index)) => &exchange.config.backend(pool, index).label,
        _ => "-",
    };
    let FailureRow { status, label, .. } = row;
    match row.level() {
        Level::WARN => warn!(
            id,
            client, route, backend, status, "request failed: {label}"
        ),
        _ => debug!(
            id,
            client, route, backend, status, "request failed: {label}"
        ),
    }
}

/// Logs that the task of a connection panicked. The message of the panic is on standard error already.
pub fn report_panic(shard: &Shard) {
    if shard.log_ration.may_log_failure() {
        error!(
            worker = shard.worker.0,
            "a connection was ended by a panic: a defect of palantir"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::RouteId;
    use crate::shared::worker_counters::Outcomes;
    use crate::snapshot::sample::with_route;
    use crate::worker::sample::{refusing, run_worker_with};

    #[test]
    fn each_exchange_has_one_outcome() {
        let [mut succeeded, mut refused, mut failed] = [Outcomes::default(); 3];
        (succeeded.succeeded, refused.refused, failed.failed) = (1, 1, 1);
        let rows = [
            (None, 200, succeeded),
            (None, 308, succeeded),
            (None, 404, succeeded),
            (None, 503, failed),
            (Some(Failure::NoRoute), 404, refused),
            (Some(Failure::ClientLeft), 499, refused),
            (Some(Failure::Reset), 502, failed),
            (Some(Failure::Exhausted), 503, failed),
        ];
        run_worker_with(
            &[refusing()],
            |_| (),
            with_route,
            async |shard| {
                let counters = shard.links.counters(shard.worker);
                for (failure, status, expected) in rows {
                    let mut exchange = shard.begin_exchange();
                    exchange.take_route(RouteId(0));
                    exchange.progress.failure = failure;
                    let before = counters.outcomes();
                    count(&shard, &exchange, status);
                    let after = counters.outcomes();
                    assert_eq!(after.since(&before), expected, "{failure:?} {status}");
                    let route = exchange.route_counters().unwrap();
                    assert!(route.classes[status_class(status)].get() > 0, "{status}");
                }
            },
        );
    }

    /// An answer counts for the backend that gave it, and a failed attempt was counted when it failed.
    #[test]
    fn an_answer_counts_for_its_backend() {
        let rows = [
            (0, Some(5), None, 200, (0, 0)),
            (1, None, None, 504, (0, 0)),
            (1, Some(5), None, 200, (1, 0)),
            (1, Some(5), None, 503, (0, 1)),
            (1, Some(5), Some(Failure::Truncated), 200, (0, 0)),
            (1, Some(5), Some(Failure::ClientLeft), 200, (1, 0)),
        ];
        run_worker_with(
            &[refusing()],
            |_| (),
            with_route,
            async |shard| {
                let counters = shard.links.counters(shard.worker);
                for (attempts, micros, failure, status, expected) in rows {
                    let mut exchange = shard.begin_exchange();
                    exchange.take_route(RouteId(0));
                    exchange.progress.failure = failure;
                    exchange.note(|tally| {
                        tally.backend = Some(0);
                        tally.attempts = attempts;
                        tally.upstream_micros = micros;
                        tally.status = status;
                    });
                    let before = counters.outcomes();
                    count_answer(&shard, &exchange);
                    let new = counters.outcomes().since(&before);
                    let found = (new.server_succeeded, new.server_failed);
                    assert_eq!(
                        found, expected,
                        "{attempts} {micros:?} {failure:?} {status}"
                    );
                }
            },
        );
    }
}
