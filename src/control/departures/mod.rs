//! Backends on their way out: those that are drained until nothing runs on them any more, and those that are taken out
//! when they stay down too long.

mod outages;
mod rows;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use tracing::info;

use self::outages::Outages;
use self::rows::Rows;
use crate::base::time::Micros;
use crate::config::{BackendAddress, Config};
use crate::control::desk::state_file::{Departure, State};
use crate::shared::backend_table::BackendTables;
use crate::snapshot::Snapshot;
use crate::tls::unix_secs;

/// A backend as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    pub pool: String,
    /// As [`BackendPlace`] writes it.
    pub addr: String,
}

impl Named {
    /// However its address is written.
    pub fn new(pool: &str, addr: &str) -> Named {
        let place = BackendAddress::parse(addr).map(|address| address.place.to_string());
        Named {
            pool: pool.to_owned(),
            addr: place.unwrap_or_else(|_| addr.to_owned()),
        }
    }
}

impl Named {
    /// Its departure, from now on.
    pub fn departure(&self, patience: Duration, origin: String, now: SystemTime) -> Departure {
        Departure {
            pool: self.pool.clone(),
            addr: self.addr.clone(),
            since: unix_secs(now).unsigned_abs(),
            // It may be told twice, and is never cut short.
            patience: patience.as_secs() + u64::from(patience.subsec_nanos() > 0),
            origin,
        }
    }

    /// Whether it is this one's.
    pub fn is(&self, departure: &Departure) -> bool {
        departure.pool == self.pool && departure.addr == self.addr
    }
}

/// One that is drained.
#[derive(Debug)]
struct Drained {
    backend: Named,
    /// As the state file has it.
    departure: Departure,
    /// The first snapshot that gives it no requests.
    generation: u64,
    until: Micros,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Departures {
    drained: Vec<Drained>,
    down: Outages,
}

/// A backend to take out now.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving {
    pub backend: Named,
    /// Who wanted that, or what.
    pub origin: String,
}

impl Departures {
    /// Has a backend taken out when its requests have ended or at `until`; `generation`: the first snapshot that gives it
    /// none.
    pub fn drain(&mut self, departure: Departure, generation: u64, until: Micros) {
        let backend = Named::new(&departure.pool, &departure.addr);
        self.keep(&backend);
        self.drained.push(Drained {
            backend,
            departure,
            generation,
            until,
        });
    }

    /// Goes on with what another process began, with the snapshot that this one begins with.
    pub fn resume(&mut self, state: &State, generation: u64, now: Micros) {
        self.down.resume(&state.lost, now);
        for departure in &state.departures {
            let left =
                Duration::from_secs(departure.left(unix_secs(SystemTime::now()).unsigned_abs()));
            info!(
                pool = departure.pool,
                backend = departure.addr,
                ?left,
                "goes on being drained"
            );
            self.drain(departure.clone(), generation, now.after(left));
        }
    }

    /// What of them is to outlive the process once this configuration is in force.
    pub fn saved(&self, config: &Config) -> Vec<Departure> {
        if self.drained.is_empty() {
            return Vec::new();
        }
        let backends = config.settings.all_pools().flat_map(|pool| {
            let backends = pool.backends.iter().filter(|backend| backend.draining);
            backends.map(|backend| Named {
                pool: pool.name.value.clone(),
                addr: backend.address.place.to_string(),
            })
        });
        let draining: HashSet<Named> = backends.collect();
        let drained = self.drained.iter();
        let drained = drained.filter(|drained| draining.contains(&drained.backend));
        drained.map(|drained| drained.departure.clone()).collect()
    }

    /// Has it stay.
    pub fn keep(&mut self, backend: &Named) {
        self.drained.retain(|drained| drained.backend != *backend);
    }

    /// Whether it is drained to be taken out.
    pub fn is_leaving(&self, backend: &Named) -> bool {
        self.drained
            .iter()
            .any(|drained| drained.backend == *backend)
    }

    /// Whether something has to be looked at again soon.
    pub fn any_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// A drained backend to take out, if there is one: its requests have ended on every core, or its time is over. It stays
    /// known until it is gone, should that be refused; the others come first then. One that takes requests again, or is
    /// gone, is forgotten.
    pub fn next_drained(
        &mut self,
        snapshot: &Snapshot,
        tables: &BackendTables,
        adopted: u64,
        now: Micros,
    ) -> Option<Leaving> {
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
        let leaving = Leaving {
            backend: drained.backend.clone(),
            origin: drained.departure.origin.clone(),
        };
        self.drained.push(drained);
        Some(leaving)
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
    ) -> Option<Leaving> {
        self.down.next(config, snapshot, tables, in_file, now)
    }
}

#[cfg(test)]
mod tests;
