//! `/pools/{name}/servers/{addr}`: one server, in full.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::control::api::asking::{Caller, Outcome};
use crate::control::api::body::{Json, Names, Query};
use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::settings::{self, HealthCheckSettings};
use crate::control::api::view::{Server, View};
use crate::control::api::{Api, ApiState};
use crate::control::ask::{InForce, Wish};
use crate::control::desk::Edit;

/// The resources below `/pools/{name}/servers`.
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show, put, patch, take_out))
}

/// The settings of a server. `null` stands for the default.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the configuration checks")]
pub struct ServerSettings {
    #[schema(minimum = 1, maximum = 256, default = 1)]
    weight: Option<u16>,
    /// Open connections that all cores together may have; 0: unlimited.
    #[schema(minimum = 0, maximum = 10_000_000)]
    max_connections: Option<u32>,
    /// Whether the server is drained: it takes no new requests, and running requests finish.
    drain: Option<bool>,
    /// Is taken out after having been down for so long; 0: never.
    #[schema(minimum = 0, maximum = 86400)]
    remove_after_secs: Option<f64>,
    /// The settings of the server that replace those of its pool.
    health_check: Option<HealthCheckSettings>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// How long running requests may take to finish: `10s`, `500ms`, `2m`.
    #[param(pattern = "^[0-9]{1,6}(ms|s|m)?$")]
    drain: Option<String>,
}

/// How long a removal waits for running requests.
pub struct Drain(Option<Duration>);

impl Drain {
    /// Reads `10s`, `500ms`, `2m` or plain seconds.
    pub fn read(text: Option<String>) -> Result<Drain, ApiProblem> {
        let Some(text) = text else {
            return Ok(Drain(None));
        };
        duration(&text)
            .map(|time| Drain(Some(time)))
            .ok_or_else(|| {
                let most = limits::LONGEST_TIMEOUT.as_secs();
                let right =
                    format!("drain: must be a time such as 10s, 500ms or 2m, of at most {most}s");
                ApiProblem::new(StatusCode::BAD_REQUEST, right)
            })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_lowercase());
    let is_plain =
        (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_plain)?;
    let time = match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        _ => return None,
    };
    Some(time).filter(|time| *time <= limits::LONGEST_TIMEOUT)
}

/// One server
#[utoipa::path(get, path = "/pools/{name}/servers/{addr}", tag = "pools",
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001")),
    responses((status = 200, body = Server, headers(("ETag" = String, description = "The revision in force")))))]
async fn show(
    State(api): Api,
    Names((pool, addr)): Names<(String, String)>,
) -> Result<Response, ApiProblem> {
    let in_force = api.in_force();
    let server = api.server_in(&in_force, &pool, &addr)?;
    Ok((etag(in_force.revision), axum::Json(server)).into_response())
}

/// Replaces all settings of a server
///
/// A server that is not there is added.
#[utoipa::path(put, path = "/pools/{name}/servers/{addr}", tag = "pools", request_body = ServerSettings,
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001")),
    responses(
        (status = 200, body = Server, description = "The resource was changed, or was like this already",
            headers(("ETag" = String, description = "The revision in force"))),
        (status = 201, body = Server, description = "The resource was added", headers(("ETag" = String,
            description = "The revision in force"), ("Location" = String,
            description = "The path of the resource"))),
    ))]
async fn put(
    State(api): Api,
    caller: Caller,
    Names((pool, addr)): Names<(String, String)>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PutServer {
        pool: pool.clone(),
        addr: addr.clone(),
        server: settings::table::<ServerSettings>(settings)?,
    };
    let accepted = api.ask(Wish::Edit(edit), caller).await?;
    let server = api.server_in(&accepted.in_force, &pool, &addr)?;
    let tag = etag(accepted.revision);
    if !accepted.diff.has_added() {
        return Ok((tag, axum::Json(server)).into_response());
    }
    let location = [(header::LOCATION, server.href.clone())];
    Ok((StatusCode::CREATED, tag, location, axum::Json(server)).into_response())
}

/// Changes some settings of a server
///
/// A setting that is not named stays as it is; `null` takes a setting back to its default. A setting that is an object
/// is replaced whole.
#[utoipa::path(patch, path = "/pools/{name}/servers/{addr}", tag = "pools", request_body = ServerSettings,
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001")),
    responses((status = 200, body = Server, headers(("ETag" = String, description = "The revision in force")))))]
async fn patch(
    State(api): Api,
    caller: Caller,
    Names((pool, addr)): Names<(String, String)>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PatchServer {
        pool: pool.clone(),
        addr: addr.clone(),
        settings: settings::changes::<ServerSettings>(settings)?,
    };
    let accepted = api.ask(Wish::Edit(edit), caller).await?;
    let server = api.server_in(&accepted.in_force, &pool, &addr)?;
    Ok((etag(accepted.revision), axum::Json(server)).into_response())
}

/// Removes a server
///
/// With `drain` the server takes no new requests from the answer on, and is removed when its running requests have
/// ended. The last server of a pool that takes requests can be neither removed nor drained (409); drained servers do
/// not count as taking requests.
#[utoipa::path(delete, path = "/pools/{name}/servers/{addr}", tag = "pools",
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001"), Removal),
    responses(
        (status = 200, body = Outcome, description = "The removal is done"),
        (status = 202, body = Outcome, description = "The server is drained, and removed later"),
    ))]
async fn take_out(
    State(api): Api,
    caller: Caller,
    Names((pool, addr)): Names<(String, String)>,
    Query(Removal { drain }): Query<Removal>,
) -> Result<Response, ApiProblem> {
    remove(&api, caller, pool, addr, Drain::read(drain)?).await
}

/// Takes a server out, at once or when its running requests have ended.
pub async fn remove(
    api: &ApiState,
    caller: Caller,
    pool: String,
    addr: String,
    drain: Drain,
) -> Result<Response, ApiProblem> {
    let (status, wish) = match drain.0 {
        Some(patience) => {
            let wish = Wish::DrainServer {
                pool,
                addr,
                patience,
            };
            (StatusCode::ACCEPTED, wish)
        }
        None => {
            let edit = Edit::RemoveServer { pool, addr };
            (StatusCode::OK, Wish::Edit(edit))
        }
    };
    let outcome = Outcome::from(api.ask(wish, caller).await?);
    Ok((status, outcome).into_response())
}

impl ApiState {
    /// The server in a configuration that is, or was, in force.
    pub fn server_in(
        &self,
        in_force: &InForce,
        pool: &str,
        addr: &str,
    ) -> Result<Server, ApiProblem> {
        View::new(in_force, &self.sources.tables)
            .server(pool, addr)
            .ok_or_else(|| {
                ApiProblem::absent(format!("there is no server {addr} in a pool {pool:?}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_table() {
        let rows = [
            ("10s", Some(10_000)),
            ("10", Some(10_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1h", None),
            ("10 s", None),
            ("99999m", None),
            ("1234567ms", None),
        ];
        for (text, millis) in rows {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
