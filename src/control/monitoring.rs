//! Everything that the control thread watches and shows: the counters of all threads, the boards that it makes of them
//! every second, and the requests that were refused.

use std::time::{Duration, SystemTime};

use crate::base::limits;
use crate::base::time::{Micros, unix_millis};
use crate::control::api::ApiState;
use crate::control::bad_requests::BadRequests;
use crate::control::change_request::ChangeRequests;
use crate::control::metrics::{LiveStatsMaker, Sources};
use crate::messages::RefusedHead;
use crate::shared::worker_counters::{self, AllWorkerCounters, Outcomes};
use crate::shared::{SharedStore, SharedTables};
use crate::snapshot::Snapshot;

/// The sources of all numbers that palantir shows of itself.
pub(super) struct Monitoring {
    /// The workers' tables of the backends' states.
    pub tables: SharedTables,
    /// The counters of the workers.
    pub counters: AllWorkerCounters,
    /// The numbers of the last seconds.
    pub live_stats: LiveStatsMaker,
    /// The beginnings of the last requests that were refused.
    pub bad_requests: BadRequests,
}

impl Monitoring {
    /// Begins with these sources.
    pub fn new(sources: Sources, now: Micros) -> Monitoring {
        Monitoring {
            tables: sources.tables.clone(),
            counters: sources.counters.clone(),
            live_stats: LiveStatsMaker::new(sources, now),
            bad_requests: BadRequests::default(),
        }
    }

    /// The store of the cache, if there is one.
    pub fn store(&self) -> Option<&SharedStore> {
        self.live_stats.sources().store.as_ref()
    }

    /// How the requests of all workers have come out so far.
    pub fn outcomes(&self) -> Outcomes {
        worker_counters::outcomes(&self.counters)
    }

    /// Frees entries of the cache that a purge has ended, for about a millisecond. Returns whether none is left.
    pub fn sweep_cache(&self, now: Micros) -> bool {
        let Some(store) = &self.live_stats.sources().store else {
            return true;
        };
        let due = now.after(Duration::from_micros(limits::SWEEP_MICROS));
        let millis = unix_millis();
        while Micros::now() < due {
            if store.sweep(limits::LISTED_AT_ONCE, millis).is_done {
                return true;
            }
        }
        false
    }

    /// Whether every request has ended.
    pub fn is_idle(&self) -> bool {
        worker_counters::exchanges(&self.counters) == 0
    }

    /// Keeps the beginning of a refused request.
    pub fn note_refused(&self, refused: RefusedHead, snapshot: &Snapshot) {
        let bounds = &snapshot.client.head;
        self.bad_requests.note(refused, bounds, SystemTime::now());
    }

    /// Everything that the management API speaks of.
    pub fn api_state(&self, change_requests: ChangeRequests) -> ApiState {
        let (sources, stats) = (self.live_stats.sources().clone(), self.live_stats.watch());
        ApiState::new(change_requests, sources, stats, self.bad_requests.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::base::ids::{RequestId, WorkerId};
    use crate::config;
    use crate::control::access_log::LogProgress;
    use crate::control::change_request::InForce;
    use crate::control::config_store::{ConfigStore, Overrides};
    use crate::http::refusal::Refusal;
    use crate::shared::backend_table::BackendTables;
    use crate::snapshot::sample;

    fn monitoring() -> (Monitoring, Arc<Snapshot>) {
        let config = config::parse(Path::new("test.toml"), String::new()).unwrap();
        let (config_store, _) = ConfigStore::new(config, Overrides::default(), SystemTime::now());
        let snapshot = sample::snapshot(1, Vec::new());
        let in_force = Arc::new(InForce::new(&config_store, &snapshot));
        let sources = Sources {
            standing: watch::Sender::new(in_force).subscribe(),
            tables: BackendTables::new(2),
            counters: worker_counters::counters(2),
            store: None,
            orders: Default::default(),
            wanted: Default::default(),
            access_log: Arc::new(LogProgress::new(Micros(0))),
            health: Default::default(),
            files: Default::default(),
            texts: Default::default(),
            generations: Default::default(),
            hanging_look_ups: Default::default(),
        };
        (Monitoring::new(sources, Micros(0)), snapshot)
    }

    #[test]
    fn requests_of_every_worker_count() {
        let (monitoring, _) = monitoring();
        assert!(monitoring.is_idle());
        monitoring.counters[1].begin_exchange();
        assert!(!monitoring.is_idle());
        monitoring.counters[1].fail();
        monitoring.counters[1].end_exchange();
        assert!(monitoring.is_idle());
        assert_eq!(monitoring.outcomes().failed, 1);
    }

    #[test]
    fn a_refused_request_is_kept_for_whoever_asks() {
        let (monitoring, snapshot) = monitoring();
        let refused = RefusedHead {
            worker: WorkerId(1),
            client: None,
            request_id: RequestId(7),
            refusal: Refusal::BadRequestLine,
            head: b"GET\r\n".to_vec().into(),
        };
        monitoring.note_refused(refused, &snapshot);
        let kept = monitoring.bad_requests.latest();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].request_id, RequestId(7));
    }
}
