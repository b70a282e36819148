//! Upgrades in whose middle one of the two processes stops, or stands still for long: requests in the other one live
//! on, and one of them alone is the service, or none if the old one was told to stop.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::frozen::Frozen;
use crate::support::installed::{Installed, processes};
use crate::support::managed::{ask, pool};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::process::{go_on, signal, stop};
use crate::support::proxy::{command, end_with_this_thread, route};
use crate::support::shim::Programs;
use crate::support::{Client, Lineage, Origin, Proxy, eventually, get};

/// How many requests run in the new process.
const HELD: usize = 8;

/// An origin that answers `/long` when the file is there.
fn slow_origin(directory: &Directory) -> Origin {
    let path = directory.path().join("go_on");
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /long ") {
                eventually("it may go on", || path.exists());
            }
            link.send(ok("served"));
        }
    })
}

/// Ends a process when this is dropped, whatever the test's outcome.
struct Ended(i32);

impl Drop for Ended {
    fn drop(&mut self) {
        signal(self.0, libc::SIGKILL);
    }
}

/// Whether the process has a thread of this name that waits in `recvmsg`.
fn listens(pid: i32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut paths = tasks.map(|task| task.path());
    let text = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let call = format!("{} ", libc::SYS_recvmsg);
    paths.any(|path| {
        text(path.join("comm")).trim_end() == name && text(path.join("syscall")).starts_with(&call)
    })
}

/// An upgrade in whose middle the old process stands still: it has let the new one go, which accepts and is not the
/// service yet.
struct HalfWay {
    lineage: Lineage,
    old: i32,
    new: Ended,
    folder: Directory,
    origin: Origin,
    admin: SocketAddr,
    _installed: Installed,
}

impl HalfWay {
    /// `config` stands at the beginning of the file.
    #[track_caller]
    fn reach(config: &str) -> HalfWay {
        let (installed, folder, admin) = (Installed::new(), Directory::new(), free_addr());
        let origin = slow_origin(&folder);
        let mut command = installed.command();
        // A process that stands still takes no client from the queue there.
        command.env("PALANTIR_ENGINE", "epoll");
        let config = format!(
            "workers = 2\n{config}\n[admin]\nlisten_addr = \"{admin}\"\n{}",
            pool(&[origin.addr])
        );
        let lineage = Lineage::start_as(command, &config);
        let (begun, go_on) = (folder.path().join("begun"), folder.path().join("exec"));
        installed.become_script(&format!(
            ": > {}; until [ -e {} ]; do sleep 0.05; done; exec \"$REAL\" \"$@\"",
            begun.display(),
            go_on.display()
        ));
        let old = lineage.pid();
        lineage.signal(libc::SIGUSR2);
        eventually("the new process is started", || begun.exists());
        let path = lineage.proxy.directory.path().join("config.toml");
        let new = Ended(
            processes(&path)
                .into_iter()
                .find(|pid| *pid != old)
                .unwrap(),
        );
        let frozen = Frozen::new(old as u32, "palantir");
        fs::write(go_on, "").unwrap();
        eventually("the new process is ready", || !has_thread(old, "upgrade"));
        let new_frozen = Frozen::new(new.0 as u32, "real");
        drop(frozen);
        eventually("the old process has let it go", || listens(old, "upgrade"));
        stop(old);
        drop(new_frozen);
        lineage.proxy.wait_for_log_times(&["workers on"], 2);
        HalfWay {
            lineage,
            old,
            new,
            folder,
            origin,
            admin,
            _installed: installed,
        }
    }

    /// Requests that run in the new process, which alone takes clients.
    #[track_caller]
    fn hold(&self) -> Vec<Client> {
        let before = self.origin.count();
        let mut held: Vec<Client> = (0..HELD).map(|_| self.lineage.proxy.client()).collect();
        held.iter_mut().for_each(|client| client.send(get("/long")));
        self.origin.wait_for_requests(before + HELD);
        held
    }

    /// Lets the origin answer, and sees that all of these are answered.
    #[track_caller]
    fn finish(&self, held: Vec<Client>) {
        self.folder.write("go_on", "");
        for mut client in held {
            assert_eq!(client.answer().text(), "served");
        }
    }

    #[track_caller]
    fn wait_for_end_of_new(&self) {
        let path = self.lineage.proxy.directory.path().join("config.toml");
        eventually("the new process has ended", || {
            !processes(&path).contains(&self.new.0)
        });
    }
}

fn has_thread(pid: i32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.into_iter().any(|found| found.trim_end() == name)
}

#[test]
fn an_old_process_that_stood_still_for_long_finds_the_new_one_the_service() {
    let mut upgrade = HalfWay::reach("");
    let server = r#"{"url": "http://127.0.0.1:1", "drain": true}"#;
    eventually("the new process grants a change", || {
        let answer = ask(upgrade.admin, "POST /servers?pool=api", &[], server);
        answer.status() == 201
    });
    let held = upgrade.hold();
    go_on(upgrade.old);
    upgrade.lineage.note_upgrade();
    upgrade.finish(held);
    upgrade.lineage.wait_for_elders();
    let servers = ask(upgrade.admin, "GET /servers?pool=api", &[], "").text();
    assert!(servers.contains("127.0.0.1:1\""), "{servers}");
    assert_eq!(upgrade.lineage.stop(), 0);
}

