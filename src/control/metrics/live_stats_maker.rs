//! Makes [`LiveStats`] every second from how far the counters have come since the last ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::cache_rates::{CacheRates, cache_totals};
use super::live_stats::{
    BackendRow, LastFailureView, LiveStats, Point, PoolRow, Totals, WorkerRow,
};
use super::process::thread_cpu_seconds;
use super::transitions::Transitions;
use super::{Sources, unix_secs, wall_secs};
use crate::base::addresses::BackendAddr;
use crate::base::ids::BackendId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::messages::StateChange;
use crate::shared::histogram::{FINE, Fading, Times};
use crate::shared::worker_counters::{self, Outcomes, WorkerCounters};
use crate::snapshot::{Backend, Pool};

const EVERY: Duration = Duration::from_secs(1);
/// The part of the weight of a backend's requests that is left after a second; after ten seconds a tenth is left.
const KEPT: f64 = 0.8;

/// The maker of the live statistics. The maker belongs to the control thread's loop.
#[derive(Debug)]
pub struct LiveStatsMaker {
    sources: Sources,
    /// When the last live statistics were made.
    made: Micros,
    outcomes: Outcomes,
    workers: Vec<SeenWorker>,
    backends: HashMap<BackendId, SeenBackend>,
    transitions: Transitions,
    cache_rates: CacheRates,
    sender: watch::Sender<Arc<LiveStats>>,
}

/// The counts of a worker when the last live statistics were made.
#[derive(Clone, Copy, Debug, Default)]
struct SeenWorker {
    requests: u64,
    cpu_seconds: Option<f64>,
}

/// The counts of a backend when the last live statistics were made, and the fading counts of the seconds before.
#[derive(Debug, Default)]
struct SeenBackend {
    success: u64,
    failed: u64,
    times: Times<FINE>,
    fading: Fading<FINE>,
    fading_success: f64,
    fading_failed: f64,
}

/// The moment at which live statistics are made.
#[derive(Clone, Copy)]
struct Moment {
    now: Micros,
    wall: SystemTime,
    /// Since the last live statistics; above 0.
    secs: f64,
}

impl LiveStatsMaker {
    /// Begins with live statistics of zeros.
    pub fn new(sources: Sources, now: Micros) -> LiveStatsMaker {
        let empty = LiveStats {
            time: wall_secs(SystemTime::now()),
            version: env!("CARGO_PKG_VERSION"),
            revision: sources.standing.borrow().revision,
            phase: "running",
            totals: Totals::default(),
            workers: Vec::new(),
            pools: Vec::new(),
            cache: None,
            transitions: Vec::new(),
            history: Arc::default(),
        };
        LiveStatsMaker {
            outcomes: worker_counters::outcomes(&sources.counters),
            workers: vec![SeenWorker::default(); sources.counters.len()],
            sources,
            made: now,
            backends: HashMap::new(),
            transitions: Transitions::default(),
            cache_rates: CacheRates::default(),
            sender: watch::channel(Arc::new(empty)).0,
        }
    }

    /// The sources of the figures.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The receiver of the latest live statistics, which is notified of each change.
    pub fn watch(&self) -> watch::Receiver<Arc<LiveStats>> {
        self.sender.subscribe()
    }

    /// When the next live statistics are due.
    pub fn due(&self) -> Micros {
        self.made.after(EVERY)
    }

    /// Notes a change of a backend's state. The next live statistics show the change.
    pub fn note(&mut self, change: StateChange, now: Micros) {
        if change.from.is_some() {
            let snapshot = self.sources.standing.borrow().snapshot.clone();
            let mut backends = snapshot.pools.iter().flat_map(|pool| &pool.backends);
            if let Some(backend) = backends.find(|backend| backend.id() == change.id) {
                backend.slot.counters().changes.note(change.to, now);
            }
        }
        self.transitions.note(change, wall_secs(SystemTime::now()));
    }

    /// Makes live statistics if they are due.
    pub fn turn(&mut self, now: Micros) {
        if now < self.due() {
            return;
        }
        let moment = Moment {
            now,
            wall: SystemTime::now(),
            secs: now.since(self.made) as f64 / 1e6,
        };
        debug_assert!(moment.secs > 0.0, "a rate is that of a time");
        self.made = now;
        self.sources.texts.forget_old(now);
        let stats = self.make(moment);
        self.sender.send_replace(Arc::new(stats));
    }

    fn make(&mut self, moment: Moment) -> LiveStats {
        let in_force = self.sources.standing.borrow().clone();
        let mut times = Times::default();
        let mut seen = HashMap::new();
        let pools = in_force.snapshot.pools.iter();
        let pools = pools
            .map(|pool| self.pool(pool, moment, &mut seen, &mut times))
            .collect();
        self.backends = seen;
        let totals = self.totals(moment, &times);
        let time = wall_secs(moment.wall);
        let history = self.history(Point {
            time,
            requests_per_sec: totals.requests_per_sec,
            failures_per_sec: totals.failures_per_sec,
            p50_ms: totals.p50_ms,
            p99_ms: totals.p99_ms,
        });
        let store = self.sources.store.as_deref();
        let cache = store.map(|store| {
            let totals = cache_totals(&in_force.snapshot);
            self.cache_rates
                .row(&store.usage(), totals, (time, moment.secs))
        });
        LiveStats {
            time,
            version: env!("CARGO_PKG_VERSION"),
            revision: in_force.revision,
            cache,
            phase: if in_force.draining {
                "draining"
            } else {
                "running"
            },
            totals,
            workers: self.workers(moment),
            pools,
            transitions: self.transitions.list(),
            history: Arc::new(history),
        }
    }

