//! `/metrics`: all counts, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::{Api, ApiState};
use crate::control::metrics::render;

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// All counts, for Prometheus
///
/// As Prometheus text or OpenMetrics, whichever is liked better.
#[utoipa::path(get, path = "/metrics", tag = "figures",
    responses((status = 200, description = "The counts", content((String = "text/plain"), (String = "application/openmetrics-text")))))]
async fn show(State(api): Api, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let (kind, text) = render(&api.sources, accept);
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
