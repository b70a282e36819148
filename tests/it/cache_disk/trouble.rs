//! Trouble with the disk: it costs answers of the cache, and neither the service nor a right answer.

use std::process::Stdio;

use super::*;
use crate::support::proxy::end_with_this_thread;

/// A command for the proxy in a mount namespace with a small file system at this path; `None` where this user may not
/// have one.
fn with_small_disk(path: &Path) -> Option<Command> {
    let mount = format!(
        "mount -t tmpfs -o size=5m tmpfs {} && exec \"$0\" \"$@\"",
        path.display()
    );
    let in_namespace = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount, program]);
        command
    };
    let mut test = in_namespace("true");
    let works = test.stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = in_namespace(env!("CARGO_BIN_EXE_palantir"));
    end_with_this_thread(&mut command);
    Some(command)
}

#[test]
fn a_full_disk_does_not_touch_the_service() {
    let (origin, directory) = (origin(), Directory::new());
    let Some(command) = with_small_disk(directory.path()) else {
        eprintln!("not shown here: needs a mount namespace, which takes root");
        return;
    };
    let mut proxy = DiskProxy::start_as(command, &origin, directory.path(), "4MiB");
    let mut client = proxy.client();
    for _ in 0..3 {
        ask_all(&mut client, 700);
    }
    eventually("a write fails", || {
        ask_all(&mut client, 300);
        proxy.figure("errors") > 0
    });
    let warned = ["cannot be used as it should", "No space left"];
    proxy.proxy.wait_for_log(&warned);
    let log = proxy.proxy.log();
    assert_eq!(log.matches(warned[0]).count(), 1, "one line a minute");
    // A purge is answered once nothing can come back.
    proxy.purge(r#"{"all": true}"#);
    assert!(!ask(&mut client, "/1"));
    assert!(ask(&mut client, "/1"));
    drop(client);
    assert_eq!(proxy.proxy.stop(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_does_not_touch_the_service() {
    let (origin, directory) = (origin(), Directory::new());
    let file = directory.write("file", "no folder");
    let mut proxy = DiskProxy::start(&origin, &file, "8MiB");
    proxy.proxy.wait_for_log(&["cannot be used as it should"]);
    let mut client = proxy.client();
    assert!(!ask(&mut client, "/1"));
    assert!(ask(&mut client, "/1"));
    assert_eq!(proxy.figure("open"), 0);
    drop(client);
    assert_eq!(proxy.proxy.stop(), 0);
    assert_eq!(fs::read(&file).unwrap(), b"no folder");
}

#[test]
fn flipped_bits_cost_answers_and_none_is_wrong() {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
    ask_all(&mut proxy.client(), 200);
    for turn in 0..3 {
        assert_eq!(proxy.proxy.stop(), 0);
        for segment in segments(directory.path()) {
            let mut bytes = fs::read(&segment).unwrap();
            let step = bytes.len() / 20 + 1;
            (turn..bytes.len())
                .step_by(step)
                .for_each(|at| bytes[at] ^= 1 << (at % 8));
            fs::write(&segment, bytes).unwrap();
        }
        proxy = DiskProxy::start_scanned(&origin, directory.path(), "16MiB");
        let mut client = proxy.client();
        let before = origin.count();
        ask_all(&mut client, 200);
        assert!(origin.count() > before, "{turn}: something was damaged");
        assert!(proxy.figure("damaged") > 0);
        assert!(paths(200).all(|path| ask(&mut client, &path)));
    }
}

#[test]
fn files_that_go_while_they_are_used_cost_answers() {
    let (origin, directory) = (origin(), Directory::new());
    let mut proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    let mut client = proxy.client();
    ask_all(&mut client, 600);
    proxy.settle();
    for segment in segments(directory.path()) {
        fs::remove_file(segment).unwrap();
    }
    fs::remove_file(directory.path().join("journal")).unwrap();
    ask_all(&mut client, 900);
    proxy.settle();
    drop(client);
    assert_eq!(proxy.proxy.stop(), 0);
    // The journal is gone, and with it all that was written.
    let proxy = DiskProxy::start_scanned(&origin, directory.path(), "8MiB");
    assert_eq!(proxy.figure("entries"), 0);
    let mut client = proxy.client();
    ask_all(&mut client, 100);
}
