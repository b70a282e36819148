//! `/reload` and `/reload/confirm`: the file anew, for good or on trial.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::control::api::body::{Json, Query};
use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::{ApiCaller, ChangeReport};
use crate::control::api::times::JsonTime;
use crate::control::api::{Api, ApiState};
use crate::control::change_request::{Operation, Trial};

/// The resource `/reload`, and the confirmation of a trial.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(reload))
        .routes(routes!(confirm))
}

/// How to reload. Without a body: for good.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Terms {
    /// Time until which the reload must be confirmed (`POST /reload/confirm`): a number of seconds, or a text such as
    /// `90s` or `5m`. Without a confirmation in time, the earlier configuration is put in force again.
    confirm_secs: Option<JsonTime>,
    /// Percent of the requests meanwhile that may fail; above it the old configuration comes back at once. 100 without
    /// it. A request that palantir itself refuses, such as one that no route is for (404), has not failed. Only with
    /// `confirm_secs`.
    #[schema(minimum = 0, maximum = 100)]
    max_failed_percent: Option<f64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Emptiness {
    /// Whether a file without any route or listener may be taken over.
    allow_empty: Option<bool>,
}

/// There is nothing to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Terms {
    fn trial(&self) -> Result<Option<Trial>, ApiProblem> {
        let percent = self.max_failed_percent;
        if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            let right = "must be a number from 0 to 100";
            return Err(ApiProblem::of_field("max_failed_percent", right));
        }
        let Some(time) = &self.confirm_secs else {
            return match percent {
                None => Ok(None),
                Some(_) => Err(ApiProblem::of_field(
                    "max_failed_percent",
                    "has a meaning only with confirm_secs",
                )),
            };
        };
        let range = limits::SHORTEST_TIMEOUT..=limits::LONGEST_TIMEOUT;
        Ok(Some(Trial {
            within: time.read("confirm_secs", &range)?,
            most_failed_percent: percent.unwrap_or(100.0),
        }))
    }
}

/// Reads the configuration file again
///
/// If the file has any mistake, everything stays as it is, and the answer lists all mistakes. A file without any route
/// or listener counts as a mistake, unless `allow_empty` is true. A file that cannot be read at the moment is no
/// mistake: the answer is 503.
#[utoipa::path(post, path = "/reload", tag = "change", request_body(content = Option<Terms>), params(Emptiness),
    responses((status = 200, body = ChangeReport)))]
async fn reload(
    State(api): Api,
    caller: ApiCaller,
    Query(Emptiness { allow_empty }): Query<Emptiness>,
    terms: Option<Json<Terms>>,
) -> Result<ChangeReport, ApiProblem> {
    let terms = terms.map(|Json(terms)| terms).unwrap_or_default();
    let trial = terms.trial()?;
    let allow_empty = allow_empty.unwrap_or(false);
    let operation = Operation::Reload {
        trial,
        allow_empty,
        asked: None,
    };
    let accepted = api.send_request(operation, caller).await?;
    Ok(accepted.into())
}

/// Confirms the reload on trial
#[utoipa::path(post, path = "/reload/confirm", tag = "change", request_body(content = Option<Nothing>),
    responses((status = 200, body = ChangeReport)))]
async fn confirm(
    State(api): Api,
    caller: ApiCaller,
    _nothing: Option<Json<Nothing>>,
) -> Result<ChangeReport, ApiProblem> {
    let accepted = api.send_request(Operation::Confirm, caller).await?;
    Ok(accepted.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_table() {
        let seconds = |number: f64| Some(JsonTime(json!(number)));
        let text = |text: &str| Some(JsonTime(json!(text)));
        let rows = [
            (None, None, Ok(None)),
            (seconds(60.0), None, Ok(Some((60.0, 100.0)))),
            (seconds(0.5), Some(5.0), Ok(Some((0.5, 5.0)))),
            (text("500ms"), Some(5.0), Ok(Some((0.5, 5.0)))),
            (text("1d"), None, Ok(Some((86_400.0, 100.0)))),
            (None, Some(5.0), Err("max_failed_percent")),
            (seconds(1.0), Some(101.0), Err("max_failed_percent")),
            (seconds(0.0), None, Err("confirm_secs")),
            (seconds(-1.0), None, Err("confirm_secs")),
            (seconds(86_401.0), None, Err("confirm_secs")),
            (seconds(f64::MAX), None, Err("confirm_secs")),
            (text("2d"), None, Err("confirm_secs")),
            (text("60"), None, Err("confirm_secs")),
        ];
        for (confirm_secs, max_failed_percent, expected) in rows {
            let terms = Terms {
                confirm_secs,
                max_failed_percent,
            };
            let got = terms.trial().map(|trial| {
                trial.map(|trial| (trial.within.as_secs_f64(), trial.most_failed_percent))
            });
            let got = got.map_err(|problem| serde_json::to_value(problem).unwrap());
            match expected {
                Ok(trial) => assert_eq!(got.unwrap(), trial),
                Err(field) => assert_eq!(got.unwrap_err()["errors"][0]["field"], field),
            }
        }
    }
}
