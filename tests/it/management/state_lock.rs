//! A state file has one process that writes it, and an upgrade keeps all of its content, even if the new process keeps
//! it at another path.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::support::managed::{ask, json_of, pool};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, run};
use crate::support::shim::{Disk, Strike};
use crate::support::{Lineage, Origin, Proxy, eventually, get};

/// A pool of three, with a management API.
struct Site {
    admin: SocketAddr,
    backends: [SocketAddr; 3],
}

impl Site {
    fn new() -> Site {
        Site {
            admin: free_addr(),
            backends: [free_addr(), free_addr(), free_addr()],
        }
    }

    fn config(&self, state: Option<&Path>) -> String {
        let state = state.map(|path| format!("state_file = {path:?}\n"));
        format!(
            "workers = 1\n[admin]\nlisten_addr = \"{}\"\n{}{}",
            self.admin,
            state.unwrap_or_default(),
            pool(&self.backends)
        )
    }

    #[track_caller]
    fn remove(&self, backend: SocketAddr) {
        let answer = ask(
            self.admin,
            &format!("DELETE /pools/api/servers/{backend}"),
            &[],
            "",
        );
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// Has the state file moved; returns the status of the answer.
    #[track_caller]
    fn reload(&self, proxy: &Proxy, state: &Path) -> u16 {
        let config = self.config(Some(state));
        let config = format!("listen_addr = \"{}\"\n{config}", proxy.addr);
        proxy.directory.write("config.toml", &config);
        let answer = ask(self.admin, "POST /reload", &[], "");
        let is_held = answer.text().contains("another palantir");
        assert_eq!(is_held, answer.status() == 500, "{}", answer.text());
        answer.status()
    }

    /// The number of backends of the pool.
    fn backends(&self) -> usize {
        let answer = json_of(&ask(self.admin, "GET /servers?pool=api", &[], ""));
        answer["servers"].as_array().unwrap().len()
    }
}

#[test]
fn a_second_palantir_does_not_start_with_the_state_file_of_another() {
    let directory = Directory::new();
    let [state, link] = ["state.json", "link.json"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink("state.json", &link).unwrap();
    let (first, second) = (Site::new(), Site::new());
    let mut proxy = Proxy::start(&first.config(Some(&state)));
    for path in [&state, &link] {
        let config = second.config(Some(path));
        let mut other = Proxy::launch(command(), free_addr(), &config);
        assert_eq!(other.wait_for_exit(), 1);
        let pid = proxy.pid().to_string();
        other.wait_for_log(&["state file", path.to_str().unwrap(), "process", &pid]);
        let file = other.directory.path().join("config.toml");
        let checked = run(&["--config", file.to_str().unwrap(), "check"]);
        assert!(checked.status.success(), "{checked:?}");
    }
    // A reload does not get the lock either.
    let other = Proxy::start(&second.config(None));
    assert_eq!(second.reload(&other, &state), 500);
    first.remove(first.backends[0]);
    assert_eq!(proxy.stop(), 0);
    assert_eq!(second.reload(&other, &state), 200);
}

#[test]
fn a_process_that_only_finishes_leaves_the_state_file_to_the_next() {
    let directory = Directory::new();
    let state = directory.path().join("state.json");
    let (first, second) = (Site::new(), Site::new());
    let mut lineage = Lineage::start(&first.config(Some(&state)));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    for round in 0..3 {
        lineage.upgrade();
        lineage.wait_for_elders();
        let pid = lineage.pid().to_string();
        eventually("the new process says that the lock is its own", || {
            let lock = fs::read_to_string(directory.path().join("state.json.lock"));
            lock.unwrap().trim() == pid
        });
        let mut other = Proxy::launch(command(), free_addr(), &second.config(Some(&state)));
        assert_eq!(other.wait_for_exit(), 1, "after upgrade {round}");
        other.wait_for_log(&["another palantir", &pid]);
    }
    // An upgrade that fails does not take the lock away.
    lineage.write_config("no configuration");
    lineage.fail_to_upgrade(&["no configuration"]);
    lineage.write_config(&(head + &first.config(Some(&state))));
    let mut other = Proxy::launch(command(), free_addr(), &second.config(Some(&state)));
    assert_eq!(other.wait_for_exit(), 1);
    assert_eq!(lineage.stop(), 0);
    let mut other = Proxy::start(&second.config(Some(&state)));
    assert_eq!(other.stop(), 0);
}

#[test]
fn a_reload_takes_the_new_place_before_it_lets_the_old_one_go() {
    let directory = Directory::new();
    let places = ["a", "b", "c"].map(|name| directory.path().join(name));
    let [a, b, c] = &places;
    let (first, second) = (Site::new(), Site::new());
    let (one, other) = (
        Proxy::start(&first.config(Some(a))),
        Proxy::start(&second.config(Some(b))),
    );
    assert_eq!(first.reload(&one, b), 500);
    // The refused reload has cost nothing: the process still has the lock of the old path.
    assert_eq!(second.reload(&other, a), 500);
    assert_eq!(first.reload(&one, c), 200);
    assert_eq!(second.reload(&other, a), 200);
}

#[test]
fn an_upgrade_keeps_what_the_api_said_wherever_the_state_file_is_now() {
    let directory = Directory::new();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    let steps = [Some(&a), Some(&b), None, None, Some(&a)];
    let site = Site::new();
    let mut lineage = Lineage::start(&site.config(Some(&a)));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    site.remove(site.backends[0]);
    for place in steps {
        lineage.write_config(&(head.clone() + &site.config(place.map(|path| path.as_path()))));
        lineage.upgrade();
        lineage.wait_for_elders();
        assert_eq!(site.backends(), 2, "{place:?}");
    }
    // The state was written at the last path, for a start that takes over from no process.
    let text = fs::read_to_string(&a).unwrap();
    assert!(text.contains(&site.backends[0].to_string()), "{text}");
    assert_eq!(lineage.stop(), 0);
    let _next = Proxy::start(&site.config(Some(&a)));
    assert_eq!(site.backends(), 2, "after a start");
}

#[test]
fn an_upgrade_to_the_state_file_of_another_is_refused() {
    let directory = Directory::new();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    let (first, second) = (Site::new(), Site::new());
    let lineage = Lineage::start(&first.config(Some(&a)));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    let _other = Proxy::start(&second.config(Some(&b)));
    second.remove(second.backends[0]);
    let before = fs::read(&b).unwrap();
    lineage.write_config(&(head + &first.config(Some(&b))));
    lineage.fail_to_upgrade(&["another palantir"]);
    assert_eq!(fs::read(&b).unwrap(), before);

    assert_eq!(first.backends(), 3);
}

#[test]
fn a_link_that_is_turned_to_the_state_file_of_another_leads_nobody_to_write_it() {
    let directory = Directory::new();
    let [link, other] = ["link", "other"].map(|name| directory.path().join(name));
    std::os::unix::fs::symlink("own", &link).unwrap();
    let (first, second) = (Site::new(), Site::new());
    let _one = Proxy::start(&first.config(Some(&link)));
    let mut two = Proxy::start(&second.config(Some(&other)));
    second.remove(second.backends[0]);
    let before = fs::read(&other).unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("other", &link).unwrap();
    let line = format!("DELETE /pools/api/servers/{}", first.backends[0]);
    let refused = ask(first.admin, &line, &[], "");
    assert_eq!(refused.status(), 500, "{}", refused.text());
    assert!(refused.text().contains("another palantir"));
    assert_eq!(fs::read(&other).unwrap(), before);
    assert_eq!(first.backends(), 3);
    // Once nobody else has it, it is taken.
    assert_eq!(two.stop(), 0);
    first.remove(first.backends[0]);
    let text = fs::read_to_string(&other).unwrap();
    assert!(text.contains(&first.backends[0].to_string()), "{text}");
}

#[test]
fn a_change_that_ends_after_the_beginning_of_a_stop_keeps_the_state_file_from_nobody() {
    let (directory, disk) = (Directory::new(), Disk::new());
    let state = directory.path().join("state.json");
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.rest();
        }
    });
    let (mut first, second) = (Site::new(), Site::new());
    first.backends[0] = origin.addr;
    let config = format!("shutdown_timeout = 600\n{}", first.config(Some(&state)));
    let mut command = command();
    disk.apply(&mut command);
    let proxy = Proxy::start_as(command, &config);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    origin.wait_for_requests(1);
    disk.strike("rename state.json.new", 1, Strike::Hang);
    std::thread::scope(|scope| {
        let change = scope.spawn(|| first.remove(first.backends[2]));
        eventually("the change is on its way", || disk.is_hit());
        proxy.signal(libc::SIGTERM);
        proxy.wait_for_log(&["stopping: running requests"]);
        disk.rest();
        change.join().unwrap();
    });
    let mut other = Proxy::start(&second.config(Some(&state)));
    assert!(!proxy.log().contains("stopped"), "{}", proxy.log());
    assert_eq!(other.stop(), 0);
}
