//! `/events`: the figures of the live page as they come, once a second, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::change_request::Standing;
use crate::control::metrics::LiveStats;

/// The resource `/events`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// The figures of each second, as events
///
/// Server-sent events: `history` once, with the answer of `/board/history`, then `board` every second, with the answer
/// of `/board`. A client that reads too slowly misses some of these events and gets the latest one. The events end when
/// an upgrade has taken place: a client that connects again gets those of the new process.
#[utoipa::path(get, path = "/events", tag = "figures",
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 503, description = "As many clients as possible follow the events already", body = ApiProblem,
            content_type = "application/problem+json"),
    ))]
async fn follow(State(api): Api) -> Result<Response, ApiProblem> {
    let permit = api.streams.clone().try_acquire_owned().map_err(|_| {
        ApiProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many as can be follow the events already",
        )
    })?;
    let events = events(api.live_stats.clone(), api.sources.standing.clone(), permit);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::from_stream(events)).into_response())
}

/// The stream of events. It ends when there will be no further live statistics, or when another process has taken over,
/// which alone has figures to tell then. The stream holds the permit until it ends.
fn events(
    mut live_stats: watch::Receiver<Arc<LiveStats>>,
    standing: Standing,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    live_stats.mark_changed();
    stream::unfold(
        (live_stats, standing, permit, true),
        async |(mut live_stats, mut standing, permit, is_first)| {
            tokio::select! {
                _ = standing.wait_for(|now| now.retired), if !is_first => return None,
                changed = live_stats.changed() => changed.ok()?,
            }
            let stats = live_stats.borrow_and_update().clone();
            let mut text = String::new();
            if is_first {
                text += &event("history", &*stats.history);
            }
            text += &event("board", &*stats);
            Some((Ok(Bytes::from(text)), (live_stats, standing, permit, false)))
        },
    )
}

/// One event (HTML Living Standard, section 9.2.5); JSON has no line ends.
fn event(name: &str, value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("figures are JSON");
    debug_assert!(!json.contains('\n'), "an event has one line of data");
    format!("event: {name}\ndata: {json}\n\n")
}
