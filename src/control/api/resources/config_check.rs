//! `/config/check`: what would be said about a configuration.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::base::quantity::show_time;
use crate::config::{self, Machine, Note};
use crate::control::api::access_policy::{Identified, media_type};
use crate::control::api::body::{self, TextBody};
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};

/// The resource `/config/check`.
#[inline(never)]
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

/// The result of the check.
#[derive(Serialize, ToSchema)]
struct Findings {
    /// Whether palantir could run with the configuration.
    ok: bool,
    /// The mistakes that keep the text from being used, in the order of the text.
    mistakes: Vec<Finding>,
    /// The number of further mistakes, which are not listed.
    left_out: usize,
    /// Warnings about valid settings that are probably not meant.
    warnings: Vec<Finding>,
    /// Whether the files that the configuration names, such as certificates, were read. They are not read where the API
    /// demands neither a token nor a certificate: any user of the machine could learn which files exist.
    files_checked: bool,
}

/// A remark about the configuration.
#[derive(Serialize, ToSchema)]
struct Finding {
    /// The line of the remark, from 1; `null`: the remark concerns the whole text.
    line: Option<usize>,
    /// The column of the remark in characters, from 1; `null`: the remark concerns the whole text.
    column: Option<usize>,
    /// The path of the value at fault, such as `pools[0].name`; empty: no value is at fault.
    field: String,
    /// The mistake, and a value that would be right.
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
/// Nothing is changed. The text comes inside JSON, or plain as `application/toml` or `text/plain`. One text is checked
/// at a time, because the files that it names may lie on a disk that does not answer: the answer is 503 if an earlier
/// check has not ended within 10 seconds, or this one has not ended within 10 more.
#[utoipa::path(post, path = "/config/check", tag = "configuration",
    request_body(content((Candidate = "application/json"), (String = "application/toml"), (String = "text/plain"))),
    responses(
        (status = 200, body = Findings),
        (status = 503, description = "A check has not ended in time"),
    ))]
async fn check(
    State(api): Api,
    Extension(Identified(may_see_files)): Extension<Identified>,
    headers: HeaderMap,
    TextBody(bytes): TextBody,
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
    check_apart(&api, text, may_see_files).await.map(axum::Json)
}

/// Checks the text on a thread of its own: a text of a megabyte takes a while, a disk that hangs never answers, and the
/// control thread must not wait. Errors: the check takes too long, or an earlier check does.
async fn check_apart(
    api: &ApiState,
    text: String,
    may_see_files: bool,
) -> Result<Findings, ApiProblem> {
    let unavailable = |why: &str| ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, why);
    let most = Duration::from_secs(limits::CHECK_SECS);
    let turn = timeout(most, api.checks.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        let why = "an earlier check has not ended: a file that it looks at does not answer";
        return Err(unavailable(why));
    };
    let (sender, found) = oneshot::channel();
    let check = move || {
        let _ = sender.send(findings(text, may_see_files));
        // The permit is kept until the check has ended, even if the caller has stopped waiting.
        drop(turn);
    };
    let thread = thread::Builder::new().name("check".to_owned());
    let started = thread.spawn(check);
    started.map_err(|error| unavailable(&format!("there is no thread for the check: {error}")))?;
    match timeout(most, found).await {
        Ok(Ok(findings)) => Ok(findings),
        Ok(Err(_)) => Err(ApiProblem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the check has panicked; the log says where",
        )),
        Err(_) => Err(unavailable(&format!(
            "the check has not ended within {}: a file that it reads does not answer",
            show_time(most)
        ))),
    }
}

fn findings(text: String, may_see_files: bool) -> Findings {
    let path = Path::new("");
    let machine = Machine::of_this_process();
    let checked = if may_see_files {
        config::check(path, text)
    } else {
        config::parse(path, text)
    };
    let listed = |notes: Vec<Note>| notes.into_iter().map(Finding::from).collect();
    match checked {
        Ok(config) => Findings {
            ok: true,
            mistakes: Vec::new(),
            left_out: 0,
            warnings: listed(if may_see_files {
                config.warnings(&machine)
            } else {
                config.warnings_of_text(&machine)
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
