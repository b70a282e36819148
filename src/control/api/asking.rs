//! How a change is asked for and what comes of it.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::ApiState;
use super::etag::etag;
use super::problem::ApiProblem;
use crate::base::limits;
use crate::control::ask::{Accepted, Ask, Wish};

/// Who speaks, as the audit log names it; put into every request by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiProblem> {
        let caller = parts.extensions.get::<Caller>();
        Ok(caller
            .cloned()
            .unwrap_or_else(|| Caller("unknown".to_owned())))
    }
}

/// What a change came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    /// The revision in force now.
    pub revision: u64,
    /// Whether anything changed.
    pub changed: bool,
    /// What there is to know besides.
    pub notes: Vec<String>,
}

impl From<Accepted> for Outcome {
    fn from(accepted: Accepted) -> Outcome {
        Outcome {
            revision: accepted.revision,
            changed: accepted.changed,
            notes: accepted.notes,
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        (etag(self.revision), Json(self)).into_response()
    }
}

impl ApiState {
    /// Asks the control thread's loop; the answer comes when the outcome is in force on every core. A caller who goes
    /// away meanwhile does not stop it.
    pub async fn ask(&self, wish: Wish, caller: Caller) -> Result<Accepted, ApiProblem> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            wish,
            origin: format!("api {}", caller.0),
            answer,
        };
        let patience = Duration::from_secs(limits::ADMIN_CHANGE_SECS);
        let outcome = timeout(patience, async {
            self.asks.send(ask).await.ok()?;
            answered.await.ok()
        });
        match outcome.await {
            Ok(Some(Ok(accepted))) => Ok(accepted),
            Ok(Some(Err(problem))) => Err(problem.into()),
            Ok(None) => Err(unavailable("palantir is stopping")),
            Err(_) => Err(unavailable(
                "it takes longer than expected; the change may still come into force",
            )),
        }
    }
}

fn unavailable(why: &str) -> ApiProblem {
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, why)
}
