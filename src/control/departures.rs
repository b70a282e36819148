//! Backends on their way out: those that are drained until nothing runs on them any more, and those that are taken out
//! when they stay down too long.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::base::ids::{BackendId, WorkerId};
use crate::base::time::Micros;
use crate::config::{BackendAddress, BackendPlace, Config, PoolSettings};
use crate::control::desk::state_file::Departure;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::{Backend, BackendAddr, Snapshot};
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
    /// Those backends that are down and may be so for a certain time only.
    down: HashMap<Named, Down>,
    /// How many backends each pool has lost since it last had none that was down.
    removed: HashMap<String, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    since: Micros,
    /// It was said that it stays nevertheless.
    is_told: bool,
    /// It was asked that it be taken out.
    is_asked: bool,
}

impl Down {
    fn since(since: Micros) -> Down {
        Down {
            since,
            is_told: false,
            is_asked: false,
        }
    }
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

    /// Goes on with those that another process began, with the snapshot that this one begins with.
    pub fn resume(&mut self, departures: &[Departure], generation: u64, now: Micros) {
        for departure in departures {
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
        let drains = |backend: &Named| {
            let pools = config.settings.all_pools();
            let mut pool = pools.filter(|pool| pool.name.value == backend.pool);
            let backends = pool.next().map_or(&[][..], |pool| &pool.backends);
            let mut named = backends.iter();
            named.any(|one| one.draining && one.address.place.to_string() == backend.addr)
        };
        let drained = self.drained.iter();
        let drained = drained.filter(|drained| drains(&drained.backend));
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
        let drained = self.drained.remove(at);
        let leaving = Leaving {
            backend: drained.backend.clone(),
            origin: drained.departure.origin.clone(),
        };
        self.drained.push(drained);
        Some(leaving)
    }

    /// A backend to take out because it has been down for as long as its `remove_after_secs` allows, if there is one. An
    /// outage must not dismantle a pool: another backend has to be well, and at least half of the pool stays, of what
    /// the file names (`in_file`) as well as of what there was when the outage began.
    pub fn next_down(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        tables: &BackendTables,
        in_file: &dyn Fn(&str) -> usize,
        now: Micros,
    ) -> Option<Leaving> {
        let mut before = std::mem::take(&mut self.down);
        let mut leaving = None;
        for pool in config.settings.all_pools() {
            let name = &pool.name.value;
            let named: Vec<(Named, Option<Duration>)> = named_of(pool).collect();
            let (down, up): (Vec<_>, Vec<_>) = named
                .into_iter()
                .partition(|(backend, _)| is_down(snapshot, tables, backend));
            if down.is_empty() {
                self.removed.remove(name);
            }
            before.retain(|backend, known| {
                let is_there = |(one, _): &(Named, _)| one == backend;
                let is_gone = backend.pool == *name && !down.iter().chain(&up).any(is_there);
                if is_gone && known.is_asked {
                    *self.removed.entry(name.clone()).or_default() += 1;
                }
                !is_gone
            });
            let removed = self.removed.get(name).copied().unwrap_or_default();
            let staying = down.len() + up.len() - 1;
            let least = in_file(name)
                .max(down.len() + up.len() + removed)
                .div_ceil(2);
            let may_leave = staying >= least && up.iter().any(|(one, _)| takes(snapshot, one));
            for (backend, most) in down {
                let Some(most) = most else { continue };
                let mut known = before.remove(&backend).unwrap_or(Down::since(now));
                let is_over = known.since.after(most) <= now;
                if is_over && may_leave && leaving.is_none() {
                    known.is_asked = true;
                    let origin = format!("down for {most:?} (remove_after_secs)");
                    let backend = backend.clone();
                    leaving = Some(Leaving { backend, origin });
                } else if is_over && !may_leave && !std::mem::replace(&mut known.is_told, true) {
                    let Named { pool, addr } = &backend;
                    warn!(
                        pool,
                        backend = addr,
                        "stays although it has been down for {most:?}: no other backend of the pool takes requests, or \
                         half of the pool is gone already"
                    );
                }
                self.down.insert(backend, known);
            }
        }
        leaving
    }
}

/// A pool's backends, and how long they may be down if not for ever.
fn named_of(pool: &PoolSettings) -> impl Iterator<Item = (Named, Option<Duration>)> {
    pool.backends.iter().map(|backend| {
        let named = Named {
            pool: pool.name.value.clone(),
            addr: backend.address.place.to_string(),
        };
        (named, backend.remove_after)
    })
}

/// Whether it takes requests if it is not down.
fn takes(snapshot: &Snapshot, backend: &Named) -> bool {
    rows(snapshot, backend).any(|backend| !backend.draining)
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
            let leaving =
                departures.next_down(&self.config, &self.snapshot, &self.tables, &|_| 0, now);
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
        let patience = Duration::from_secs(10);
        let departure =
            named("api.internal:80").departure(patience, "test".to_owned(), SystemTime::now());
        departures.drain(departure, 2, until);
        (World::new(DRAINED), departures)
    }

    #[test]
    fn a_drained_backend_leaves_when_nothing_runs_on_any_core() {
        let (mut world, mut departures) = draining();
        assert!(!world.next_drained(&mut departures, 1, 0), "not adopted");
        let other = world.tables.of(WorkerId(1));
        other.begin(world.row(1));
        assert!(!world.next_drained(&mut departures, 2, 1), "one runs");
        other.end(world.row(1));
        other.begin(world.row(2));
        assert!(world.next_drained(&mut departures, 2, 2), "another's");
        assert!(world.next_drained(&mut departures, 2, 3), "it was refused");
        world.change(r#""127.0.0.1:1""#);
        assert!(!world.next_drained(&mut departures, 2, 4));
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
        set(&[0, 1], BackendState::Unhealthy);
        assert_eq!(world.next_down(&mut departures, 0), None);
        assert_eq!(world.next_down(&mut departures, 4), None);
        set(&[0], BackendState::Healthy);
        assert_eq!(world.next_down(&mut departures, 5), None, "it came back");
        set(&[0, 2], BackendState::Unhealthy);
        assert_eq!(world.next_down(&mut departures, 6), None, "from anew");
        assert!(world.next_down(&mut departures, 11).is_some());
        assert!(
            world.next_down(&mut departures, 12).is_some(),
            "it was refused"
        );
    }

    #[test]
    fn an_outage_does_not_dismantle_a_pool() {
        let one = |port: u16| format!("{{ addr = \"127.0.0.1:{port}\", remove_after_secs = 5 }}");
        let list = |ports: &[u16]| {
            let all: Vec<_> = ports.iter().map(|port| one(*port)).collect();
            all.join(", ")
        };
        let mut world = World::new(&list(&[1, 2, 3, 4]));
        let mut departures = Departures::default();
        let set = |world: &World, row: usize, state| {
            world
                .tables
                .of(WorkerId(0))
                .set_state(world.row(row), state);
        };
        (0..4).for_each(|row| set(&world, row, BackendState::Unhealthy));
        assert_eq!(world.next_down(&mut departures, 0), None);
        assert_eq!(
            world.next_down(&mut departures, 9),
            None,
            "no other is well"
        );
        set(&world, 3, BackendState::Healthy);
        let mut left = vec![1, 2, 3, 4];
        for secs in [10, 11] {
            let gone = world.next_down(&mut departures, secs).unwrap();
            left.retain(|port: &u16| gone != format!("127.0.0.1:{port}"));
            world.change(&list(&left));
        }
        assert_eq!(left.len(), 2);
        assert_eq!(world.next_down(&mut departures, 99), None, "half are gone");
    }
}
