//! Whatever becomes of the new process, or of the old one, at each step of an upgrade: one of them serves.

use std::fs;
use std::io::ErrorKind;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::place::Directory;
use crate::support::proxy::{end_with_this_thread, route};
use crate::support::{Lineage, Origin, PATIENCE, eventually};

/// The program in a folder of its own, where another one can be put in its place.
struct Installed {
    folder: Directory,
}

impl Installed {
    fn new() -> Installed {
        let installed = Installed {
            folder: Directory::new(),
        };
        fs::copy(env!("CARGO_BIN_EXE_palantir"), installed.program()).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_palantir"), installed.real()).unwrap();
        installed
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("palantir")
    }

    /// Where the program is found by what stands in its place.
    fn real(&self) -> PathBuf {
        self.folder.path().join("real")
    }

    /// From now on the next process is what `line` of a shell makes of `$REAL` and its arguments.
    fn become_script(&self, line: &str) {
        let text = format!("#!/bin/sh\nREAL={}\n{line}\n", self.real().display());
        let new = self.folder.write("script", &text);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env_remove("RUST_LOG");
        end_with_this_thread(&mut command);
        command
    }
}

/// Clients that ask all the time, on a new connection every time.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    /// Connections that ended without an answer: those that a process had accepted which was killed.
    lost: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

const CLIENTS: usize = 4;

impl Load {
    fn on(addr: SocketAddr) -> Load {
        let mut load = Load {
            is_over: Arc::default(),
            answered: Arc::default(),
            lost: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..CLIENTS {
            let (is_over, answered) = (load.is_over.clone(), load.answered.clone());
            let lost = load.lost.clone();
            load.clients.push(thread::spawn(move || {
                while !is_over.load(SeqCst) {
                    match ask(addr) {
                        Ok(()) => answered.fetch_add(1, SeqCst),
                        Err(error) => {
                            assert_ne!(
                                error.kind(),
                                ErrorKind::ConnectionRefused,
                                "nobody listens"
                            );
                            assert_ne!(error.kind(), ErrorKind::WouldBlock, "nobody serves");
                            lost.fetch_add(1, SeqCst)
                        }
                    };
                    thread::sleep(Duration::from_millis(1));
                }
            }));
        }
        load
    }

    /// Waits until requests are answered that began after this was called.
    #[track_caller]
    fn is_served(&self) {
        let goal = self.answered.load(SeqCst) + 2 * CLIENTS;
        eventually("requests are answered", || {
            let failed = self.clients.iter().any(|client| client.is_finished());
            assert!(!failed, "somebody was not served");
            self.answered.load(SeqCst) >= goal
        });
    }

    /// Ends it; how many connections were lost.
    #[track_caller]
    fn end(self) -> usize {
        self.is_over.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("somebody serves all the time");
        }
        self.lost.load(SeqCst)
    }
}

/// One request on a connection of its own. Errors: as the system has them; `UnexpectedEof` without an answer.
fn ask(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.is_empty() {
        true => Err(ErrorKind::UnexpectedEof.into()),
        false => {
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"),
                "{answer:?}"
            );
            Ok(())
        }
    }
}

fn config(origin: &Origin) -> String {
    format!("workers = 2\n{}", route("/", &[origin.addr]))
}

/// Upgrades to a program that dies or is starved in a way that `script` makes of the number of the round, until one takes
/// over. Nobody may notice but whoever is lost with a process that is killed. The number of rounds.
#[track_caller]
fn walk(script: impl Fn(usize) -> String) -> usize {
    let (installed, origin) = (Installed::new(), Origin::saying("served"));
    let mut lineage = Lineage::start_as(installed.command(), &config(&origin));
    let load = Load::on(lineage.proxy.addr);
    let mut round = 0;
    loop {
        installed.become_script(&script(round));
        round += 1;
        assert!(round < 400, "no upgrade succeeds");
        if lineage.try_to_upgrade() {
            break;
        }
        load.is_served();
    }
    load.is_served();
    let lost = load.end();
    assert!(
        lost <= CLIENTS * round,
        "{lost} connections were lost in {round} rounds"
    );
    round
}

