//! `/workers`: what each core does.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::ids::WorkerId;
use crate::control::api::{Api, ApiState};
use crate::shared::worker_counters::WorkerCounters;

/// The resource `/workers`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All workers, one per core.
#[derive(Serialize, ToSchema)]
struct Workers {
    workers: Vec<Worker>,
}

/// One worker. Its counters begin at the start of the process.
#[derive(Serialize, ToSchema)]
struct Worker {
    worker: usize,
    /// Open client connections.
    connections: u32,
    accepted: u64,
    /// Requests under way.
    in_flight: u32,
    requests: u64,
    /// Requests that failed by the client's fault.
    refused: u64,
    /// Requests that failed by the fault of a backend or of palantir.
    failed: u64,
    /// I/O operations that were submitted to the engine.
    operations: u64,
    /// The 99th percentile of the delay of the event loop, in milliseconds.
    loop_lag_p99_ms: Option<f64>,
    /// The longest delay of the event loop in the last full second, in milliseconds.
    loop_lag_worst_ms: f64,
    /// Lines of the access log that were lost because the queue was full.
    lost_lines: u64,
    /// Requests that wait for a connection to a backend.
    queue: u64,
}

/// The present work of each core
#[utoipa::path(get, path = "/workers", tag = "figures", responses((status = 200, body = Workers)))]
async fn list(State(api): Api) -> axum::Json<Workers> {
    let counters = api.sources.counters.iter().enumerate();
    let workers = counters
        .map(|(worker, counters)| shown(worker, counters, api.queue_of(worker)))
        .collect();
    axum::Json(Workers { workers })
}

fn shown(worker: usize, counters: &WorkerCounters, queue: u64) -> Worker {
    let outcomes = counters.outcomes();
    let lag = counters.loop_lag().quantile(0.99);
    Worker {
        worker,
        connections: counters.connections(),
        accepted: counters.accepted(),
        in_flight: counters.exchanges(),
        requests: outcomes.requests(),
        refused: outcomes.refused,
        failed: outcomes.failed,
        operations: counters.operations(),
        loop_lag_p99_ms: lag.map(|micros| micros / 1e3),
        loop_lag_worst_ms: counters.worst_lag() as f64 / 1e3,
        lost_lines: counters.lost_lines(),
        queue,
    }
}

impl ApiState {
    /// Requests that wait on this worker, over all pools.
    fn queue_of(&self, worker: usize) -> u64 {
        let in_force = self.in_force();
        let pools = in_force.snapshot.pools.iter();
        let blocks = pools.map(|pool| pool.counters.of(WorkerId(worker as u32)));
        blocks.map(|block| block.waiting.get()).sum()
    }
}
