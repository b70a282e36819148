//! Edits, reloads and rollbacks in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use toml::Value;

use super::*;
use crate::config::{Machine, Resolved};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::tls::TlsStore;

/// Files that take turns.
const FILES: [&str; 5] = [
    FILE,
    "",
    "[[pools]]\nname = 'api'\nbackends = ['127.0.0.1:1', 'b:80']\noutlier = {}\n[[routes]]\npool = 'api'",
    "[[pools]]\nname = 'new'\nbackends = [{ addr = '[::1]:1', weight = 3 }]\n[[routes]]\nbackend_addrs = ['127.0.0.1:2', 'http://127.0.0.1:2']\nrequest_headers = { set = { x-a = \"a\\té\\\" '\" }, remove = ['x.y'] }",
    "[[pools]]\nname = 'spare'\nbackends = ['127.0.0.1:9']\n[[routes]]\npool = 'spare'\n[[routes]]\nhost = 'h'\nbackend_addrs = ['unix:/run/app.sock', 'b:80']\nhealth_check = { path = '/' }",
];
const POOLS: [&str; 7] = ["api", "spare", "new", "/", "h/", "/none", "a b"];
const ADDRS: [&str; 9] = [
    "127.0.0.1:1",
    "http://127.0.0.1:1/",
    "127.0.0.1:2",
    "[::1]:1",
    "http://[0::1]:1",
    "B:80",
    "unix:/run/app.sock",
    "127.0.0.1:9",
    "nowhere",
];

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    Reload(&'static str),
    Back(u64),
    Restart(&'static str),
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        Just("peak_ewma".to_owned()),
        Just("/x".to_owned())
    ];
    let leaf = prop_oneof![
        (0..5i64).prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        (0.0..3.0f64).prop_map(Value::Float),
        text.prop_map(Value::String),
    ];
    let check = leaf.clone().prop_map(|value| {
        Value::Table(Table::from_iter([
            ("path".to_owned(), "/y".into()),
            ("interval_secs".to_owned(), value),
        ]))
    });
    prop_oneof![4 => leaf, 1 => check]
}

fn keyed(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, Value)>> {
    vec((select(keys).prop_map(str::to_owned), value()), 0..3)
}

const SERVER_KEYS: [&str; 6] = [
    "weight",
    "max_connections",
    "drain",
    "remove_after_secs",
    "health_check",
    "é \"x",
];
const POOL_KEYS: [&str; 6] = [
    "balancing_algorithm",
    "health_check",
    "outlier",
    "idle_connections",
    "timeout",
    "name",
];

fn server() -> impl Strategy<Value = Table> {
    (select(&ADDRS[..]), any::<bool>(), keyed(&SERVER_KEYS)).prop_map(|(addr, named, keys)| {
        let addr = named.then(|| ("addr".to_owned(), Value::from(addr)));
        addr.into_iter().chain(keys).collect()
    })
}

fn pool() -> impl Strategy<Value = Table> {
    (vec(server(), 0..4), keyed(&POOL_KEYS)).prop_map(|(servers, keys)| {
        let servers = Value::Array(servers.into_iter().map(Value::Table).collect());
        std::iter::once(("backends".to_owned(), servers))
            .chain(keys)
            .collect()
    })
}

fn changes(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<(String, Option<Value>)>> {
    vec(
        (
            select(keys).prop_map(str::to_owned),
            proptest::option::of(value()),
        ),
        0..3,
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    let name = || select(&POOLS[..]).prop_map(str::to_owned);
    let addr = || select(&ADDRS[..]).prop_map(str::to_owned);
    prop_oneof![
        (name(), server()).prop_map(|(pool, server)| Edit::AddServer { pool, server }),
        (name(), addr(), server()).prop_map(|(pool, addr, server)| Edit::PutServer {
            pool,
            addr,
            server
        }),
        (name(), addr(), changes(&SERVER_KEYS)).prop_map(|(pool, addr, settings)| {
            Edit::PatchServer {
                pool,
                addr,
                settings,
            }
        }),
        (name(), addr()).prop_map(|(pool, addr)| Edit::RemoveServer { pool, addr }),
        (name(), pool()).prop_map(|(name, pool)| Edit::PutPool { name, pool }),
        (name(), changes(&POOL_KEYS))
            .prop_map(|(name, settings)| Edit::PatchPool { name, settings }),
        name().prop_map(|name| Edit::RemovePool { name }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => edit().prop_map(Step::Edit),
        2 => select(&FILES[..]).prop_map(Step::Reload),
        1 => (1..20u64).prop_map(Step::Back),
        1 => select(&FILES[..]).prop_map(Step::Restart),
    ]
}

/// All that threads see of a configuration.
fn compiled(config: &Config) -> String {
    let machine = Machine {
        cpus: 2,
        descriptors: 1024,
        memory_bytes: 1 << 30,
    };
    let mut slots = Slots::new(BackendTables::new(1));
    let snapshot = config::compile(
        config,
        &machine,
        &Resolved::new(),
        config::Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        1,
    );
    format!("{:?}", snapshot.unwrap())
}

fn take(store: &mut ConfigStore, step: &Step) -> Result<(), TestCaseError> {
    let proposal = match step {
        Step::Edit(edit) => store.propose(edit),
        Step::Reload(file) => Ok(store.propose_file(parsed(file))),
        Step::Back(number) => store.propose_revision(*number),
        Step::Restart(file) => {
            *store = store.restarted(file).0;
            return Ok(());
        }
    };
    let before = (store.revision(), store.document().clone());
    match proposal {
        Ok(proposal) => {
            let (changed, is_plain) = (proposal.changed, proposal.diff.differences.is_empty());
            prop_assert!(changed || is_plain, "{}", proposal.summary);
            let number = store.accept(proposal, "test", at(1));
            prop_assert_eq!(number, before.0 + u64::from(changed));
        }
        Err(problem) => {
            prop_assert!(!problem.mistakes.is_empty());
            prop_assert_eq!((store.revision(), store.document().clone()), before);
        }
    }
    Ok(())
}

fn check(store: &ConfigStore) -> Result<(), TestCaseError> {
    let text = store.document().to_string();
    let again = config::parse(Path::new("c.toml"), text.clone());
    let again = again.map_err(|mistakes| TestCaseError::fail(format!("{mistakes}\n{text}")))?;
    prop_assert_eq!(&again.document(), store.document());
    prop_assert_eq!(compiled(&again), compiled(store.config()));
    // A restart with the same file comes to the same, whatever the order of backends in their pools.
    let (restarted, _) = ConfigStore::new(
        parsed(&store.file.text),
        store.history[0].overrides.clone(),
        at(2),
    );
    prop_assert_eq!(
        Diff::between(store.document(), restarted.document()),
        Diff::default()
    );
    let overrides = |store: &ConfigStore| in_one_order(store.history[0].overrides.clone());
    prop_assert_eq!(overrides(&restarted), overrides(store));
    Ok(())
}

/// The changes of the API, without the order of backends in their pools.
fn in_one_order(mut overrides: Overrides) -> Overrides {
    for pool in &mut overrides.pools {
        pool.backends
            .sort_by(|one, other| one.addr.cmp(&other.addr));
    }
    overrides
}

proptest! {
    #[test]
    fn the_document_can_be_parsed_and_is_what_is_in_force(steps in vec(step(), 1..12)) {
        let mut store = config_store();
        for step in &steps {
            take(&mut store, step)?;
            check(&store)?;
        }
    }
}
