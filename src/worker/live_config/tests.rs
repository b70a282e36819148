//! Tests of the state that one live configuration hands to the next.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::*;
use crate::balance::{AlgorithmSettings, HashKey};
use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::shared::SharedTables;
use crate::shared::backend_table::BackendState;
use crate::shared::slots::Slots;
use crate::snapshot::sample;
use crate::snapshot::{ClientTls, Protocol, ProxyProtocol};
use crate::tls::{Alpn, TlsClientSettings, TlsStore};

const WORKER: WorkerId = WorkerId(0);

fn neighbours() -> Rc<Neighbours> {
    Rc::new(Neighbours {
        worker: WORKER,
        mailboxes: Vec::new(),
    })
}

struct Core {
    tables: SharedTables,
    slots: Slots,
}

impl Core {
    fn new() -> Core {
        let tables = BackendTables::new(1);
        Core {
            slots: Slots::new(tables.clone()),
            tables,
        }
    }

    /// A snapshot with a pool for each name, with so many backends of weight 1.
    fn snapshot(&mut self, pools: &[(&str, u16)]) -> SharedSnapshot {
        let pools = pools
            .iter()
            .map(|(name, count)| sample::pool(&mut self.slots, name, &sample::addrs(*count)));
        sample::snapshot(1, pools.collect())
    }

    fn config(&mut self, pools: &[(&str, u16)]) -> LiveConfig {
        LiveConfig::new(self.snapshot(pools), &neighbours())
    }

    fn pick(&self, config: &LiveConfig, pool: u32) -> Pick {
        config.pick(
            PoolId(pool),
            &Choice {
                tables: &self.tables,
                now: Micros(0),
                key: 0,
                tried: None,
                is_full: &|_, _| false,
            },
        )
    }

    fn set_state(&self, config: &LiveConfig, pool: u32, index: u32, state: BackendState) {
        let id = config.backend(PoolId(pool), index).id();
        self.tables.of(WORKER).set_state(id, state);
        config.state_changed(id);
    }
}

/// How often each of `count` backends is picked in `picks` picks.
fn spread(core: &Core, config: &LiveConfig, pool: u32, picks: usize, count: usize) -> Vec<usize> {
    let mut picked = vec![0; count];
    for _ in 0..picks {
        match core.pick(config, pool) {
            Pick::Backend(index) => picked[index as usize] += 1,
            other => panic!("{other:?}"),
        }
    }
    picked
}

#[test]
fn backends_get_requests_by_their_shares() {
    let mut core = Core::new();
    let config = core.config(&[("api", 3)]);
    let set_share = |index, share| {
        let id = config.backend(PoolId(0), index).id();
        core.tables.of(WORKER).set_share(id, share);
        config.state_changed(id);
    };
    let whole = limits::WHOLE_SHARE;
    // The shares of the backends, and how often each is picked in 96 picks.
    let rows = [
        ([whole, whole, whole], [32, 32, 32]),
        ([0, whole, whole], [0, 48, 48]),
        ([whole / 2, whole, whole / 2], [24, 48, 24]),
        ([0, 0, 1], [0, 0, 96]),
        // All backends rest: each is as good as any other.
        ([0, 0, 0], [32, 32, 32]),
    ];
    for (shares, expected) in rows {
        (0..)
            .zip(shares)
            .for_each(|(index, share)| set_share(index, share));
        assert_eq!(spread(&core, &config, 0, 96, 3), expected, "{shares:?}");
    }
}

#[test]
fn a_pool_that_did_not_change_goes_on_where_it_was() {
    let mut core = Core::new();
    let before = LiveConfig::new(
        core.snapshot(&[("gone", 1), ("api", 3), ("web", 2)]),
        &neighbours(),
    );
    let first = core.pick(&before, 1);
    let after = LiveConfig::after(
        &before,
        core.snapshot(&[("new", 2), ("api", 3), ("web", 3)]),
    );
    assert!(Rc::ptr_eq(&before.pools[1], &after.pools[1]));
    let following = [core.pick(&after, 1), core.pick(&before, 1)];
    assert!(!following.contains(&first) && following[0] != following[1]);
    assert_eq!(spread(&core, &after, 0, 4, 2), [2, 2]);
    assert_eq!(spread(&core, &after, 2, 6, 3), [2, 2, 2]);
    assert_eq!(spread(&core, &before, 2, 4, 2), [2, 2]);
    assert_eq!(core.pick(&before, 0), Pick::Backend(0));
}

