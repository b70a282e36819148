//! The figures of one second, as `/board` gives them.

use serde::Deserialize;

/// Everything there is to see. Times are in seconds since 1970.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopStats {
    pub time: f64,
    pub version: String,
    pub revision: u64,
    pub phase: String,
    pub totals: TopTotals,
    pub workers: Vec<Worker>,
    pub pools: Vec<TopPool>,
    /// Absent without a cache, and in earlier versions.
    pub cache: Option<TopCache>,
    /// Newest first.
    pub transitions: Vec<TopTransition>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopTotals {
    pub requests_per_sec: f64,
    pub failures_per_sec: f64,
    pub in_flight: u64,
    pub connections: u64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopCache {
    pub used_bytes: u64,
    pub max_bytes: u64,
    pub entries: u64,
    pub hit_percent: Option<f64>,
    pub answered_per_sec: f64,
    pub served_bytes_per_sec: f64,
    pub stale_per_sec: f64,
    pub stale_since: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Worker {
    pub worker: u32,
    pub requests_per_sec: f64,
    pub busy_percent: Option<f64>,
    pub loop_lag_ms: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopPool {
    pub name: String,
    pub backends: Vec<TopBackend>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopBackend {
    pub label: String,
    pub state: String,
    pub since: Option<f64>,
    pub weight: u32,
    pub in_flight: u64,
    pub requests_per_sec: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub error_percent: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TopTransition {
    pub time: f64,
    pub pool: String,
    pub backend: String,
    pub from: String,
    pub to: String,
    pub reason: String,
}

/// One second of the charts.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct TopPoint {
    pub time: f64,
    pub requests_per_sec: f64,
    pub failures_per_sec: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl TopStats {
    /// The part of the board that the charts keep as one point.
    pub fn point(&self) -> TopPoint {
        TopPoint {
            time: self.time,
            requests_per_sec: self.totals.requests_per_sec,
            failures_per_sec: self.totals.failures_per_sec,
            p50_ms: self.totals.p50_ms,
            p99_ms: self.totals.p99_ms,
        }
    }
}
