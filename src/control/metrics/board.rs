//! What the live page shows: everything that changes from second to second, ready to be serialised.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::transitions::Transition;
use super::unix_secs;
use crate::base::time::Micros;
use crate::shared::counts::BackendTotals;
use crate::shared::failure::group_label;

/// One second of palantir. Times of day are in seconds since 1970; rates are those of the last second.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Board {
    pub time: f64,
    pub version: &'static str,
    pub revision: u64,
    /// `running` or `draining`.
    pub phase: &'static str,
    pub totals: Totals,
    pub workers: Vec<WorkerRow>,
    pub pools: Vec<PoolRow>,
    /// The latest, newest first; at most `limits::TRANSITIONS`.
    pub transitions: Vec<Transition>,
    /// The seconds before, oldest first, this one included; at most `limits::HISTORY_SECS`. Not serialised with the
    /// rest: who comes new needs it once.
    #[serde(skip)]
    pub history: Arc<Vec<Point>>,
}

/// All workers together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    pub requests_per_sec: f64,
    /// Those that failed by a backend's fault or ours, or were answered 500 and above.
    pub failures_per_sec: f64,
    pub in_flight: u64,
    pub connections: u64,
    /// The largest number of client connections that the bound allows.
    pub most_connections: u64,
    /// Clients that were accepted and wait for a connection to end.
    pub waiting_clients: u64,
    /// Of the answers of the last second; absent if there was none.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// One second of the past.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Point {
    pub time: f64,
    pub requests_per_sec: f64,
    pub failures_per_sec: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WorkerRow {
    pub worker: usize,
    pub connections: u32,
    pub requests_per_sec: f64,
    pub in_flight: u32,
    /// Share of its CPU that the thread used, `0.0..=100.0`; absent if the system does not tell.
    pub busy_percent: Option<f64>,
    /// The longest delay of the loop in the last second.
    pub loop_lag_ms: f64,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PoolRow {
    pub name: String,
    pub algorithm: &'static str,
    /// Requests that wait for a connection to become free.
    pub waiting: u64,
    /// Whether all backends take requests because too few are healthy (`panic_threshold`).
    pub panics: bool,
    pub backends: Vec<BackendRow>,
}

/// One backend. Its latencies and its share of errors are those of the last seconds, older ones counting less; absent
/// if there was no request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BackendRow {
    /// As written in the configuration.
    pub address: String,
    /// As in logs and metrics: the address, with the name it came from if it had one.
    pub label: String,
    pub state: &'static str,
    /// Since when it has been in its state.
    pub since: f64,
    pub weight: u16,
    pub in_flight: u32,
    pub idle: u32,
    pub requests_per_sec: f64,
    pub p50_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub error_percent: Option<f64>,
    /// Since the backend came.
    pub success: u64,
    pub failed: u64,
    pub last_failure: Option<LastFailure>,
}

/// A backend's latest failure.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LastFailure {
    /// The word of logs and metrics.
    pub reason: &'static str,
    pub time: f64,
}

impl LastFailure {
    /// The latest failure in `totals`, if there was one.
    pub(super) fn of(totals: &BackendTotals, now: Micros, wall: SystemTime) -> Option<LastFailure> {
        totals.last_failure.map(|last| LastFailure {
            reason: group_label(last.group),
            time: unix_secs(last.at.0 as i64, now, wall),
        })
    }
}

impl Board {
    /// All backends' rows, each with the name of its pool.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &BackendRow)> {
        let pools = self.pools.iter();
        pools.flat_map(|pool| {
            let rows = pool.backends.iter();
            rows.map(|row| (pool.name.as_str(), row))
        })
    }
}