#[test]
fn what_a_balancer_has_learnt_goes_with_it() {
    let mut core = Core::new();
    let learning = |core: &mut Core, count| {
        let mut pool = sample::pool(&mut core.slots, "api", &sample::addrs(count));
        pool.algorithm = AlgorithmSettings::new("peak_ewma", HashKey::ClientAddress).unwrap();
        sample::snapshot(1, vec![pool])
    };
    let before = LiveConfig::new(learning(&mut core, 2), &neighbours());
    core.pick(&before, 0);
    let slow = before.backend(PoolId(0), 0).id();
    let quick = before.backend(PoolId(0), 1).id();
    before.live(PoolId(0)).observe(slow, 500_000, Micros(0));
    before.live(PoolId(0)).observe(quick, 1_000, Micros(0));
    let after = LiveConfig::after(&before, learning(&mut core, 3));
    core.set_state(&after, 0, 2, BackendState::Unhealthy);
    for id in [slow, quick] {
        core.tables.of(WORKER).begin(id);
    }
    assert_eq!(spread(&core, &after, 0, 20, 3), [0, 20, 0]);
    let fresh = spread(&core, &before, 0, 20, 2);
    assert_eq!(
        fresh.iter().sum::<usize>(),
        20,
        "earlier requests have a balancer too"
    );
}

#[test]
fn states_count_from_the_next_pick_on_in_every_config() {
    let mut core = Core::new();
    let before = LiveConfig::new(core.snapshot(&[("api", 2)]), &neighbours());
    let after = LiveConfig::after(&before, core.snapshot(&[("api", 3)]));
    assert_eq!(spread(&core, &after, 0, 3, 3), [1, 1, 1]);
    for config in [&before, &after] {
        core.set_state(config, 0, 0, BackendState::Unhealthy);
    }
    assert_eq!(spread(&core, &after, 0, 4, 3), [0, 2, 2]);
    assert_eq!(spread(&core, &before, 0, 4, 2), [0, 4]);
    core.set_state(&after, 0, 1, BackendState::Ejected);
    assert_eq!(spread(&core, &after, 0, 4, 3), [0, 0, 4]);
    core.set_state(&after, 0, 2, BackendState::Draining);
    let last = core.pick(&after, 0);
    assert_eq!(last, Pick::Backend(1), "it answers, if badly");
    core.set_state(&after, 0, 1, BackendState::Unhealthy);
    assert_eq!(core.pick(&after, 0), Pick::None);
    core.set_state(&after, 0, 0, BackendState::Healthy);
    assert_eq!(core.pick(&after, 0), Pick::Backend(0));
}

#[test]
fn only_the_backends_of_the_snapshot_take_requests() {
    let mut core = Core::new();
    let before = LiveConfig::new(core.snapshot(&[("api", 1), ("web", 2)]), &neighbours());
    let ids = [(0, 0), (1, 0), (1, 1)].map(|(pool, at)| before.backend(PoolId(pool), at).id());
    let after = LiveConfig::after(&before, core.snapshot(&[("web", 1)]));
    assert_eq!(ids.map(|id| before.takes(id)), [true; 3]);
    assert_eq!(ids.map(|id| after.takes(id)), [false, true, false]);
    assert!(!after.takes(BackendId(limits::BACKENDS as u32 - 1)));
}

#[test]
fn the_budget_and_the_queue_of_a_changed_pool_are_the_same_in_both_configs() {
    let mut core = Core::new();
    let before = core.config(&[("api", 1)]);
    let after = LiveConfig::after(&before, core.snapshot(&[("api", 2)]));
    let live = |config: &LiveConfig| config.pools[0].clone();
    let now = Micros::now();
    let take = |config: &LiveConfig| live(config).retry_budget().borrow_mut().try_take(now);
    let granted = (0..100).filter(|_| take(&before)).count();
    assert!(granted >= limits::RETRY_FLOOR_PER_SECOND as usize && granted < 100);
    assert!(!take(&after), "what was spent is spent");
    assert!(Rc::ptr_eq(live(&before).queue(), live(&after).queue()));
}

/// A backend keeps its key as long as its connections are made in the same way, and no key is given out twice.
#[test]
fn a_key_lasts_as_long_as_what_it_stands_for() {
    type Change = fn(&mut Pool);
    let same: Change = |pool| pool.options.idle_connections = 77;
    let weight: Change = |pool| pool.backends[0].weight = 2;
    let bound: Change = |pool| pool.backends[0].max_connections = 3;
    let protocol: Change = |pool| pool.options.protocol = Protocol::Http2;
    let header: Change = |pool| pool.options.proxy_protocol = Some(ProxyProtocol::V1);
    let other_header: Change = |pool| pool.options.proxy_protocol = Some(ProxyProtocol::V2);
    let draining: Change = |pool| pool.backends[0].draining = true;
    // The settings of one live configuration, the settings of the next, and whether connections go on.
    let rows: [(&str, Change, Change, bool); 8] = [
        ("something else", same, same, true),
        ("the weight", same, weight, true),
        ("the protocol", same, protocol, false),
        ("the PROXY header", same, header, false),
        ("its version", header, other_header, false),
        ("no PROXY header any more", header, same, false),
        ("a bound", same, bound, false),
        ("to be drained", draining, same, false),
    ];
    for (name, first, second, goes_on) in rows {
        let mut core = Core::new();
        let mut with = |change: Change| {
            let mut pool = sample::pool(&mut core.slots, "api", &sample::addrs(2));
            change(&mut pool);
            sample::snapshot(1, vec![pool])
        };
        let snapshots = [first, second, first].map(&mut with);
        let id = snapshots[0].pools[0].backends[0].id();
        let other = snapshots[0].pools[0].backends[1].id();
        let [before, after, again] = snapshots;
        let before = LiveConfig::new(before, &neighbours());
        let after = LiveConfig::after(&before, after);
        let again = LiveConfig::after(&after, again);
        let keys = [&before, &after, &again].map(|config| config.reuse_key(id));
        assert_eq!(keys[0] == keys[1], goes_on, "{name}");
        let is_back = keys[0].is_some() && keys[0] == keys[2];
        assert_eq!(is_back, goes_on, "{name}: back again");
        let all = [keys[0], keys[1], keys[2], before.reuse_key(other)];
        let (last, others) = all.split_last().unwrap();
        assert!(!others.contains(last), "{name}: the other backend's");
    }
}

