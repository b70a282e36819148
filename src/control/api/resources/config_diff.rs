//! `/config/diff`: the file against what is in force.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::control::api::asking::Caller;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::ask::Wish;
use crate::control::desk::{Difference, What};

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// What a reload would do.
#[derive(Serialize, ToSchema)]
struct FileDiff {
    /// The revision that the file was compared with.
    revision: u64,
    differences: Vec<FileDifference>,
    /// Which word wins where the API and the file disagree.
    notes: Vec<String>,
    /// All of it for people, one line each.
    lines: Vec<String>,
}

/// One thing that a reload would change.
#[derive(Serialize, ToSchema)]
struct FileDifference {
    what: FileWhat,
    /// `backend 127.0.0.1:9001 of pool api`, `route /api: timeout`, `limits.connections`.
    subject: String,
    /// What a changed setting is; `null` if it is left to its default.
    from: Option<String>,
    /// What it would be; `null` if it is left to its default.
    to: Option<String>,
    /// What this does to traffic, if that is not plain.
    effect: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FileWhat {
    Added,
    Removed,
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

/// What a reload would change, and drain
///
/// Reads the file and changes nothing. A file with mistakes is answered with all of them.
#[utoipa::path(get, path = "/config/diff", tag = "configuration",
    responses(
        (status = 200, body = FileDiff),
        (status = 422, description = "The file has mistakes", body = ApiProblem, content_type = "application/problem+json"),
        (status = 503, description = "palantir is stopping, or the file cannot be read at the moment", body = ApiProblem, content_type = "application/problem+json"),
    ))]
async fn show(State(api): Api, caller: Caller) -> Result<axum::Json<FileDiff>, ApiProblem> {
    let accepted = api.ask(Wish::Compare, caller).await?;
    let diff = accepted.diff;
    Ok(axum::Json(FileDiff {
        revision: accepted.revision,
        lines: diff.to_string().lines().map(str::to_owned).collect(),
        differences: diff.differences.into_iter().map(Into::into).collect(),
        notes: diff.notes,
    }))
}
