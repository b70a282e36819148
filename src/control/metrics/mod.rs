//! The numbers that palantir shows of itself: `/metrics` for Prometheus ([`render`]), the live page's [`LiveStats`],
//! and the counts of `/stats`. Everything is read from what the workers write anyway; nobody is asked and nobody waits.

mod cache_rates;
mod exposition;
mod families;
mod live_stats;
mod live_stats_maker;
mod process;
mod stats;
mod texts;
mod transitions;

pub use cache_rates::{CacheRow, cache_totals};
pub use exposition::{content_type, render};
pub use live_stats::{BackendRow, LastFailureView, LiveStats, Point, PoolRow, Totals, WorkerRow};
pub use live_stats_maker::LiveStatsMaker;
pub use stats::{ServerStats, SideStats, Stats, server_stats, stats};
pub use texts::{LatestTexts, SharedText};
pub use transitions::Transition;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::time::Micros;
use crate::control::access_log::LogProgress;
use crate::control::acme::OrderCounters;
use crate::control::change_request::Standing;
use crate::control::file_thread::FileProgress;
use crate::control::pending::PendingOperations;
use crate::shared::backend_table::BackendTables;
use crate::shared::counter::Counter;
use crate::shared::pulse::SharedPulse;
use crate::shared::worker_counters::AllWorkerCounters;
use crate::shared::{SharedStore, SharedTables};
use crate::snapshot::{Backend, Pool};

/// Where the numbers come from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The configuration in force.
    pub standing: Standing,
    /// The workers' tables of the backends' states.
    pub tables: SharedTables,
    /// The counters of the workers.
    pub counters: AllWorkerCounters,
    /// The store of the cache, if there is one.
    pub store: Option<SharedStore>,
    /// The results of orders of certificates.
    pub orders: Arc<OrderCounters>,
    /// The operations that palantir itself wants and could not do yet.
    pub wanted: Arc<PendingOperations>,
    /// The progress of the access log's thread.
    pub access_log: Arc<LogProgress>,
    /// The signs of life of the health thread.
    pub health: SharedPulse,
    /// The progress of the thread that works with files.
    pub files: FileProgress,
    /// The texts that clients of `/metrics` read.
    pub texts: Arc<LatestTexts>,
    /// The number of snapshots in use.
    pub generations: Arc<Counter>,
    /// The number of look-ups of names that have had no answer for too long.
    pub hanging_look_ups: Arc<Counter>,
}

impl Sources {
    /// The word for a backend's state: those of [`crate::shared::backend_table::BackendState`], and `unresolved` for a
    /// name that has no address yet.
    pub fn state(&self, backend: &Backend) -> &'static str {
        // All workers are told the same; the first is as good as any.
        match (&backend.addr, self.tables.iter().next()) {
            (Some(_), Some(table)) => table.state(backend.id()).label(),
            _ => "unresolved",
        }
    }

    /// Whether all backends of a pool take requests because too few are healthy.
    pub fn panics(&self, pool: &Pool) -> bool {
        pool_panics(pool, &self.tables)
    }
}

/// Whether all backends of a pool take requests because too few are healthy, by the states that the first worker knows.
pub fn pool_panics(pool: &Pool, tables: &BackendTables) -> bool {
    let table = tables.iter().next();
    table.is_some_and(|table| pool.panics(|backend| table.state(backend.id())))
}

/// Every word of [`Sources::state`].
const STATES: [&str; 5] = ["healthy", "unhealthy", "ejected", "draining", "unresolved"];

/// Unix time, in seconds, of the instant `at`, in microseconds of [`Micros`]; negative: before this process began.
/// `now` and `wall` are one instant on both clocks.
fn unix_secs(at: i64, now: Micros, wall: SystemTime) -> f64 {
    let ago = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(at);
    let ago = Duration::from_micros(ago.max(0).unsigned_abs());
    let at = wall.checked_sub(ago).unwrap_or(UNIX_EPOCH);
    wall_secs(at)
}

/// Seconds since 1970, to the microsecond.
fn wall_secs(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests;
