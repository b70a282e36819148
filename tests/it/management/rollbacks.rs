//! A file that was taken back stays so, and a file that nobody asked for is not loaded: rollbacks, trials, and reloads
//! that wait.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::support::managed::{Managed, ask, is_problem, pool};
use crate::support::place::{Directory, free_addr, listen};
use crate::support::proxy::{command, list};
use crate::support::shim::{Disk, Strike};
use crate::support::{Origin, Proxy, eventually, get, metrics};

/// A proxy whose file is rewritten repeatedly.
struct Written {
    managed: Managed,
    good: Origin,
    /// More lines of `[admin]`.
    more: String,
}

impl Written {
    fn new() -> Written {
        Written::on(None, "")
    }

    /// With files that may fail, and with more lines in `[admin]`.
    fn on(disk: Option<&Disk>, more: &str) -> Written {
        let good = Origin::saying("good");
        let (admin, mut command) = (free_addr(), command());
        if let Some(disk) = disk {
            disk.apply(&mut command);
        }
        let config = format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{more}\n{}",
            pool(&[good.addr])
        );
        let proxy = Proxy::start_as(command, &config);
        Written {
            managed: Managed { proxy, admin },
            good,
            more: more.to_owned(),
        }
    }

    /// Writes the file with these backends, and with further listeners at these addresses.
    fn write(&self, backends: &[SocketAddr], more: &[SocketAddr]) {
        let listened: Vec<_> = std::iter::once(&self.managed.proxy.addr)
            .chain(more)
            .copied()
            .collect();
        let text = format!(
            "listen_addr = {}\nworkers = 2\n[admin]\nlisten_addr = \"{}\"\n{}\n{}",
            list(&listened),
            self.managed.admin,
            self.more,
            pool(backends)
        );
        self.managed.proxy.directory.write("config.toml", &text);
    }

    /// Begins a trial of a file whose backend does not answer.
    #[track_caller]
    fn try_bad(&self) {
        self.try_backend(free_addr());
    }

    #[track_caller]
    fn try_backend(&self, backend: SocketAddr) {
        self.write(&[backend], &[]);
        let conditions = "{\"confirm_secs\": 600, \"max_failed_percent\": 5}";
        let trial = self.managed.ask("POST /reload", &[], conditions);
        assert_eq!(trial.status(), 200, "{}", trial.text());
    }

    #[track_caller]
    fn fail_until_taken_back(&self) {
        eventually("the trial is taken back", || {
            self.managed.proxy.ask(get("/")).text() == "good"
        });
    }

    #[track_caller]
    fn wait_for_reload(&self, wanted: u8) {
        let line = format!("palantir_pending_operation{{operation=\"reload\"}} {wanted}");
        eventually(&line, || metrics(self.managed.admin).contains(&line));
    }

    fn hang_up(&self) {
        self.managed.proxy.signal(libc::SIGHUP);
    }
}

#[test]
fn a_hang_up_that_came_during_a_trial_does_not_undo_its_end() {
    let written = Written::new();
    written.try_bad();
    written.hang_up();
    written.wait_for_reload(1);
    written.fail_until_taken_back();
    written.wait_for_reload(0);
    written
        .managed
        .proxy
        .wait_for_log(&["SIGHUP", "was taken back", "is not loaded"]);
    assert_eq!(written.managed.get("/version")["revision"], 3);
    assert_eq!(written.managed.proxy.ask(get("/")).text(), "good");
    // A signal that asks for the file afterwards gets it.
    written.hang_up();
    eventually("the file is in force", || {
        written.managed.proxy.ask(get("/")).status() != 200
    });
}

#[test]
fn a_hang_up_for_another_file_outlives_the_end_of_a_trial() {
    let written = Written::new();
    let added = free_addr();
    written.try_bad();
    written.write(&[written.good.addr, added], &[]);
    written.hang_up();
    written.wait_for_reload(1);
    written.fail_until_taken_back();
    eventually("the other file is in force", || {
        written.managed.servers().contains(&added.to_string())
    });
}

