//! `/config`: the configuration in force, as a file would have it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState, accept};
use crate::control::config_store::masked;

/// The resource `/config`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The configuration in force
///
/// The text of a file that would configure the same, as JSON or TOML. Values of header fields that are credentials are
/// masked.
#[utoipa::path(get, path = "/config", tag = "configuration",
    responses(
        (status = 200, description = "The configuration", headers(("ETag" = String,
            description = "The revision in force")),
            content((Object = "application/json"), (String = "application/toml"))),
        (status = 406, description = "Neither JSON nor TOML is accepted", body = ApiProblem,
            content_type = "application/problem+json"),
    ))]
async fn show(State(api): Api, headers: HeaderMap) -> Result<Response, ApiProblem> {
    let accepts = headers.get(header::ACCEPT);
    let accepts = accepts
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or("");
    let in_force = api.in_force();
    let document = masked(&in_force.document);
    let tag = etag(in_force.revision);
    match accept::choose(accepts, &["application/json", "application/toml"]) {
        Some(0) => Ok((tag, axum::Json(document)).into_response()),
        Some(_) => {
            let kind = [(header::CONTENT_TYPE, "application/toml")];
            Ok((tag, kind, document.to_string()).into_response())
        }
        None => Err(ApiProblem::new(
            StatusCode::NOT_ACCEPTABLE,
            "the configuration comes as application/json or application/toml",
        )),
    }
}
