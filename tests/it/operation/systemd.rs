//! The messages of the proxy to a service manager, and the sockets that it takes from one.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::frozen::Frozen;
use crate::support::managed::ask;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, end_with_this_thread, route};
use crate::support::{Client, Lineage, Origin, PATIENCE, eventually, get};

/// The proxy as a service manager starts it that listens on `sockets` for it. It goes by its own process id, which only
/// the process itself knows before it runs the binary.
fn activated(sockets: &[RawFd]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_palantir"));
    command.env_remove("RUST_LOG");
    command.env("LISTEN_FDS", sockets.len().to_string());
    command.env("LISTEN_FDNAMES", vec!["http"; sockets.len()].join(":"));
    end_with_this_thread(&mut command);
    let sockets = sockets.to_vec();
    // SAFETY: between fork and exec only system calls on plain numbers.
    unsafe {
        command.pre_exec(move || {
            // Out of each other's way first.
            for (place, &fd) in sockets.iter().enumerate() {
                libc::dup2(fd, 100 + place as RawFd);
            }
            for place in 0..sockets.len() as RawFd {
                libc::dup2(100 + place, 3 + place);
                libc::close(100 + place);
            }
            Ok(())
        });
    }
    command
}

fn listening(addr: SocketAddr) -> TcpListener {
    crate::support::place::listen(addr)
}

#[test]
fn passed_sockets_are_used_by_every_worker_and_outlive_upgrades() {
    let origin = Origin::saying("served");
    let [passed, bound, stray] = [free_addr(), free_addr(), free_addr()];
    let sockets = [listening(stray), listening(passed)];
    // A client that comes before the proxy runs waits.
    let mut early = Client::connect(passed);
    early.send(get("/"));
    let config = format!(
        "listen_addr = [\"{bound}\", \"{passed}\"]\nworkers = 2\n{}",
        route("/", &[origin.addr])
    );
    let fds = sockets.each_ref().map(AsRawFd::as_raw_fd);
    let mut lineage = Lineage::launch(activated(&fds), bound, &config);
    assert_eq!(early.answer().text(), "served");
    drop(early);
    lineage.proxy.wait_until_it_accepts();
    lineage.proxy.wait_for_log(&["WARN", &stray.to_string()]);
    for _ in 0..2 {
        for addr in [passed, bound] {
            for _ in 0..10 {
                assert_eq!(Client::connect(addr).ask(get("/")).text(), "served");
            }
        }
        lineage.upgrade();
    }
    assert_eq!(lineage.stop(), 0);
    // The service manager still has it.
    Client::connect(passed);
}

/// The file of a socket that a service manager passed belongs to the manager.
#[test]
fn a_unix_socket_that_was_passed_stays_and_is_not_changed() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let addr = free_addr();
    let config = format!(
        "listen_addr = [\"{addr}\", \"unix:{}\"]\n{}",
        path.display(),
        route("/", &[origin.addr])
    );
    let mut lineage = Lineage::launch(activated(&[listener.as_raw_fd()]), addr, &config);
    lineage.proxy.wait_until_it_accepts();
    lineage.upgrade();
    lineage.wait_for_elders();
    assert_eq!(lineage.stop(), 0);
    assert!(UnixStream::connect(&path).is_ok());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let origin = Origin::saying("served");
    let mut command = command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "3");
    let mut lineage = Lineage::start_as(command, &route("/", &[origin.addr]));
    assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    assert_eq!(lineage.stop(), 0);
    assert!(!lineage.proxy.log().contains("passed"));
}

/// A service manager's ear. It always listens, because the kernel keeps few messages, and what it has no room for is
/// lost.
struct Ear {
    directory: Directory,
    heard: Receiver<Vec<u8>>,
}

impl Ear {
    fn new() -> Ear {
        let directory = Directory::new();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let (hear, heard) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = socket.recv(&mut bytes)
                && hear.send(bytes[..count].to_vec()).is_ok()
            {}
        });
        Ear { directory, heard }
    }

    fn command(&self) -> Command {
        let mut command = command();
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// Receives the next message.
    fn whole(&self) -> String {
        let bytes = self.heard.recv_timeout(PATIENCE);
        String::from_utf8(bytes.expect("a message comes")).unwrap()
    }

    /// The next message, without what is for people.
    fn next(&self) -> String {
        let text = self.whole();
        let is_for_people =
            |line: &&str| !line.starts_with("STATUS=") && !line.starts_with("ERRNO=");
        let lines = text.lines().filter(is_for_people);
        lines.collect::<Vec<_>>().join(" ")
    }
}

