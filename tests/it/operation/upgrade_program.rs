//! The program that an upgrade starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::installed::copy_program;
use crate::support::place::Directory;
use crate::support::proxy::{end_with_this_thread, route};
use crate::support::{Lineage, Origin, get};

const BINARY: &str = env!("CARGO_BIN_EXE_palantir");

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A service manager may give a name without a slash, which is looked for in `$PATH`, where another program of that
/// name may come first.
#[test]
fn it_is_the_one_that_runs_whatever_name_it_was_called_by() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let other = directory.write("palantir", "#!/bin/sh\ntouch \"$0.ran\"\n");
    mode(&other, 0o755);
    let mut command = Command::new("bash");
    command.args(["-c", "exec -a palantir \"$0\" \"$@\"", BINARY]);
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    command.env("PATH", path).env_remove("RUST_LOG");
    end_with_this_thread(&mut command);
    let mut lineage = Lineage::start_as(command, &route("/", &[origin.addr]));
    lineage.upgrade();
    assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    lineage.proxy.wait_for_log(&["upgrade: starting", BINARY]);
    assert!(!directory.path().join("palantir.ran").exists());
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_file_that_others_may_write_is_not_started() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let folder = directory.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let binary = folder.join("palantir");
    copy_program(&binary);
    let mut command = Command::new(&binary);
    command.env_remove("RUST_LOG");
    end_with_this_thread(&mut command);
    let mut lineage = Lineage::start_as(command, &route("/", &[origin.addr]));
    mode(&binary, 0o757);
    let why = "others than root and the user of this process";
    lineage.fail_to_upgrade(&["bin/palantir: ", why]);
    mode(&binary, 0o755);
    mode(&folder, 0o777);
    lineage.fail_to_upgrade(&["bin: ", why]);
    mode(&folder, 0o755);
    lineage.upgrade();
    assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    assert_eq!(lineage.stop(), 0);
}
