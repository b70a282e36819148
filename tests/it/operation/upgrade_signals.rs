//! Signals that come in the middle of an upgrade, and a new process that dies at its last step.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use crate::support::frozen::Frozen;
use crate::support::installed::{Installed, processes};
use crate::support::proxy::route;
use crate::support::{Lineage, Origin, eventually, get};

/// The variable that tells the test's other process the folder of the test.
const FOLDER: &str = "PALANTIR_TEST_FOLDER";
const OTHER_HALF: &str = "operation::upgrade_signals::the_new_process_of_another_test";

/// Says every word of a new process, and ends when the old process is about to make it the service.
#[test]
fn the_new_process_of_another_test() {
    let (Some(folder), Ok(line)) = (env::var_os(FOLDER), env::var("PALANTIR_HANDOVER")) else {
        return;
    };
    let folder = PathBuf::from(folder);
    // SAFETY: the old process has opened it for this one, and nobody else here uses it.
    let mut line = unsafe { File::from_raw_fd(line.parse().unwrap()) };
    wait_for_word(&mut line, "no more");
    line.write_all(b"more").unwrap();
    wait_for_word(&mut line, "no more");
    line.write_all(b"ready, and will say when it accepts")
        .unwrap();
    wait_for_word(&mut line, "go");
    line.write_all(b"accepting").unwrap();
    wait_for_word(&mut line, "still there?");
    write_whole(&folder.join("went"), &process::id().to_string());
    eventually("the old process stands still", || {
        folder.join("frozen").exists()
    });
    line.write_all(b"here").unwrap();
    process::exit(0);
}

/// Reads messages until this word comes; sockets that come with them are closed.
fn wait_for_word(line: &mut File, word: &str) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = line.read(&mut bytes).unwrap();
        assert!(read > 0, "the old process has closed the line");
        if &bytes[..read] == word.as_bytes() {
            return;
        }
    }
}

/// Writes a file at once, so that a file that exists is complete.
fn write_whole(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn has_ended(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_new_process_that_dies_before_it_is_the_service_costs_nobody_the_service() {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let folder = installed.folder.path();
    let config = format!("workers = 2\n{}", route("/", &[origin.addr]));
    let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
    let mut command = installed.command();
    command.env("NOTIFY_SOCKET", folder.join("notify"));
    let lineage = Lineage::start_as(command, &config);
    let (test, folder_text) = (env::current_exe().unwrap(), folder.display());
    installed.become_script(&format!(
        "{FOLDER}={folder_text} exec {} --exact {OTHER_HALF}",
        test.display()
    ));
    lineage.signal(libc::SIGUSR2);
    eventually("the new process was let go", || {
        folder.join("went").exists()
    });
    let pid = fs::read_to_string(folder.join("went")).unwrap();
    let frozen = Frozen::new(lineage.proxy.pid(), "palantir");
    fs::write(folder.join("frozen"), "").unwrap();
    eventually("the new process has ended", || has_ended(&pid));
    drop(frozen);
    lineage.proxy.wait_for_log(&["the upgrade failed"]);
    for _ in 0..10 {
        assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    }
    assert!(!lineage.proxy.log().contains("has taken over"));
    // The service manager stays with the old process, too.
    manager.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    while let Ok(read) = manager.recv(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..read]);
        assert!(!text.contains("MAINPID"), "{text}");
    }
}

#[test]
fn a_stop_at_any_moment_of_an_upgrade_leaves_no_process() {
    for round in 0..24 {
        let origin = Origin::saying("served");
        let mut lineage = Lineage::start(&route("/", &[origin.addr]));
        let path = lineage.proxy.directory.path().join("config.toml");
        lineage.signal(libc::SIGUSR2);
        thread::sleep(Duration::from_micros(300 * round));
        lineage.signal(libc::SIGTERM);
        assert_eq!(lineage.proxy.wait_for_exit(), 0);
        eventually("no process is left", || processes(&path).is_empty());
    }
}

/// Whether the thread runs that starts the new process; it ends when the new process is ready.
fn is_starting(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim_end() == "upgrade")
}

#[test]
fn what_a_hang_up_asks_for_in_the_middle_of_an_upgrade_is_done_after_it() {
    let installed = Installed::new();
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let config = |origin: &Origin| {
        format!(
            "workers = 1\n[access_log]\npath = \"{{dir}}/access.log\"\n{}",
            route("/", &[origin.addr])
        )
    };
    let mut lineage = Lineage::start_as(installed.command(), &config(&first));
    let (proxy, folder) = (&lineage.proxy, installed.folder.path());
    let (begun, go_on) = (folder.join("begun"), folder.join("go-on"));
    installed.become_script(&format!(
        ": > {}; until [ -e {} ]; do sleep 0.05; done; exec \"$REAL\" \"$@\"",
        begun.display(),
        go_on.display()
    ));
    lineage.signal(libc::SIGUSR2);
    eventually("the new process is started", || begun.exists());
    let frozen = Frozen::new(proxy.pid(), "palantir");
    fs::write(go_on, "").unwrap();
    eventually("the new process is ready", || !is_starting(proxy.pid()));
    let text = lineage.config();
    let changed = text.replace(&first.addr.to_string(), &second.addr.to_string());
    lineage.write_config(&changed);
    let moved = proxy.directory.path().join("access.log.1");
    fs::rename(proxy.access_log_path(), &moved).unwrap();
    lineage.signal(libc::SIGHUP);
    drop(frozen);
    lineage.note_upgrade();
    eventually("the file is read again", || {
        lineage.proxy.ask(get("/after")).text() == "second"
    });
    eventually("the log is opened again", || {
        let log = fs::read_to_string(lineage.proxy.access_log_path()).unwrap_or_default();
        log.contains("/after") || {
            lineage.proxy.ask(get("/after"));
            false
        }
    });
    assert_eq!(lineage.stop(), 0);
}
