//! Removals, in tables of what is known of the backends.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;
use crate::config::{self, Machine, Resolved};
use crate::shared::backend_table::BackendState;
use crate::shared::slots::Slots;
use crate::tls::TlsStore;

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

    fn next_drained(&self, removals: &mut Removals, adopted: u64, secs: u64) -> bool {
        let now = Micros(secs * 1_000_000);
        let due_removal = removals.next_drained(&self.snapshot, &self.tables, adopted, now);
        due_removal.is_some()
    }

    fn next_down(&self, removals: &mut Removals, secs: u64) -> Option<String> {
        let now = Micros(secs * 1_000_000);
        let due_removal =
            removals.next_down(&self.config, &self.snapshot, &self.tables, &|_| 0, now);
        due_removal.map(|due_removal| due_removal.backend.addr)
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
        config::Stores {
            slots,
            tls_store: &mut TlsStore::default(),
        },
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

fn draining() -> (World, Removals) {
    let mut removals = Removals::default();
    let until = Micros(10_000_000);
    let patience = Duration::from_secs(10);
    let removal = named("api.internal:80").removal(patience, "test".to_owned(), SystemTime::now());
    removals.drain(removal, 2, until);
    (World::new(DRAINED), removals)
}

#[test]
fn a_drained_backend_leaves_when_nothing_runs_on_any_core() {
    let (mut world, mut removals) = draining();
    assert!(!world.next_drained(&mut removals, 1, 0), "not adopted");
    let other = world.tables.of(WorkerId(1));
    other.begin(world.row(1));
    assert!(!world.next_drained(&mut removals, 2, 1), "one runs");
    other.end(world.row(1));
    other.begin(world.row(2));
    assert!(world.next_drained(&mut removals, 2, 2), "another's");
    assert!(world.next_drained(&mut removals, 2, 3), "it was refused");
    world.change(r#""127.0.0.1:1""#);
    assert!(!world.next_drained(&mut removals, 2, 4));
    assert!(!removals.any_drained());
}

#[test]
fn drained_backends_and_backends_that_are_down_take_turns() {
    let (_, mut removals) = draining();
    let turns = [(); 4].map(|()| removals.takes_turn_of_drained());
    assert_eq!(turns, [true, false, true, false]);
}

#[test]
fn a_drained_backend_leaves_when_its_time_is_over() {
    let (world, mut removals) = draining();
    world.tables.of(WorkerId(0)).begin(world.row(0));
    assert!(!world.next_drained(&mut removals, 2, 9));
    assert!(world.next_drained(&mut removals, 2, 10));
}

#[test]
fn a_backend_that_takes_requests_again_or_is_gone_is_not_waited_for() {
    for backends in [r#""api.internal:80""#, r#""127.0.0.1:1""#] {
        let (mut world, mut removals) = draining();
        world.change(backends);
        assert!(!world.next_drained(&mut removals, 3, 60), "{backends}");
        assert!(!removals.any_drained());
    }
}

#[test]
fn a_backend_that_is_down_too_long_leaves() {
    let world = World::new(
        r#"{ addr = "127.0.0.1:1", remove_after_secs = 5 }, { addr = "api.internal:80", remove_after_secs = 5 }, "127.0.0.1:2""#,
    );
    let mut removals = Removals::default();
    let table = world.tables.of(WorkerId(0));
    let set = |rows: &[usize], state| {
        rows.iter()
            .for_each(|row| table.set_state(world.row(*row), state));
    };
    set(&[0, 1], BackendState::Unhealthy);
    assert_eq!(world.next_down(&mut removals, 0), None);
    assert_eq!(world.next_down(&mut removals, 4), None);
    set(&[0], BackendState::Healthy);
    assert_eq!(world.next_down(&mut removals, 5), None, "it came back");
    set(&[0, 2], BackendState::Unhealthy);
    assert_eq!(world.next_down(&mut removals, 6), None, "from anew");
    assert!(world.next_down(&mut removals, 11).is_some());
    assert!(
        world.next_down(&mut removals, 12).is_some(),
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
    let mut removals = Removals::default();
    let set = |world: &World, row: usize, state| {
        world
            .tables
            .of(WorkerId(0))
            .set_state(world.row(row), state);
    };
    (0..4).for_each(|row| set(&world, row, BackendState::Unhealthy));
    assert_eq!(world.next_down(&mut removals, 0), None);
    assert_eq!(world.next_down(&mut removals, 9), None, "no other is well");
    set(&world, 3, BackendState::Healthy);
    let mut left = vec![1, 2, 3, 4];
    for secs in [10, 11] {
        let gone = world.next_down(&mut removals, secs).unwrap();
        left.retain(|port: &u16| gone != format!("127.0.0.1:{port}"));
        world.change(&list(&left));
    }
    assert_eq!(left.len(), 2);
    let lost = BTreeMap::from([("api".to_owned(), 2)]);
    assert_eq!(removals.lost(&world.config), lost, "before the next look");
    assert_eq!(world.next_down(&mut removals, 99), None, "half are gone");
    assert_eq!(removals.lost(&world.config), lost, "after it");
    // A process that goes on with it sees at first that all are well.
    let kept = limits::OUTAGE_KEPT_SECS;
    let mut next = Removals::default();
    let state = SavedState {
        lost: lost.clone(),
        ..SavedState::default()
    };
    next.resume(&state, 1, Micros(0));
    set(&world, 0, BackendState::Healthy);
    assert_eq!(world.next_down(&mut next, 1), None, "all are well");
    set(&world, 0, BackendState::Unhealthy);
    for secs in [2, 60, kept + 60] {
        assert_eq!(world.next_down(&mut next, secs), None, "{secs}");
        assert_eq!(next.lost(&world.config), lost, "{secs}");
    }
    set(&world, 0, BackendState::Healthy);
    assert_eq!(world.next_down(&mut next, kept + 61), None);
    assert_eq!(next.lost(&world.config), BTreeMap::new(), "it is over");
}

#[test]
fn backends_that_are_down_are_looked_for_once_a_second() {
    let world = World::new(r#"{ addr = "127.0.0.1:1", remove_after_secs = 1 }, "127.0.0.1:2""#);
    let mut removals = Removals::default();
    let mut look = |millis: u64| {
        let now = Micros(millis * 1_000);
        let (config, snapshot) = (&world.config, &world.snapshot);
        let due_removal = removals.next_down(config, snapshot, &world.tables, &|_| 0, now);
        due_removal.is_some()
    };
    assert!(!look(0));
    let table = world.tables.of(WorkerId(0));
    table.set_state(world.row(0), BackendState::Unhealthy);
    let rows = [
        (999, false),   // Not looked at.
        (1_000, false), // Down since now.
        (1_999, false),
        (2_000, true),
        (2_001, true), // The first attempt was refused.
    ];
    for (millis, expected) in rows {
        assert_eq!(look(millis), expected, "{millis}");
    }
}
