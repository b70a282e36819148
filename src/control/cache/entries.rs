//! Entries of the cache, as people read them.

use serde::Serialize;
use utoipa::ToSchema;

use super::route_of;
use crate::base::limits;
use crate::cache::freshness::{age, lifetime, ttl};
use crate::cache::key::Key;
use crate::cache::named_url::NamedUrl;
use crate::cache::policy::Policy;
use crate::cache::vary;
use crate::shared::cache::{CacheStore, EntryState, EntrySummary};
use crate::snapshot::Snapshot;

/// A stored response.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheEntry)]
pub struct EntryView {
    /// The URL, without the parameters that do not count.
    pub url: String,
    /// The zone.
    pub zone: String,
    /// The fields of requests that belong to the key.
    pub key_fields: Vec<FieldView>,
    /// The fields of requests that select this response among those of the URL (`Vary`), in their normal form.
    pub variant: Vec<FieldView>,
    /// The status of the response.
    pub status: u16,
    /// The age in seconds.
    pub age: u32,
    /// Seconds until the response is stale, negative since it is, under the present settings of the route that takes
    /// the URL; `null`: no route takes it to this zone.
    pub ttl: Option<i64>,
    /// Where the time for which the response is fresh comes from, such as `max_age` or `heuristic`; `null` as `ttl`.
    pub lifetime_source: Option<&'static str>,
    /// Bytes that the response takes of the cache.
    pub bytes: u64,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// How often the response was used of late: from 0 to 3.
    pub uses: u8,
    /// `fresh`, `stale`, `purged` (stale by a soft purge), or `stored` if no route takes the URL to this zone.
    pub state: &'static str,
}

/// A field of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CacheField)]
pub struct FieldView {
    /// The name; empty if the settings do not name the field any more.
    pub name: String,
    /// The value; `null`: the request did not have the field.
    pub value: Option<String>,
}

/// A part of the list of entries.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheEntries)]
pub struct EntriesView {
    /// The entries, in no order.
    pub entries: Vec<EntryView>,
    /// The cursor of the next part, which may be there although this part is short; `null`: there is none.
    pub next: Option<u32>,
}

/// A choice of entries.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter<'a> {
    /// The beginning of the URLs.
    pub prefix: Vec<u8>,
    /// The zone of the entries.
    pub zone: Option<&'a str>,
    /// The largest number.
    pub limit: usize,
    /// Where the list goes on; 0 at first.
    pub cursor: u32,
}

/// A part of the list of entries at this time, in milliseconds since 1970.
pub fn list(
    store: &CacheStore,
    snapshot: &Snapshot,
    wanted: &EntryFilter<'_>,
    now: u64,
) -> EntriesView {
    let is_wanted = |key: &[u8]| {
        Key::read(key).is_some_and(|key| {
            key.url.starts_with(&wanted.prefix)
                && wanted.zone.is_none_or(|zone| key.zone == zone.as_bytes())
        })
    };
    let listing = store.list(
        is_wanted,
        wanted.cursor,
        wanted.limit,
        limits::CACHE_LISTING_STEPS,
    );
    let entries = listing.entries.iter();
    EntriesView {
        entries: entries
            .map(|entry| EntryView::of(entry, snapshot, now))
            .collect(),
        next: listing.next,
    }
}

impl EntryView {
    /// The view of an entry under the settings of a snapshot.
    pub fn of(entry: &EntrySummary, snapshot: &Snapshot, now: u64) -> EntryView {
        let key = Key::read(&entry.key);
        let (url, zone) = key.map_or_else(Default::default, |key| (text(key.url), text(key.zone)));
        let route = NamedUrl::read(&url).ok();
        let route = route.and_then(|url| route_of(snapshot, &url));
        let policy = route
            .and_then(|route| route.cache.as_deref())
            .filter(|policy| policy.zone == zone);
        let facts = &entry.facts;
        let ttl = policy.map(|policy| ttl(policy, facts, now));
        let source = policy.map(|policy| lifetime(policy, facts).source.label());
        let variant = vary::fields_of(&entry.variant).into_iter();
        EntryView {
            url,
            zone,
            key_fields: key.map_or_else(Vec::new, |key| key_fields(&key, policy)),
            variant: variant
                .map(|(name, value)| FieldView {
                    name: text(name),
                    value: value.map(text),
                })
                .collect(),
            status: facts.status,
            age: age(facts, now),
            ttl,
            lifetime_source: source,
            bytes: entry.cost,
            body_bytes: entry.body,
            uses: entry.uses,
            state: match (entry.state, ttl) {
                (EntryState::Stale, _) => "purged",
                (_, None) => "stored",
                (_, Some(ttl)) if ttl > 0 => "fresh",
                (_, Some(_)) => "stale",
            },
        }
    }
}

fn key_fields(key: &Key<'_>, policy: Option<&Policy>) -> Vec<FieldView> {
    let values = key.fields().unwrap_or_default();
    let names = policy.map_or(&[][..], |policy| &policy.key_headers);
    let are_of_these = names.len() == values.len();
    let fields = values.into_iter().enumerate().map(|(at, value)| FieldView {
        name: match names.get(at) {
            Some(name) if are_of_these => name.clone(),
            _ => String::new(),
        },
        value: value.map(text),
    });
    fields.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