/// TLS settings are equal only if they are one value in memory.
#[test]
fn a_key_stands_for_the_settings_of_tls_and_the_name_asked_for() {
    let mut core = Core::new();
    let mut tls_store = TlsStore::default();
    let settings = TlsClientSettings {
        ca: None,
        pair: None,
        verify: false,
        alpn: Alpn::Http1,
    };
    let one = tls_store.client("api", &settings).unwrap();
    let other = tls_store.client("another", &settings).unwrap();
    let mut with = |config: &Arc<ClientConfig>, name: &'static str| {
        let mut pool = sample::pool(&mut core.slots, "api", &sample::addrs(1));
        let config = config.clone();
        let http1 = config.clone();
        pool.tls = Some(ClientTls { config, http1 });
        pool.backends[0].server_name = ServerName::try_from(name).unwrap();
        sample::snapshot(1, vec![pool])
    };
    let mut last = LiveConfig::new(with(&one, "a.example"), &neighbours());
    let id = last.backend(PoolId(0), 0).id();
    let rows = [
        (&one, "a.example", true),
        (&one, "b.example", false),
        (&one, "b.example", true),
        (&other, "b.example", false),
        (&one, "b.example", false),
    ];
    for (config, name, goes_on) in rows {
        let next = LiveConfig::after(&last, with(config, name));
        assert_eq!(next.reuse_key(id) == last.reuse_key(id), goes_on, "{name}");
        last = next;
    }
}

#[test]
fn a_pool_that_panics_uses_all_backends_but_those_that_are_drained() {
    let mut core = Core::new();
    let mut pool = sample::pool(&mut core.slots, "api", &sample::addrs(4));
    pool.options.panic_threshold = 50;
    pool.backends[3].draining = true;
    let config = LiveConfig::new(sample::snapshot(1, vec![pool]), &neighbours());
    let picked = |core: &Core| {
        let picks = (0..100).map(|_| core.pick(&config, 0));
        let backends = picks.filter_map(|pick| match pick {
            Pick::Backend(index) => Some(index),
            _ => None,
        });
        backends.collect::<std::collections::BTreeSet<u32>>()
    };
    core.set_state(&config, 0, 0, BackendState::Unhealthy);
    assert_eq!(Vec::from_iter(picked(&core)), [1, 2], "two of three");
    core.set_state(&config, 0, 1, BackendState::Ejected);
    assert_eq!(Vec::from_iter(picked(&core)), [0, 1, 2], "one of three");
    let id = config.backend(PoolId(0), 0).id();
    assert!(core.tables.of(WORKER).takes_requests(id));
    core.set_state(&config, 0, 2, BackendState::Unhealthy);
    assert_eq!(Vec::from_iter(picked(&core)), [0, 1, 2], "none");
    core.set_state(&config, 0, 1, BackendState::Healthy);
    core.set_state(&config, 0, 2, BackendState::Healthy);
    assert_eq!(Vec::from_iter(picked(&core)), [1, 2]);
    assert!(!core.tables.of(WORKER).takes_requests(id));
}

#[test]
fn only_the_config_in_force_says_who_takes_requests_whatever_its_state() {
    let mut core = Core::new();
    let panicking = |core: &mut Core, draining: bool| {
        let mut pool = sample::pool(&mut core.slots, "api", &sample::addrs(2));
        pool.options.panic_threshold = 100;
        pool.backends[0].draining = draining;
        pool
    };
    let first = panicking(&mut core, false);
    let config = LiveConfig::new(sample::snapshot(1, vec![first]), &neighbours());
    let id = config.backend(PoolId(0), 0).id();
    core.set_state(&config, 0, 1, BackendState::Unhealthy);
    core.pick(&config, 0);
    assert!(core.tables.of(WORKER).takes_requests(id));
    let second = panicking(&mut core, true);
    let next = LiveConfig::after(&config, sample::snapshot(2, vec![second]));
    core.tables.of(WORKER).set_state(id, BackendState::Draining);
    core.pick(&next, 0);
    assert!(!core.tables.of(WORKER).takes_requests(id), "it is drained");
    config.state_changed(id);
    core.pick(&config, 0);
    assert!(
        !core.tables.of(WORKER).takes_requests(id),
        "also for requests of the configuration before"
    );
}
