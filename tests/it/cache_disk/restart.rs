//! The disk keeps evicted answers, and those of processes that have ended.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::thread::scope;

use super::*;
use crate::cache::{Asker, Version};
use crate::support::Lineage;

#[test]
fn an_evicted_answer_comes_from_the_disk() {
    let (origin, directory) = (origin(), Directory::new());
    let folder = directory.path().join("cache/of/its/own");
    let proxy = DiskProxy::start_scanned(&origin, &folder, "8MiB");
    assert_eq!(proxy.ask_slowly(900), 0);
    proxy.settle();
    let hits = proxy.ask_slowly(900);
    let lost = proxy.figure("dropped") as usize;
    assert!(lost < 100, "{lost}");
    assert!(hits + lost >= 900, "{hits} hits, {lost} lost");
    assert!(proxy.figure("recalled") > 300);
    assert_eq!(proxy.figure("errors") + proxy.figure("damaged"), 0);
    assert!(origin.count() <= 900 + lost);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn many_requests_for_an_evicted_answer_are_one_reading() {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
    assert!(!ask(&mut proxy.client(), "/one"));
    assert_eq!(proxy.proxy.stop(), 0);
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
    let hits = AtomicUsize::new(0);
    scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| hits.fetch_add(usize::from(ask(&mut proxy.client(), "/one")), SeqCst));
            scope.spawn(|| {
                let reply = Asker::new(&proxy.proxy, Version::Two).get("/one", &[]);
                assert!(reply.body == body_of("/one", 0));
                hits.fetch_add(usize::from(reply.is_hit()), SeqCst);
            });
        }
    });
    assert_eq!((hits.into_inner(), origin.count()), (32, 1));
    assert_eq!(proxy.figure("recalled"), 1);
}

#[test]
fn a_restart_finds_what_was_in_memory_and_what_was_on_the_disk() {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
    let mut client = proxy.client();
    for path in paths(300) {
        ask(&mut client, &path);
    }
    drop(client);
    for turn in 0..2 {
        assert_eq!(proxy.proxy.stop(), 0);
        proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
        let mut client = proxy.client();
        for path in paths(300) {
            let answer = client.ask(get(&path));
            assert!(is_hit(&answer), "{turn} {path}");
            assert!(answer.body == body_of(&path, 0));
            let age: u32 = answer.field("age").unwrap().parse().unwrap();
            assert!(age < 600, "{age}");
        }
    }
    assert_eq!(origin.count(), 300);
    assert_eq!(proxy.figure("entries"), 300);
}

#[test]
fn a_killed_process_leaves_what_it_has_written() {
    let (origin, directory) = (origin(), Directory::new());
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    proxy.ask_slowly(600);
    proxy.settle();
    let written = proxy.figure("written") as usize;
    assert!(written > 50, "{written}");
    // The process is killed while it writes. So few answers drop no segment.
    let stopped = AtomicUsize::new(0);
    let addr = proxy.proxy.addr;
    scope(|scope| {
        let stopped = &stopped;
        for seed in 0..2 {
            scope.spawn(move || {
                for number in (1_000 + seed..3_000).step_by(2) {
                    if stopped.load(SeqCst) > 0 {
                        return;
                    }
                    let request = format!(
                        "GET /{number} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
                    );
                    if let Ok(mut stream) = TcpStream::connect(addr) {
                        let _ = stream.write_all(request.as_bytes());
                        let _ = stream.read_to_end(&mut Vec::new());
                    }
                }
            });
        }
        eventually("more is written", || {
            proxy.figure("written") as usize > written + 100
        });
        drop(proxy);
        stopped.store(1, SeqCst);
    });
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    assert!(proxy.figure("entries") as usize >= written);
    let hits = proxy.ask_slowly(600);
    assert!(hits >= written, "{hits} of {written}");
    let mut client = proxy.client();
    for number in 1_000..1_200 {
        ask(&mut client, &format!("/{number}"));
    }
    assert_eq!(proxy.figure("errors"), 0);
}

#[test]
fn a_new_process_takes_the_folder_over() {
    let (origin, directory) = (origin(), Directory::new());
    let admin = free_addr();
    let mut lineage = Lineage::start(&settings(&origin, directory.path(), "8MiB", admin));
    lineage.proxy.wait_for_log(&["entries were found in"]);
    let proxy = |lineage: &Lineage| Client::connect(lineage.proxy.addr);
    let all = |lineage: &Lineage| ask_slowly(lineage.proxy.addr, admin, 600);
    all(&lineage);
    lineage.upgrade();
    lineage
        .proxy
        .wait_for_log_times(&["entries were found in"], 2);
    // The memory that the old process may read is not free before that process has ended.
    lineage.proxy.wait_for_log(&["stopped: no request was cut"]);
    let hits = all(&lineage);
    assert!(hits > 500, "{hits}");
    proxy(&lineage).ask("POST /7 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(lineage.stop(), 0);
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    let mut client = proxy.client();
    assert!(!ask(&mut client, "/7"));
    drop(client);
    let hits = proxy.ask_slowly(600);
    assert!(hits > 500, "{hits}");
}
