//! The management API, which operators, the live page and the command line use. The API changes nothing by itself:
//! every change is a `ChangeRequest` to the loop of the control thread, and the API's answers show `Standing` and the
//! counters of [`crate::shared`].
//!
//! A resource is one file in `resources/` and one line in [`resources()`]. Before any of them comes the
//! [`access_policy`].

mod accept;
mod access_policy;
mod admission;
mod body;
mod bounded_write;
mod document;
mod etag;
mod problem;
mod resources;
mod schemas;
mod send_request;
mod serve;
mod settings;
mod shown;
mod shown_cache;
mod times;
mod tokens;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::sync::{Semaphore, watch};
use utoipa_axum::router::OpenApiRouter;

pub use access_policy::AccessPolicy;
pub use serve::{ApiListener, serve};
pub use tokens::Tokens;

use crate::base::limits;
use crate::control::bad_requests::BadRequests;
use crate::control::cache::first::LatestFirst;
use crate::control::change_request::{ChangeRequests, InForce};
use crate::control::metrics::{LiveStats, Sources};
use problem::ApiProblem;

/// The state that the resources of the API show and change.
pub struct ApiState {
    change_requests: ChangeRequests,
    sources: Sources,
    live_stats: watch::Receiver<Arc<LiveStats>>,
    bad_requests: BadRequests,
    /// The largest and the most used entries of the cache.
    first_entries: LatestFirst,
    /// Permits to follow events.
    streams: Arc<Semaphore>,
    /// The one permit to check a configuration, so that one is checked at a time.
    checks: Arc<Semaphore>,
}

impl ApiState {
    /// `asks`: of the control thread's loop. `boards`: the latest figures of the live page.
    pub fn new(
        change_requests: ChangeRequests,
        sources: Sources,
        live_stats: watch::Receiver<Arc<LiveStats>>,
        bad_requests: BadRequests,
    ) -> ApiState {
        ApiState {
            change_requests,
            sources,
            live_stats,
            bad_requests,
            first_entries: LatestFirst::default(),
            streams: Arc::new(Semaphore::new(limits::ADMIN_STREAMS)),
            checks: Arc::new(Semaphore::new(1)),
        }
    }

    /// The configuration in force.
    fn in_force(&self) -> Arc<InForce> {
        self.sources.standing.borrow().clone()
    }
}

/// The state as the functions of a resource take it.
type Api = State<Arc<ApiState>>;

/// Every resource, in the order of the document. The functions `routes` are not inlined here, because the optimiser
/// takes long for one function with the descriptions of all resources.
fn resources() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::with_openapi(document::head())
        .merge(resources::servers::routes())
        .merge(resources::pools::routes())
        .merge(resources::pool_servers::routes())
        .merge(resources::routes::routes())
        .merge(resources::cache::routes())
        .merge(resources::cache_entries::routes())
        .merge(resources::cache_explain::routes())
        .merge(resources::cache_purge::routes())
        .merge(resources::config::routes())
        .merge(resources::config_check::routes())
        .merge(resources::config_diff::routes())
        .merge(resources::revisions::routes())
        .merge(resources::reload::routes())
        .merge(resources::upgrade::routes())
        .merge(resources::workers::routes())
        .merge(resources::version::routes())
        .merge(resources::health::routes())
        .merge(resources::stats::routes())
        .merge(resources::metrics::routes())
        .merge(resources::live_stats::routes())
        .merge(resources::events::routes())
        .merge(resources::bad_requests::routes())
}

/// The API, with everything in front of it that keeps strangers out.
pub fn router(state: ApiState, access_policy: AccessPolicy) -> Router {
    let (router, mut document) = resources().split_for_parts();
    document::complete(&mut document, access_policy.tokens.are_needed());
    router
        .merge(resources::docs::routes(&document))
        .merge(resources::page::routes())
        // Before the fallbacks, so that it is asked only of what there is.
        .layer(middleware::from_fn(access_policy::pass_content))
        .fallback(async || ApiProblem::absent("there is nothing of this path"))
        .method_not_allowed_fallback(async || {
            ApiProblem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the resource does not take this method",
            )
        })
        .with_state(Arc::new(state))
        .layer(middleware::from_fn_with_state(
            Arc::new(access_policy),
            access_policy::pass,
        ))
        .layer(middleware::from_fn(guard_answer))
}

/// Adds the fields by which an answer is not stored, is read only as its own media type, and is shown in no frame of
/// another page.
async fn guard_answer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

#[cfg(test)]
mod tests;
