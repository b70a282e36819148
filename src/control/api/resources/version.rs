//! `/version`: what runs here.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::time::Micros;
use crate::control::api::{Api, ApiState};

/// The resource `/version`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The version and the process that answer.
#[derive(Serialize, ToSchema)]
struct Version {
    name: &'static str,
    version: &'static str,
    /// The id of the process.
    pid: u32,
    /// Seconds since the start of the process.
    uptime_secs: f64,
    /// The revision of the configuration in force.
    revision: u64,
}

/// The version and the process that answer
#[utoipa::path(get, path = "/version", tag = "palantir", responses((status = 200, body = Version)))]
async fn show(State(api): Api) -> axum::Json<Version> {
    axum::Json(Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_secs: Micros::now().0 as f64 / 1e6,
        revision: api.in_force().revision,
    })
}
