//! `/pools`: all pools, and one of them in full.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::POOL;
use crate::control::api::body::{Json, PathNames};
use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::schemas::PoolSettingsSchema;
use crate::control::api::send_request::{ApiCaller, ChangeReport, answer_put};
use crate::control::api::settings;
use crate::control::api::view::{ConfigView, PoolView, default_pool};
use crate::control::api::{Api, ApiState};
use crate::control::change_request::{InForce, Operation};
use crate::control::config_store::Edit;

/// The resources `/pools` and `/pools/{name}`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, put, patch, take_out))
}

/// All pools.
#[derive(Serialize, ToSchema)]
struct Pools {
    /// The name of the pool that `/servers` uses if a request names no pool.
    default: Option<String>,
    pools: Vec<PoolView>,
}

/// All pools
#[utoipa::path(get, path = "/pools", tag = "pools",
    responses((status = 200, body = Pools, headers(("ETag" = String, description = "The revision in force")))))]
async fn list(State(api): Api) -> Response {
    let in_force = api.in_force();
    let pools = Pools {
        default: default_pool(&in_force).map(str::to_owned),
        pools: ConfigView::new(&in_force, &api.sources.tables).pools(),
    };
    (etag(in_force.revision), axum::Json(pools)).into_response()
}

/// One pool
#[utoipa::path(get, path = "/pools/{name}", tag = "pools",
    params(("name" = String, Path, description = "The name of the pool", min_length = 1)),
    responses((status = 200, body = PoolView, headers(("ETag" = String, description = "The revision in force")))))]
async fn show(State(api): Api, PathNames(name): PathNames<String>) -> Result<Response, ApiProblem> {
    let in_force = api.in_force();
    let pool = api.pool_in(&in_force, &name)?;
    Ok((etag(in_force.revision), axum::Json(pool)).into_response())
}

/// Replaces all settings of a pool
///
/// A pool that does not exist is added.
#[utoipa::path(put, path = "/pools/{name}", tag = "pools", request_body = PoolSettingsSchema,
    params(("name" = String, Path, description = "The name of the pool", min_length = 1)),
    responses(
        (status = 200, body = PoolView, description = "The resource was changed, or was like this already",
            headers(("ETag" = String, description = "The revision in force"))),
        (status = 201, body = PoolView, description = "The resource was added", headers(("ETag" = String,
            description = "The revision in force"), ("Location" = String,
            description = "The path of the resource"))),
    ))]
async fn put(
    State(api): Api,
    caller: ApiCaller,
    PathNames(name): PathNames<String>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PutPool {
        name: name.clone(),
        pool: settings::table(&POOL, settings)?,
    };
    let accepted = api.send_request(Operation::Edit(edit), caller).await?;
    let pool = api.pool_in(&accepted.in_force, &name)?;
    let added_at = accepted.diff.has_added_pool().then(|| pool.href.clone());
    Ok(answer_put(accepted.revision, added_at, pool))
}

/// Changes some settings of a pool
///
/// A setting that is not named stays as it is; `null` takes a setting back to its default. A setting that is an object
/// or a list is replaced whole.
#[utoipa::path(patch, path = "/pools/{name}", tag = "pools", request_body = PoolSettingsSchema,
    params(("name" = String, Path, description = "The name of the pool", min_length = 1)),
    responses((status = 200, body = PoolView, headers(("ETag" = String, description = "The revision in force")))))]
async fn patch(
    State(api): Api,
    caller: ApiCaller,
    PathNames(name): PathNames<String>,
    Json(settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let edit = Edit::PatchPool {
        name: name.clone(),
        settings: settings::changes(&POOL, settings)?,
    };
    let accepted = api.send_request(Operation::Edit(edit), caller).await?;
    let pool = api.pool_in(&accepted.in_force, &name)?;
    Ok((etag(accepted.revision), axum::Json(pool)).into_response())
}

/// Removes a pool that no route leads to
#[utoipa::path(delete, path = "/pools/{name}", tag = "pools",
    params(("name" = String, Path, description = "The name of the pool", min_length = 1)),
    responses((status = 200, body = ChangeReport, description = "The removal is done")))]
async fn take_out(
    State(api): Api,
    caller: ApiCaller,
    PathNames(name): PathNames<String>,
) -> Result<ChangeReport, ApiProblem> {
    let edit = Edit::RemovePool { name };
    let accepted = api.send_request(Operation::Edit(edit), caller).await?;
    Ok(accepted.into())
}

impl ApiState {
    /// The pool in a configuration that is, or was, in force.
    fn pool_in(&self, in_force: &InForce, name: &str) -> Result<PoolView, ApiProblem> {
        ConfigView::new(in_force, &self.sources.tables)
            .pool(name)
            .ok_or_else(|| ApiProblem::absent(format!("there is no pool {name:?}")))
    }
}
