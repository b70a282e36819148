//! Names that resolve to addresses, and the rows that backends have.

use std::net::IpAddr;

use super::parsed;
use super::snapshots::{EVERY_KEY, MACHINE, snapshot_with, tcp};
use crate::config::{CannotCompile, Resolved, Stores, TooManyBackends, compile};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::Snapshot;
use crate::tls::TlsStore;

const NAMES: &str = r#"
[[routes]]
backend_addrs = ["App.internal:80", { addr = "gone.internal:81", weight = 3 }, "127.0.0.1:1", "127.0.0.1:1"]
"#;

#[test]
fn all_addresses_of_a_name_become_backends() {
    assert_eq!(
        parsed(NAMES).unwrap().names(),
        ["app.internal", "gone.internal"]
    );
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let ips = vec![ip("::1"), ip("10.0.0.2"), ip("10.0.0.1"), ip("10.0.0.2")];
    let snapshot = snapshot_with(NAMES, &Resolved::from([("app.internal".to_owned(), ips)]));
    let backends: Vec<_> = snapshot.pools[0]
        .backends
        .iter()
        .map(|backend| {
            (
                backend.label.as_str(),
                backend.addr.clone(),
                backend.host.as_str(),
                backend.weight,
            )
        })
        .collect();
    let expected = [
        (
            "app.internal (10.0.0.1:80)",
            tcp("10.0.0.1:80"),
            "App.internal:80",
            1,
        ),
        (
            "app.internal (10.0.0.2:80)",
            tcp("10.0.0.2:80"),
            "App.internal:80",
            1,
        ),
        (
            "app.internal ([::1]:80)",
            tcp("[::1]:80"),
            "App.internal:80",
            1,
        ),
        ("gone.internal:81", None, "gone.internal:81", 3),
        // Written twice, but one server all the same.
        ("127.0.0.1:1", tcp("127.0.0.1:1"), "127.0.0.1:1", 1),
    ];
    assert_eq!(backends, expected);
}

#[test]
fn a_backend_keeps_its_row_from_one_snapshot_to_the_next() {
    let config = parsed(EVERY_KEY).unwrap();
    let mut slots = Slots::new(BackendTables::new(1));
    let first = compile(
        &config,
        &MACHINE,
        &Resolved::new(),
        Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        1,
    )
    .unwrap();
    let second = compile(
        &config,
        &MACHINE,
        &Resolved::new(),
        Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        2,
    )
    .unwrap();
    let ids = |snapshot: &Snapshot| {
        snapshot.pools[0]
            .backends
            .iter()
            .map(|backend| backend.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ids(&second));
}

#[test]
fn too_many_addresses_are_an_error_that_names_the_first_one_too_many() {
    let names: Vec<String> = (0..65).map(|n| format!("\"n{n}.internal:80\"")).collect();
    let config = parsed(&format!(
        "[[routes]]\nbackend_addrs = [{}]",
        names.join(",")
    ))
    .unwrap();
    let ips: Vec<IpAddr> = (1..=64).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    let resolved: Resolved = config
        .names()
        .into_iter()
        .map(|name| (name, ips.clone()))
        .collect();
    let mut slots = Slots::new(BackendTables::new(1));
    let error = compile(
        &config,
        &MACHINE,
        &resolved,
        Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        1,
    )
    .unwrap_err();
    let backend = "n64.internal (10.0.0.1:80)".to_owned();
    assert_eq!(
        error,
        CannotCompile::from(TooManyBackends {
            pool: "/".to_owned(),
            backend
        })
    );
}
