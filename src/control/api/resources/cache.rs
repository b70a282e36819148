//! `/cache`: how full the cache is, and what it does.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::time::unix_millis;
use crate::cache::not_stored::NotStored;
use crate::control::api::problem::ApiProblem;
use crate::control::api::{Api, ApiState};
use crate::control::cache::entries::EntryView;
use crate::control::metrics::{CacheRow, cache_totals};
use crate::shared::access::CachePart;
use crate::shared::cache::{CacheUsage, DiskUsage, EntrySummary, ZoneUsage};
use crate::shared::cache_counters::CacheTotals;
use crate::snapshot::Snapshot;

/// The resource `/cache`.
#[inline(never)]
pub fn routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The cache. Counts begin at the start of the process, or where a route came.
#[derive(Serialize, ToSchema)]
struct Cache {
    /// Bytes in use: entries, index, tags, purges, and what is being stored.
    used_bytes: u64,
    /// Bytes that may be used.
    max_bytes: u64,
    entries: u64,
    /// Bytes of the entries.
    entry_bytes: u64,
    /// The entries by zone.
    zones: Vec<Zone>,
    requests: Requests,
    responses: Responses,
    ended: Ended,
    purges: Purges,
    /// The tier on disk; `null`: there is none.
    disk: Option<Disk>,
    /// The cache in the last second.
    now: CacheRow,
    /// The entries that take most, as they were some seconds ago at most.
    largest: Vec<EntryView>,
    /// The entries that were used most of late, as they were some seconds ago at most.
    most_used: Vec<EntryView>,
}

/// The entries of one zone.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheZone)]
struct Zone {
    name: String,
    entries: u64,
    bytes: u64,
}

/// Requests for routes with a cache that have ended.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheRequests)]
struct Requests {
    /// The percentage that a fresh, stale or validated response of the cache answered; `null`: there was no request.
    hit_percent: Option<f64>,
    /// Requests that a fresh response answered.
    hits: u64,
    /// Requests that a stale response answered.
    stale: u64,
    /// Requests that a stored response answered after a backend had said that it still holds.
    validated: u64,
    /// Requests that a backend answered because no stored response could.
    misses: u64,
    /// Requests that neither looked up nor stored.
    bypassed: u64,
    /// Requests that waited for the answer to another one.
    collapsed: u64,
    /// Bytes of the bodies that clients got from the cache.
    served_bytes: u64,
}

/// Responses of backends.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheResponses)]
struct Responses {
    /// Requests to backends whose answers were to be stored.
    fetches: u64,
    /// Requests to backends that refreshed a stored response while it answered.
    refreshes: u64,
    /// Responses that were stored whole.
    stored: u64,
    /// Bytes of the bodies that were stored.
    stored_bytes: u64,
    /// Responses that were not stored, by reason.
    not_stored: Vec<NotStoredCount>,
    /// Responses that were not stored because a purge or an invalidation came after their requests.
    refused: u64,
}

/// Responses that were not stored for one reason.
#[derive(Serialize, ToSchema)]
struct NotStoredCount {
    reason: &'static str,
    count: u64,
}

/// Entries that have ended.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheEnded)]
struct Ended {
    /// Entries that made room for others.
    evicted: u64,
    /// Entries that newer ones took the places of.
    replaced: u64,
    /// Entries that purges have ended.
    purged: u64,
    /// Entries that unsafe requests have ended.
    invalidated: u64,
}

/// Purges.
#[derive(Serialize, ToSchema)]
#[schema(as = CachePurges)]
struct Purges {
    /// All purges.
    ordered: u64,
    /// Purges that entries and running requests are still compared with.
    standing: u64,
}

/// The tier on disk.
#[derive(Serialize, ToSchema)]
#[schema(as = CacheDisk)]
struct Disk {
    /// Whether the folder is in use: not while it cannot be used, or another process has it.
    open: bool,
    /// Whether all that earlier processes have left was looked at.
    scanned: bool,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes that all files may take.
    max_bytes: u64,
    /// Entries, those that are in memory too included.
    entries: u64,
    /// Bytes of memory of the entries that wait to be written.
    queued_bytes: u64,
    /// Entries that were written.
    written: u64,
    /// Bytes of entries that were written.
    written_bytes: u64,
    /// Entries that left memory and were on the disk already.
    unchanged: u64,
    /// Entries that left memory and were not written, since the disk was too slow or could not be used.
    dropped: u64,
    /// Keys whose entries were read into memory.
    recalled: u64,
    /// Keys that were looked for in vain.
    recall_misses: u64,
    /// Files that were removed to make room.
    dropped_segments: u64,
    /// Damages that were found.
    damaged: u64,
    /// Calls that have failed.
    errors: u64,
}

