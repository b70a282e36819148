//! `/upgrade`: a new process of the binary takes over.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::body::{Json, Query};
use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::{ApiCaller, ChangeReport};
use crate::control::api::{Api, ApiState};
use crate::control::change_request::Operation;

/// The resource `/upgrade`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(upgrade))
}

/// An empty object: the request has no fields.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Terms {
    /// Whether the new process may take over a configuration file that a rollback has taken back.
    force: Option<bool>,
    /// Whether a file without any route or listener may be taken over.
    allow_empty: Option<bool>,
}

/// Hands over to a new process of the binary
///
/// If the new process is not ready in time, the old one goes on, and the answer says why. After a rollback has taken
/// the configuration file back, the upgrade is refused (409) unless `force` is true, because the new process would load
/// that file. The new process reads the file as a reload does: the old process goes on if the file has a mistake, or
/// has no route or no listener and `allow_empty` is not true. The
/// upgrade is refused (409), too, if this is process 1 of a container, because the kernel ends all processes of a
/// container with the first.
#[utoipa::path(post, path = "/upgrade", tag = "change", request_body(content = Option<Nothing>), params(Terms),
    responses((status = 200, body = ChangeReport)))]
async fn upgrade(
    State(api): Api,
    caller: ApiCaller,
    Query(terms): Query<Terms>,
    _nothing: Option<Json<Nothing>>,
) -> Result<ChangeReport, ApiProblem> {
    let operation = Operation::Upgrade {
        force: terms.force.unwrap_or(false),
        allow_empty: terms.allow_empty.unwrap_or(false),
    };
    let accepted = api.send_request(operation, caller).await?;
    Ok(accepted.into())
}
