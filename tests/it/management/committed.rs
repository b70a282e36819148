//! A change that is on the disk is answered as done, and a file that cannot be read at the moment is read again.

use std::fs;

use crate::support::managed::{Managed, ask, json_of, pool};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::command;
use crate::support::shim::{Disk, Strike};
use crate::support::{Origin, Proxy, eventually};

#[test]
fn a_change_that_was_saved_when_a_stop_came_is_answered_as_done() {
    let origin = Origin::saying("here");
    let (admin, added, directory) = (free_addr(), free_addr(), Directory::new());
    let state = directory.path().join("state.json");
    let config = format!(
        "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\nstate_file = {state:?}\n{}",
        pool(&[origin.addr])
    );
    let disk = Disk::new();
    disk.strike("fsync .", 1, Strike::Hang);
    let mut command = command();
    disk.apply(&mut command);
    let mut proxy = Proxy::start_as(command, &config);
    let line = format!("PUT /pools/api/servers/{added}");
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(admin, &line, &[], "{}"));
        eventually("the change is in the state file", || state.exists());
        proxy.signal(libc::SIGTERM);
        proxy.wait_for_log(&["stopping: running requests"]);
        disk.rest();
        asked.join().unwrap()
    });
    assert_eq!(answer.status(), 201, "{}", answer.text());
    assert_eq!(json_of(&answer)["addr"], added.to_string());
    assert_eq!(proxy.wait_for_exit(), 0);
    assert!(
        fs::read_to_string(&state)
            .unwrap()
            .contains(&added.to_string())
    );
    let managed = Managed::start(&format!("state_file = {state:?}"), &pool(&[origin.addr]));
    assert!(managed.servers().contains(&added.to_string()));
}