#[test]
fn a_new_process_that_is_stopping_does_not_become_the_service() {
    let mut upgrade = HalfWay::reach("shutdown_timeout = 300");
    let held = upgrade.hold();
    let proxy = &upgrade.lineage.proxy;
    signal(upgrade.new.0, libc::SIGTERM);
    proxy.wait_for_log(&["stopping: running requests may finish"]);
    go_on(upgrade.old);
    proxy.wait_for_log(&["the upgrade failed", "the new process is stopping"]);
    assert!(!proxy.log().contains("has taken over"));
    // The API of a process that is not the service is closed.
    for _ in 0..HELD {
        let answer = ask(upgrade.admin, "POST /reload", &[], "");
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    upgrade.finish(held);
    upgrade.wait_for_end_of_new();
    assert_eq!(upgrade.lineage.proxy.ask(get("/")).text(), "served");
    assert_eq!(upgrade.lineage.stop(), 0);
}

/// Stops the old process, which hears of it before it hears more of the new one.
#[track_caller]
fn stop_old(upgrade: &HalfWay) {
    stop(upgrade.new.0);
    signal(upgrade.old, libc::SIGTERM);
    go_on(upgrade.old);
    let stopping = ["stopping: running requests may finish"];
    upgrade.lineage.proxy.wait_for_log(&stopping);
    go_on(upgrade.new.0);
    upgrade.lineage.proxy.wait_for_log_times(&stopping, 2);
}

#[test]
fn a_stop_of_the_old_process_leaves_the_new_one_time_for_its_requests() {
    let mut upgrade = HalfWay::reach("shutdown_timeout = 300");
    let held = upgrade.hold();
    stop_old(&upgrade);
    upgrade.finish(held);
    assert_eq!(upgrade.lineage.stop_of_first(), 0);
    upgrade.wait_for_end_of_new();
}

#[test]
fn requests_that_a_stop_cuts_in_the_new_process_show_in_the_exit_code() {
    // By time, and by a second signal.
    for (timeout, is_hastened) in [("0.1", false), ("300", true)] {
        let mut upgrade = HalfWay::reach(&format!("shutdown_timeout = {timeout}"));
        let _held = upgrade.hold();
        stop_old(&upgrade);
        if is_hastened {
            signal(upgrade.old, libc::SIGTERM);
        }
        assert_eq!(upgrade.lineage.stop_of_first(), 1, "{timeout}");
        upgrade.wait_for_end_of_new();
    }
}

#[test]
fn a_new_process_that_first_runs_when_the_old_one_has_stopped_ends() {
    // The old process waits for a while, and a second signal ends the wait.
    for signals in [1, 2] {
        let (programs, origin) = (Programs::hang(), Origin::saying("served"));
        let mut command = command();
        programs.apply(&mut command);
        let mut lineage = Lineage::start_as(command, &route("/", &[origin.addr]));
        let path = lineage.proxy.directory.path().join("config.toml");
        lineage.signal(libc::SIGUSR2);
        eventually("the new process is started", || programs.is_hung());
        let old = lineage.pid();
        let new = Ended(
            processes(&path)
                .into_iter()
                .find(|pid| *pid != old)
                .unwrap(),
        );
        lineage.signal(libc::SIGTERM);
        if signals == 2 {
            lineage.proxy.wait_for_log(&["stopped: no request was cut"]);
            lineage.signal(libc::SIGTERM);
        }
        assert_eq!(lineage.stop_of_first(), 0);
        assert!(processes(&path).contains(&new.0));
        programs.go_on();
        eventually("no process is left", || processes(&path).is_empty());
    }
}

/// A command for the program as process 1 of a namespace; `None` where this user may not have one.
fn as_first_process() -> Option<Command> {
    let in_namespace = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", program]);
        command
    };
    let status = in_namespace("true").status();
    let mut command = in_namespace(env!("CARGO_BIN_EXE_palantir"));
    end_with_this_thread(&mut command);
    command.process_group(0).env_remove("RUST_LOG");
    status
        .is_ok_and(|status| status.success())
        .then_some(command)
}

#[test]
fn process_1_refuses_to_hand_over() {
    let Some(command) = as_first_process() else {
        eprintln!("not shown here: needs a process namespace, which takes root");
        return;
    };
    let (origin, admin) = (Origin::saying("served"), free_addr());
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        pool(&[origin.addr])
    );
    let proxy = Proxy::start_as(command, &config);
    let answer = ask(admin, "POST /upgrade", &[], "");
    assert_eq!(answer.status(), 409);
    assert!(answer.text().contains("process 1"), "{}", answer.text());
    let children = format!("/proc/{0}/task/{0}/children", proxy.pid());
    let first = fs::read_to_string(children).unwrap();
    signal(first.trim().parse().unwrap(), libc::SIGUSR2);
    proxy.wait_for_log(&["process 1", "SIGUSR2"]);
    assert_eq!(proxy.ask(get("/")).text(), "served");
    assert!(!proxy.log().contains("upgrade: starting"));
}