    fn totals(&mut self, moment: Moment, times: &Times<FINE>) -> Totals {
        let counters = &self.sources.counters;
        let outcomes = worker_counters::outcomes(counters);
        let since = outcomes.since(&self.outcomes);
        self.outcomes = outcomes;
        Totals {
            requests_per_sec: since.requests() as f64 / moment.secs,
            failures_per_sec: since.failed as f64 / moment.secs,
            in_flight: worker_counters::exchanges(counters),
            connections: worker_counters::connections(counters),
            most_connections: self.sources.standing.borrow().snapshot.most_clients() as u64,
            waiting_clients: worker_counters::waiting(counters),
            p50_ms: millis(times.quantile(0.5)),
            p99_ms: millis(times.quantile(0.99)),
        }
    }

    fn history(&self, latest: Point) -> Vec<Point> {
        let before = self.sender.borrow().history.clone();
        let too_many = (before.len() + 1).saturating_sub(limits::HISTORY_SECS);
        let mut history = before[too_many..].to_vec();
        history.push(latest);
        history
    }

    fn workers(&mut self, moment: Moment) -> Vec<WorkerRow> {
        let counters = self.sources.counters.iter().enumerate();
        counters
            .zip(&mut self.workers)
            .map(|((worker, counters), seen)| seen.row(worker, counters, moment))
            .collect()
    }

    /// A pool's row. What is seen of its backends now goes to `seen`, their latest response times to `times`.
    fn pool(
        &mut self,
        pool: &Pool,
        moment: Moment,
        seen: &mut HashMap<BackendId, SeenBackend>,
        times: &mut Times<FINE>,
    ) -> PoolRow {
        let mut backends = Vec::with_capacity(pool.backends.len());
        for backend in &pool.backends {
            let mut state = self.backends.remove(&backend.id()).unwrap_or_default();
            backends.push(state.row(&self.sources, backend, moment, times));
            seen.insert(backend.id(), state);
        }
        PoolRow {
            name: pool.name.clone(),
            algorithm: pool.algorithm.name(),
            waiting: pool.counters.waiting(),
            panics: self.sources.panics(pool),
            backends,
        }
    }
}

impl SeenWorker {
    fn row(&mut self, worker: usize, counters: &WorkerCounters, moment: Moment) -> WorkerRow {
        let requests: u64 = counters.classes().iter().sum();
        let cpu_seconds = counters.thread().and_then(thread_cpu_seconds);
        let used = cpu_seconds
            .zip(self.cpu_seconds)
            .map(|(now, before)| now - before);
        let new_requests = requests - self.requests;
        *self = SeenWorker {
            requests,
            cpu_seconds,
        };
        WorkerRow {
            worker,
            connections: counters.connections(),
            requests_per_sec: new_requests as f64 / moment.secs,
            in_flight: counters.exchanges(),
            busy_percent: used.map(|used| (100.0 * used / moment.secs).clamp(0.0, 100.0)),
            loop_lag_ms: counters.worst_lag() as f64 / 1e3,
        }
    }
}

impl SeenBackend {
    fn row(
        &mut self,
        sources: &Sources,
        backend: &Backend,
        moment: Moment,
        all_times: &mut Times<FINE>,
    ) -> BackendRow {
        let counters = backend.slot.counters();
        let totals = counters.totals();
        let (success, failed) = (totals.success(), totals.failed());
        // A row of the tables that went to another backend begins at zero again.
        let new_success = success.saturating_sub(self.success);
        let new_failed = failed.saturating_sub(self.failed);
        let new_times = totals.response_times.since(&self.times);
        all_times.add(&new_times);
        self.fading.turn(KEPT, &new_times);
        self.fading_success = self.fading_success * KEPT + new_success as f64;
        self.fading_failed = self.fading_failed * KEPT + new_failed as f64;
        self.times = totals.response_times.clone();
        (self.success, self.failed) = (success, failed);
        BackendRow {
            address: written(backend),
            label: backend.label.clone(),
            state: sources.state(backend),
            since: unix_secs(counters.changes.since(), moment.now, moment.wall),
            weight: backend.weight,
            in_flight: sources.tables.in_flight(backend.id()),
            idle: sources.tables.idle(backend.id()),
            requests_per_sec: (new_success + new_failed) as f64 / moment.secs,
            p50_ms: millis(self.fading.quantile(0.5)),
            p90_ms: millis(self.fading.quantile(0.9)),
            p99_ms: millis(self.fading.quantile(0.99)),
            error_percent: self.error_percent(),
            success,
            failed,
            last_failure: LastFailureView::of(&totals, moment.now, moment.wall),
        }
    }

    fn error_percent(&self) -> Option<f64> {
        let requests = self.fading_success + self.fading_failed;
        (requests >= 0.01).then(|| 100.0 * self.fading_failed / requests)
    }
}

/// The address as the configuration has it.
fn written(backend: &Backend) -> String {
    match &backend.addr {
        Some(BackendAddr::Unix(_)) => backend.label.clone(),
        Some(BackendAddr::Tcp(_)) | None => backend.host.clone(),
    }
}

fn millis(micros: Option<f64>) -> Option<f64> {
    micros.map(|micros| micros / 1e3)
}