fn monotonic_micros() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills a live struct; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[test]
fn the_service_manager_hears_how_we_are() {
    let origin = Origin::saying("served");
    let ear = Ear::new();
    let mut lineage = Lineage::start_as(ear.command(), &route("/", &[origin.addr]));
    let config = lineage.config();
    let before = monotonic_micros();
    assert_eq!(ear.next(), "READY=1");
    lineage.signal(libc::SIGHUP);
    let reloading = ear.next();
    let time = reloading.strip_prefix("RELOADING=1 MONOTONIC_USEC=");
    let time: u64 = time.expect(&reloading).parse().unwrap();
    assert!(before < time && time < monotonic_micros());
    assert_eq!(ear.next(), "READY=1");
    lineage.write_config("mistaken");
    lineage.signal(libc::SIGHUP);
    assert!(ear.next().starts_with("RELOADING=1 "));
    assert_eq!(ear.next(), "READY=1", "also after a reload that failed");
    lineage.write_config(&config);
    lineage.upgrade();
    assert_eq!(ear.next(), format!("MAINPID={}", lineage.pid()));
    assert_eq!(ear.next(), "READY=1");
    lineage.wait_for_elders();
    assert_eq!(lineage.stop(), 0);
    assert_eq!(ear.next(), "STOPPING=1");
}

#[test]
fn the_watchdog_is_fed_by_whoever_is_in_charge() {
    let origin = Origin::saying("served");
    let ear = Ear::new();
    let mut command = ear.command();
    command.env("WATCHDOG_USEC", "1000000");
    let mut lineage = Lineage::start_as(command, &route("/", &[origin.addr]));
    assert_eq!(ear.next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(ear.next(), "WATCHDOG=1");
    }
    lineage.upgrade();
    lineage.wait_for_elders();
    let ready = || ear.next() == "READY=1";
    eventually("the new process is ready", ready);
    for _ in 0..3 {
        assert_eq!(ear.next(), "WATCHDOG=1");
    }
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_reload_that_is_refused_is_told_as_such() {
    let origin = Origin::saying("served");
    let ear = Ear::new();
    let mut lineage = Lineage::start_as(ear.command(), &route("/", &[origin.addr]));
    let config = lineage.config();
    assert_eq!(ear.whole(), "READY=1\nERRNO=0\nSTATUS=serving, revision 1");
    lineage.write_config("workers = \"many\"");
    lineage.signal(libc::SIGHUP);
    assert!(ear.next().starts_with("RELOADING=1 "));
    let refused = ear.whole();
    let begin = "READY=1\nERRNO=22\nSTATUS=the reload was refused: ";
    assert!(refused.starts_with(begin), "{refused}");
    assert!(refused.contains("workers"), "{refused}");
    assert!(refused.ends_with("; serving, revision 1"), "{refused}");
    lineage.write_config(&config);
    lineage.signal(libc::SIGHUP);
    assert!(ear.next().starts_with("RELOADING=1 "));
    assert_eq!(ear.whole(), "READY=1\nERRNO=0\nSTATUS=serving, revision 1");
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_reload_that_is_given_up_is_over_for_the_service_manager() {
    let origin = Origin::saying("served");
    let ear = Ear::new();
    let admin = free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", &[origin.addr])
    );
    let mut lineage = Lineage::start_as(ear.command(), &config);
    assert_eq!(ear.next(), "READY=1");
    let frozen = Frozen::new(lineage.proxy.pid(), "files");
    let refused = ask(admin, "POST /reload", &[], "");
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(ear.next().starts_with("RELOADING=1 "));
    let given_up = ear.whole();
    let begin = "READY=1\nERRNO=22\nSTATUS=the reload was refused: ";
    assert!(given_up.starts_with(begin), "{given_up}");
    drop(frozen);
    // The work that was given up is over, and the next refusal is reported as usual.
    eventually("a reload is taken", || {
        let reload = ask(admin, "POST /reload", &[], "");
        reload.status() == 200
    });
    eventually("it is told as done", || {
        ear.whole() == "READY=1\nERRNO=0\nSTATUS=serving, revision 1"
    });
    assert_eq!(lineage.stop(), 0);
}

/// For systemd 252 and later, whichever is installed.
#[test]
fn the_units_are_valid() {
    let directory = Directory::new();
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/palantir");
    let read = |kind: &str| std::fs::read_to_string(format!("{units}.{kind}")).unwrap();
    let service = read("service").replace("/usr/bin/palantir", env!("CARGO_BIN_EXE_palantir"));
    assert!(
        service.contains("\nType=notify\n"),
        "252 knows no notify-reload"
    );
    let paths = [
        directory.write("palantir.service", &service),
        directory.write("palantir.socket", &read("socket")),
    ];
    let mut verify = Command::new("systemd-analyze");
    let output = verify.arg("verify").args(paths).output();
    let output = output.expect("systemd-analyze, of Debian's package systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let about_ours = said.lines().filter(|line| line.contains("palantir."));
    assert_eq!(about_ours.collect::<Vec<_>>(), Vec::<&str>::new());
}
