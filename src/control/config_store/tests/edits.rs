//! Edits of a document: the resulting documents, and the refusals.

use super::*;

#[test]
fn edits_of_backends_table() {
    let rows = [
        (
            add("api", "addr = '127.0.0.1:3'"),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2, 127.0.0.1:3",
        ),
        (
            add("/", "addr = '[::1]:2'\nweight = 3"),
            "/",
            "[::1]:1, unix:/run/app.sock, [::1]:2 weight=3",
        ),
        // There already, however it is written: it stays as it is.
        (
            add("api", "addr = '127.0.0.1:2'\nweight = 9"),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2",
        ),
        (
            add("/", "addr = 'http://[0:0::1]:1/'"),
            "/",
            "[::1]:1, unix:/run/app.sock",
        ),
        (
            put("api", "127.0.0.1:2", "drain = true"),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 drain=true",
        ),
        (
            put("api", "127.0.0.1:2", "addr = '127.0.0.1:2'"),
            "api",
            "127.0.0.1:1, 127.0.0.1:2",
        ),
        (
            put("api", "name:80", "weight = 1"),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2, name:80 weight=1",
        ),
        (
            patch(
                "api",
                "http://127.0.0.1:1",
                "weight = 5\ndrain = false",
                &[],
            ),
            "api",
            "127.0.0.1:1 weight=5 drain=false, http://127.0.0.1:2 weight=2",
        ),
        (
            patch(
                "api",
                "127.0.0.1:2",
                "max_connections = 4",
                &["weight", "drain"],
            ),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 max_connections=4",
        ),
        (
            patch(
                "/",
                "unix:/run/app.sock",
                "health_check = { tcp = true }",
                &[],
            ),
            "/",
            "[::1]:1, unix:/run/app.sock health_check={ tcp = true }",
        ),
        (
            remove("api", "127.0.0.1:1"),
            "api",
            "http://127.0.0.1:2 weight=2",
        ),
        (remove("/", "[::1]:1"), "/", "unix:/run/app.sock"),
    ];
    for (edit, pool, expected) in rows {
        let mut store = config_store();
        store.edit(edit.clone());
        assert_eq!(store.backends(pool), expected, "{edit:?}");
    }
}

#[test]
fn edits_of_pools_table() {
    let rows = [
        (
            put_pool("new", "backends = ['127.0.0.1:5']\nidle_connections = 1"),
            "new",
            "127.0.0.1:5",
            "idle_connections=1",
        ),
        (
            put_pool(
                "api",
                "backends = [{ addr = '127.0.0.1:5', weight = 2 }]\nname = 'api'",
            ),
            "api",
            "127.0.0.1:5 weight=2",
            "",
        ),
        (
            put_pool("/", "backends = ['127.0.0.1:5']\noutlier = {}"),
            "/",
            "127.0.0.1:5",
            "outlier={}",
        ),
        (
            patch_pool(
                "api",
                "balancing_algorithm = 'peak_ewma'",
                &["health_check"],
            ),
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2",
            "balancing_algorithm=\"peak_ewma\"",
        ),
        (
            patch_pool("/", "backends = ['127.0.0.1:6']\nidle_connections = 2", &[]),
            "/",
            "127.0.0.1:6",
            "idle_connections=2",
        ),
    ];
    for (edit, pool, backends, settings) in rows {
        let mut store = config_store();
        assert_eq!(store.edit(edit.clone()), 2);
        let expected = Some((vec![backends.to_owned()], settings.to_owned()));
        let found = store
            .pool(pool)
            .map(|(backends, settings)| (vec![backends.join(", ")], settings));
        assert_eq!(found, expected, "{edit:?}");
    }
    let mut store = config_store();
    store.edit(remove_pool("spare"));
    assert_eq!(store.pool("spare"), None);
    let route = &store.document()["routes"][1];
    assert_eq!(route["timeout"].as_integer(), Some(5));
}

