//! `/board`: the figures of the live page, for whoever does not follow `/events`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::{Api, ApiState};
use crate::control::metrics::{LiveStats, Point};

/// The resources `/board` and `/board/history`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(history))
}

/// The figures of the last second
#[utoipa::path(get, path = "/board", tag = "figures", responses((status = 200, body = LiveStats)))]
async fn show(State(api): Api) -> Response {
    axum::Json(&**api.live_stats.borrow()).into_response()
}

/// The figures of the last seconds, oldest first
#[utoipa::path(get, path = "/board/history", tag = "figures", responses((status = 200, body = Vec<Point>)))]
async fn history(State(api): Api) -> Response {
    axum::Json(&*api.live_stats.borrow().history).into_response()
}
