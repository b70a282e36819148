//! `/servers`: the short form, for one pool or the default one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::pool_servers::{Drain, remove};
use crate::config::BACKEND;
use crate::control::api::body::{Json, PathNames, Query};
use crate::control::api::etag::etag;
use crate::control::api::problem::ApiProblem;
use crate::control::api::schemas::NewServer;
use crate::control::api::send_request::{ApiCaller, ChangeReport};
use crate::control::api::settings;
use crate::control::api::times::QueryTime;
use crate::control::api::view::{ConfigView, Server, default_pool};
use crate::control::api::{Api, ApiState};
use crate::control::change_request::{InForce, Operation};
use crate::control::config_store::Edit;

/// The resources `/servers`: the short form of servers.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(take_out))
}

/// The servers of one pool.
#[derive(Serialize, ToSchema)]
struct Servers {
    pool: String,
    servers: Vec<Server>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InPool {
    /// The name of the pool; if it is absent, the default pool.
    pool: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// The name of the pool; if it is absent, the default pool.
    pool: Option<String>,
    /// How long running requests may take to finish: a number of seconds, or a time such as `500ms`, `10s`, `2m`, `1h`.
    #[param(inline)]
    drain: Option<QueryTime>,
}

/// The servers of a pool
#[utoipa::path(get, path = "/servers", tag = "servers", params(InPool),
    responses(
        (status = 200, body = Servers, headers(("ETag" = String, description = "The revision in force"))),
        (status = 404, description = "There is no such pool", body = ApiProblem,
            content_type = "application/problem+json"),
    ))]
async fn list(
    State(api): Api,
    Query(InPool { pool }): Query<InPool>,
) -> Result<Response, ApiProblem> {
    let in_force = api.in_force();
    let pool = named_or_default(pool, &in_force)?;
    let shown = ConfigView::new(&in_force, &api.sources.tables).pool(&pool);
    let servers = match shown {
        Some(shown) => shown.backends,
        None => return Err(ApiProblem::absent(format!("there is no pool {pool:?}"))),
    };
    let answer = axum::Json(Servers { pool, servers });
    Ok((etag(in_force.revision), answer).into_response())
}

/// Adds a server
///
/// When the answer arrives, the server takes requests on every core. A server with the same address stays as it is,
/// unless it is being drained for removal: then the removal is called off and the server takes requests again. A client
/// on this machine that is no browser need not name the content type.
#[utoipa::path(post, path = "/servers", tag = "servers", request_body = NewServer,
    responses(
        (status = 201, body = Server, description = "The resource was added", headers(("ETag" = String,
            description = "The revision in force"), ("Location" = String,
            description = "The path of the resource"))),
        (status = 200, body = Server, description = "The server was there already and is unchanged",
            headers(("ETag" = String, description = "The revision in force"))),
    ))]
async fn add(
    State(api): Api,
    caller: ApiCaller,
    Json(mut settings): Json<Map<String, Value>>,
) -> Result<Response, ApiProblem> {
    let url = match settings.remove("url") {
        Some(Value::String(url)) => without_path(&url).to_owned(),
        _ => return Err(ApiProblem::of_field("url", "must be a text")),
    };
    let pool = match settings.remove("pool") {
        None | Some(Value::Null) => None,
        Some(Value::String(pool)) => Some(pool),
        Some(_) => return Err(ApiProblem::of_field("pool", "must be a text")),
    };
    if settings.contains_key("addr") {
        return Err(ApiProblem::of_field("addr", "is called url here"));
    }
    let pool = named_or_default(pool, &api.in_force())?;
    let mut server = settings::table(&BACKEND, settings)?;
    server.insert("addr".to_owned(), toml::Value::String(url.clone()));
    let edit = Edit::AddServer {
        pool: pool.clone(),
        server,
    };
    let accepted = api
        .send_request(Operation::Edit(edit), caller)
        .await
        .map_err(|problem| problem.rename_field("addr", "url"))?;
    let server = api.server_in(&accepted.in_force, &pool, &url)?;
    let tag = etag(accepted.revision);
    if !accepted.diff.has_added() {
        return Ok((tag, axum::Json(server)).into_response());
    }
    let location = [(header::LOCATION, server.href.clone())];
    Ok((StatusCode::CREATED, tag, location, axum::Json(server)).into_response())
}

/// Removes a server
///
/// With `drain` the server takes no new requests from the answer on, and is removed when its running requests have
/// ended.
#[utoipa::path(delete, path = "/servers/{ip}/{port}", tag = "servers",
    params(
        ("ip" = String, Path, description = "An IPv4 address, an IPv6 address in brackets, or a name", min_length = 1),
        ("port" = u16, Path, minimum = 1, maximum = 65535),
        Removal,
    ),
    responses(
        (status = 200, body = ChangeReport, description = "The removal is done"),
        (status = 202, body = ChangeReport, description = "The server is drained, and removed later"),
    ))]
async fn take_out(
    State(api): Api,
    caller: ApiCaller,
    PathNames((ip, port)): PathNames<(String, u16)>,
    Query(Removal { pool, drain }): Query<Removal>,
) -> Result<Response, ApiProblem> {
    let pool = named_or_default(pool, &api.in_force())?;
    let addr = match ip.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]:{port}"),
        Err(_) => format!("{ip}:{port}"),
    };
    remove(&api, caller, pool, addr, Drain::read(drain)?).await
}

/// The URL without its path: a server is an address, and requests keep their own paths.
fn without_path(url: &str) -> &str {
    let scheme = "http://";
    match url
        .strip_prefix(scheme)
        .and_then(|rest| rest.find(['/', '?', '#']))
    {
        Some(end) => &url[..scheme.len() + end],
        None => url,
    }
}

fn named_or_default(pool: Option<String>, in_force: &InForce) -> Result<String, ApiProblem> {
    pool.or_else(|| default_pool(in_force).map(str::to_owned))
        .ok_or_else(|| ApiProblem::absent("there is no pool"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_its_path() {
        let rows = [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
            ("http://[::1]:9001/a/b?c", "http://[::1]:9001"),
            ("http://a:1?b", "http://a:1"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("a:1/b", "a:1/b"),
        ];
        for (url, expected) in rows {
            assert_eq!(without_path(url), expected);
        }
    }
}