#[test]
fn a_reload_that_is_tried_again_takes_no_later_file_over() {
    let written = Written::new();
    let (gone, added, later) = (free_addr(), free_addr(), free_addr());
    let taken = listen(gone);
    written.write(&[written.good.addr], &[gone]);
    written.hang_up();
    written
        .managed
        .proxy
        .wait_for_log(&["tries this again", "SIGHUP"]);
    // No signal has asked for this file.
    written.write(&[written.good.addr, added], &[]);
    written.wait_for_reload(0);
    written
        .managed
        .proxy
        .wait_for_log(&["SIGHUP", "has changed since", "is not loaded"]);
    assert_eq!(written.managed.servers().len(), 1);
    // Nor has one asked for a file that is written while a trial makes a SIGHUP wait.
    let trial = written
        .managed
        .ask("POST /reload", &[], "{\"confirm_secs\": 600}");
    assert_eq!(trial.status(), 200, "{}", trial.text());
    written.hang_up();
    written.wait_for_reload(1);
    written.managed.proxy.wait_for_log(&["SIGHUP waits"]);
    written.write(&[written.good.addr, later], &[]);
    assert_eq!(
        written
            .managed
            .ask("POST /reload/confirm", &[], "")
            .status(),
        200
    );
    written.wait_for_reload(0);
    written
        .managed
        .proxy
        .wait_for_log_times(&["has changed since", "is not loaded"], 2);
    assert!(!written.managed.servers().contains(&later.to_string()));
    drop(taken);
}

#[test]
fn an_upgrade_does_not_undo_a_rollback() {
    let written = Written::new();
    let back = |revision| {
        let body = format!("{{\"revision\": {revision}}}");
        let back = written.managed.ask("POST /config/rollback", &[], &body);
        assert_eq!(back.status(), 200, "{}", back.text());
    };
    // A trial that a rollback ends, and a reload without a trial.
    for (body, revision) in [("{\"confirm_secs\": 600}", 1), ("", 3)] {
        written.write(&[free_addr()], &[]);
        let reload = written.managed.ask("POST /reload", &[], body);
        assert_eq!(reload.status(), 200, "{}", reload.text());
        back(revision);
        is_problem(&written.managed.ask("POST /upgrade", &[], ""), 409);
        assert_eq!(written.managed.proxy.ask(get("/")).text(), "good");
    }
    // Back, and forth again.
    back(4);
    back(5);
    is_problem(&written.managed.ask("POST /upgrade", &[], ""), 409);
}

#[test]
fn a_rollback_by_hand_ends_the_wish_of_an_earlier_hang_up() {
    let written = Written::new();
    let (taken, added) = (free_addr(), free_addr());
    let _taken = listen(taken);
    let back = || {
        let body = "{\"revision\": 1}";
        let back = written.managed.ask("POST /config/rollback", &[], body);
        assert_eq!(back.status(), 200, "{}", back.text());
        written.wait_for_reload(0);
        assert!(!written.managed.servers().contains(&added.to_string()));
    };
    // One that cannot be followed yet.
    written.write(&[free_addr()], &[]);
    assert_eq!(written.managed.ask("POST /reload", &[], "").status(), 200);
    written.write(&[written.good.addr, added], &[taken]);
    written.hang_up();
    written
        .managed
        .proxy
        .wait_for_log(&["tries this again", "SIGHUP"]);
    back();
    // One that waits for the end of a trial.
    written.try_bad();
    written.write(&[written.good.addr, added], &[]);
    written.hang_up();
    written.managed.proxy.wait_for_log(&["SIGHUP waits"]);
    back();
    written
        .managed
        .proxy
        .wait_for_log_times(&["SIGHUP came before the rollback"], 2);
    written.hang_up();
    eventually("a later hang-up loads the file", || {
        written.managed.servers().contains(&added.to_string())
    });
}

#[test]
fn a_hang_up_that_waits_looks_at_the_file_until_it_can_be_read() {
    let disk = Disk::new();
    let written = Written::on(Some(&disk), "");
    let later = free_addr();
    let trial = "{\"confirm_secs\": 600}";
    written.write(&[written.good.addr, free_addr()], &[]);
    let trial = written.managed.ask("POST /reload", &[], trial);
    assert_eq!(trial.status(), 200, "{}", trial.text());
    disk.strike("open config.toml", 1, Strike::Error(libc::EIO));
    written.hang_up();
    let proxy = &written.managed.proxy;
    proxy.wait_for_log(&["cannot look at the configuration file yet"]);
    proxy.wait_for_log(&["loads the configuration file as it is now"]);
    disk.rest();
    written.write(&[written.good.addr, later], &[]);
    let confirmed = written.managed.ask("POST /reload/confirm", &[], "");
    assert_eq!(confirmed.status(), 200, "{}", confirmed.text());
    proxy.wait_for_log(&["has changed since", "is not loaded"]);
    written.wait_for_reload(0);
    assert!(!written.managed.servers().contains(&later.to_string()));
}

