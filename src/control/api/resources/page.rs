//! `/`: the live page. It is no part of the described API.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::control::api::ApiState;
use crate::control::page::page;

/// The live page.
pub fn routes() -> Router<Arc<ApiState>> {
    Router::new().route("/", get(show))
}

async fn show() -> Response {
    let (html, policy) = page();
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (fields, html).into_response()
}
