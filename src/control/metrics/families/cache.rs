//! The metrics of the cache: of each route that has one, and of the store that all of them share.

use std::fmt;

use super::page::Page;
use crate::cache::not_stored::NotStored;
use crate::control::metrics::Sources;
use crate::shared::cache::{CacheUsage, DiskUsage};
use crate::shared::cache_counters::{CacheTotals, OUTCOMES};
use crate::snapshot::Snapshot;

/// The metrics of the caches of routes that a request has taken.
pub(super) fn encode_route_caches(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let routes: Vec<(&str, CacheTotals)> = snapshot
        .routes
        .iter()
        .filter_map(|route| {
            let counters = route.cache_counters.as_ref()?;
            counters.iter().next()?;
            Some((route.name.as_str(), CacheTotals::of(counters)))
        })
        .collect();
    let outcomes = routes.iter().flat_map(|(name, totals)| {
        let rows = OUTCOMES.iter().zip(totals.outcomes);
        let rows = rows.filter(|(_, count)| *count > 0);
        rows.map(move |((part, reason), count)| {
            let labels = [
                ("route", *name),
                ("outcome", part.word()),
                ("reason", *reason),
            ];
            (labels, count)
        })
    });
    page.counters(
        "palantir_route_cache_requests",
        "Requests of the route that have ended, by the part that the cache had in the answer and the reason for it",
        outcomes,
    )?;
    let not_stored = routes.iter().flat_map(|(name, totals)| {
        let rows = NotStored::ALL.into_iter().zip(totals.not_stored);
        let rows = rows.filter(|(_, count)| *count > 0);
        rows.map(move |(why, count)| ([("route", *name), ("reason", why.label())], count))
    });
    page.counters(
        "palantir_route_cache_not_stored",
        "Responses of the backends of the route that were not stored, by reason",
        not_stored,
    )?;
    encode_counts(page, &routes)
}

fn encode_counts(page: &mut Page<'_>, routes: &[(&str, CacheTotals)]) -> fmt::Result {
    type Family = (&'static str, &'static str, fn(&CacheTotals) -> u64);
    let families: [Family; 6] = [
        (
            "palantir_route_cache_fetches",
            "Requests of the route to backends whose answers were to be stored",
            |totals| totals.fetches,
        ),
        (
            "palantir_route_cache_refreshes",
            "Requests to backends that refreshed a stored response of the route while the stored one answered",
            |totals| totals.refreshes,
        ),
        (
            "palantir_route_cache_collapsed",
            "Requests of the route that waited for the answer to another request for the same",
            |totals| totals.collapsed,
        ),
        (
            "palantir_route_cache_stored",
            "Responses of the route that were stored whole",
            |totals| totals.stored,
        ),
        (
            "palantir_route_cache_stored_bytes",
            "Bytes of the bodies of the responses of the route that were stored",
            |totals| totals.stored_bytes,
        ),
        (
            "palantir_route_cache_served_bytes",
            "Bytes of the bodies that clients of the route got from the cache",
            |totals| totals.served_bytes,
        ),
    ];
    for (name, help, value) in families {
        let rows = routes.iter();
        let rows = rows.map(|(name, totals)| ([("route", *name)], value(totals)));
        page.counters(name, help, rows)?;
    }
    Ok(())
}

/// The metrics of the store. Without a cache there are none.
pub(super) fn encode_store(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let Some(store) = &sources.store else {
        return Ok(());
    };
    let usage = store.usage();
    encode_room(page, &usage)?;
    let ended = [
        ("evicted", usage.evicted),
        ("invalidated", usage.invalidated),
        ("purged", usage.purged),
        ("replaced", usage.replaced),
    ];
    page.counters(
        "palantir_cache_ended_entries",
        "Entries of the cache that have ended, by what ended them",
        ended.map(|(why, count)| ([("reason", why)], count)),
    )?;
    page.counters(
        "palantir_cache_stored_entries",
        "Entries that have been stored in the cache",
        [([], usage.stored)],
    )?;
    page.counters(
        "palantir_cache_refused_entries",
        "Responses that were not stored because a purge or an invalidation came after their requests had been sent",
        [([], usage.refused)],
    )?;
    page.counters(
        "palantir_cache_purges",
        "Purges of the cache since the start, those by the groups of unsafe requests included",
        [([], store.purges())],
    )?;
    page.gauge(
        "palantir_cache_standing_purges",
        "Purges that entries and running requests are still compared with",
        Some(usage.standing_purges),
    )?;
    page.counters(
        "palantir_cache_sweeps",
        "Times that all entries of the cache have been compared with the purges in the background",
        [([], store.sweeps())],
    )?;
    match store.disk_usage() {
        Some(usage) => encode_disk(page, &usage),
        None => Ok(()),
    }
}

