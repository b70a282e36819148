//! The content of the live page: everything that changes from second to second, ready to be serialised.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::cache_rates::CacheRow;
use super::transitions::Transition;
use super::unix_secs;
use crate::base::time::Micros;
use crate::shared::failure::group_label;
use crate::shared::route_counters::BackendTotals;

/// One second of palantir. Times of day are in seconds since 1970; rates are those of the last second.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Board)]
pub struct LiveStats {
    /// Unix time at which the board was made, in seconds.
    pub time: f64,
    /// The version of the program.
    pub version: &'static str,
    /// The number of the revision in force.
    pub revision: u64,
    /// `running` or `draining`.
    pub phase: &'static str,
    /// The sums of all workers.
    pub totals: Totals,
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerRow>,
    /// Each pool, in the order of the configuration.
    pub pools: Vec<PoolRow>,
    /// The cache; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheRow>,
    /// The latest changes of backends' states, newest first; at most `limits::TRANSITIONS`.
    pub transitions: Vec<Transition>,
    /// The seconds before, oldest first, this one included; at most `limits::HISTORY_SECS`. The history is not
    /// serialised with the rest, because a new page needs it once.
    #[serde(skip)]
    pub history: Arc<Vec<Point>>,
}

/// All workers together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    /// Requests that ended, per second.
    pub requests_per_sec: f64,
    /// Requests, per second, that failed by the fault of a backend or of palantir, or were answered 500 and above.
    pub failures_per_sec: f64,
    /// Requests under way.
    pub in_flight: u64,
    /// Open client connections.
    pub connections: u64,
    /// The largest number of client connections that the bound allows.
    pub most_connections: u64,
    /// Clients that were accepted and wait for a connection to end.
    pub waiting_clients: u64,
    /// The median response time of the last second, in milliseconds; absent if there was no response.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the response times of the last second, in milliseconds; absent if there was no response.
    pub p99_ms: Option<f64>,
}

/// One second of the past.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// Unix time of the end of this second.
    pub time: f64,
    /// Requests that ended, per second.
    pub requests_per_sec: f64,
    /// Requests that failed, per second.
    pub failures_per_sec: f64,
    /// The median of the response times of this second, in milliseconds; absent if there was no response.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the response times of this second, in milliseconds; absent if there was no response.
    pub p99_ms: Option<f64>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WorkerRow {
    /// The number of the worker.
    pub worker: usize,
    /// Open client connections.
    pub connections: u32,
    /// Requests that ended, per second.
    pub requests_per_sec: f64,
    /// Requests under way.
    pub in_flight: u32,
    /// Share of its CPU that the thread used, `0.0..=100.0`; absent if the system does not tell.
    pub busy_percent: Option<f64>,
    /// The longest delay of the loop in the last second.
    pub loop_lag_ms: f64,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PoolRow {
    /// The name of the pool.
    pub name: String,
    /// The name of the balancing algorithm.
    pub algorithm: &'static str,
    /// Requests that wait for a connection to become free.
    pub waiting: u64,
    /// Whether all backends take requests because too few are healthy (`panic_threshold`).
    pub panics: bool,
    /// Each backend, in the order of the configuration.
    pub backends: Vec<BackendRow>,
}

/// One backend. Its latencies and its share of errors are those of the last seconds, older ones counting less; absent
/// if there was no request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BackendRow {
    /// The address of the backend, as the configuration has it.
    pub address: String,
    /// The name of the backend in logs and metrics: the address, with the host name that it was resolved from.
    pub label: String,
    /// The state of the backend: `healthy`, `unhealthy`, `ejected`, `draining` or `unresolved`.
    pub state: &'static str,
    /// Unix time of the last change of the backend's state, in seconds.
    pub since: f64,
    /// The weight of the backend in the balancing.
    pub weight: u16,
    /// Requests under way at the backend.
    pub in_flight: u32,
    /// Idle connections to the backend.
    pub idle: u32,
    /// Requests that ended, per second.
    pub requests_per_sec: f64,
    /// The median of the latencies of the backend, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 90th percentile of the latencies of the backend, in milliseconds.
    pub p90_ms: Option<f64>,
    /// The 99th percentile of the latencies of the backend, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The percentage of requests that failed.
    pub error_percent: Option<f64>,
    /// Requests that succeeded since the backend was added.
    pub success: u64,
    /// Requests that failed since the backend was added.
    pub failed: u64,
    /// The latest failure; absent if no request has failed.
    pub last_failure: Option<LastFailureView>,
}

/// A backend's latest failure.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = LastFailure)]
pub struct LastFailureView {
    /// The word of logs and metrics.
    pub reason: &'static str,
    /// Unix time of the failure, in seconds.
    pub time: f64,
}

impl LastFailureView {
    /// The latest failure in `totals`, if there was one.
    pub(super) fn of(
        totals: &BackendTotals,
        now: Micros,
        wall: SystemTime,
    ) -> Option<LastFailureView> {
        totals.last_failure.map(|last| LastFailureView {
            reason: group_label(last.group),
            time: unix_secs(last.at.0 as i64, now, wall),
        })
    }
}

impl LiveStats {
    /// All backends' rows, each with the name of its pool.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &BackendRow)> {
        let pools = self.pools.iter();
        pools.flat_map(|pool| {
            let rows = pool.backends.iter();
            rows.map(|row| (pool.name.as_str(), row))
        })
    }
}
