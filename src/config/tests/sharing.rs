//! Two snapshots share their equal parts.

use std::sync::Arc;

use super::parsed;
use super::snapshots::MACHINE;
use crate::config::{Resolved, Sharing, Stores, compile};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::Snapshot;
use crate::tls::TlsStore;

const FIRST: &str = r#"
[cache]
max_size = "8MiB"
[[pools]]
name = "a"
backends = ["127.0.0.1:1", "127.0.0.1:2"]
[[pools]]
name = "b"
backends = ["127.0.0.1:3"]
[[routes]]
pool = "a"
[[routes]]
prefix = "/b"
pool = "b"
"#;

#[test]
fn only_what_changes_is_made_anew() {
    let (mut slots, mut tls_store) = (Slots::new(BackendTables::new(1)), TlsStore::default());
    let mut sharing = Sharing::default();
    let mut compiled = |text: &str| {
        let config = parsed(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let resolved = Resolved::new();
        let snapshot = compile(
            &config,
            &MACHINE,
            &resolved,
            Stores {
                slots: &mut slots,
                tls_store: &mut tls_store,
            },
            1,
        );
        sharing.share(snapshot.unwrap())
    };
    let first = compiled(FIRST);
    // Whether the pools, the routes and the route table are shared with the first snapshot.
    let shared = |other: &Snapshot| {
        let pools = first.pools.iter().zip(&other.pools);
        let routes = first.routes.iter().zip(&other.routes);
        (
            pools.map(|(one, other)| Arc::ptr_eq(one, other)).collect(),
            routes.map(|(one, other)| Arc::ptr_eq(one, other)).collect(),
            Arc::ptr_eq(&first.route_table, &other.route_table),
        )
    };
    type Shared = (Vec<bool>, Vec<bool>, bool);
    let rows: [(&str, &str, Shared); 7] = [
        ("", "", (vec![true, true], vec![true, true], true)),
        (
            "127.0.0.1:3",
            "127.0.0.1:4",
            (vec![true, false], vec![true, true], true),
        ),
        (
            "prefix = \"/b\"",
            "prefix = \"/b\"\nretries = 3",
            (vec![true, true], vec![true, false], true),
        ),
        (
            "prefix = \"/b\"",
            "prefix = \"/b\"\ncache = {}",
            (vec![true, true], vec![true, false], true),
        ),
        (
            "prefix = \"/b\"",
            "prefix = \"/c\"",
            (vec![true, true], vec![true, false], false),
        ),
        (
            "name = \"a\"",
            "name = \"a\"\noutlier = { consecutive_failures = 9 }",
            (vec![false, true], vec![true, true], true),
        ),
        // A part that was removed and added again while the first snapshot was still in use.
        ("", "", (vec![true, true], vec![true, true], true)),
    ];
    for (before, after, expected) in rows {
        let other = compiled(&FIRST.replacen(before, after, 1));
        assert_eq!(shared(&other), expected, "{before} → {after}");
    }
}
