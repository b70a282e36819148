//! Backends that are being removed: those that are drained until no request runs on them any more, and those that are
//! removed because they stay down too long.

mod outages;
mod rows;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use tracing::info;

use self::outages::Outages;
use self::rows::Rows;
use crate::base::time::Micros;
use crate::config::{BackendAddress, Config};
use crate::control::config_store::state_file::{Removal, SavedState};
use crate::shared::backend_table::BackendTables;
use crate::snapshot::Snapshot;
use crate::tls::unix_secs;

/// A backend as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// The name of the pool.
    pub pool: String,
    /// In the form of `BackendPlace`.
    pub addr: String,
}

impl Named {
    /// The backend at this address, in whatever form the address is written.
    pub fn new(pool: &str, addr: &str) -> Named {
        let place = BackendAddress::parse(addr).map(|address| address.target.to_string());
        Named {
            pool: pool.to_owned(),
            addr: place.unwrap_or_else(|_| addr.to_owned()),
        }
    }
}

impl Named {
    /// The removal of this backend, which begins now.
    pub fn removal(&self, patience: Duration, requested_by: String, now: SystemTime) -> Removal {
        Removal {
            pool: self.pool.clone(),
            addr: self.addr.clone(),
            since: unix_secs(now).unsigned_abs(),
            // Rounded up: a drain may be repeated after a restart, but is never cut short.
            patience: patience.as_secs() + u64::from(patience.subsec_nanos() > 0),
            requested_by,
        }
    }

    /// Whether the removal is of this backend.
    pub fn is(&self, removal: &Removal) -> bool {
        removal.pool == self.pool && removal.addr == self.addr
    }
}

/// A backend that is drained for removal.
#[derive(Debug)]
struct Drained {
    backend: Named,
    /// The removal in the form of the state file.
    removal: Removal,
    /// The generation of the first snapshot that sends the backend no requests.
    generation: u64,
    until: Micros,
}

/// All backends that are being removed.
#[derive(Debug, Default)]
pub struct Removals {
    drained: Vec<Drained>,
    down: Outages,
    /// Whether a drained backend was the first choice of the last turn.
    began_with_drained: bool,
}

/// A backend that is to be removed now.
#[derive(Debug, PartialEq, Eq)]
pub struct DueRemoval {
    /// The backend.
    pub backend: Named,
    /// The caller, or the rule, that asked for the removal.
    pub requested_by: String,
}

impl Removals {
    /// Whether a backend that is drained is the first choice of this turn, and not one that is down. The two kinds take
    /// turns, so that a removal that is refused again and again keeps none of the other kind waiting.
    pub fn takes_turn_of_drained(&mut self) -> bool {
        self.began_with_drained = !self.began_with_drained;
        self.began_with_drained
    }

    /// Has a backend removed when its requests have ended, or at `until`. `generation` is the first snapshot that sends
    /// the backend no requests.
    pub fn drain(&mut self, removal: Removal, generation: u64, until: Micros) {
        let backend = Named::new(&removal.pool, &removal.addr);
        self.keep(&backend);
        self.drained.push(Drained {
            backend,
            removal,
            generation,
            until,
        });
    }

    /// Goes on with what another process began, with the snapshot that this one begins with.
    pub fn resume(&mut self, state: &SavedState, generation: u64, now: Micros) {
        self.down.resume(&state.lost, now);
        for removal in &state.removals {
            let left =
                Duration::from_secs(removal.left(unix_secs(SystemTime::now()).unsigned_abs()));
            info!(
                pool = removal.pool,
                backend = removal.addr,
                ?left,
                "the drain of this backend goes on"
            );
            self.drain(removal.clone(), generation, now.after(left));
        }
    }

    /// The removals to save for the time when `config` is in force.
    pub fn saved(&self, config: &Config) -> Vec<Removal> {
        if self.drained.is_empty() {
            return Vec::new();
        }
        let backends = config.settings.all_pools().flat_map(|pool| {
            let backends = pool.backends.iter().filter(|backend| backend.draining);
            backends.map(|backend| Named {
                pool: pool.name.value.clone(),
                addr: backend.address.target.to_string(),
            })
        });
        let draining: HashSet<Named> = backends.collect();
        let drained = self.drained.iter();
        let drained = drained.filter(|drained| draining.contains(&drained.backend));
        drained.map(|drained| drained.removal.clone()).collect()
    }

    /// Calls off the removal of a backend.
    pub fn keep(&mut self, backend: &Named) {
        self.drained.retain(|drained| drained.backend != *backend);
    }

    /// Whether the backend is drained for removal.
    pub fn is_being_removed(&self, backend: &Named) -> bool {
        self.drained
            .iter()
            .any(|drained| drained.backend == *backend)
    }

    /// Whether any backend is drained, so that its requests must be counted again soon.
    pub fn any_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// A drained backend that is to be removed now, if there is one: its requests have ended on every core, or its time
    /// is over. The backend stays in the list until the configuration lacks it, in case the removal is refused; other
    /// backends then come first. A backend that takes requests again, or that the configuration lacks, is forgotten.
    pub fn next_drained(
        &mut self,
        snapshot: &Snapshot,
        tables: &BackendTables,
        adopted: u64,
        now: Micros,
    ) -> Option<DueRemoval> {
        if self.drained.is_empty() {
            return None;
        }
        let pools: HashSet<String> = self
            .drained
            .iter()
            .map(|drained| drained.backend.pool.clone())
            .collect();
        let rows = Rows::of(snapshot, |pool| pools.contains(pool));
        self.drained.retain(|drained| {
            let rows = rows.of_backend(&drained.backend);
            !rows.is_empty() && rows.iter().all(|backend| backend.draining)
        });
        let is_empty = |backend: &Named| {
            let mut rows = rows.of_backend(backend).iter();
            rows.all(|backend| tables.in_flight(backend.id()) == 0)
        };
        let at = self.drained.iter().position(|drained| {
            drained.until <= now || (drained.generation <= adopted && is_empty(&drained.backend))
        })?;
        let drained = self.drained.remove(at);
        let due_removal = DueRemoval {
            backend: drained.backend.clone(),
            requested_by: drained.removal.requested_by.clone(),
        };
        self.drained.push(drained);
        Some(due_removal)
    }

    /// [`Outages::lost`]
    pub fn lost(&self, config: &Config) -> BTreeMap<String, usize> {
        self.down.lost(config)
    }

    /// [`Outages::next`]
    pub fn next_down(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        tables: &BackendTables,
        in_file: &dyn Fn(&str) -> usize,
        now: Micros,
    ) -> Option<DueRemoval> {
        self.down.next(config, snapshot, tables, in_file, now)
    }
}

#[cfg(test)]
mod tests;