/// Runs the program under strace, which does `what` at a system call among `names`, the one of this number: of its first
/// thread, or of any.
fn at_call(threads: &str, names: &str, what: &str, number: usize) -> String {
    let traced = format!("-e trace={names} -e inject={names}:{what}:when={number}");
    format!("exec strace -D {threads} -qq -o /dev/null {traced} \"$REAL\" \"$@\"")
}

const FIRST: &str = "";
const ANY: &str = "-f";

/// The steps of the hand-over, as the system sees them: none that a process makes which serves, because that would be
/// killed after the upgrade.
const STEPS: [(&str, &str); 6] = [
    (FIRST, "recvmsg,sendmsg"),
    (FIRST, "openat"),
    (FIRST, "clone3,clone"),
    (FIRST, "socketpair"),
    (FIRST, "fcntl"),
    (
        ANY,
        "epoll_create1,io_uring_setup,eventfd2,sched_setaffinity",
    ),
];

#[test]
fn a_new_process_that_is_killed_at_any_step_costs_nobody_the_service() {
    let rounds: usize = STEPS
        .iter()
        .map(|(threads, names)| walk(|round| at_call(threads, names, "signal=KILL", round + 1)))
        .sum();
    assert!(
        rounds > 100,
        "{rounds} rounds are too few to have seen much"
    );
}

#[test]
fn a_new_process_whose_system_calls_fail_costs_nobody_the_service() {
    for (threads, names, error) in [
        (FIRST, "socketpair", "EMFILE"),
        (ANY, "epoll_create1,io_uring_setup", "ENOMEM"),
        (ANY, "eventfd2", "EMFILE"),
        (FIRST, "clone3,clone", "EAGAIN"),
        (FIRST, "fcntl", "EMFILE"),
        (FIRST, "openat", "EMFILE"),
    ] {
        walk(|round| at_call(threads, names, &format!("error={error}"), round + 1));
    }
}

#[test]
fn a_new_process_without_descriptors_costs_nobody_the_service() {
    let rounds = walk(|round| format!("ulimit -n {}; exec \"$REAL\" \"$@\"", 8 + round));
    assert!(rounds > 10, "{rounds}");
}

#[test]
fn a_new_process_without_memory_costs_nobody_the_service() {
    let kilobytes = |round| 8_000.0 * 1.1f64.powi(round as i32);
    walk(|round| {
        format!(
            "ulimit -v {}; exec \"$REAL\" \"$@\"",
            kilobytes(round) as u64
        )
    });
}

/// It has not taken the sockets, or has said that it is ready, or has heard that it may accept.
#[test]
fn a_new_process_that_stands_still_is_given_up() {
    thread::scope(|scope| {
        for (name, number) in [("recvmsg", 1), ("sendmsg", 2), ("recvmsg", 4)] {
            let script = at_call(FIRST, name, "signal=STOP", number);
            scope.spawn(move || {
                let (installed, origin) = (Installed::new(), Origin::saying("served"));
                let mut lineage = Lineage::start_as(installed.command(), &config(&origin));
                let load = Load::on(lineage.proxy.addr);
                installed.become_script(&script);
                assert!(!lineage.try_to_upgrade(), "{name} {number}");
                load.is_served();
                load.end();
            });
        }
    });
}

/// The program's processes that use this folder's configuration.
fn processes(config: &Path) -> Vec<i32> {
    let config = config.to_str().unwrap();
    let folders = fs::read_dir("/proc").unwrap().flatten();
    let pids = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(config)
    })
    .collect()
}

#[test]
fn when_the_old_process_is_killed_the_new_one_serves() {
    for round in 0..40 {
        let origin = Origin::saying("served");
        let lineage = Lineage::start(&config(&origin));
        let path = lineage.proxy.directory.path().join("config.toml");
        let old = lineage.pid();
        lineage.signal(libc::SIGUSR2);
        thread::sleep(Duration::from_millis(4 * round));
        // SAFETY: plain system call on a process that was not waited for yet.
        unsafe { libc::kill(old, libc::SIGKILL) };
        let new = || processes(&path).into_iter().find(|pid| *pid != old);
        if new().is_none() {
            continue; // It was not started yet.
        }
        eventually("the new process serves", || ask(lineage.proxy.addr).is_ok());
        for pid in processes(&path) {
            // SAFETY: as above: it is this process's grandchild, and now its child.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}
