//! Backends on their way out: those that are drained until nothing runs on them any more, and those that are taken out
//! when they stay down too long.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::ids::{BackendId, WorkerId};
use crate::base::time::Micros;
use crate::config::{BackendAddress, BackendPlace, Config};
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::{Backend, BackendAddr, Snapshot};

/// A backend as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    pub pool: String,
    /// As [`BackendPlace`] writes it.
    pub addr: String,
}

/// One that is drained.
#[derive(Debug)]
struct Drained {
    backend: Named,
    /// The first snapshot that gives it no requests.
    generation: u64,
    until: Micros,
    /// Who asked for it.
    origin: String,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Departures {
    drained: Vec<Drained>,
    /// Since when those backends are down that may be so for a certain time only.
    down: HashMap<Named, Micros>,
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
    pub fn drain(&mut self, backend: Named, generation: u64, until: Micros, origin: String) {
        self.drained.retain(|drained| drained.backend != backend);
        self.drained.push(Drained {
            backend,
            generation,
            until,
            origin,
        });
    }

    /// Whether something has to be looked at again soon.
    pub fn any_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// A drained backend to take out, if there is one: its requests have ended on every core, or its time is over. One
    /// that takes requests again, or is gone, is forgotten.
    pub fn next_drained(
        &mut self,
        snapshot: &Snapshot,
        tables: &BackendTables,
        adopted: u64,
        now: Micros,
    ) -> Option<Leaving> {
        self.drained.retain(|drained| {
            let mut rows = rows(snapshot, &drained.backend).peekable();
            rows.peek().is_some() && rows.all(|backend| backend.draining)
        });
        let is_empty = |backend: &Named| {
            rows(snapshot, backend).all(|backend| tables.in_flight(backend.id()) == 0)
        };
        let at = self.drained.iter().position(|drained| {
            drained.until <= now || (drained.generation <= adopted && is_empty(&drained.backend))
        })?;
        let Drained {
            backend, origin, ..
        } = self.drained.remove(at);
        Some(Leaving { backend, origin })
    }

    /// A backend to take out because it has been down for as long as its `remove_after_secs` allows, if there is one.
    pub fn next_down(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        tables: &BackendTables,
        now: Micros,
    ) -> Option<Leaving> {
        let mut down = HashMap::new();
        let mut leaving = None;
        for (backend, most) in removable(config) {
            if !is_down(snapshot, tables, &backend) {
                continue;
            }
            let since = *self.down.get(&backend).unwrap_or(&now);
            if leaving.is_none() && since.after(most) <= now {
                // Should it be refused, it is tried again after the same time.
                down.insert(backend.clone(), now);
                let origin = format!("down for {most:?} (remove_after_secs)");
                leaving = Some(Leaving { backend, origin });
            } else {
                down.insert(backend, since);
            }
        }
        self.down = down;
        leaving
    }
}

/// The backends that may be down for a certain time only.
fn removable(config: &Config) -> impl Iterator<Item = (Named, Duration)> {
    config.settings.all_pools().flat_map(|pool| {
        pool.backends.iter().filter_map(|backend| {
            let named = Named {
                pool: pool.name.value.clone(),
                addr: backend.address.place.to_string(),
            };
            Some((named, backend.remove_after?))
        })
    })
}

/// Whether it failed its health checks at every address that it has. The first worker knows what all do.
fn is_down(snapshot: &Snapshot, tables: &BackendTables, backend: &Named) -> bool {
    let state = |id: BackendId| tables.of(WorkerId(0)).state(id);
    rows(snapshot, backend)
        .all(|backend| backend.addr.is_none() || state(backend.id()) == BackendState::Unhealthy)
}

/// The snapshot's backends that a name of the configuration stands for: several if it has several addresses.
fn rows<'a>(snapshot: &'a Snapshot, named: &'a Named) -> impl Iterator<Item = &'a Backend> {
    let pools = snapshot.pools.iter();
    let pool = pools.filter(|pool| pool.name == named.pool);
    let place = BackendAddress::parse(&named.addr).map(|address| address.place);
    let backends = pool.flat_map(|pool| &pool.backends);
    backends.filter(move |backend| place.as_ref().is_ok_and(|place| stands_for(place, backend)))
}

fn stands_for(place: &BackendPlace, backend: &Backend) -> bool {
    match (place, &backend.addr) {
        (BackendPlace::Name(name, port), Some(BackendAddr::Tcp(addr))) => {
            backend.label == format!("{name} ({addr})") && addr.port() == *port
        }
        _ => backend.label == place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Machine, Resolved};
    use crate::shared::slots::Slots;
    use crate::tls::Vault;

    struct World {
        tables: Arc<BackendTables>,
        slots: Slots,
        config: Config,
        snapshot: Snapshot,
    }

    const MACHINE: Machine = Machine {
        cpus: 2,
        descriptors: 1_024,
        memory_bytes: 1 << 30,
    };

    impl World {
        fn new(backends: &str) -> World {
            let tables = BackendTables::new(2);
            let mut slots = Slots::new(tables.clone());
            let (config, snapshot) = compiled(&mut slots, backends);
            World {
                tables,
                slots,
                config,
                snapshot,
            }
        }

        fn change(&mut self, backends: &str) {
            (self.config, self.snapshot) = compiled(&mut self.slots, backends);
        }

        fn row(&self, index: usize) -> BackendId {
            self.snapshot.pools[0].backends[index].id()
        }

        fn next_drained(&self, departures: &mut Departures, adopted: u64, secs: u64) -> bool {
            let now = Micros(secs * 1_000_000);
            let leaving = departures.next_drained(&self.snapshot, &self.tables, adopted, now);
            leaving.is_some()
        }

        fn next_down(&self, departures: &mut Departures, secs: u64) -> Option<String> {
            let now = Micros(secs * 1_000_000);
            let leaving = departures.next_down(&self.config, &self.snapshot, &self.tables, now);
            leaving.map(|leaving| leaving.backend.addr)
        }
    }

    fn compiled(slots: &mut Slots, backends: &str) -> (Config, Snapshot) {
        let text = format!("workers = 2\n[[pools]]\nname = \"api\"\nbackends = [{backends}]\n");
        let config = config::parse(Path::new("test.toml"), text).unwrap();
        let resolved = Resolved::from([(
            "api.internal".to_owned(),
            vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
        )]);
        let snapshot = config::compile(
            &config,
            &MACHINE,
            &resolved,
            slots,
            &mut Vault::default(),
            1,
        )
        .unwrap();
        (config, snapshot)
    }

    fn named(addr: &str) -> Named {
        Named {
            pool: "api".to_owned(),
            addr: addr.to_owned(),
        }
    }

    const DRAINED: &str = r#"{ addr = "api.internal:80", drain = true }, "127.0.0.1:1""#;

    fn draining() -> (World, Departures) {
        let mut departures = Departures::default();
        let until = Micros(10_000_000);
        departures.drain(named("api.internal:80"), 2, until, "test".to_owned());
        (World::new(DRAINED), departures)
    }

    #[test]
    fn a_drained_backend_leaves_when_nothing_runs_on_any_core() {
        let (world, mut departures) = draining();
        assert!(!world.next_drained(&mut departures, 1, 0), "not adopted");
        let other = world.tables.of(WorkerId(1));
        other.begin(world.row(1));
        assert!(!world.next_drained(&mut departures, 2, 1), "one runs");
        other.end(world.row(1));
        other.begin(world.row(2));
        assert!(world.next_drained(&mut departures, 2, 2), "another's");
        assert!(!departures.any_drained());
    }

    #[test]
    fn a_drained_backend_leaves_when_its_time_is_over() {
        let (world, mut departures) = draining();
        world.tables.of(WorkerId(0)).begin(world.row(0));
        assert!(!world.next_drained(&mut departures, 2, 9));
        assert!(world.next_drained(&mut departures, 2, 10));
    }

    #[test]
    fn a_backend_that_takes_requests_again_or_is_gone_is_not_waited_for() {
        for backends in [r#""api.internal:80""#, r#""127.0.0.1:1""#] {
            let (mut world, mut departures) = draining();
            world.change(backends);
            assert!(!world.next_drained(&mut departures, 3, 60), "{backends}");
            assert!(!departures.any_drained());
        }
    }

    #[test]
    fn a_backend_that_is_down_too_long_leaves() {
        let world = World::new(
            r#"{ addr = "127.0.0.1:1", remove_after_secs = 5 }, { addr = "api.internal:80", remove_after_secs = 5 }, "127.0.0.1:2""#,
        );
        let mut departures = Departures::default();
        let table = world.tables.of(WorkerId(0));
        let set = |rows: &[usize], state| {
            rows.iter()
                .for_each(|row| table.set_state(world.row(*row), state));
        };
        set(&[0, 1, 3], BackendState::Unhealthy);
        assert_eq!(world.next_down(&mut departures, 0), None);
        assert_eq!(world.next_down(&mut departures, 4), None);
        set(&[0], BackendState::Healthy);
        assert_eq!(world.next_down(&mut departures, 5), None, "it came back");
        set(&[0, 2], BackendState::Unhealthy);
        assert_eq!(world.next_down(&mut departures, 6), None, "from anew");
        let first = world.next_down(&mut departures, 11);
        let second = world.next_down(&mut departures, 11);
        let mut both = [first, second].map(Option::unwrap_or_default);
        both.sort();
        assert_eq!(both, ["127.0.0.1:1", "api.internal:80"]);
        assert_eq!(world.next_down(&mut departures, 12), None);
    }
}
