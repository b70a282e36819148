//! A file that was taken back stays so, and a file that nobody asked for is not loaded: rollbacks, trials, and reloads
//! that wait.

use std::net::SocketAddr;

use crate::support::managed::{Managed, is_problem, pool};
use crate::support::place::{free_addr, listen};
use crate::support::proxy::list;
use crate::support::{Origin, eventually, get, metrics};

/// A proxy whose file is rewritten repeatedly.
struct Written {
    managed: Managed,
    good: Origin,
}

impl Written {
    fn new() -> Written {
        let good = Origin::saying("good");
        let managed = Managed::to(&[good.addr]);
        Written { managed, good }
    }

    /// Writes the file with these backends, and with further listeners at these addresses.
    fn write(&self, backends: &[SocketAddr], more: &[SocketAddr]) {
        let listened: Vec<_> = std::iter::once(&self.managed.proxy.addr)
            .chain(more)
            .copied()
            .collect();
        let text = format!(
            "listen_addr = {}\nworkers = 2\n[admin]\nlisten_addr = \"{}\"\n{}",
            list(&listened),
            self.managed.admin,
            pool(backends)
        );
        self.managed.proxy.directory.write("config.toml", &text);
    }

    /// Begins a trial of a file whose backend does not answer.
    #[track_caller]
    fn try_bad(&self) {
        self.write(&[free_addr()], &[]);
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
        .wait_for_log(&["this is tried again", "SIGHUP"]);
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
