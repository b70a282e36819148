//! `/routes`: where requests go.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::etag::etag;
use crate::control::api::schemas::{ShownRoute, ShownRouteCache, ShownRouteTimeouts};
use crate::control::api::{Api, ApiState, shown, shown_cache};
use crate::snapshot::{HostHeader, Snapshot};

/// The resource `/routes`.
#[inline(never)]
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
    /// The `Host` that the backend receives: `backend`, `preserve` or a text.
    host_header: String,
    /// The settings that are used as they are written.
    #[serde(flatten)]
    options: ShownRoute,
    /// The time-outs in seconds, those for all routes included.
    timeouts: ShownRouteTimeouts,
    /// Largest request body in bytes; `null`: unlimited.
    request_body_bytes: Option<u64>,
    /// How responses are cached, every default filled in; `null`: they are not.
    cache: Option<ShownRouteCache>,
}

/// All routes
#[utoipa::path(get, path = "/routes", tag = "routes",
    responses((status = 200, body = Routes, headers(("ETag" = String, description = "The revision in force")))))]
async fn list(State(api): Api) -> Response {
    let in_force = api.in_force();
    let routes = routes_of(&in_force.snapshot);
    (etag(in_force.revision), axum::Json(Routes { routes })).into_response()
}

fn routes_of(snapshot: &Snapshot) -> Vec<Route> {
    let routes = snapshot.routes.iter().map(|route| Route {
        name: route.name.clone(),
        pool: snapshot.pools[route.pool.index()].name.clone(),
        host_header: match &route.host_header {
            HostHeader::Backend => "backend".to_owned(),
            HostHeader::Preserve => "preserve".to_owned(),
            HostHeader::Literal(host) => host.clone(),
        },
        options: ShownRoute(shown::plain(&route.options)),
        timeouts: ShownRouteTimeouts(shown::plain(&route.timeouts)),
        request_body_bytes: Some(route.request_body_bytes).filter(|bytes| *bytes != u64::MAX),
        cache: route
            .cache
            .as_deref()
            .map(|cache| ShownRouteCache(shown_cache::route_cache(cache))),
    });
    routes.collect()
}
