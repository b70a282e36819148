//! Answers that must never come back from the disk: they were purged or invalidated before the process ended.

use super::*;

/// An end of some answers: the name, the act, and the paths whose answers end.
type End = (&'static str, fn(&DiskProxy), &'static [&'static str]);

const ENDS: [End; 7] = [
    (
        "URL",
        |proxy| proxy.purge(r#"{"url": "http://test/1"}"#),
        &["/1"],
    ),
    (
        "prefix",
        |proxy| proxy.purge(r#"{"prefix": "http://test/1"}"#),
        &["/1", "/11"],
    ),
    ("tag", |proxy| proxy.purge(r#"{"tag": "tag2"}"#), &["/2"]),
    (
        "all",
        |proxy| proxy.purge(r#"{"all": true}"#),
        &["/1", "/2", "/3", "/11"],
    ),
    ("PURGE", |proxy| method(proxy, "PURGE"), &["/3"]),
    ("POST", |proxy| method(proxy, "POST"), &["/3"]),
    ("DELETE", |proxy| method(proxy, "DELETE"), &["/3"]),
];

fn method(proxy: &DiskProxy, method: &str) {
    let request = format!("{method} /3 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(proxy.client().ask(request).status(), 200);
}

const PATHS: [&str; 4] = ["/1", "/2", "/3", "/11"];

/// Answers on the disk and in memory, of which some end; then the process ends in this way.
#[track_caller]
fn never_back((name, act, ended): End, is_killed: bool, in_memory: bool) {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    let mut client = proxy.client();
    PATHS.iter().for_each(|path| {
        ask(&mut client, path);
    });
    drop(client);
    assert_eq!(proxy.proxy.stop(), 0);
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    if in_memory {
        let mut client = proxy.client();
        assert!(PATHS.iter().all(|path| ask(&mut client, path)));
    }
    act(&proxy);
    if is_killed {
        // Invalidations are written soon after their answers; a purge waits for what was written before.
        proxy.purge(r#"{"tag": "none"}"#);
        proxy.purge(r#"{"tag": "none"}"#);
        drop(proxy);
    } else {
        assert_eq!(proxy.proxy.stop(), 0);
    }
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    let mut client = proxy.client();
    for path in PATHS {
        let is_ended = ended.contains(&path);
        let before = requests_for(&origin, path);
        assert_eq!(
            ask(&mut client, path),
            !is_ended,
            "{name} {path} {is_killed} {in_memory}"
        );
        assert_eq!(
            requests_for(&origin, path) - before,
            usize::from(is_ended),
            "{name} {path}"
        );
    }
}

#[test]
fn what_was_ended_never_comes_back_after_an_orderly_end() {
    thread::scope(|scope| {
        for end in ENDS {
            scope.spawn(move || [true, false].map(|in_memory| never_back(end, false, in_memory)));
        }
    });
}

#[test]
fn what_was_ended_never_comes_back_after_a_kill() {
    thread::scope(|scope| {
        for end in ENDS {
            scope.spawn(move || [true, false].map(|in_memory| never_back(end, true, in_memory)));
        }
    });
}

#[test]
fn a_soft_purge_outlasts_the_process() {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    PATHS.iter().for_each(|path| {
        ask(&mut proxy.client(), path);
    });
    assert_eq!(proxy.proxy.stop(), 0);
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    proxy.purge(r#"{"url": "http://test/1", "soft": true}"#);
    drop(proxy);
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    let mut client = proxy.client();
    for path in PATHS {
        ask(&mut client, path);
        let requests = requests_for(&origin, path);
        assert_eq!(requests, 1 + usize::from(path == "/1"), "{path}");
    }
    // The backend was asked whether the answer still holds.
    let requests = origin.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.head.field("if-none-match"), Some("\"/1\""));
}
