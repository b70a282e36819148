//! `/board`: the figures of the live page, for whoever does not follow `/events`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::{Api, ApiState};
use crate::control::metrics::{Board, Point};

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(history))
}

/// The last second in figures
#[utoipa::path(get, path = "/board", tag = "figures", responses((status = 200, body = Board)))]
async fn show(State(api): Api) -> Response {
    axum::Json(&**api.boards.borrow()).into_response()
}

/// The seconds before, oldest first
#[utoipa::path(get, path = "/board/history", tag = "figures", responses((status = 200, body = Vec<Point>)))]
async fn history(State(api): Api) -> Response {
    axum::Json(&*api.boards.borrow().history).into_response()
}
