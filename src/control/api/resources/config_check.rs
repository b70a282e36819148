//! `/config/check`: what would be said about a configuration.

use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{self, Machine, Note};
use crate::control::api::ApiState;
use crate::control::api::body::{self, Text};
use crate::control::api::gate::{Identified, media_type};
use crate::control::api::problem::ApiProblem;

pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(check))
}

/// A configuration to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Candidate {
    /// TOML, as in the file.
    #[schema(example = "listen_addr = \"127.0.0.1:8080\"")]
    text: String,
}

/// What is to be said about it.
#[derive(Serialize, ToSchema)]
struct Findings {
    /// Whether palantir could run with it.
    ok: bool,
    /// What keeps it from that, in the order of the text.
    mistakes: Vec<Finding>,
    /// Mistakes beyond those.
    left_out: usize,
    /// What may well be meant otherwise.
    warnings: Vec<Finding>,
    /// Whether the files that it names were looked at, such as certificates. They are not where the API asks for neither
    /// a token nor a certificate: any user of the machine may ask, and would learn which files there are.
    files_checked: bool,
}

/// One remark.
#[derive(Serialize, ToSchema)]
struct Finding {
    /// From 1; `null` if it concerns the whole.
    line: Option<usize>,
    /// In characters, from 1.
    column: Option<usize>,
    /// The way to the value at fault; empty if it is none.
    field: String,
    /// What is wrong with it and what would be right.
    detail: String,
}

impl From<Note> for Finding {
    fn from(note: Note) -> Finding {
        let (line, column) = note.at.unzip();
        Finding {
            line,
            column,
            field: note.key,
            detail: note.text,
        }
    }
}

/// Checks a configuration
///
/// Nothing is changed. The text comes in JSON, or alone as `application/toml` or `text/plain`.
#[utoipa::path(post, path = "/config/check", tag = "configuration",
    request_body(content((Candidate = "application/json"), (String = "application/toml"), (String = "text/plain"))),
    responses((status = 200, body = Findings)))]
async fn check(
    Extension(Identified(may_see_files)): Extension<Identified>,
    headers: HeaderMap,
    Text(bytes): Text,
) -> Result<axum::Json<Findings>, ApiProblem> {
    if bytes.is_empty() {
        return Err(ApiProblem::new(
            StatusCode::BAD_REQUEST,
            "there is no text to check",
        ));
    }
    let text = match media_type(&headers).as_str() {
        "application/json" => body::parse::<Candidate>(&bytes)?.text,
        _ => String::from_utf8(bytes.into()).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            ApiProblem::new(
                StatusCode::BAD_REQUEST,
                format!("the text is not UTF-8 from byte {at} on"),
            )
        })?,
    };
    // A text of a megabyte takes a while; the control thread has other things to do.
    match tokio::task::spawn_blocking(move || findings(text, may_see_files)).await {
        Ok(findings) => Ok(axum::Json(findings)),
        Err(error) => Err(ApiProblem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the check did not end: {error}"),
        )),
    }
}

fn findings(text: String, may_see_files: bool) -> Findings {
    let path = Path::new("");
    let machine = Machine::of_this_process();
    let checked = match may_see_files {
        true => config::check(path, text),
        false => config::parse(path, text),
    };
    let listed = |notes: Vec<Note>| notes.into_iter().map(Finding::from).collect();
    match checked {
        Ok(config) => Findings {
            ok: true,
            mistakes: Vec::new(),
            left_out: 0,
            warnings: listed(match may_see_files {
                true => config.warnings(&machine),
                false => config.warnings_of_text(&machine),
            }),
            files_checked: may_see_files,
        },
        Err(mistakes) => Findings {
            ok: false,
            left_out: mistakes.left_out,
            mistakes: listed(mistakes.notes),
            warnings: Vec::new(),
            files_checked: may_see_files,
        },
    }
}
