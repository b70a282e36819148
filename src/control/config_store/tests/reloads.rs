//! Tests of reloads: whether the value of the file or the override of the API stands, and the way back.

use super::*;

/// The file with some of its lines exchanged.
fn file_with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(FILE.to_owned(), |file, (from, to)| {
        assert!(file.contains(from), "{from}");
        file.replace(from, to)
    })
}

/// Edits, then another file; the pool asked for, what it then is, and the notes: one a word.
type Story<'s> = (
    Vec<Edit>,
    &'s [(&'s str, &'s str)],
    &'s str,
    &'s str,
    &'s [&'s str],
);

#[test]
fn the_file_wins_where_it_changed_and_the_api_elsewhere() {
    let stories: [Story<'_>; 12] = [
        (
            vec![add("api", "addr = '127.0.0.1:3'")],
            &[],
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2, 127.0.0.1:3",
            &["backend 127.0.0.1:3 of pool \"api\": stays as added by the API"],
        ),
        (
            vec![add("api", "addr = '127.0.0.1:3'\nweight = 7")],
            &[("\"127.0.0.1:1\"", "\"127.0.0.1:3\"")],
            "api",
            "127.0.0.1:3, http://127.0.0.1:2 weight=2",
            &[
                "backend 127.0.0.1:3 of pool \"api\": was added by the API, but the file changed it since, and the file wins",
            ],
        ),
        (
            vec![patch("api", "127.0.0.1:2", "weight = 9", &[])],
            &[("timeout = 5", "timeout = 6")],
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=9",
            &["backend 127.0.0.1:2 of pool \"api\": stays as changed by the API"],
        ),
        (
            vec![patch("api", "127.0.0.1:2", "drain = true", &[])],
            &[("weight = 2", "weight = 3")],
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=3",
            &[
                "backend 127.0.0.1:2 of pool \"api\": was changed by the API, but the file changed it since, and the file wins",
            ],
        ),
        // Written otherwise is not changed.
        (
            vec![patch("api", "127.0.0.1:2", "weight = 9", &[])],
            &[("http://127.0.0.1:2", "127.0.0.1:2")],
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=9",
            &["backend 127.0.0.1:2 of pool \"api\": stays as changed by the API"],
        ),
        (
            vec![remove("api", "127.0.0.1:1")],
            &[("\"127.0.0.1:9\"", "\"127.0.0.1:8\"")],
            "api",
            "http://127.0.0.1:2 weight=2",
            &["backend 127.0.0.1:1 of pool \"api\": stays as taken out by the API"],
        ),
        (
            vec![remove("api", "127.0.0.1:1")],
            &[("\"127.0.0.1:1\"", "{ addr = \"127.0.0.1:1\", weight = 4 }")],
            "api",
            "127.0.0.1:1 weight=4, http://127.0.0.1:2 weight=2",
            &[
                "backend 127.0.0.1:1 of pool \"api\": was taken out by the API, but the file changed it since, and the file wins",
            ],
        ),
        // The settings of a pool and its backends are separate overrides.
        (
            vec![
                patch_pool("api", "idle_connections = 3", &[]),
                add("api", "addr = 'c:1'"),
            ],
            &[("/health", "/ready")],
            "api",
            "127.0.0.1:1, http://127.0.0.1:2 weight=2, c:1",
            &[
                "pool \"api\": was changed by the API, but the file changed it since, and the file wins",
                "backend c:1 of pool \"api\": stays as added by the API",
            ],
        ),
        (
            vec![remove_pool("spare")],
            &[],
            "spare",
            "no pool",
            &["pool \"spare\": stays as taken out by the API"],
        ),
        (
            vec![remove_pool("spare")],
            &[("\"127.0.0.1:9\"", "\"127.0.0.1:8\"")],
            "spare",
            "127.0.0.1:8",
            &[
                "pool \"spare\": was taken out by the API, but the file changed it since, and the file wins",
            ],
        ),
        (
            vec![add("spare", "addr = 'c:1'")],
            &[("name = \"spare\"", "name = \"other\"")],
            "spare",
            "no pool",
            &["pool \"spare\": it is gone, and with it what the API said of its backends"],
        ),
        // A route needs what the API took out.
        (
            vec![remove_pool("spare"), add("api", "addr = 'c:1'")],
            &[(
                "backend_addrs = [\"[::1]:1\", \"unix:/run/app.sock\"]",
                "pool = \"spare\"",
            )],
            "spare",
            "127.0.0.1:9",
            &[
                "backend c:1 of pool \"api\": stays as added by the API",
                "pool \"spare\": what the API said does not fit the file any more and is dropped: unknown pool; known: api",
            ],
        ),
    ];
    for (edits, changes, pool, expected, notes) in stories {
        let mut store = config_store();
        for edit in &edits {
            store.edit(edit.clone());
        }
        let file = file_with(changes);
        let proposal = store.propose_file(parsed(&file));
        assert_eq!(proposal.notes, notes, "{edits:?}");
        // A restart comes to the same as a reload.
        let (restarted, restart_notes) = store.restarted(&file);
        assert_eq!(
            (restarted.backends(pool), &restart_notes[..]),
            (expected.to_owned(), &proposal.notes[..])
        );
        store.accept(proposal, "SIGHUP", at(2));
        assert_eq!(store.backends(pool), expected, "{edits:?} {changes:?}");
        // An override that lost once is forgotten: the old file does not bring it back.
        let lost = notes.iter().filter(|note| !note.contains("stays")).count();
        let again = store.propose_file(parsed(&file));
        assert_eq!(again.notes.len(), notes.len() - lost, "{edits:?}");
        assert!(!again.changed);
    }
}