#[test]
fn a_rollback_that_cannot_be_called_off_is_not_answered_as_a_confirmation() {
    let (directory, disk) = (Directory::new(), Disk::new());
    let state = directory.path().join("state.json");
    let written = Written::on(Some(&disk), &format!("state_file = {state:?}"));
    // The file of the trial names what the API has added, so that the state file is another one after the rollback.
    let added = free_addr();
    let line = format!("PUT /pools/api/servers/{added}");
    assert_eq!(written.managed.ask(&line, &[], "{}").status(), 201);
    written.try_backend(added);
    disk.strike("rename state.json.new", 1, Strike::Hang);
    eventually("the trial is being taken back", || {
        let _ = written.managed.proxy.ask(get("/"));
        disk.is_hit()
    });
    written
        .managed
        .proxy
        .wait_for_log(&["may still come into force"]);
    let confirmed = written.managed.ask("POST /reload/confirm", &[], "");
    is_problem(&confirmed, 503);
    assert!(confirmed.text().contains("cannot be called off"));
    disk.rest();
    written.fail_until_taken_back();
}

/// A palantir that is started anew with the files of the one before.
struct Restarted {
    addr: SocketAddr,
    admin: SocketAddr,
    directory: Directory,
}

const UNCONFIRMED: &str = "was not confirmed";

impl Restarted {
    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state.json")
    }

    fn config(&self, backend: SocketAddr) -> String {
        format!(
            "listen_addr = \"{}\"\nworkers = 1\n[admin]\nlisten_addr = \"{}\"\nstate_file = {:?}\n{}",
            self.addr,
            self.admin,
            self.state(),
            pool(&[backend])
        )
    }

    #[track_caller]
    fn start(&self, backend: SocketAddr) -> Proxy {
        let proxy = Proxy::launch(command(), self.addr, &self.config(backend));
        proxy.wait_until_it_accepts();
        proxy.wait_for_log(&["1 workers on"]);
        proxy
    }

    /// Begins a trial with the other backend.
    #[track_caller]
    fn try_other(&self, proxy: &Proxy, backend: SocketAddr) {
        proxy.directory.write("config.toml", &self.config(backend));
        let trial = ask(self.admin, "POST /reload", &[], "{\"confirm_secs\": 600}");
        assert_eq!(trial.status(), 200, "{}", trial.text());
    }
}

fn is_noted(state: &Path) -> bool {
    fs::read_to_string(state).is_ok_and(|text| text.contains("taken_back"))
}

#[test]
fn a_start_says_that_its_file_was_on_trial_when_the_process_before_ended() {
    let [good, other] = ["good", "other"].map(Origin::saying);
    for is_killed in [false, true] {
        let place = Restarted {
            addr: free_addr(),
            admin: free_addr(),
            directory: Directory::new(),
        };
        let mut proxy = place.start(good.addr);
        place.try_other(&proxy, other.addr);
        assert!(is_noted(&place.state()), "while it is on trial");
        if is_killed {
            drop(proxy)
        } else {
            assert_eq!(proxy.stop(), 0)
        }
        let mut proxy = place.start(other.addr);
        proxy.wait_for_log(&[UNCONFIRMED]);
        // A file that somebody confirms is one like any other.
        place.try_other(&proxy, good.addr);
        let confirmed = ask(place.admin, "POST /reload/confirm", &[], "");
        assert_eq!(confirmed.status(), 200, "{}", confirmed.text());
        eventually("the confirmation is noted", || !is_noted(&place.state()));
        assert_eq!(proxy.stop(), 0);
        let mut proxy = place.start(good.addr);
        assert!(!proxy.log().contains(UNCONFIRMED), "{}", proxy.log());
        assert_eq!(proxy.stop(), 0);
    }
}

#[test]
fn a_confirmation_is_noted_when_the_disk_works_again() {
    let (directory, disk) = (Directory::new(), Disk::new());
    let state = directory.path().join("state.json");
    let written = Written::on(Some(&disk), &format!("state_file = {state:?}"));
    written.try_bad();
    disk.strike("rename state.json.new", 1, Strike::Error(libc::EIO));
    let confirmed = written.managed.ask("POST /reload/confirm", &[], "");
    assert_eq!(confirmed.status(), 200, "{}", confirmed.text());
    written
        .managed
        .proxy
        .wait_for_log(&["the state file cannot say so yet"]);
    eventually("the confirmation is noted", || !is_noted(&state));
}