impl From<DiskUsage> for Disk {
    fn from(usage: DiskUsage) -> Disk {
        Disk {
            open: usage.is_open,
            scanned: usage.is_scanned,
            bytes: usage.bytes,
            max_bytes: usage.max_bytes,
            entries: usage.entries,
            queued_bytes: usage.queued_bytes,
            written: usage.written,
            written_bytes: usage.written_bytes,
            unchanged: usage.unchanged,
            dropped: usage.dropped,
            recalled: usage.recalled,
            recall_misses: usage.recall_misses,
            dropped_segments: usage.dropped_segments,
            damaged: usage.damaged,
            errors: usage.errors,
        }
    }
}

/// How full the cache is, and what it does
#[utoipa::path(get, path = "/cache", tag = "cache",
    responses((status = 200, body = Cache),
        (status = 404, description = "Nothing is cached", body = ApiProblem, content_type = "application/problem+json")))]
async fn show(State(api): Api) -> Result<axum::Json<Cache>, ApiProblem> {
    let store = api.store()?;
    let first = api.first_entries.get(&store).await;
    let in_force = api.in_force();
    let totals = cache_totals(&in_force.snapshot);
    let now = api.live_stats.borrow().cache.clone().unwrap_or_default();
    let usage = store.usage();
    Ok(axum::Json(Cache {
        requests: requests(&totals),
        responses: responses(&totals, &usage),
        purges: Purges {
            ordered: store.purges(),
            standing: usage.standing_purges,
        },
        disk: store.disk_usage().map(Disk::from),
        largest: views(&first.largest, &in_force.snapshot),
        most_used: views(&first.most_used, &in_force.snapshot),
        now,
        used_bytes: usage.used_bytes,
        max_bytes: usage.max_bytes,
        entries: usage.entries,
        entry_bytes: usage.entry_bytes,
        ended: Ended {
            evicted: usage.evicted,
            replaced: usage.replaced,
            purged: usage.purged,
            invalidated: usage.invalidated,
        },
        zones: usage.zones.into_iter().map(Zone::from).collect(),
    }))
}

impl From<ZoneUsage> for Zone {
    fn from(zone: ZoneUsage) -> Zone {
        Zone {
            name: zone.name,
            entries: zone.entries,
            bytes: zone.bytes,
        }
    }
}

fn requests(totals: &CacheTotals) -> Requests {
    let requests = totals.requests();
    let percent = 100.0 * totals.answered() as f64 / requests.max(1) as f64;
    Requests {
        hit_percent: (requests > 0).then_some(percent),
        hits: totals.of_part(CachePart::Hit),
        stale: totals.of_part(CachePart::Stale),
        validated: totals.of_part(CachePart::Validated),
        misses: totals.of_part(CachePart::Miss),
        bypassed: totals.of_part(CachePart::Bypass),
        collapsed: totals.collapsed,
        served_bytes: totals.served_bytes,
    }
}

fn responses(totals: &CacheTotals, usage: &CacheUsage) -> Responses {
    let rows = NotStored::ALL.into_iter().zip(totals.not_stored);
    let rows = rows.filter(|(_, count)| *count > 0);
    Responses {
        fetches: totals.fetches,
        refreshes: totals.refreshes,
        stored: totals.stored,
        stored_bytes: totals.stored_bytes,
        not_stored: rows
            .map(|(why, count)| NotStoredCount {
                reason: why.label(),
                count,
            })
            .collect(),
        refused: usage.refused,
    }
}

fn views(entries: &[EntrySummary], snapshot: &Snapshot) -> Vec<EntryView> {
    let entries = entries.iter();
    entries
        .map(|entry| EntryView::of(entry, snapshot, unix_millis()))
        .collect()
}
