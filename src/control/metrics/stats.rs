//! The counts of `/stats` and `/stats/detail`: since the start of the process, read at the moment of asking.

use std::collections::HashMap;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::live_stats::{BackendRow, LastFailureView, LiveStats};
use super::{Sources, unix_secs};
use crate::base::addresses::BackendAddr;
use crate::base::time::Micros;
use crate::shared::worker_counters::{self, AllWorkerCounters};
use crate::snapshot::{Backend, Pool};

/// Both sides of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Stats {
    /// Requests of clients: `success` if a backend answered them, whole and below 500, or if palantir answered them and
    /// nothing had failed, as with a redirect to HTTPS.
    pub client: SideStats,
    /// Attempts at backends: `success` if they were answered below 500.
    pub server: SideStats,
}

/// Successes and failures since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SideStats {
    /// Requests that succeeded.
    pub success: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// The counts of all workers.
pub fn stats(counters: &AllWorkerCounters) -> Stats {
    let outcomes = worker_counters::outcomes(counters);
    Stats {
        client: SideStats {
            success: outcomes.succeeded,
            failed: outcomes.refused + outcomes.failed,
        },
        server: SideStats {
            success: outcomes.server_succeeded,
            failed: outcomes.server_failed,
        },
    }
}

/// Everything that is known of one server. Times are in milliseconds, of the last seconds, and absent if there was no
/// request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServerStats {
    /// The number of the server, which stays the same for as long as the server is configured.
    pub id: u32,
    /// The IP address; absent for a Unix socket and for a name that has no address.
    pub ip: Option<String>,
    /// The port; absent as `ip` is.
    pub port: Option<u16>,
    /// The address, as logs and metrics name it.
    pub address: String,
    /// The name of the pool.
    pub pool: String,
    /// Attempts that the server answered below 500.
    pub success: u64,
    /// Attempts that failed, or were answered 500 and above.
    pub failed: u64,
    /// The state of the server: `healthy`, `unhealthy`, `ejected`, `draining` or `unresolved`.
    pub state: &'static str,
    /// Unix time of the last change of the server's state, in seconds.
    pub since: f64,
    /// Requests under way at the server.
    pub in_flight: u32,
    /// The median of the latencies of the backend, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 90th percentile of the latencies of the backend, in milliseconds.
    pub p90_ms: Option<f64>,
    /// The 99th percentile of the latencies of the backend, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The latest failure; absent if no attempt has failed.
    pub last_failure: Option<LastFailureView>,
}

/// Every server of every pool, in the order of the configuration. Latencies are those of `stats`.
pub fn server_stats(sources: &Sources, stats: &LiveStats) -> Vec<ServerStats> {
    let snapshot = sources.standing.borrow().snapshot.clone();
    let now = (Micros::now(), SystemTime::now());
    let rows: HashMap<_, _> = stats
        .backends()
        .map(|(pool, row)| ((pool, row.label.as_str()), row))
        .collect();
    let mut servers = Vec::new();
    for pool in &snapshot.pools {
        for backend in &pool.backends {
            let row = rows.get(&(pool.name.as_str(), backend.label.as_str()));
            servers.push(server(sources, row.copied(), (pool, backend), now));
        }
    }
    servers
}

fn server(
    sources: &Sources,
    row: Option<&BackendRow>,
    (pool, backend): (&Pool, &Backend),
    (now, wall): (Micros, SystemTime),
) -> ServerStats {
    let totals = backend.slot.counters().totals();
    let time = |of: fn(&BackendRow) -> Option<f64>| row.and_then(of);
    let addr = match &backend.addr {
        Some(BackendAddr::Tcp(addr)) => Some(addr),
        Some(BackendAddr::Unix(_)) | None => None,
    };
    ServerStats {
        id: backend.id().0,
        ip: addr.map(|addr| addr.ip().to_string()),
        port: addr.map(|addr| addr.port()),
        address: backend.label.clone(),
        pool: pool.name.clone(),
        success: totals.success(),
        failed: totals.failed(),
        state: sources.state(backend),
        since: unix_secs(backend.slot.counters().changes.since(), now, wall),
        in_flight: sources.tables.in_flight(backend.id()),
        p50_ms: time(|row| row.p50_ms),
        p90_ms: time(|row| row.p90_ms),
        p99_ms: time(|row| row.p99_ms),
        last_failure: LastFailureView::of(&totals, now, wall),
    }
}
