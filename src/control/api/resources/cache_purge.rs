//! `/cache/purge`: ends stored responses before their time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{info, warn};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits;
use crate::cache::named_url::NamedUrl;
use crate::cache::tags::{group_tag, named_tag};
use crate::control::api::body::Json;
use crate::control::api::problem::ApiProblem;
use crate::control::api::send_request::ApiCaller;
use crate::control::api::{Api, ApiState};
use crate::control::cache::purge::{PurgeOutcome, Purged, TooManyZones, purge};
use crate::shared::SharedStore;
use crate::shared::cache::PurgeEffect;

/// The resource `/cache/purge`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(order))
}

/// The responses to purge: exactly one of `url`, `prefix`, `tag`, `group` and `all`.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PurgeOrder {
    /// A URL with all its variants.
    #[schema(example = "https://shop.example/img/1?size=2")]
    url: Option<String>,
    /// All URLs that begin so. Scheme and host must be whole.
    #[schema(example = "https://shop.example/img/")]
    prefix: Option<String>,
    /// A tag that backends name in `Surrogate-Key` or `Cache-Tag`.
    #[schema(example = "product-17")]
    tag: Option<String>,
    /// A group that backends name in `Cache-Groups` (RFC 9875).
    group: Option<Group>,
    /// Everything, if `true`.
    all: Option<bool>,
    /// Whether the responses are stale from now on, rather than not used any more.
    soft: Option<bool>,
    /// The only zone in which to purge; without it all zones. A tag or a group is purged in all zones.
    zone: Option<String>,
}

/// A group of the responses of one origin.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CacheGroup)]
struct Group {
    /// Scheme, host and port.
    #[schema(example = "https://shop.example")]
    origin: String,
    /// The name of the group.
    group: String,
}

/// The outcome of a purge.
#[derive(Debug, Serialize, ToSchema)]
pub struct PurgeReport {
    /// The number of the purge. A response that a backend was asked for before it is not served as fresh any more.
    number: u64,
    /// The number of entries that the purge has ended; `null`: it is not known, since entries are compared with a purge
    /// when they are asked for.
    entries: Option<u64>,
}

impl From<PurgeOutcome> for PurgeReport {
    fn from(PurgeOutcome { number, entries }: PurgeOutcome) -> PurgeReport {
        PurgeReport { number, entries }
    }
}

impl PurgeOrder {
    /// The entries that are purged, also in words. Errors: it is not exactly one thing, or one that does not exist.
    fn read(&self) -> Result<(Purged, String), ApiProblem> {
        let given = [
            self.url.is_some(),
            self.prefix.is_some(),
            self.tag.is_some(),
            self.group.is_some(),
            self.all.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let right = "must have exactly one of url, prefix, tag, group and all";
            return Err(ApiProblem::of_field("", right));
        }
        if (self.tag.is_some() || self.group.is_some()) && self.zone.is_some() {
            let right = "has no meaning beside a tag or a group, which are purged in all zones";
            return Err(ApiProblem::of_field("zone", right));
        }
        if let Some(url) = &self.url {
            return Ok((Purged::Url(read_url("url", url)?), url.clone()));
        }
        if let Some(prefix) = &self.prefix {
            let words = format!("URLs that begin with {prefix}");
            return Ok((Purged::Prefix(read_url("prefix", prefix)?), words));
        }
        if let Some(tag) = &self.tag {
            check_tag("tag", tag)?;
            return Ok((
                Purged::Tag(named_tag(tag.as_bytes())),
                format!("tag {tag:?}"),
            ));
        }
        if let Some(Group { origin, group }) = &self.group {
            check_tag("group.group", group)?;
            let url = read_url("group.origin", origin)?;
            let tag = group_tag(&url.origin(), group);
            return Ok((Purged::Tag(tag), format!("group {group:?} of {origin}")));
        }
        match self.all {
            Some(true) => Ok((Purged::All, "everything".to_owned())),
            _ => Err(ApiProblem::of_field("all", "must be true")),
        }
    }
}

/// Reads a URL in a field of this name.
pub fn read_url(field: &str, url: &str) -> Result<NamedUrl, ApiProblem> {
    NamedUrl::read(url).map_err(|why| ApiProblem::of_field(field, why))
}

fn check_tag(field: &str, tag: &str) -> Result<(), ApiProblem> {
    if tag.is_empty() || tag.len() > limits::CACHE_TAG_BYTES {
        let right = format!("must have from 1 to {} bytes", limits::CACHE_TAG_BYTES);
        return Err(ApiProblem::of_field(field, right));
    }
    Ok(())
}

