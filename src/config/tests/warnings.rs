//! Warnings, and the shipped file, which has none.

use super::snapshots::{AMPLE, EVERY_KEY, MACHINE, snapshot};
use super::{Machine, parsed};
use crate::base::addresses::BackendAddr;

#[test]
fn warnings_name_what_is_hardly_meant() {
    let text = r#"workers = 4
trusted_proxies = ["10.0.0.1/8", "192.0.2.1"]
[limits]
connections = 2000
memory_bytes = 2000000000
[[pools]]
name = "unused"
backends = ["127.0.0.1:8081", "a:1", "A:1"]
"#;
    let warnings: Vec<String> = parsed(text)
        .unwrap()
        .warnings(&MACHINE)
        .iter()
        .map(|note| note.to_string())
        .collect();
    let expected = [
        "1:1: there are no [[routes]]: every request is answered with 404",
        "1:11: workers = 4: more workers than the 3 CPUs that this process may run on",
        "2:20: trusted_proxies[0] = \"10.0.0.1/8\": stands for all of 10.0.0.0/8",
        "4:15: limits.connections = 2000: the process may open only 1064 files (ulimit -n): of 2000 clients at all listeners, 414 can have a connection to a backend each",
        "5:16: limits.memory_bytes = 2000000000: the process may have only 1073741824 bytes of memory",
        "7:8: pools[0].name = \"unused\": no route leads to this pool",
        "8:38: pools[0].backends[2] = \"A:1\": is in this pool already; the first one counts",
    ];
    assert_eq!(warnings, expected);
    assert!(parsed(EVERY_KEY).unwrap().warnings(&MACHINE).is_empty());
}

#[test]
fn a_bound_below_the_workers_is_warned_of_where_they_share_no_connection() {
    let text = |most| {
        format!(
            "workers = 3\n[[routes]]\nprotocol = \"h2\"\n\
             backend_addrs = [{{ addr = \"127.0.0.1:1\", max_connections = {most} }}]\n"
        )
    };
    let warnings = |most| parsed(&text(most)).unwrap().warnings(&AMPLE).len();
    assert_eq!([0, 2, 3].map(warnings), [0, 1, 0]);
}

#[test]
fn a_bound_of_one_connection_is_warned_of_where_a_websocket_may_need_another() {
    let warnings = |protocol, most| {
        let text = format!(
            "workers = 1\n[[routes]]\nprotocol = \"{protocol}\"\n\
             backend_addrs = [{{ addr = \"127.0.0.1:1\", max_connections = {most} }}]\n"
        );
        let warnings = parsed(&text).unwrap().warnings(&AMPLE);
        warnings.iter().map(|note| note.to_string()).collect()
    };
    let warned: Vec<String> = warnings("h2", 1);
    assert_eq!(warned.len(), 1);
    assert!(warned[0].contains("RFC 8441"), "{warned:?}");
    for (protocol, most) in [("h2", 0), ("h2", 2), ("h1", 1)] {
        assert_eq!(warnings(protocol, most), Vec::<String>::new());
    }
}

#[test]
fn a_prefix_with_slashes_in_a_row_is_warned_of_where_they_are_merged() {
    let text = |merge: &str| {
        format!(
            "[[listeners]]\naddr = \"127.0.0.1:8082\"\nmerge_slashes = \"{merge}\"\n\
             [[routes]]\nprefix = \"/a//b\"\nbackend_addrs = [\"127.0.0.1:1\"]\n"
        )
    };
    let warnings = |merge| parsed(&text(merge)).unwrap().warnings(&AMPLE).len();
    assert_eq!(["on", "match_only", "off"].map(warnings), [1, 1, 0]);
}

/// The file that palantir is shipped with.
const SHIPPED: &str = include_str!("../../../config.toml");

#[test]
fn the_shipped_file_works_at_once() {
    let snapshot = snapshot(SHIPPED);
    assert!(parsed(SHIPPED).unwrap().warnings(&AMPLE).is_empty());
    let backends: Vec<_> = snapshot.pools[0]
        .backends
        .iter()
        .map(|backend| backend.addr.clone())
        .collect();
    let tested: Vec<_> = snapshot
        .test_servers
        .iter()
        .map(|addr| Some(BackendAddr::Tcp(*addr)))
        .collect();
    assert_eq!((backends, snapshot.test_servers.len()), (tested, 3));
}

#[test]
fn what_the_shipped_file_has_commented_out_is_right_too() {
    // A commented line of TOML begins with `# ` and a key, a bracket or the blanks of a list's entry.
    let is_toml = |line: &str| {
        line.starts_with(['[', ']', ' '])
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains(' '))
    };
    let uncommented: Vec<&str> = SHIPPED
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_toml(rest))
                .unwrap_or(line)
        })
        .collect();
    let snapshot = snapshot(&uncommented.join("\n"));
    assert_eq!((snapshot.routes.len(), snapshot.pools.len()), (2, 2));
    assert_eq!(snapshot.pools[0].backends.len(), 3);
    assert!(snapshot.access_log.is_some());
}

#[test]
fn a_bound_on_clients_that_nobody_has_set_is_warned_of() {
    let warnings = |text: &str, machine: &Machine| {
        let warnings = parsed(text).unwrap().warnings(machine);
        let of_clients = warnings.iter().map(|note| note.to_string());
        of_clients.filter(|note| note.contains("at most")).count()
    };
    let routes = "[[routes]]\nbackend_addrs = [\"a:1\"]\n";
    let own = "listen_addr = []\n[[listeners]]\naddr = \"127.0.0.1:1\"\nconnections = 50\n";
    let set = "[limits]\nconnections = 100\n";
    for (bound, expected) in [("", 1), (set, 0), (own, 0)] {
        let text = format!("{bound}{routes}");
        assert_eq!(warnings(&text, &MACHINE), expected, "{bound}");
        assert_eq!(warnings(&text, &AMPLE), 0, "{bound}");
    }
}
