//! `/config/diff`: the file against what is in force.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::ApiCaller;
use crate::control::api::{Api, ApiState};
use crate::control::change_request::Operation;
use crate::control::config_store::{Difference, What};

/// The resource `/config/diff`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The effect that a reload would have.
#[derive(Serialize, ToSchema)]
struct FileDiff {
    /// The revision that the file was compared with.
    revision: u64,
    differences: Vec<FileDifference>,
    /// Notes on settings about which the API and the file disagree, and on which of the two is in force.
    notes: Vec<String>,
    /// All differences and notes as text, one per line.
    lines: Vec<String>,
}

/// A change that a reload would make.
#[derive(Serialize, ToSchema)]
struct FileDifference {
    what: FileWhat,
    /// The subject of the change: `backend 127.0.0.1:9001 of pool api`, `route /api: timeout`, `limits.connections`.
    subject: String,
    /// The present value of a changed setting; `null` if the setting is left to its default.
    from: Option<String>,
    /// The value that the setting would have; `null` if the setting would be left to its default.
    to: Option<String>,
    /// The effect on traffic, if the difference does not show it.
    effect: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FileWhat {
    /// The subject is new.
    Added,
    /// The subject is gone.
    Removed,
    /// The subject has another value.
    Changed,
}

impl From<Difference> for FileDifference {
    fn from(difference: Difference) -> FileDifference {
        FileDifference {
            what: match difference.what {
                What::Added => FileWhat::Added,
                What::Removed => FileWhat::Removed,
                What::Changed => FileWhat::Changed,
            },
            subject: difference.subject,
            from: difference.from,
            to: difference.to,
            effect: difference.effect,
        }
    }
}

/// The changes that a reload would make, and the backends that it would drain
///
/// Reads the file and changes nothing. A file with mistakes is answered with all of them.
#[utoipa::path(get, path = "/config/diff", tag = "configuration",
    responses(
        (status = 200, body = FileDiff),
        (status = 422, description = "The file has mistakes", body = ApiProblem,
            content_type = "application/problem+json"),
        (status = 503, description = "palantir is stopping, or the file cannot be read at the moment",
            body = ApiProblem, content_type = "application/problem+json"),
    ))]
async fn show(State(api): Api, caller: ApiCaller) -> Result<axum::Json<FileDiff>, ApiProblem> {
    let accepted = api.send_request(Operation::Compare, caller).await?;
    let diff = accepted.diff;
    Ok(axum::Json(FileDiff {
        revision: accepted.revision,
        lines: diff.to_string().lines().map(str::to_owned).collect(),
        differences: diff.differences.into_iter().map(Into::into).collect(),
        notes: diff.notes,
    }))
}