#[test]
fn a_pool_that_would_be_left_empty_is_the_files() {
    let mut store = config_store();
    store.edit(remove("api", "127.0.0.1:1"));
    let file = file_with(&[(", { addr = \"http://127.0.0.1:2\", weight = 2 }", "")]);
    let proposal = store.propose_file(parsed(&file));
    assert_eq!(
        proposal.notes,
        [
            "pool \"api\": what the API said does not fit the file any more and is dropped: must name at least one backend"
        ]
    );
    store.accept(proposal, "SIGHUP", at(2));
    assert_eq!(store.backends("api"), "127.0.0.1:1");
}

#[test]
fn an_edit_back_to_what_the_file_says_leaves_nothing_said() {
    let mut store = config_store();
    store.edit(patch("api", "127.0.0.1:1", "weight = 2", &[]));
    store.edit(add("api", "addr = 'c:1'"));
    store.edit(put_pool("new", "backends = ['c:1']"));
    assert_ne!(store.history[0].overrides, Overrides::default());
    store.edit(patch("api", "127.0.0.1:1", "", &["weight"]));
    store.edit(remove("api", "c:1"));
    store.edit(remove_pool("new"));
    assert_eq!(store.history[0].overrides, Overrides::default());
    assert_eq!(store.document(), &table(FILE));
}

#[test]
fn a_pool_of_the_api_outlives_a_restart() {
    let mut store = config_store();
    store.edit(put_pool(
        "new",
        "backends = [{ addr = 'c:1', weight = 2 }, 'd:1']\nidle_connections = 4",
    ));
    store.edit(remove("new", "d:1"));
    let (restarted, _) = store.restarted(FILE);
    assert_eq!(restarted.pool("new"), store.pool("new"));
    assert_eq!(restarted.backends("new"), "c:1 weight=2");
}

