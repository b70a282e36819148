//! `/cache/entries`: the stored responses, one by one.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cache_purge::read_url;
use crate::base::limits;
use crate::base::time::unix_millis;
use crate::control::api::body::Query;
use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::ApiCaller;
use crate::control::api::{Api, ApiState};
use crate::control::cache::entries::{EntriesView, EntryFilter, list};
use crate::control::cache::purge::Purged;
use crate::shared::cache::PurgeEffect;

/// The resource `/cache/entries`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show, take_out))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// The beginning of the URLs that are listed, with a whole host; without it all entries are listed.
    #[param(example = "https://shop.example/img/")]
    prefix: Option<String>,
    /// The zone whose entries are listed.
    zone: Option<String>,
    /// The largest number of entries: 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The value of `next` in the part before.
    cursor: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct One {
    /// The URL whose responses are taken out.
    #[param(example = "https://shop.example/img/1")]
    url: String,
    /// The only zone from which they are taken out.
    zone: Option<String>,
}

/// The stored responses, in parts and in no order
///
/// A part may have fewer entries than `limit`, or none, although `next` names a further one.
#[utoipa::path(get, path = "/cache/entries", tag = "cache", params(Part),
    responses((status = 200, body = EntriesView),
        (status = 404, description = "Nothing is cached", body = ApiProblem, content_type = "application/problem+json"),
        (status = 422, description = "A value is not right; see errors", body = ApiProblem,
            content_type = "application/problem+json")))]
async fn show(
    State(api): Api,
    Query(part): Query<Part>,
) -> Result<axum::Json<EntriesView>, ApiProblem> {
    let store = api.store()?;
    let most = limits::CACHE_LISTED;
    let limit = part.limit.unwrap_or(limits::CACHE_LISTED_USUALLY);
    if !(1..=most).contains(&limit) {
        let right = format!("must be a number from 1 to {most}");
        return Err(ApiProblem::of_field("limit", right));
    }
    let prefix = part.prefix.as_deref();
    let prefix = prefix
        .map(|prefix| read_url("prefix", prefix))
        .transpose()?;
    let wanted = EntryFilter {
        prefix: prefix.map_or_else(Vec::new, |prefix| prefix.text()),
        zone: part.zone.as_deref(),
        limit,
        cursor: part.cursor.unwrap_or(0),
    };
    let in_force = api.in_force();
    let entries = list(&store, &in_force.snapshot, &wanted, unix_millis());
    Ok(axum::Json(entries))
}

/// Takes the stored responses of one URL out
///
/// Works as `POST /cache/purge` for this URL does, but answers 404 if nothing is stored for it.
#[utoipa::path(delete, path = "/cache/entries", tag = "cache", params(One),
    responses((status = 200, body = super::cache_purge::PurgeReport)))]
async fn take_out(
    State(api): Api,
    caller: ApiCaller,
    Query(One { url, zone }): Query<One>,
) -> Result<axum::Json<super::cache_purge::PurgeReport>, ApiProblem> {
    let store = api.store()?;
    caller.check(api.in_force().revision)?;
    let purged = Purged::Url(read_url("url", &url)?);
    let outcome = api.purge(
        &store,
        (&purged, &url),
        zone.as_deref(),
        PurgeEffect::Hard,
        &caller,
    )?;
    super::cache_purge::await_disk(&store).await?;
    match outcome.entries {
        Some(0) => Err(ApiProblem::absent(format!("nothing is stored for {url}"))),
        _ => Ok(axum::Json(outcome.into())),
    }
}
