//! `/health` and `/ready`: whether palantir itself is fit, and whether it wants requests.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::base::log;
use crate::base::time::Micros;
use crate::control::api::{Api, ApiState};

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
}

/// How palantir itself is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: Status,
    /// What is not as it should be. A log that stands still is named here, and palantir is fit all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// All is well.
    Ok,
    /// A stop has begun: running requests finish, new ones are not wanted.
    Draining,
    /// Something does not work.
    Unfit,
}

/// Whether palantir is fit
///
/// During a stop it still is, so that nobody ends it before its last requests have ended; `/ready` says 503 then.
#[utoipa::path(get, path = "/health", tag = "palantir",
    responses(
        (status = 200, body = Health, description = "Fit, or draining"),
        (status = 503, body = Health, description = "Not fit"),
    ))]
async fn health(State(api): Api) -> (StatusCode, axum::Json<Health>) {
    let health = api.health();
    let status = match health.status {
        Status::Unfit => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Draining => StatusCode::OK,
    };
    (status, axum::Json(health))
}

/// Whether palantir wants requests
#[utoipa::path(get, path = "/ready", tag = "palantir",
    responses(
        (status = 200, body = Health, description = "Ready"),
        (status = 503, body = Health, description = "Draining, or not fit"),
    ))]
async fn ready(State(api): Api) -> (StatusCode, axum::Json<Health>) {
    let health = api.health();
    let status = match health.status {
        Status::Ok => StatusCode::OK,
        Status::Draining | Status::Unfit => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, axum::Json(health))
}

impl ApiState {
    fn health(&self) -> Health {
        let mut reasons = Vec::new();
        if self.asks.is_closed() {
            reasons.push("the control loop has ended".to_owned());
        }
        for (worker, gauges) in self.sources.gauges.iter().enumerate() {
            let lag = gauges.worst_lag() / 1_000;
            if lag > limits::UNFIT_LAG_MILLIS {
                reasons.push(format!("worker {worker} was late by {lag} ms"));
            }
        }
        let is_fit = reasons.is_empty();
        let now = Micros::now();
        if self.sources.access_log.is_stalled(now) {
            reasons.push("the access log stands still: its file does not answer".to_owned());
        }
        if log::stalled_for(now) > Duration::from_millis(limits::LOG_STALL_MILLIS) {
            reasons.push("the program's log stands still: nobody reads standard error".to_owned());
        }
        let status = match (is_fit, self.in_force().draining) {
            (false, _) => Status::Unfit,
            (true, true) => Status::Draining,
            (true, false) => Status::Ok,
        };
        Health { status, reasons }
    }
}