#[test]
fn a_rollback_brings_back_file_and_words() {
    let mut store = config_store();
    assert_eq!(store.edit(add("api", "addr = 'c:1'")), 2);
    let file = file_with(&[("weight = 2", "weight = 3"), ("timeout = 5", "timeout = 6")]);
    let proposal = store.propose_file(parsed(&file));
    assert_eq!(store.accept(proposal, "SIGHUP", at(2)), 3);
    let proposal = store.propose_revision(2).unwrap();
    assert_eq!(
        proposal.summary,
        "back to revision 2: changed route /: timeout from 6 to 5; changed backend 127.0.0.1:2 of pool api: weight from 3 to 2"
    );
    assert_eq!(proposal.notes.len(), 1);
    assert_eq!(store.accept(proposal, "api", at(3)), 4);
    assert_eq!(
        store.backends("api"),
        "127.0.0.1:1, http://127.0.0.1:2 weight=2, c:1"
    );
    // The file that was gone back from would come again.
    assert!(store.propose_file(parsed(&file)).changed);
    let proposal = store.propose_revision(1).unwrap();
    assert_eq!(
        (proposal.summary.as_str(), proposal.notes.len()),
        ("back to revision 1: removed backend c:1 of pool api", 0)
    );
    assert_eq!(
        store.propose_revision(4).map(|_| ()).unwrap_err().kind,
        ProblemKind::Conflict
    );
    assert_eq!(
        store.propose_revision(5).map(|_| ()).unwrap_err().kind,
        ProblemKind::Absent
    );
}

#[test]
fn revisions_are_numbered_and_bounded() {
    let mut store = config_store();
    for weight in 1..=limits::REVISIONS {
        store.edit(patch(
            "spare",
            "127.0.0.1:9",
            &format!("weight = {weight}"),
            &[],
        ));
    }
    let revisions = store.revisions();
    let numbers: Vec<u64> = revisions.iter().map(|revision| revision.number).collect();
    let newest = 1 + limits::REVISIONS as u64;
    assert_eq!(numbers, (2..=newest).rev().collect::<Vec<_>>());
    assert_eq!(
        revisions[0].summary,
        format!(
            "changed backend 127.0.0.1:9 of pool spare: weight from {} to {}",
            limits::REVISIONS - 1,
            limits::REVISIONS
        )
    );
    assert_eq!(
        (revisions[0].requested_by.as_str(), revisions[0].time),
        ("test", at(1))
    );
    assert_eq!(
        store.propose_revision(1).map(|_| ()).unwrap_err().kind,
        ProblemKind::Absent
    );
}

