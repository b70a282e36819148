//! `balancing_algorithm` and `hash_on`, checked against the registry of algorithms.

use super::document::{Item, Table, instead_of};
use crate::balance::{ALGORITHMS, AlgorithmPlan, HashKey};
use crate::base::limits::default;

/// Reads both keys; the second one means something only to an algorithm that uses a key.
pub(super) fn read(table: &mut Table<'_>) -> AlgorithmPlan {
    let hash_on = table.get("hash_on", |item| {
        Some(item.placed(item.parsed(HashKey::parse)?))
    });
    let key = hash_on
        .as_ref()
        .map_or_else(HashKey::default, |key| key.value.clone());
    let plan = if table.has("balancing_algorithm") {
        table.get("balancing_algorithm", |item| read_plan(item, key.clone()))
    } else {
        AlgorithmPlan::new(default::ALGORITHM, key.clone())
    };
    if let (Some(plan), Some(hash_on)) = (&plan, &hash_on)
        && !plan.uses_key()
    {
        table.wrong_at(
            &hash_on.place,
            format!("{} uses no key; leave this out", plan.name()),
        );
    }
    // Stands in for what was mistaken.
    plan.unwrap_or_else(|| {
        AlgorithmPlan::new(ALGORITHMS[0].name, key).expect("taken from the registry")
    })
}

fn read_plan(item: &Item<'_>, key: HashKey) -> Option<AlgorithmPlan> {
    let name = item.text()?;
    match AlgorithmPlan::new(name, key) {
        Some(plan) => Some(plan),
        None => {
            let known: Vec<&str> = ALGORITHMS.iter().map(|entry| entry.name).collect();
            item.wrong(format!("unknown algorithm; {}", instead_of(name, &known)))
        }
    }
}
