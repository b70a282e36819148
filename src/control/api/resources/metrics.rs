//! `/metrics`: all counts, for Prometheus.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::metrics::{SharedText, content_type, render};

/// The resource `/metrics`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// All counts, for Prometheus
///
/// In the Prometheus text format or OpenMetrics, whichever `Accept` prefers. The number of texts in memory is bounded:
/// while slow clients still read all of them, the answer is the latest text, which is a little older, or 503 if no text
/// has the wanted format.
#[utoipa::path(get, path = "/metrics", tag = "figures",
    responses(
        (status = 200, description = "The counts", content((String = "text/plain"),
            (String = "application/openmetrics-text"))),
        (status = 503, description = "Too many clients read the metrics slowly"),
    ))]
async fn show(State(api): Api, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let kind = content_type(accept);
    let now = Micros::now();
    let text = api
        .sources
        .texts
        .get(kind, now, || render(&api.sources, kind));
    let Some(text) = text else {
        let why = "slow clients are reading all texts of the metrics that are kept; try again in a few seconds";
        return ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let fields = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, text.len.to_string()),
    ];
    (fields, Body::from_stream(blocks(text))).into_response()
}

/// The text in blocks, as fast as the client takes them. The stream ends early, and the connection with it, if the
/// client is too slow.
fn blocks(text: SharedText) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::unfold((text, 0), async |(text, begin)| {
        let block = text.part(begin..begin + limits::METRICS_BLOCK_BYTES, Micros::now());
        let Some(block) = block else {
            let slow = io::Error::from(io::ErrorKind::TimedOut);
            return Some((Err(slow), (text, usize::MAX)));
        };
        let end = begin + block.len();
        (end > begin).then_some((Ok(block), (text, end)))
    })
}
