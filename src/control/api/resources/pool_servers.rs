//! `/pools/{name}/servers/{addr}`: one server, in full.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::config::BACKEND;
use crate::control::api::body::{Json, PathNames, Query};
use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::schemas::ServerSettingsSchema;
use crate::control::api::send_request::{ApiCaller, ChangeReport, answer_put};
use crate::control::api::settings;
use crate::control::api::times::QueryTime;
use crate::control::api::view::{ConfigView, Server};
use crate::control::api::{Api, ApiState};
use crate::control::change_request::{InForce, Operation};
use crate::control::config_store::Edit;

/// The resources below `/pools/{name}/servers`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show, put, patch, take_out))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// How long running requests may take to finish: a number of seconds, or a time such as `500ms`, `10s`, `2m`, `1h`.
    #[param(inline)]
    drain: Option<QueryTime>,
}

/// How long a removal waits for running requests; `None`: not at all.
pub struct Drain(Option<Duration>);

impl Drain {
    /// Reads the parameter `drain`. Errors: the time is too long, or no time.
    pub fn read(time: Option<QueryTime>) -> Result<Drain, ApiProblem> {
        let range = Duration::ZERO..=limits::LONGEST_TIMEOUT;
        let time = time.map(|time| time.read("drain", &range));
        time.transpose().map(Drain)
    }
}

/// One server
#[utoipa::path(get, path = "/pools/{name}/servers/{addr}", tag = "pools",
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001")),
    responses((status = 200, body = Server, headers(("ETag" = String, description = "The revision in force")))))]
async fn show(
    State(api): Api,
    PathNames((pool, addr)): PathNames<(String, String)>,
) -> Result<Response, ApiProblem> {
    let in_force = api.in_force();
    let server = api.server_in(&in_force, &pool, &addr)?;
    Ok((etag(in_force.revision), axum::Json(server)).into_response())
}

/// Replaces all settings of a server
///
/// A server that does not exist is added.
#[utoipa::path(put, path = "/pools/{name}/servers/{addr}", tag = "pools", request_body = ServerSettingsSchema,
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
    caller: ApiCaller,
    PathNames((pool, addr)): PathNames<(String, String)>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PutServer {
        pool: pool.clone(),
        addr: addr.clone(),
        server: settings::table(&BACKEND, settings)?,
    };
    let accepted = api.send_request(Operation::Edit(edit), caller).await?;
    let server = api.server_in(&accepted.in_force, &pool, &addr)?;
    let added_at = accepted.diff.has_added().then(|| server.href.clone());
    Ok(answer_put(accepted.revision, added_at, server))
}

/// Changes some settings of a server
///
/// A setting that is not named stays as it is; `null` takes a setting back to its default. A setting that is an object
/// is replaced whole.
#[utoipa::path(patch, path = "/pools/{name}/servers/{addr}", tag = "pools", request_body = ServerSettingsSchema,
    params(("name" = String, Path, description = "The name of the pool", min_length = 1), ("addr" = String, Path,
        description = "The address of the server", min_length = 1, example = "127.0.0.1:9001")),
    responses((status = 200, body = Server, headers(("ETag" = String, description = "The revision in force")))))]
async fn patch(
    State(api): Api,
    caller: ApiCaller,
    PathNames((pool, addr)): PathNames<(String, String)>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PatchServer {
        pool: pool.clone(),
        addr: addr.clone(),
        settings: settings::changes(&BACKEND, settings)?,
    };
    let accepted = api.send_request(Operation::Edit(edit), caller).await?;
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
        (status = 200, body = ChangeReport, description = "The removal is done"),
        (status = 202, body = ChangeReport, description = "The server is drained, and removed later"),
    ))]
async fn take_out(
    State(api): Api,
    caller: ApiCaller,
    PathNames((pool, addr)): PathNames<(String, String)>,
    Query(Removal { drain }): Query<Removal>,
) -> Result<Response, ApiProblem> {
    remove(&api, caller, pool, addr, Drain::read(drain)?).await
}

/// Takes a server out, at once or when its running requests have ended.
pub async fn remove(
    api: &ApiState,
    caller: ApiCaller,
    pool: String,
    addr: String,
    drain: Drain,
) -> Result<Response, ApiProblem> {
    let (status, operation) = match drain.0 {
        Some(patience) => {
            let operation = Operation::DrainServer {
                pool,
                addr,
                patience,
            };
            (StatusCode::ACCEPTED, operation)
        }
        None => {
            let edit = Edit::RemoveServer { pool, addr };
            (StatusCode::OK, Operation::Edit(edit))
        }
    };
    let outcome = ChangeReport::from(api.send_request(operation, caller).await?);
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
        ConfigView::new(in_force, &self.sources.tables)
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
    fn drains_table() {
        let rows = [
            ("10s", Some(10_000)),
            ("10", Some(10_000)),
            ("0.5", Some(500)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("10 s", None),
            ("86401", None),
            ("99999m", None),
        ];
        for (text, millis) in rows {
            let read = Drain::read(Some(QueryTime(text.to_owned()))).ok();
            let read = read.map(|drain| drain.0.unwrap());
            assert_eq!(read, millis.map(Duration::from_millis), "{text}");
        }
        assert!(Drain::read(None).is_ok_and(|drain| drain.0.is_none()));
    }
}