#[test]
fn refusals_table() {
    use ProblemKind::{Absent, Conflict, Invalid};
    let rows = [
        (
            add("none", "addr = '127.0.0.1:3'"),
            Absent,
            "",
            "there is no pool \"none\"",
        ),
        (
            add("api", "weight = 3"),
            Invalid,
            "addr",
            "\"addr\" is missing",
        ),
        (add("api", "addr = 3"), Invalid, "addr", "must be a text"),
        (
            add("api", "addr = '127.0.0.1'"),
            Invalid,
            "addr",
            "must be \"address:port\"",
        ),
        (
            add("api", "addr = '127.0.0.1:3'\nweight = 0"),
            Invalid,
            "weight",
            "must be a whole number from 1 to 256",
        ),
        (
            add("api", "addr = '127.0.0.1:3'\nwait = 1"),
            Invalid,
            "wait",
            "unknown key; ",
        ),
        (
            add("/", "addr = '127.0.0.1:3'\nhealth_check = { path = 'x' }"),
            Invalid,
            "health_check.path",
            "must begin with \"/\"",
        ),
        // There already, but not what it should be.
        (
            add("api", "addr = '127.0.0.1:1'\nweight = 'x'"),
            Invalid,
            "weight",
            "must be a whole number",
        ),
        (
            put("api", "127.0.0.1:1", "addr = '127.0.0.1:2'"),
            Invalid,
            "addr",
            "must be \"127.0.0.1:1\"",
        ),
        (
            put("api", "nothing", ""),
            Invalid,
            "addr",
            "must be \"address:port\"",
        ),
        (
            patch("api", "127.0.0.1:1", "remove_after_secs = -1", &[]),
            Invalid,
            "remove_after_secs",
            "must be a number of seconds from 0",
        ),
        (
            patch("api", "127.0.0.1:3", "weight = 1", &[]),
            Absent,
            "",
            "there is no backend 127.0.0.1:3 in pool \"api\"",
        ),
        (
            patch("api", "127.0.0.1:1", "addr = '127.0.0.1:3'", &[]),
            Invalid,
            "addr",
            "must be \"127.0.0.1:1\"",
        ),
        (
            remove("api", "127.0.0.1:3"),
            Absent,
            "",
            "there is no backend",
        ),
        (
            remove("spare", "127.0.0.1:9"),
            Conflict,
            "",
            "127.0.0.1:9 is the last backend",
        ),
        (
            put_pool("api", ""),
            Invalid,
            "backends",
            "\"backends\" is missing",
        ),
        (
            put_pool("api", "backends = []"),
            Invalid,
            "backends",
            "must name at least one",
        ),
        (
            put_pool("api", "backends = [1]"),
            Invalid,
            "backends[0]",
            "must be an address",
        ),
        (
            put_pool("api", "backends = ['a:1', 'A:1']"),
            Invalid,
            "backends[1]",
            "is in this pool already",
        ),
        (
            put_pool("api", "backends = ['a:1', { addr = 'b:1', weight = 300 }]"),
            Invalid,
            "backends[1].weight",
            "must be a whole number",
        ),
        (
            put_pool("api", "backends = ['a:1']\nname = 'b'"),
            Invalid,
            "name",
            "must be \"api\"",
        ),
        (
            put_pool("a b", "backends = ['a:1']"),
            Invalid,
            "name",
            "must be 1 to 64 letters",
        ),
        (
            put_pool("/none", "backends = ['a:1']"),
            Absent,
            "",
            "no route \"/none\" has a pool of its own",
        ),
        (
            put_pool("/", "backends = ['a:1']\ntimeout = 1"),
            Invalid,
            "timeout",
            "unknown key; known: backends, ",
        ),
        (
            put_pool("/", "backends = [{ addr = 'a:1', drain = 1 }]"),
            Invalid,
            "backends[0].drain",
            "must be true or false",
        ),
        (
            patch_pool("api", "hash_on = 'path'", &[]),
            Invalid,
            "hash_on",
            "round_robin uses no key",
        ),
        (
            patch_pool("/", "prefix = '/x'", &[]),
            Invalid,
            "prefix",
            "unknown key",
        ),
        (
            patch_pool("api", "", &["backends"]),
            Invalid,
            "backends",
            "\"backends\" is missing",
        ),
        (patch_pool("none", "", &[]), Absent, "", "there is no pool"),
        (
            remove_pool("api"),
            Conflict,
            "",
            "route \"api.example.com/\" leads to the pool",
        ),
        (
            remove_pool("/"),
            Conflict,
            "",
            "the pool belongs to the route",
        ),
        (remove_pool("none"), Absent, "", "there is no pool"),
    ];
    let store = config_store();
    for (edit, kind, field, text) in rows {
        let problem = store
            .propose(&edit)
            .map(|proposal| proposal.summary)
            .unwrap_err();
        assert_eq!(problem.kind, kind, "{edit:?}: {problem}");
        let [(found, what)] = &problem.mistakes[..] else {
            panic!("{edit:?}: {problem:?}");
        };
        assert_eq!(found, field, "{edit:?}: {problem}");
        assert!(what.starts_with(text), "{edit:?}: {problem}");
    }
    assert_eq!(store.document(), &table(FILE));
}

