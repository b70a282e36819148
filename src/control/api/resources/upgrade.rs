//! `/upgrade`: a new process of the binary takes over.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::asking::{Caller, Outcome};
use crate::control::api::body::Json;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::ask::Wish;

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(upgrade))
}

/// There is nothing to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Hands over to a new process of the binary
///
/// If the new one is not ready in time, this one goes on, and the answer says why.
#[utoipa::path(post, path = "/upgrade", tag = "change", request_body(content = Option<Nothing>),
    responses((status = 200, body = Outcome)))]
async fn upgrade(
    State(api): Api,
    caller: Caller,
    _nothing: Option<Json<Nothing>>,
) -> Result<Outcome, ApiProblem> {
    let accepted = api.ask(Wish::Upgrade, caller).await?;
    Ok(accepted.into())
}
