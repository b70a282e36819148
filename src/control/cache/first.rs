//! The largest and the most used entries, which are found by a look at every entry.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::base::limits;
use crate::base::time::Micros;
use crate::shared::SharedStore;
use crate::shared::cache::{EntrySummary, Order};

/// The first entries of the store in each order.
#[derive(Clone, Debug, Default)]
pub struct FirstEntries {
    /// The largest entries.
    pub largest: Vec<EntrySummary>,
    /// The entries that were used most of late.
    pub most_used: Vec<EntrySummary>,
}

/// The first entries as they were found last. They are looked for by one thread at a time, and not more often than all
/// [`limits::CACHE_FIRST_AGE_MILLIS`], however many ask for them.
#[derive(Debug, Default)]
pub struct LatestFirst(Mutex<Option<(Micros, Arc<FirstEntries>)>>);

impl LatestFirst {
    /// The first entries, a few seconds old at most.
    pub async fn get(&self, store: &SharedStore) -> Arc<FirstEntries> {
        let mut latest = self.0.lock().await;
        let age = Duration::from_millis(limits::CACHE_FIRST_AGE_MILLIS);
        if let Some((made, first)) = &*latest
            && Micros::now() < made.after(age)
        {
            return first.clone();
        }
        let store = store.clone();
        let found = spawn_blocking(move || FirstEntries {
            largest: store.first_in(Order::Largest, limits::CACHE_FIRST),
            most_used: store.first_in(Order::MostUsed, limits::CACHE_FIRST),
        });
        // A thread that ends otherwise is that of a process which ends.
        let first = Arc::new(found.await.unwrap_or_default());
        *latest = Some((Micros::now(), first.clone()));
        first
    }
}
