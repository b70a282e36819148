//! The work of the cache from second to second, for the live page.

use serde::Serialize;
use utoipa::ToSchema;

use crate::shared::access::CachePart;
use crate::shared::cache::CacheUsage;
use crate::shared::cache_counters::CacheTotals;
use crate::snapshot::Snapshot;

/// The part of the weight of a second's requests that is left after another second; after ten seconds a tenth is left.
const KEPT: f64 = 0.8;
/// Seconds without a stale answer after which what is served stale begins anew.
const STALE_GAP_SECS: f64 = 10.0;

/// One second of the cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheNow)]
pub struct CacheRow {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that may be used.
    pub max_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The percentage of the requests of the last seconds that the cache answered; absent if there was none.
    pub hit_percent: Option<f64>,
    /// Requests, per second, that the cache answered.
    pub answered_per_sec: f64,
    /// Bytes of bodies, per second, that clients got from the cache.
    pub served_bytes_per_sec: f64,
    /// Requests, per second, that a stale response answered.
    pub stale_per_sec: f64,
    /// Unix time, in seconds, since which stale responses have been served again and again; absent while none is.
    pub stale_since: Option<f64>,
}

/// The counts of the caches of all routes.
pub fn cache_totals(snapshot: &Snapshot) -> CacheTotals {
    let mut totals = CacheTotals::default();
    let counters = snapshot.routes.iter();
    let counters = counters.filter_map(|route| route.cache_counters.as_ref());
    counters.for_each(|counters| totals.add(&CacheTotals::of(counters)));
    totals
}

/// How far the counts had come when the last row was made, and the fading counts of the seconds before.
#[derive(Debug, Default)]
pub struct CacheRates {
    seen: CacheTotals,
    requests: f64,
    answered: f64,
    /// The times of the first and the last stale answer of those that came again and again.
    stale: Option<(f64, f64)>,
}

impl CacheRates {
    /// The row of the second that ends at this Unix time, `secs` after the last one.
    pub fn row(
        &mut self,
        usage: &CacheUsage,
        totals: CacheTotals,
        (time, secs): (f64, f64),
    ) -> CacheRow {
        // A route that goes takes its counts along.
        let since = |count: fn(&CacheTotals) -> u64| {
            count(&totals).saturating_sub(count(&self.seen)) as f64
        };
        let (requests, answered) = (since(CacheTotals::requests), since(CacheTotals::answered));
        let stale = since(|totals| totals.of_part(CachePart::Stale));
        let served = since(|totals| totals.served_bytes);
        self.requests = self.requests * KEPT + requests;
        self.answered = self.answered * KEPT + answered;
        let earlier = self.stale.filter(|(_, last)| time - last <= STALE_GAP_SECS);
        self.stale = if stale > 0.0 {
            Some((earlier.map_or(time, |(first, _)| first), time))
        } else {
            earlier
        };
        self.seen = totals;
        CacheRow {
            used_bytes: usage.used_bytes,
            max_bytes: usage.max_bytes,
            entries: usage.entries,
            hit_percent: (self.requests >= 0.01)
                .then(|| (100.0 * self.answered / self.requests).min(100.0)),
            answered_per_sec: answered / secs,
            served_bytes_per_sec: served / secs,
            stale_per_sec: stale / secs,
            stale_since: self.stale.map(|(first, _)| first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::WorkerId;
    use crate::shared::access::CacheOutcome;
    use crate::shared::cache_counters::CacheCounters;

    #[test]
    fn rates_are_those_of_a_second_and_stale_answers_have_a_beginning() {
        let counters = CacheCounters::new(1);
        let usage = CacheUsage {
            used_bytes: 5,
            ..CacheUsage::default()
        };
        let mut rates = CacheRates::default();
        let mut row = |at: f64, parts: &[(CachePart, &'static str)]| {
            for (part, reason) in parts.iter().copied() {
                let outcome = CacheOutcome { part, reason };
                counters.of(WorkerId(0)).note_outcome(outcome, 100);
            }
            rates.row(&usage, CacheTotals::of(&counters), (at, 2.0))
        };
        let stale = (CachePart::Stale, "error");
        let first = row(10.0, &[(CachePart::Hit, ""), (CachePart::Miss, "")]);
        assert_eq!(first.hit_percent, Some(50.0));
        assert_eq!(
            (first.answered_per_sec, first.served_bytes_per_sec),
            (0.5, 50.0)
        );
        assert_eq!((first.stale_since, first.used_bytes), (None, 5));
        assert_eq!(row(12.0, &[stale, stale]).stale_per_sec, 1.0);
        assert_eq!(row(14.0, &[]).stale_since, Some(12.0));
        assert_eq!(row(20.0, &[stale]).stale_since, Some(12.0));
        assert_eq!(row(31.0, &[]).stale_since, None);
        assert_eq!(row(32.0, &[stale]).stale_since, Some(32.0));
    }
}
