//! `/stats`: how requests came out, in all and by server.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::time::Micros;
use crate::control::api::view::{self, state_of};
use crate::control::api::{Api, ApiState};
use crate::shared::gauges;
use crate::snapshot::{Backend, BackendAddr};
use crate::worker::failure::kind_word;

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(totals))
        .routes(routes!(detail))
}

/// How requests came out since the start.
#[derive(Serialize, ToSchema)]
struct Stats {
    /// Requests, as clients saw them.
    client: Outcomes,
    /// Attempts at servers.
    server: Outcomes,
}

#[derive(Serialize, ToSchema)]
struct Outcomes {
    success: u64,
    failed: u64,
}

/// How attempts came out, by server.
#[derive(Serialize, ToSchema)]
struct Detail {
    servers: Vec<ServerStats>,
}

/// One address of one server.
#[derive(Serialize, ToSchema)]
struct ServerStats {
    /// Unlike any other's: pool and address.
    id: String,
    pool: String,
    /// `null` for a Unix socket and for a name that never resolved.
    ip: Option<String>,
    port: Option<u16>,
    state: view::State,
    /// When that began, in seconds since 1970-01-01 UTC.
    since: f64,
    /// Requests under way.
    in_flight: u32,
    /// Attempts that it answered below 500.
    success: u64,
    /// Attempts that failed by its fault, and answers of 500 and above.
    failed: u64,
    /// Response times of all attempts so far.
    latency_ms: Latency,
    last_failure: Option<LastFailure>,
}

/// Percentiles in milliseconds; `null` where nothing was measured.
#[derive(Serialize, ToSchema)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct LastFailure {
    /// One word, as in log and metrics.
    reason: &'static str,
    /// In seconds since 1970-01-01 UTC.
    time: f64,
}

/// How requests came out
#[utoipa::path(get, path = "/stats", tag = "figures", responses((status = 200, body = Stats)))]
async fn totals(State(api): Api) -> axum::Json<Stats> {
    let outcomes = gauges::outcomes(&api.gauges);
    axum::Json(Stats {
        client: Outcomes {
            success: outcomes.succeeded,
            failed: outcomes.refused + outcomes.failed,
        },
        server: Outcomes {
            success: outcomes.server_succeeded,
            failed: outcomes.server_failed,
        },
    })
}

/// How attempts came out, by server
#[utoipa::path(get, path = "/stats/detail", tag = "figures", responses((status = 200, body = Detail)))]
async fn detail(State(api): Api) -> axum::Json<Detail> {
    let in_force = api.standing.borrow().clone();
    let clock = Clock::now();
    let pools = in_force.snapshot.pools.iter();
    let servers = pools.flat_map(|pool| {
        let backends = pool.backends.iter();
        backends.map(|backend| api.server_stats(&pool.name, backend, &clock))
    });
    axum::Json(Detail {
        servers: servers.collect(),
    })
}

/// Both clocks at one moment.
struct Clock {
    monotonic: Micros,
    unix: f64,
}

impl Clock {
    fn now() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            monotonic: Micros::now(),
            unix: unix.map_or(0.0, |since| since.as_secs_f64()),
        }
    }

    fn unix(&self, at: Micros) -> f64 {
        self.unix - self.monotonic.since(at) as f64 / 1e6
    }
}

impl ApiState {
    fn server_stats(&self, pool: &str, backend: &Backend, clock: &Clock) -> ServerStats {
        let counts = backend.slot.counts();
        let totals = counts.totals();
        let (ip, port) = match &backend.addr {
            Some(BackendAddr::Tcp(addr)) => (Some(addr.ip().to_string()), Some(addr.port())),
            Some(BackendAddr::Unix(_)) | None => (None, None),
        };
        let millis = |share| totals.response_times.quantile(share).map(|time| time / 1e3);
        ServerStats {
            id: format!("{pool} {}", backend.label),
            pool: pool.to_owned(),
            ip,
            port,
            state: state_of(backend, &self.tables),
            since: clock.unix(counts.changes.since()),
            in_flight: self.tables.in_flight(backend.id()),
            success: totals.success(),
            failed: totals.failed(),
            latency_ms: Latency {
                p50: millis(0.5),
                p90: millis(0.9),
                p99: millis(0.99),
            },
            last_failure: totals.last_failure.map(|failure| LastFailure {
                reason: kind_word(failure.kind),
                time: clock.unix(failure.at),
            }),
        }
    }
}