fn encode_disk(page: &mut Page<'_>, usage: &DiskUsage) -> fmt::Result {
    let sizes = [
        (
            "palantir_cache_disk_open",
            "Whether the folder of the cache on disk is in use: 1, or 0 while it cannot be used or another process has it",
            u64::from(usage.is_open),
        ),
        (
            "palantir_cache_disk_bytes",
            "Bytes of the files of the cache on disk",
            usage.bytes,
        ),
        (
            "palantir_cache_disk_limit_bytes",
            "Bytes that the files of the cache on disk may take (cache.disk.max_size)",
            usage.max_bytes,
        ),
        (
            "palantir_cache_disk_entries",
            "Entries of the cache on disk, those that are in memory too included",
            usage.entries,
        ),
        (
            "palantir_cache_disk_queued_bytes",
            "Bytes of memory of the entries that wait to be written to the disk",
            usage.queued_bytes,
        ),
    ];
    for (name, help, value) in sizes {
        page.gauge(name, help, Some(value))?;
    }
    encode_disk_counts(page, usage)
}

fn encode_disk_counts(page: &mut Page<'_>, usage: &DiskUsage) -> fmt::Result {
    let counts = [
        (
            "palantir_cache_disk_written_entries",
            "Entries that have been written to the disk",
            usage.written,
        ),
        (
            "palantir_cache_disk_written_bytes",
            "Bytes of entries that have been written to the disk",
            usage.written_bytes,
        ),
        (
            "palantir_cache_disk_unchanged_entries",
            "Entries that left memory and were on the disk already",
            usage.unchanged,
        ),
        (
            "palantir_cache_disk_dropped_entries",
            "Entries that left memory and were not written: too large, or the disk too slow or not usable",
            usage.dropped,
        ),
        (
            "palantir_cache_disk_recalls",
            "Keys whose entries have been read from the disk into memory",
            usage.recalled,
        ),
        (
            "palantir_cache_disk_recall_misses",
            "Keys that were looked for on the disk in vain",
            usage.recall_misses,
        ),
        (
            "palantir_cache_disk_dropped_segments",
            "Files of the cache on disk that have been removed to make room",
            usage.dropped_segments,
        ),
        (
            "palantir_cache_disk_damaged",
            "Damages of files of the cache on disk that have been found",
            usage.damaged,
        ),
        (
            "palantir_cache_disk_errors",
            "Calls for files of the cache on disk that have failed",
            usage.errors,
        ),
    ];
    for (name, help, value) in counts {
        page.counters(name, help, [([], value)])?;
    }
    Ok(())
}

fn encode_room(page: &mut Page<'_>, usage: &CacheUsage) -> fmt::Result {
    page.gauge(
        "palantir_cache_bytes",
        "Bytes of the cache that are in use: entries, index, tags, purges, and what is being stored",
        Some(usage.used_bytes),
    )?;
    page.gauge(
        "palantir_cache_limit_bytes",
        "Bytes that the cache may use (cache.max_size)",
        Some(usage.max_bytes),
    )?;
    page.gauges(
        "palantir_cache_entries",
        "Entries of the cache by zone",
        usage
            .zones
            .iter()
            .map(|zone| ([("zone", zone.name.as_str())], zone.entries)),
    )?;
    page.gauges(
        "palantir_cache_entry_bytes",
        "Bytes of the entries of the cache by zone",
        usage
            .zones
            .iter()
            .map(|zone| ([("zone", zone.name.as_str())], zone.bytes)),
    )
}
