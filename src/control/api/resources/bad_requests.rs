//! `/debug/bad-requests`: the latest refused requests, with the byte at fault marked.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::{Api, ApiState};
use crate::control::bad_requests;

/// The resource `/debug/bad-requests`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The latest refused requests, newest first.
#[derive(Serialize, ToSchema)]
struct BadRequests {
    requests: Vec<BadRequest>,
}

/// A refused request. Bytes that are no visible ASCII are written as `\r`, `\n`, `\t` or `\x1f`.
#[derive(Serialize, ToSchema)]
struct BadRequest {
    /// The time of the refusal, in seconds since 1970-01-01 UTC.
    time: f64,
    worker: u32,
    /// The address of the client; `null` for a client that came over a Unix socket.
    client: Option<String>,
    /// The id of the request, as the client got it.
    request_id: String,
    /// Label of the reason, as in logs and metrics.
    reason: &'static str,
    /// The status and the reason of the answer.
    status: u16,
    /// The position of the byte at fault in the head, from 0; `null`: no byte is at fault, or it is not kept.
    at: Option<usize>,
    /// The head up to the byte at fault; all of it, as far as it is kept, if none is marked.
    before: String,
    /// The byte at fault.
    fault: String,
    /// The part of the head behind the byte at fault, as far as it is kept.
    after: String,
}

impl From<bad_requests::BadRequest> for BadRequest {
    fn from(bad: bad_requests::BadRequest) -> BadRequest {
        let (before, rest) = bad.head.split_at(bad.at.unwrap_or(bad.head.len()));
        let (fault, after) = rest.split_at(rest.len().min(1));
        let time = bad.time.duration_since(UNIX_EPOCH);
        BadRequest {
            time: time.map_or(0.0, |since| since.as_secs_f64()),
            worker: bad.worker.0,
            client: bad.client.map(|client| client.to_string()),
            request_id: bad.request_id.to_string(),
            reason: bad.refusal.label(),
            status: bad.refusal.status(),
            at: bad.at,
            before: before.escape_ascii().to_string(),
            fault: fault.escape_ascii().to_string(),
            after: after.escape_ascii().to_string(),
        }
    }
}

/// The latest refused requests
///
/// The list has at most a hundred requests, each with the beginning of its head. A worker that refuses many requests at
/// once reports a few of them. Credentials are masked.
#[utoipa::path(get, path = "/debug/bad-requests", tag = "figures", responses((status = 200, body = BadRequests)))]
async fn list(State(api): Api) -> axum::Json<BadRequests> {
    let latest = api.bad_requests.latest();
    axum::Json(BadRequests {
        requests: latest.into_iter().map(BadRequest::from).collect(),
    })
}
