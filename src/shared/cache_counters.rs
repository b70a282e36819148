//! Counts of a route's cache. Each worker counts for itself; the control thread reads and adds up. The snapshots that
//! name the route hold its counts, which go on from one snapshot to the next.

use super::access::{CacheOutcome, CachePart};
use super::counter::{Counter, PerWorker, numbers};
use crate::cache::bypass::BypassReason;
use crate::cache::not_stored::NotStored;

/// The number of outcomes. The type of the counts must not depend on the labels: an optimising compiler then finds a
/// cycle between a function's code and the types of the program.
const OUTCOME_COUNT: usize = 14;

/// The outcomes that are counted, each with the label of its reason. An outcome for a reason that is not listed counts
/// as the first one of its part.
pub const OUTCOMES: [(CachePart, &str); OUTCOME_COUNT] = [
    (CachePart::Hit, "fresh"),
    (CachePart::Hit, "collapsed"),
    (CachePart::Stale, "other"),
    (CachePart::Stale, "accepted"),
    (CachePart::Stale, "refreshing"),
    (CachePart::Stale, "unreachable"),
    (CachePart::Stale, "error"),
    (CachePart::Validated, "validated"),
    (CachePart::Miss, "miss"),
    (CachePart::Bypass, "other"),
    (CachePart::Bypass, BypassReason::Path.label()),
    (CachePart::Bypass, BypassReason::Header.label()),
    (CachePart::Bypass, BypassReason::Cookie.label()),
    (CachePart::Bypass, BypassReason::Body.label()),
];

/// Reasons for which a response is not stored.
const REASONS: usize = NotStored::ALL.len();

/// The counts that one worker keeps of the cache of one route.
#[derive(Debug, Default)]
pub struct CacheBlock {
    /// Requests that ended, in the order of [`OUTCOMES`].
    outcomes: [Counter; OUTCOME_COUNT],
    /// Responses that were not stored, in the order of [`NotStored::ALL`].
    not_stored: [Counter; REASONS],
    /// Requests to backends whose answers were to be stored.
    pub fetches: Counter,
    /// Requests to backends that refreshed a stored response while it answered.
    pub refreshes: Counter,
    /// Requests that waited for the answer to another one.
    pub collapsed: Counter,
    /// Responses that were stored whole.
    pub stored: Counter,
    /// Bytes of the bodies that were stored.
    pub stored_bytes: Counter,
    /// Bytes of the bodies that clients got from the cache.
    pub served_bytes: Counter,
}

impl CacheBlock {
    /// Counts the part that the cache had in a request that ended, with the bytes of the body of its answer. For the
    /// owner.
    pub fn note_outcome(&self, outcome: CacheOutcome, bytes: u64) {
        let is_exact = |row: &(CachePart, &str)| *row == (outcome.part, outcome.reason);
        let known = OUTCOMES.iter().position(is_exact);
        let at = known.or_else(|| OUTCOMES.iter().position(|(part, _)| *part == outcome.part));
        if let Some(at) = at {
            self.outcomes[at].add(1);
        }
        if is_served(outcome.part) {
            self.served_bytes.add(bytes);
        }
    }

    /// Counts a response that was not stored, for the reason of this label. For the owner.
    pub fn note_not_stored(&self, label: &str) {
        let mut reasons = NotStored::ALL.iter();
        if let Some(at) = reasons.position(|why| why.label() == label) {
            self.not_stored[at].add(1);
        }
    }

    /// Counts a response that was stored, with the bytes of its body. For the owner.
    pub fn note_stored(&self, bytes: u64) {
        self.stored.add(1);
        self.stored_bytes.add(bytes);
    }
}

/// Whether the body of an answer came from the cache.
fn is_served(part: CachePart) -> bool {
    matches!(
        part,
        CachePart::Hit | CachePart::Stale | CachePart::Validated
    )
}

/// All workers' counts of the cache of one route.
pub type CacheCounters = PerWorker<CacheBlock>;

/// The sums over all workers of a [`CacheBlock`], and over routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTotals {
    /// Requests that ended, in the order of [`OUTCOMES`].
    pub outcomes: [u64; OUTCOME_COUNT],
    /// Responses that were not stored, in the order of [`NotStored::ALL`].
    pub not_stored: [u64; REASONS],
    /// Requests to backends whose answers were to be stored.
    pub fetches: u64,
    /// Requests to backends that refreshed a stored response while it answered.
    pub refreshes: u64,
    /// Requests that waited for the answer to another one.
    pub collapsed: u64,
    /// Responses that were stored whole.
    pub stored: u64,
    /// Bytes of the bodies that were stored.
    pub stored_bytes: u64,
    /// Bytes of the bodies that clients got from the cache.
    pub served_bytes: u64,
}

