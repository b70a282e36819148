//! `/stats`: how requests came out, in all and by server.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::{Api, ApiState};
use crate::control::metrics::{ServerStats, Stats, server_stats, stats};

/// The resources `/stats` and `/stats/detail`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(totals))
        .routes(routes!(detail))
}

/// The counts of attempts that succeeded and failed, by server.
#[derive(Serialize, ToSchema)]
struct Detail {
    servers: Vec<ServerStats>,
}

/// The counts of requests that succeeded and failed
#[utoipa::path(get, path = "/stats", tag = "figures", responses((status = 200, body = Stats)))]
async fn totals(State(api): Api) -> axum::Json<Stats> {
    axum::Json(stats(&api.sources.counters))
}

/// The counts of attempts that succeeded and failed, by server
#[utoipa::path(get, path = "/stats/detail", tag = "figures", responses((status = 200, body = Detail)))]
async fn detail(State(api): Api) -> axum::Json<Detail> {
    let stats = api.live_stats.borrow().clone();
    axum::Json(Detail {
        servers: server_stats(&api.sources, &stats),
    })
}
