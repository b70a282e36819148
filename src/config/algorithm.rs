//! `balancing_algorithm` and `hash_on`, checked against the registry of algorithms.

use super::document::{DocumentTable, Item, instead_of};
use crate::balance::{ALGORITHMS, AlgorithmSettings, HashKey};

/// Reads both keys; the second one means something only to an algorithm that uses a key.
pub(super) fn read(table: &mut DocumentTable<'_>) -> AlgorithmSettings {
    let hash_on = table.get("hash_on", |item| {
        Some(item.positioned(item.parsed(HashKey::parse)?))
    });
    let key = hash_on
        .as_ref()
        .map_or_else(HashKey::default, |key| key.value.clone());
    let settings = if table.has("balancing_algorithm") {
        table.get("balancing_algorithm", |item| {
            read_settings(item, key.clone())
        })
    } else {
        AlgorithmSettings::new(table.default_text("balancing_algorithm"), key.clone())
    };
    if let (Some(settings), Some(hash_on)) = (&settings, &hash_on)
        && !settings.uses_key()
    {
        table.wrong_at(
            &hash_on.position,
            format!("{} uses no key; leave this out", settings.name()),
        );
    }
    // Stands in for what was mistaken.
    settings.unwrap_or_else(|| {
        AlgorithmSettings::new(ALGORITHMS[0].name, key).expect("taken from the registry")
    })
}

fn read_settings(item: &Item<'_>, key: HashKey) -> Option<AlgorithmSettings> {
    let name = item.text()?;
    match AlgorithmSettings::new(name, key) {
        Some(settings) => Some(settings),
        None => {
            let known: Vec<&str> = ALGORITHMS.iter().map(|entry| entry.name).collect();
            item.wrong(format!("unknown algorithm; {}", instead_of(name, &known)))
        }
    }
}
