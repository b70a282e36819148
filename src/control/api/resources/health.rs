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
use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::control::api::{Api, ApiState};
use crate::shared::pulse::Pulse;
use crate::shared::worker_counters;

/// The resources `/health` and `/ready`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
}

/// The state of palantir itself.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: Status,
    /// The known faults of palantir. A log that is not written, a file system that does not answer, or a pool
    /// that panics is named here although the status stays that of a healthy process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// Present while as many clients are connected as the bound allows, or clients wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Clients>,
}

/// The connections of clients. A full bound is no failure.
#[derive(Debug, Serialize, ToSchema)]
struct Clients {
    /// The open connections.
    connections: u64,
    /// The largest number of open connections that the bound allows.
    limit: u64,
    /// Clients that were accepted and wait for a connection to end. More clients may wait in the queues of the system.
    waiting: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// palantir works.
    Ok,
    /// A stop has begun: running requests finish, and new requests should go elsewhere.
    Draining,
    /// A part of palantir does not work.
    Unfit,
}

/// Whether palantir works
///
/// During a stop palantir still works, so that nobody ends the process before its last requests have ended; `/ready`
/// answers 503 then.
#[utoipa::path(get, path = "/health", tag = "palantir",
    responses(
        (status = 200, body = Health, description = "palantir works, or drains"),
        (status = 503, body = Health, description = "palantir does not work"),
    ))]
async fn health(State(api): Api) -> (StatusCode, axum::Json<Health>) {
    let health = api.health();
    let status = match health.status {
        Status::Unfit => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Draining => StatusCode::OK,
    };
    (status, axum::Json(health))
}

/// Whether palantir takes requests
#[utoipa::path(get, path = "/ready", tag = "palantir",
    responses(
        (status = 200, body = Health, description = "palantir takes requests"),
        (status = 503, body = Health, description = "palantir drains, or does not work"),
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
    /// The clock decides, because a thread that stands still cannot report itself.
    fn health(&self) -> Health {
        panic_on_demand("api");
        let mut reasons = Vec::new();
        if self.change_requests.is_closed() {
            reasons.push("the control loop has ended".to_owned());
        }
        let now = Micros::now();
        let mut look_at = |name: &dyn Fn() -> String, pulse: &Pulse| {
            let silence = pulse.silence(now);
            if silence > Duration::from_millis(limits::UNFIT_MILLIS) {
                let secs = silence.as_secs();
                reasons.push(format!("{} has stood still for {secs} s", name()));
            }
        };
        for (worker, counters) in self.sources.counters.iter().enumerate() {
            look_at(&|| format!("worker {worker}"), counters.pulse());
        }
        look_at(&|| "the health thread".to_owned(), &self.sources.health);
        let is_fit = reasons.is_empty();
        reasons.extend(self.sources.files.complaint(now));
        if self.sources.access_log.is_stalled(now) {
            reasons.push("the access log stands still: its file does not answer".to_owned());
        }
        if log::stalled_for(now) > Duration::from_millis(limits::LOG_STALL_MILLIS) {
            reasons.push("the program's log stands still: standard error takes nothing".to_owned());
        }
        let in_force = self.in_force();
        let pools = in_force.snapshot.pools.iter();
        for pool in pools.filter(|pool| self.sources.panics(pool)) {
            let what = "too few backends are healthy, so all of them take requests";
            reasons.push(format!("pool {} panics: {what}", pool.name));
        }
        let status = match (is_fit, in_force.draining) {
            (false, _) => Status::Unfit,
            (true, true) => Status::Draining,
            (true, false) => Status::Ok,
        };
        let waiting = worker_counters::waiting(&self.sources.counters);
        let clients = Clients {
            connections: worker_counters::connections(&self.sources.counters),
            limit: in_force.snapshot.most_clients() as u64,
            waiting,
        };
        if waiting > 0 {
            let what = "new clients wait, because no more clients may be connected";
            reasons.push(what.to_owned());
        }
        let is_full = waiting > 0 || clients.connections >= clients.limit;
        Health {
            status,
            reasons,
            clients: is_full.then_some(clients),
        }
    }
}
