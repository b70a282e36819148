//! At the bound of client connections new clients wait: the start, the log, the metrics, the API and the page say so.

use crate::support::managed::{Managed, json_of};
use crate::support::place::free_addr;
use crate::support::proxy::{command, descriptors, route};
use crate::support::{Client, Origin, Proxy, eventually, get, metrics};

/// The sum of a metric that has a value for each worker.
fn sum(managed: &Managed, name: &str) -> f64 {
    let text = metrics(managed.admin);
    let rows = text.lines().filter(|line| line.starts_with(name));
    rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Two clients with requests under way where the bound is two, and a third client that waits.
fn crowd(managed: &Managed, origin: &Origin) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..2).map(|_| managed.proxy.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    origin.wait_for_requests(2);
    clients.push(managed.proxy.client());
    clients
}

#[test]
fn clients_that_wait_at_the_bound_are_told_of() {
    let bounds = [
        (
            "[limits]\nconnections = 2\n",
            "the listener has 2 of at most 2 clients (connections of the listener, or limits.connections)",
        ),
        // The bound of a listener that nobody uses also limits the clients of all listeners together.
        (
            "[limits]\nconnections = 2\n[[listeners]]\naddr = \"{other}\"\nconnections = 1000\n",
            "of at most 2 clients (connections of the listener",
        ),
    ];
    for (bound, words) in bounds {
        let (origin, let_go) = Origin::waiting();
        let bound = bound.replace("{other}", &free_addr().to_string());
        let managed = Managed::start("", &(bound + &route("/", &[origin.addr])));
        let health = || json_of(&managed.ask("GET /health", &[], ""));
        // The connection by which the test has found out that the proxy accepts may still be closing.
        eventually("nobody is connected", || {
            sum(&managed, "palantir_client_connections{") == 0.0
        });
        assert_eq!(health()["clients"], serde_json::Value::Null);
        let mut clients = crowd(&managed, &origin);
        managed.proxy.wait_for_log(&[
            "WARN",
            "new clients wait at",
            &managed.proxy.addr.to_string(),
            words,
        ]);
        eventually("the API knows", || health()["clients"]["waiting"] == 1);
        assert_eq!(health()["status"], "ok");
        assert_eq!(health()["clients"]["connections"], 2);
        assert!(
            health()["reasons"][0]
                .as_str()
                .unwrap()
                .contains("new clients wait")
        );
        assert_eq!(managed.ask("GET /ready", &[], "").status(), 200);
        eventually("the metrics know", || {
            sum(&managed, "palantir_clients_waiting") == 1.0
        });
        assert_eq!(sum(&managed, "palantir_accept_pauses_total"), 1.0);
        eventually("the page knows", || {
            let board = managed.get("/board");
            board["totals"]["waiting_clients"] == 1 && board["totals"]["most_connections"] != 0
        });

        // The third client is served as soon as one of the others has left.
        clients[2].send(get("/"));
        for _ in 0..3 {
            let_go.send(()).unwrap();
        }
        assert_eq!(clients.remove(0).answer().text(), "slow");
        assert_eq!(clients.pop().unwrap().answer().text(), "slow");
        eventually("nobody waits", || health()["clients"]["waiting"] != 1);
    }
}

#[test]
fn a_start_warns_of_a_bound_that_nobody_has_set() {
    let origin = Origin::saying("");
    let rows = [
        ("", 256, true),
        ("[limits]\nconnections = 20\n", 256, false),
        ("", 15_000, false),
    ];
    for (limits, files, is_warned) in rows {
        let mut command = command();
        descriptors(&mut command, files);
        let proxy = Proxy::start_as(
            command,
            &format!("workers = 1\n{limits}{}", route("/", &[origin.addr])),
        );
        assert_eq!(proxy.ask(get("/")).status(), 200);
        let log = proxy.log();
        let mut lines = log.lines();
        let warning = lines.find(|line| line.contains("clients can be connected at once"));
        assert_eq!(warning.is_some(), is_warned, "{limits}: {log}");
        for words in [
            "WARN",
            "may open only 256 files",
            "ulimit -n",
            "LimitNOFILE",
        ] {
            assert!(
                warning.is_none_or(|warning| warning.contains(words)),
                "{log}"
            );
        }
    }
}
