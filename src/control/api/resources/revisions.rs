//! `/config/revisions` and `/config/rollback`: the history of the configuration, and the way back.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::body::Json;
use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::{ApiCaller, ChangeReport};
use crate::control::api::{Api, ApiState};
use crate::control::change_request::Operation;
use crate::control::config_store;

/// The resources below `/config/revisions`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(roll_back))
}

/// The latest revisions, newest first.
#[derive(Serialize, ToSchema)]
struct Revisions {
    revisions: Vec<Revision>,
}

/// One accepted configuration.
#[derive(Serialize, ToSchema)]
struct Revision {
    number: u64,
    /// The time at which the configuration was accepted, in seconds since 1970-01-01 UTC.
    time: f64,
    /// The caller that asked for the revision: `api 127.0.0.1:50312`, `SIGHUP`.
    origin: String,
    /// The change, in words.
    summary: String,
}

/// The revision to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Target {
    #[schema(minimum = 1)]
    revision: u64,
}

impl From<&config_store::Revision> for Revision {
    fn from(revision: &config_store::Revision) -> Revision {
        let time = revision.time.duration_since(UNIX_EPOCH);
        Revision {
            number: revision.number,
            time: time.map_or(0.0, |since| since.as_secs_f64()),
            origin: revision.requested_by.clone(),
            summary: revision.summary.clone(),
        }
    }
}

/// The latest revisions
#[utoipa::path(get, path = "/config/revisions", tag = "configuration",
    responses((status = 200, body = Revisions, headers(("ETag" = String, description = "The revision in force")))))]
async fn list(State(api): Api) -> Response {
    let in_force = api.in_force();
    let revisions = in_force.revisions.iter().map(Revision::from).collect();
    let tag = etag(in_force.revision);
    (tag, axum::Json(Revisions { revisions })).into_response()
}

/// Goes back to a revision
///
/// The configuration of that revision becomes a new revision. A server that was being drained for removal in that
/// revision, and was removed since, comes back and takes requests; a server that still drains goes on draining.
#[utoipa::path(post, path = "/config/rollback", tag = "configuration", request_body = Target,
    responses((status = 200, body = ChangeReport)))]
async fn roll_back(
    State(api): Api,
    caller: ApiCaller,
    Json(Target { revision }): Json<Target>,
) -> Result<ChangeReport, ApiProblem> {
    let accepted = api
        .send_request(Operation::Rollback { revision }, caller)
        .await?;
    Ok(accepted.into())
}