/// Ends stored responses before their time
///
/// The purge is in force on every core when it is answered. It also concerns responses that are under way: one that a
/// backend was asked for before the purge is not stored as fresh. With a tier of the cache on disk, the purge outlasts
/// the process when it is answered.
#[utoipa::path(post, path = "/cache/purge", tag = "cache", request_body = PurgeOrder,
    responses((status = 200, body = PurgeReport),
        (status = 503, description = "The purge is in force, but may end with the process, since the disk does not answer",
            body = ApiProblem, content_type = "application/problem+json")))]
async fn order(
    State(api): Api,
    caller: ApiCaller,
    Json(order): Json<PurgeOrder>,
) -> Result<axum::Json<PurgeReport>, ApiProblem> {
    let store = api.store()?;
    caller.check(api.in_force().revision)?;
    let (purged, words) = order.read()?;
    let effect = match order.soft {
        Some(true) => PurgeEffect::Soft,
        _ => PurgeEffect::Hard,
    };
    let zone = order.zone.as_deref();
    let outcome = api.purge(&store, (&purged, &words), zone, effect, &caller)?;
    await_disk(&store).await?;
    Ok(axum::Json(outcome.into()))
}

/// Waits until the purges that were ordered so far outlast the process. Errors: the disk does not answer in time.
pub async fn await_disk(store: &SharedStore) -> Result<(), ApiProblem> {
    let Some(sync) = store.purge_sync() else {
        return Ok(());
    };
    let pause = Duration::from_millis(limits::PURGE_SYNC_PAUSE_MILLIS);
    for _ in 0..limits::PURGE_SYNC_MILLIS / limits::PURGE_SYNC_PAUSE_MILLIS {
        if sync.is_done() {
            return Ok(());
        }
        if sync.is_hopeless() {
            break;
        }
        sleep(pause).await;
    }
    let detail = "the purge is in force, but the disk of the cache does not answer: the purge may end with the process";
    warn!("{detail}");
    Err(ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
}

impl ApiState {
    /// The store of the cache. Errors: there is none.
    pub fn store(&self) -> Result<SharedStore, ApiProblem> {
        let none = || ApiProblem::absent("nothing is cached: palantir was started without [cache]");
        self.sources.store.clone().ok_or_else(none)
    }

    /// Purges, and has the log tell of it. `words`: what is purged.
    pub fn purge(
        &self,
        store: &SharedStore,
        (purged, words): (&Purged, &str),
        zone: Option<&str>,
        effect: PurgeEffect,
        caller: &ApiCaller,
    ) -> Result<PurgeOutcome, ApiProblem> {
        let in_force = self.in_force();
        let outcome = purge(store, &in_force.snapshot, purged, zone, effect);
        let outcome = outcome.map_err(|TooManyZones| {
            let most = limits::CACHE_ZONES_AT_ONCE;
            let right = format!("must be named, since the cache has more than {most} zones");
            ApiProblem::of_field("zone", right)
        })?;
        let (number, soft) = (outcome.number, effect == PurgeEffect::Soft);
        let requested_by = caller.requested_by();
        let zone = zone.unwrap_or("all");
        info!(
            audit = "purged",
            requested_by, number, soft, zone, "cache: {words}"
        );
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_table() {
        let rows = [
            (r#"{"url": "https://A/b"}"#, Ok("https://A/b")),
            (
                r#"{"prefix": "https://a/b", "zone": "z"}"#,
                Ok("URLs that begin with https://a/b"),
            ),
            (r#"{"tag": "t", "soft": true}"#, Ok("tag \"t\"")),
            (
                r#"{"group": {"origin": "https://a", "group": "g"}}"#,
                Ok("group \"g\" of https://a"),
            ),
            (r#"{"all": true}"#, Ok("everything")),
            (r#"{}"#, Err("")),
            (r#"{"all": false}"#, Err("all")),
            (r#"{"all": true, "tag": "t"}"#, Err("")),
            (r#"{"url": "/b"}"#, Err("url")),
            (r#"{"prefix": "https:"}"#, Err("prefix")),
            (r#"{"tag": ""}"#, Err("tag")),
            (r#"{"tag": "t", "zone": "z"}"#, Err("zone")),
            (
                r#"{"group": {"origin": "a", "group": "g"}}"#,
                Err("group.origin"),
            ),
        ];
        for (text, expected) in rows {
            let order: PurgeOrder = serde_json::from_str(text).unwrap();
            match (order.read(), expected) {
                (Ok((_, words)), Ok(expected)) => assert_eq!(words, expected, "{text}"),
                (Err(problem), Err(field)) => {
                    let json = serde_json::to_value(&problem).unwrap();
                    assert_eq!(json["errors"][0]["field"], field, "{text}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