#[test]
fn differences_table() {
    let rows: [(&str, &str, &[&str]); 12] = [
        (
            "[[routes]]",
            "listen_addr = ['127.0.0.1:8080', 'unix:/a']\n[[routes]]",
            &["+ listener unix:/a"],
        ),
        (
            "[[routes]]",
            "[[listeners]]\naddr = '127.0.0.1:8080'\nhttp2 = false\n[[listeners]]\naddr = '[::1]:2'\n[[routes]]",
            &[
                "~ listener 127.0.0.1:8080: http2 from default to false",
                "+ listener [::1]:2",
            ],
        ),
        (
            "health_check = { path = \"/health\" }",
            "health_check = { path = \"/health\" }\nprotocol = 'h2'",
            &["~ pool api: protocol from default to \"h2\""],
        ),
        (
            "[[pools]]\nname = \"api\"",
            "listen_addr = '[::1]:2'\n[[pools]]\nname = \"api\"",
            &[
                "+ listener [::1]:2",
                "- listener 127.0.0.1:8080 (stops accepting; idle connections are closed, others after their running request)",
            ],
        ),
        (
            "timeout = 5",
            "retries = 2\nrequest_headers.set.authorization = 'x'\nrequest_headers.set.x-a = 'y'",
            &[
                "~ route /: timeout from 5 to default",
                "~ route /: retries from default to 2",
                "~ route /: request_headers.set.authorization from *** to ***",
                "~ route /: request_headers.set.x-a from default to \"y\"",
            ],
        ),
        (
            "\"127.0.0.1:1\", ",
            "'127.0.0.1:3', ",
            &[
                "+ backend 127.0.0.1:3 of pool api",
                "- backend 127.0.0.1:1 of pool api (takes no new requests; running ones finish)",
            ],
        ),
        (
            "weight = 2",
            "drain = true",
            &[
                "~ backend 127.0.0.1:2 of pool api: weight from 2 to default",
                "~ backend 127.0.0.1:2 of pool api: drain from default to true (takes no new requests; running ones finish)",
            ],
        ),
        (
            "path = \"/health\"",
            "tcp = true",
            &[
                "~ pool api: health_check.path from \"/health\" to default",
                "~ pool api: health_check.tcp from default to true",
            ],
        ),
        (
            "name = \"spare\"",
            "name = \"other\"",
            &[
                "+ pool other",
                "+ backend 127.0.0.1:9 of pool other",
                "- pool spare",
                "- backend 127.0.0.1:9 of pool spare (takes no new requests; running ones finish)",
            ],
        ),
        (
            "host = \"API.example.com\"",
            "host = \"b.example.com\"",
            &["+ route b.example.com/", "- route api.example.com/"],
        ),
        (
            "timeout = 5",
            "timeout = 5\n[timeouts]\nconnect = 1\n[admin]\nlisten_addr = '127.0.0.1:1'\nstate_file = '/s'",
            &[
                "~ timeouts.connect from default to 1",
                "~ admin.listen_addr from default to \"127.0.0.1:1\" (takes effect at the next start)",
                "~ admin.state_file from default to \"/s\"",
            ],
        ),
        (
            "timeout = 5",
            "timeout = 5\ncache = { ttl = { 200 = '10m' }, key_headers = ['x-a'] }\n[cache]\nmax_bytes = '8MiB'",
            &[
                "~ route /: cache.ttl.200 from default to \"10m\"",
                "~ route /: cache.key_headers from default to [\"x-a\"]",
                "~ cache.max_bytes from default to \"8MiB\" (takes effect at the next start)",
            ],
        ),
    ];
    let from_default = |line: &str| line.replace("from *** to ***", "from default to ***");
    for (from, to, expected) in rows {
        let file = FILE.replacen(from, to, 1);
        let file = match to.split_once("\n[[") {
            // A key of the whole file stands before its tables.
            Some((first, _)) if !first.starts_with('[') => format!("{first}\n{FILE}"),
            _ => file,
        };
        let diff = config_store().diff(&parsed(&file));
        let lines: Vec<String> = diff.to_string().lines().map(str::to_owned).collect();
        let expected: Vec<String> = expected.iter().map(|line| from_default(line)).collect();
        assert_eq!(lines, expected, "{to}");
    }
    assert_eq!(config_store().diff(&parsed(FILE)), Diff::default());
}

#[test]
fn a_diff_says_which_word_wins() {
    let mut store = config_store();
    store.edit(add("api", "addr = 'c:1'"));
    let diff = store.diff(&parsed(FILE));
    assert_eq!(
        diff.to_string(),
        "# backend c:1 of pool \"api\": stays as added by the API\n"
    );
    let json = serde_json::to_value(store.propose(&remove("api", "c:1")).unwrap().diff).unwrap();
    let expected = serde_json::json!({"differences": [{
        "what": "removed", "subject": "backend c:1 of pool api", "from": null, "to": null,
        "effect": "takes no new requests; running ones finish",
    }], "notes": []});
    assert_eq!(json, expected);
}

#[test]
fn a_file_that_nobody_spoke_against_keeps_its_lines() {
    let mut store = config_store();
    assert_eq!(store.config().text(), FILE);
    store.edit(add("api", "addr = 'c:1'"));
    assert_ne!(store.config().text(), FILE);
    store.edit(remove("api", "c:1"));
    let proposal = store.propose_file(parsed(FILE));
    assert!(!proposal.changed);
    store.accept(proposal, "SIGHUP", at(2));
    assert_eq!(store.config().text(), FILE);
}
