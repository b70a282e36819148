//! What is told of an exchange when it has ended: the access log's line, and a line of the program's own log if it
//! failed.

use tracing::{Level, debug, error, warn};

use crate::base::ids::WorkerId;
use crate::base::time::Micros;
use crate::shared::access::AccessLine;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::{Consequences, Failure};
use crate::worker::shard::Shard;

/// Records an exchange that has ended.
pub fn record(shard: &Shard, client: &Client, exchange: &Exchange) {
    let consequences = exchange.failure.get().map(Failure::consequences);
    if let Some(consequences) = &consequences {
        log_failure(shard, client, exchange, consequences);
    }
    if exchange.plan.snapshot().access_log.is_none() {
        return;
    }
    let status = match &consequences {
        Some(consequences) if exchange.status.get() == 0 || consequences.status == 499 => {
            consequences.status
        }
        _ => exchange.status.get(),
    };
    let line = AccessLine {
        began: exchange.began,
        request_id: exchange.id,
        client: exchange.client.get().or(client.peer.ip()),
        texts: exchange.texts.take().unwrap_or_default(),
        version: exchange.version.get(),
        status,
        request_bytes: exchange.request_bytes.get(),
        response_bytes: exchange.response_bytes.get(),
        generation: exchange.plan.snapshot().generation,
        route: exchange.route.get(),
        pool: exchange.pool.get(),
        backend: exchange.backend.get(),
        attempts: exchange.attempts.get(),
        upstream_micros: exchange.upstream_micros.get(),
        total_micros: Micros::now().since(exchange.began),
        failure: consequences.map_or("", |consequences| consequences.word),
    };
    shard.links.log(shard.worker, line);
}

fn log_failure(shard: &Shard, client: &Client, exchange: &Exchange, consequences: &Consequences) {
    if consequences.level == Level::DEBUG && !tracing::enabled!(Level::DEBUG) {
        return;
    }
    if !shard.may_log_failure() {
        return;
    }
    let id = format!("{:016x}", exchange.id.0);
    let client = exchange.client.get().or(client.peer.ip());
    let client = client.map_or("-".to_owned(), |ip| ip.to_string());
    let route = exchange.route.get().map_or("-", |_| &exchange.route().name);
    let backend = match (exchange.pool.get(), exchange.backend.get()) {
        (Some(pool), Some(index)) => &exchange.plan.backend(pool, index).label,
        _ => "-",
    };
    let Consequences { status, word, .. } = consequences;
    match consequences.level {
        Level::WARN => warn!(id, client, route, backend, status, "request failed: {word}"),
        _ => debug!(id, client, route, backend, status, "request failed: {word}"),
    }
}

/// Says how many failures were too many to be logged one by one.
pub fn report_unlogged(worker: WorkerId, count: u32) {
    if count > 0 {
        warn!(
            worker = worker.0,
            "{count} more failed requests in the last second"
        );
    }
}

/// Says that a connection's task panicked. What the panic said is on standard error already.
pub fn report_panic(shard: &Shard) {
    if shard.may_log_failure() {
        error!(
            worker = shard.worker.0,
            "a connection was ended by a panic: a defect of palantir"
        );
    }
}
