//! The named messages of an upgrade, between this program and others: an old process that sends none, unknown or broken
//! ones, and a new process that asks for none.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process;

use palantir::base::limits;
use palantir::net::{Blob, BoundListener, Handed, HandoverLine};

use crate::support::installed::Installed;
use crate::support::place::free_addr;
use crate::support::proxy::{command, route};
use crate::support::{Lineage, Origin, Proxy, eventually, get};

/// Plays the old process for a new one; `blobs`: `None` for an old process of a version that sends none.
fn take_over(blobs: Option<Vec<Blob>>) -> Proxy {
    let (ours, theirs) = HandoverLine::pair().unwrap();
    let addr = free_addr();
    let socket = BoundListener::adopt(TcpListener::bind(addr).unwrap()).unwrap();
    let mut command = command();
    let fd = theirs.raw();
    command.env("PALANTIR_HANDOVER", fd.to_string());
    if blobs.is_some() {
        let identity = theirs.identity().unwrap();
        command.env("PALANTIR_HANDOVER_TOLD", identity.to_string());
    }
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let origin = Origin::saying("served");
    let config = format!("listen_addr = \"{addr}\"\n{}", route("/", &[origin.addr]));
    let proxy = Proxy::launch(command, addr, &config);
    drop(theirs);
    hand_over(&ours, socket, blobs);
    assert_eq!(proxy.ask(get("/")).text(), "served");
    proxy
}

/// All that an old process says. It goes away after `go` if it sends no messages, and after `over` otherwise.
fn hand_over(line: &HandoverLine, socket: BoundListener, blobs: Option<Vec<Blob>>) {
    let hear = |word: &str| assert_eq!(line.hear().unwrap().as_deref(), Some(word));
    line.hand_sockets(&[(socket, None)]).unwrap();
    let Some(blobs) = blobs else {
        hear("ready");
        return line.say("go").unwrap();
    };
    hear("more");
    let handed = Handed {
        blobs,
        ..Handed::default()
    };
    line.hand_rest(&handed).unwrap();
    hear("ready, and will say when it accepts");
    line.say("go").unwrap();
    hear("accepting");
    line.say("still there?").unwrap();
    hear("here");
    line.say("over").unwrap();
}

fn blob(name: &str, version: u32, bytes: &[u8]) -> Blob {
    Blob {
        name: name.to_owned(),
        version,
        bytes: bytes.to_vec(),
    }
}

#[test]
fn a_message_that_is_unknown_or_broken_stops_no_upgrade_and_the_log_says_so() {
    let too_long = vec![b' '; limits::HANDOVER_BLOB_BYTES as usize + 1];
    let rows: [(Blob, &[&str]); 5] = [
        (
            blob("unheard-of", 1, b"bytes"),
            &["unheard-of", "is ignored"],
        ),
        (blob("health", 99, b"{}"), &["health", "99", "is ignored"]),
        (blob("health", 1, b"{\"backends\": ["), &["cannot be read"]),
        (blob("health", 1, b"\xff\xfe"), &["cannot be read"]),
        (blob("health", 1, &too_long), &["health", "is ignored"]),
    ];
    for (blob, words) in rows {
        let mut proxy = take_over(Some(vec![blob]));
        proxy.wait_for_log(words);
        assert_eq!(proxy.stop(), 0);
    }
}

#[test]
fn an_old_process_that_sends_no_messages_hands_over() {
    let mut proxy = take_over(None);
    assert_eq!(proxy.stop(), 0);
    let mut proxy = take_over(Some(Vec::new()));
    assert_eq!(proxy.stop(), 0);
}

/// The variable that tells the test's other process the folder of the test.
const FOLDER: &str = "PALANTIR_TEST_BLOB_FOLDER";
const OTHER_HALF: &str = "operation::upgrade_blobs::the_new_process_of_another_test";

/// A new process of a version that asks for no messages.
#[test]
fn the_new_process_of_another_test() {
    let (Some(folder), Ok(line)) = (env::var_os(FOLDER), env::var("PALANTIR_HANDOVER")) else {
        return;
    };
    // SAFETY: the old process has opened it for this one, and nobody else here uses it.
    let mut line = unsafe { File::from_raw_fd(line.parse().unwrap()) };
    let mut wait_for = |word: &str, then: &str| {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let read = line.read(&mut bytes).unwrap();
            assert!(read > 0, "the old process has closed the line");
            if &bytes[..read] == word.as_bytes() {
                return if !then.is_empty() {
                    line.write_all(then.as_bytes()).unwrap();
                };
            }
        }
    };
    wait_for("no more", "ready");
    wait_for("go", "");
    eventually("the test has seen this process take over", || {
        PathBuf::from(&folder).join("seen").exists()
    });
    process::exit(0);
}

#[test]
fn a_new_process_that_asks_for_no_messages_takes_over() {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let folder = installed.folder.path();
    let mut lineage = Lineage::start_as(installed.command(), &route("/", &[origin.addr]));
    let (test, folder_text) = (env::current_exe().unwrap(), folder.display());
    installed.become_script(&format!(
        "{FOLDER}={folder_text} exec {} --exact {OTHER_HALF}",
        test.display()
    ));
    lineage.upgrade();
    fs::write(folder.join("seen"), "").unwrap();
    assert_eq!(lineage.stop_of_first(), 0);
}