impl CacheTotals {
    /// The counts of all workers.
    pub fn of(counters: &CacheCounters) -> CacheTotals {
        let mut totals = CacheTotals::default();
        for block in counters.iter() {
            let block = CacheTotals {
                outcomes: numbers(&block.outcomes),
                not_stored: numbers(&block.not_stored),
                fetches: block.fetches.get(),
                refreshes: block.refreshes.get(),
                collapsed: block.collapsed.get(),
                stored: block.stored.get(),
                stored_bytes: block.stored_bytes.get(),
                served_bytes: block.served_bytes.get(),
            };
            totals.add(&block);
        }
        totals
    }

    /// Adds the counts of another route.
    pub fn add(&mut self, other: &CacheTotals) {
        let each = self.outcomes.iter_mut().zip(other.outcomes);
        each.for_each(|(sum, count)| *sum += count);
        let each = self.not_stored.iter_mut().zip(other.not_stored);
        each.for_each(|(sum, count)| *sum += count);
        self.fetches += other.fetches;
        self.refreshes += other.refreshes;
        self.collapsed += other.collapsed;
        self.stored += other.stored;
        self.stored_bytes += other.stored_bytes;
        self.served_bytes += other.served_bytes;
    }

    /// Requests in which the cache had this part.
    pub fn of_part(&self, part: CachePart) -> u64 {
        let rows = OUTCOMES.iter().zip(self.outcomes);
        let rows = rows.filter(|((of, _), _)| *of == part);
        rows.map(|(_, count)| count).sum()
    }

    /// Requests that the cache answered: with a fresh, a stale or a validated response.
    pub fn answered(&self) -> u64 {
        let rows = OUTCOMES.iter().zip(self.outcomes);
        let rows = rows.filter(|((part, _), _)| is_served(*part));
        rows.map(|(_, count)| count).sum()
    }

    /// All requests that ended.
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::WorkerId;

    #[test]
    fn outcomes_are_counted_by_part_and_reason() {
        let counters: CacheCounters = PerWorker::new(2);
        let rows = [
            (CachePart::None, "", None),
            (CachePart::Hit, "max_age", Some("fresh")),
            (CachePart::Hit, "collapsed", Some("collapsed")),
            (CachePart::Stale, "unreachable", Some("unreachable")),
            (CachePart::Stale, "new_reason", Some("other")),
            (CachePart::Validated, "stale", Some("validated")),
            (CachePart::Miss, "no_entry", Some("miss")),
            (CachePart::Bypass, "bypass_cookie", Some("bypass_cookie")),
            (CachePart::Bypass, "method", Some("other")),
        ];
        for (part, reason, counted) in rows {
            let before = CacheTotals::of(&counters);
            counters
                .of(WorkerId(1))
                .note_outcome(CacheOutcome { part, reason }, 10);
            let after = CacheTotals::of(&counters);
            let changed = (0..OUTCOMES.len()).find(|at| after.outcomes[*at] > before.outcomes[*at]);
            let expected = counted.map(|reason| (part, reason));
            assert_eq!(
                changed.map(|at| OUTCOMES[at]),
                expected,
                "{part:?} {reason}"
            );
        }
        let totals = CacheTotals::of(&counters);
        assert_eq!((totals.requests(), totals.answered()), (8, 5));
        assert_eq!(totals.served_bytes, 50);
        assert_eq!(totals.of_part(CachePart::Hit), 2);
    }

    #[test]
    fn reasons_have_their_places() {
        let counters: CacheCounters = PerWorker::new(1);
        for (at, why) in NotStored::ALL.into_iter().enumerate() {
            counters.of(WorkerId(0)).note_not_stored(why.label());
            assert_eq!(CacheTotals::of(&counters).not_stored[at], 1, "{why:?}");
        }
    }

    #[test]
    fn sums_are_over_workers_and_routes() {
        let counters: CacheCounters = PerWorker::new(3);
        counters.of(WorkerId(0)).note_stored(5);
        counters.of(WorkerId(2)).note_stored(7);
        counters.of(WorkerId(2)).fetches.add(3);
        let mut totals = CacheTotals::of(&counters);
        assert_eq!((totals.stored, totals.stored_bytes), (2, 12));
        totals.add(&totals.clone());
        assert_eq!((totals.stored, totals.fetches), (4, 6));
    }
}
