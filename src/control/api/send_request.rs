//! Sends a change request to the control thread, and awaits its outcome.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::ApiState;
use super::etag::{self, etag};
use super::problem::ApiProblem;
use crate::base::limits;
use crate::control::change_request::{ChangeRequest, CompletedOperation, Operation};

/// The client at the other end of the connection, as the audit log names it. The server adds this value to every
/// request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiClient {
    /// The address of the client, or the subject of its certificate.
    pub name: String,
    /// Whether the client is on this machine: the connection came over a Unix socket or from a loopback address.
    pub is_local: bool,
}

/// The caller of a request, and the condition that the request sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCaller {
    name: String,
    /// The revision in `If-Match`, which must be the one in force; `None` if any will do.
    if_match: Option<u64>,
}

impl<S: Sync> FromRequestParts<S> for ApiCaller {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<ApiCaller, ApiProblem> {
        let peer = parts.extensions.get::<ApiClient>();
        Ok(ApiCaller {
            name: peer.map_or("unknown", |peer| &peer.name).to_owned(),
            if_match: etag::if_match(&parts.headers)?,
        })
    }
}

impl ApiCaller {
    /// The caller, as the audit log names it.
    pub fn requested_by(&self) -> String {
        format!("api {}", self.name)
    }

    /// Checks that the revision in force is the one that the request names, if it names one. Errors: it is another one.
    pub fn check(&self, in_force: u64) -> Result<(), ApiProblem> {
        match self.if_match {
            Some(wanted) if wanted != in_force => Err(ApiProblem::new(
                StatusCode::PRECONDITION_FAILED,
                format!("revision {in_force} is in force, not {wanted}"),
            )),
            _ => Ok(()),
        }
    }
}

/// The answer to a PUT: the resource, and where it is if the PUT has added it.
pub fn answer_put(revision: u64, added_at: Option<String>, resource: impl Serialize) -> Response {
    let found = (etag(revision), Json(resource));
    match added_at {
        None => found.into_response(),
        Some(place) => (StatusCode::CREATED, [(header::LOCATION, place)], found).into_response(),
    }
}

/// The outcome of a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub struct ChangeReport {
    /// The revision in force now.
    pub revision: u64,
    /// Whether anything changed.
    pub changed: bool,
    /// Further remarks about the change.
    pub notes: Vec<String>,
}

impl From<CompletedOperation> for ChangeReport {
    fn from(accepted: CompletedOperation) -> ChangeReport {
        ChangeReport {
            revision: accepted.revision,
            changed: accepted.changed,
            notes: accepted.notes,
        }
    }
}

impl IntoResponse for ChangeReport {
    fn into_response(self) -> Response {
        (etag(self.revision), Json(self)).into_response()
    }
}

impl ApiState {
    /// Asks the control thread's loop; the answer comes when the outcome is in force on every core. A caller who goes
    /// away meanwhile does not stop it.
    pub async fn send_request(
        &self,
        operation: Operation,
        caller: ApiCaller,
    ) -> Result<CompletedOperation, ApiProblem> {
        let (answer, answered) = oneshot::channel();
        let request = ChangeRequest {
            operation,
            if_match: caller.if_match,
            requested_by: caller.requested_by(),
            answer,
        };
        let patience = Duration::from_secs(limits::ADMIN_CHANGE_SECS);
        let outcome = timeout(patience, async {
            self.change_requests.send(request).await.ok()?;
            answered.await.ok()
        });
        match outcome.await {
            Ok(Some(Ok(accepted))) => Ok(accepted),
            Ok(Some(Err(problem))) => Err(problem.into()),
            Ok(None) => Err(unavailable("palantir is stopping")),
            Err(_) => Err(unavailable(
                "the change takes longer than expected and may still come into force",
            )),
        }
    }
}

fn unavailable(why: &str) -> ApiProblem {
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, why)
}
