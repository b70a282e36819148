//! Purges that an operator orders.

use std::collections::BTreeSet;

use super::policies;
use crate::base::limits;
use crate::cache::key::Key;
use crate::cache::named_url::NamedUrl;
use crate::shared::SharedStore;
use crate::shared::cache::{CacheStore, Purge, PurgeEffect};
use crate::snapshot::Snapshot;

/// The entries that are purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    /// A URL, whatever the variants and the fields of the keys.
    Url(NamedUrl),
    /// All URLs that begin so.
    Prefix(NamedUrl),
    /// The entries with this tag, as [`crate::cache::tags`] writes it. They may be in any zone.
    Tag(Vec<u8>),
    /// All entries.
    All,
}

/// The outcome of a purge, which is in force on every core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeOutcome {
    /// The number of the purge: what was asked of a backend before it is not served as fresh any more.
    pub number: u64,
    /// The number of entries, where that is known.
    pub entries: Option<u64>,
}

/// The URL may be in more zones than one purge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyZones;

/// Purges in a zone, or in all of them. Errors: the zone must be named, since there are too many.
pub fn purge(
    store: &SharedStore,
    snapshot: &Snapshot,
    purged: &Purged,
    zone: Option<&str>,
    effect: PurgeEffect,
) -> Result<PurgeOutcome, TooManyZones> {
    let unknown = |number| PurgeOutcome {
        number,
        entries: None,
    };
    let mut prefix = Vec::new();
    match (purged, zone) {
        (Purged::Tag(tag), _) => Ok(unknown(store.purge(Purge::Tag(tag), effect))),
        (Purged::All, None) => Ok(unknown(store.purge(Purge::All, effect))),
        (Purged::All, Some(zone)) => {
            Key::write_prefix(zone, b"", &mut prefix);
            Ok(unknown(store.purge(Purge::Prefix(&prefix), effect)))
        }
        (Purged::Prefix(url), zone) => {
            let zones = zones(store, snapshot, zone)?;
            let prefixes = zones.iter().flat_map(|zone| as_named(zone, url));
            let numbers = prefixes.map(|prefix| store.purge(Purge::Prefix(&prefix), effect));
            Ok(unknown(numbers.max().unwrap_or_default()))
        }
        (Purged::Url(url), zone) => {
            let zones = zones(store, snapshot, zone)?;
            let entries = count(store, snapshot, url, &zones);
            let urls = forms(snapshot, url, &zones);
            let numbers = urls.iter().map(|url| store.purge(Purge::Url(url), effect));
            let number = numbers.max().unwrap_or_default();
            Ok(PurgeOutcome { number, entries })
        }
    }
}

/// The zones in which a purge takes effect: the one that is named, or those of the routes and of the entries.
fn zones(
    store: &CacheStore,
    snapshot: &Snapshot,
    named: Option<&str>,
) -> Result<BTreeSet<String>, TooManyZones> {
    if let Some(zone) = named {
        return Ok([zone.to_owned()].into());
    }
    let mut zones: BTreeSet<String> = policies(snapshot)
        .map(|policy| policy.zone.clone())
        .collect();
    zones.extend(store.usage().zones.into_iter().map(|zone| zone.name));
    if zones.len() > limits::CACHE_ZONES_AT_ONCE {
        return Err(TooManyZones);
    }
    Ok(zones)
}

/// The zone with the URL as it was named, and as listeners that merge slashes read it.
fn as_named(zone: &str, url: &NamedUrl) -> Vec<Vec<u8>> {
    let urls = [Some(url.clone()), url.with_merged_slashes()];
    let urls = urls.into_iter().flatten().map(|url| {
        let mut prefix = Vec::new();
        Key::write_prefix(zone, &url.text(), &mut prefix);
        prefix
    });
    urls.collect()
}

/// The beginnings of all keys that a URL may have in these zones: its query differs with what the routes ignore.
fn forms(snapshot: &Snapshot, url: &NamedUrl, zones: &BTreeSet<String>) -> BTreeSet<Vec<u8>> {
    let named = zones.iter().flat_map(|zone| as_named(zone, url));
    let mut forms: BTreeSet<Vec<u8>> = named.collect();
    let urls = [Some(url.clone()), url.with_merged_slashes()];
    let of_zones = policies(snapshot).filter(|policy| zones.contains(&policy.zone));
    for policy in of_zones {
        for url in urls.iter().flatten() {
            let mut form = Vec::new();
            url.write_url(policy, &mut form);
            forms.insert(form);
        }
    }
    forms
}

/// The number of the entries of a URL. `None`: fields belong to the keys of a zone, or the zone has no route any more,
/// so that the keys are not known.
fn count(
    store: &CacheStore,
    snapshot: &Snapshot,
    url: &NamedUrl,
    zones: &BTreeSet<String>,
) -> Option<u64> {
    let mut keys = BTreeSet::new();
    let mut known = BTreeSet::new();
    for policy in policies(snapshot).filter(|policy| zones.contains(&policy.zone)) {
        if !policy.key_headers.is_empty() {
            return None;
        }
        known.insert(policy.zone.as_str());
        for url in [Some(url.clone()), url.with_merged_slashes()]
            .iter()
            .flatten()
        {
            let mut key = Vec::new();
            url.write_key(policy, &[], &mut key);
            keys.insert(key);
        }
    }
    let is_unknown = |zone: &crate::shared::cache::ZoneUsage| {
        zone.entries > 0 && zones.contains(&zone.name) && !known.contains(zone.name.as_str())
    };
    if store.usage().zones.iter().any(is_unknown) {
        return None;
    }
    // Entries on the disk are not counted.
    if keys.iter().any(|key| store.is_on_disk(key)) {
        return None;
    }
    let found = keys.iter().map(|key| {
        let found = store.look_up(store.hash(key), key, |_| true);
        u64::from(found.entry.is_some()) + found.further.len() as u64
    });
    Some(found.sum())
}