#[test]
fn every_mistake_is_named_at_once() {
    let edit = put(
        "api",
        "127.0.0.1:1",
        "weight = 0\ndrain = 'yes'\nhealth_check = {}",
    );
    let problem = config_store().propose(&edit).map(|_| ()).unwrap_err();
    let mut fields: Vec<&str> = problem
        .mistakes
        .iter()
        .map(|(field, _)| field.as_str())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["drain", "health_check", "weight"]);
    assert!(
        problem
            .to_string()
            .contains("weight: must be a whole number from 1 to 256")
    );
}

#[test]
fn as_many_backends_as_there_are_rows_and_no_more() {
    let backends: Vec<String> = (1..=limits::BACKENDS)
        .map(|port| format!("'127.0.0.1:{port}'"))
        .collect();
    let file = format!("[[routes]]\nbackend_addrs = [{}]", backends.join(", "));
    let (store, _) = ConfigStore::new(parsed(&file), Overrides::default(), at(0));
    let problem = store
        .propose(&add("/", "addr = '127.0.0.2:1'"))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Full);
    assert!(
        !store
            .propose(&add("/", "addr = '127.0.0.1:1'"))
            .unwrap()
            .changed
    );
    assert!(
        store
            .propose(&patch("/", "127.0.0.1:1", "weight = 2", &[]))
            .unwrap()
            .changed
    );
}

#[test]
fn what_is_there_already_makes_no_revision() {
    let mut store = config_store();
    let same = [
        add("api", "addr = '127.0.0.1:2'"),
        put("api", "127.0.0.1:2", "weight = 2"),
        patch("api", "127.0.0.1:2", "", &["drain"]),
        patch_pool("api", "", &["outlier"]),
    ];
    for edit in same {
        let proposal = store.propose(&edit).unwrap();
        assert!(!proposal.changed, "{edit:?}");
        assert_eq!(proposal.summary, "nothing");
        assert_eq!(store.accept(proposal, "test", at(1)), 1);
    }
    assert_eq!(store.revisions().len(), 1);
}

#[test]
fn default_pool_table() {
    let rows = [
        (FILE, Some("/")),
        (
            "[[pools]]\nname = 'b'\nbackends = ['a:1']\n[[pools]]\nname = 'a'\nbackends = ['a:1']\n[[routes]]\npool = 'a'",
            Some("a"),
        ),
        (
            "[[pools]]\nname = 'b'\nbackends = ['a:1']\n[[routes]]\nprefix = '/x'\nbackend_addrs = ['a:1']",
            Some("b"),
        ),
        (
            "[[routes]]\nprefix = '/x'\nhost = 'h'\nbackend_addrs = ['a:1']",
            Some("h/x"),
        ),
        ("", None),
    ];
    for (file, expected) in rows {
        let (store, _) = ConfigStore::new(parsed(file), Overrides::default(), at(0));
        assert_eq!(store.default_pool().as_deref(), expected, "{file}");
    }
}
