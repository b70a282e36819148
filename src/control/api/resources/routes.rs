//! `/routes`: where requests go.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::etag::etag;
use crate::control::api::{Api, ApiState};
use crate::snapshot::{HostHeader, Snapshot};

/// The resource `/routes`.
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All routes.
#[derive(Serialize, ToSchema)]
struct Routes {
    routes: Vec<Route>,
}

/// A route: the requests of one host and path prefix.
#[derive(Serialize, ToSchema)]
struct Route {
    /// The host and the path prefix of the requests: `api.example.com/api`, `/`.
    name: String,
    /// The name of the pool that the requests reach.
    pool: String,
    strip_prefix: bool,
    /// The `Host` that the backend receives: `backend`, `preserve` or a text.
    host_header: String,
    /// Attempts after the first one.
    retries: u8,
    /// Seconds for the whole exchange; `null`: unlimited.
    timeout: Option<f64>,
    timeouts: Timeouts,
    /// Largest request body in bytes; `null`: unlimited.
    request_body_bytes: Option<u64>,
}

/// Timeouts in seconds.
#[derive(Serialize, ToSchema)]
struct Timeouts {
    client_body: f64,
    connect: f64,
    upstream_response: f64,
    /// Seconds without a byte in either direction, once the final head of the response is there.
    upstream_idle: f64,
    /// Seconds without a byte in either direction of a WebSocket or of another tunnel.
    tunnel_idle: f64,
}

/// All routes
#[utoipa::path(get, path = "/routes", tag = "routes",
    responses((status = 200, body = Routes, headers(("ETag" = String, description = "The revision in force")))))]
async fn list(State(api): Api) -> Response {
    let in_force = api.in_force();
    let routes = shown(&in_force.snapshot);
    (etag(in_force.revision), axum::Json(Routes { routes })).into_response()
}

fn shown(snapshot: &Snapshot) -> Vec<Route> {
    let routes = snapshot.routes.iter().map(|route| Route {
        name: route.name.clone(),
        pool: snapshot.pools[route.pool.index()].name.clone(),
        strip_prefix: route.strip_prefix,
        host_header: match &route.host_header {
            HostHeader::Backend => "backend".to_owned(),
            HostHeader::Preserve => "preserve".to_owned(),
            HostHeader::Literal(host) => host.clone(),
        },
        retries: route.retries,
        timeout: route.timeout.map(|timeout| timeout.as_secs_f64()),
        timeouts: Timeouts {
            client_body: route.timeouts.client_body.as_secs_f64(),
            connect: route.timeouts.connect.as_secs_f64(),
            upstream_response: route.timeouts.upstream_response.as_secs_f64(),
            upstream_idle: route.timeouts.upstream_idle.as_secs_f64(),
            tunnel_idle: route.timeouts.tunnel_idle.as_secs_f64(),
        },
        request_body_bytes: Some(route.request_body_bytes).filter(|bytes| *bytes != u64::MAX),
    });
    routes.collect()
}
