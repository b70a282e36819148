//! The effects of signals, among them those that users of other proxies know.

use std::fs;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;

use crate::support::frozen::Frozen;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::{command, route};
use crate::support::{Origin, PATIENCE, Proxy, eventually, get};

/// The command without a terminal, as a service runs.
fn of_a_service() -> Command {
    let mut command = command();
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    command
}

#[test]
fn quit_is_a_stop_in_good_order() {
    let origin = Origin::saying("served");
    let mut proxy = Proxy::start(&route("/", &[origin.addr]));
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    proxy.signal(libc::SIGQUIT);
    assert_eq!(proxy.wait_for_exit(), 0);
    client.ends();
    proxy.wait_for_log(&["SIGQUIT", "stopping"]);
}

#[test]
fn usr1_reopens_the_access_log_and_reloads_nothing() {
    let origin = Origin::saying("served");
    let log = "[access_log]\npath = \"{dir}/access.log\"\n";
    let proxy = Proxy::start(&format!("{log}{}", route("/", &[origin.addr])));
    assert_eq!(proxy.ask(get("/before")).status(), 200);
    proxy.access_lines(1);
    let moved = proxy.directory.path().join("moved.log");
    fs::rename(proxy.access_log_path(), &moved).unwrap();
    proxy.signal(libc::SIGUSR1);
    eventually("the log is opened anew", || {
        proxy.access_log_path().exists()
    });
    assert_eq!(proxy.ask(get("/after")).status(), 200);
    assert!(proxy.access_lines(1)[0].contains("/after"));
    assert!(!fs::read_to_string(moved).unwrap().contains("/after"));
    assert!(!proxy.log().contains("audit="), "nothing is reloaded");
}

#[test]
fn winch_stops_accepting_and_leaves_the_clients_that_are_there() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /wait ") {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(ok("served"));
        }
    });
    // Draining after SIGWINCH may take longer than a stop may.
    let config = format!("shutdown_timeout = 0.1\n{}", route("/", &[origin.addr]));
    let mut proxy = Proxy::start_as(of_a_service(), &config);
    let mut client = proxy.client();
    client.send(get("/wait"));
    origin.wait_for_requests(1);
    let mut idle = proxy.client();
    assert_eq!(idle.ask(get("/")).status(), 200);
    proxy.signal(libc::SIGWINCH);
    eventually("nobody listens any more", || {
        TcpStream::connect(proxy.addr).is_err()
    });
    assert_eq!(
        idle.ask(get("/")).text(),
        "served",
        "nothing is closed under its hands"
    );
    let_go.send(()).unwrap();
    assert_eq!(client.answer().text(), "served");
    assert_eq!(proxy.wait_for_exit(), 0);
}

/// No listening socket lets clients connect that nobody would serve: neither the management API's, nor any while a disk
/// does not answer.
#[test]
fn winch_closes_every_listening_socket() {
    let origin = Origin::start(|link| while link.request().is_some() {});
    let admin = free_addr();
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start_as(of_a_service(), &config);
    let mut running = proxy.client();
    running.send(get("/wait"));
    origin.wait_for_requests(1);
    let _frozen = Frozen::new(proxy.pid(), "files");
    proxy.signal(libc::SIGWINCH);
    for addr in [proxy.addr, admin] {
        eventually("nobody listens any more", || {
            TcpStream::connect(addr).is_err()
        });
    }
}

/// HAProxy gives SIGTTIN and SIGTTOU a meaning.
#[test]
fn what_means_nothing_ends_nothing() {
    let origin = Origin::saying("served");
    let mut proxy = Proxy::start_as(of_a_service(), &route("/", &[origin.addr]));
    for signal in [libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU] {
        proxy.signal(signal);
        assert_eq!(proxy.ask(get("/")).text(), "served", "{signal}");
    }
    assert_eq!(proxy.stop(), 0);
}

/// A process that waits at its start for an old process, which never answers, and the old process's end of the line.
fn waiting_start() -> (Proxy, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: fills a live array with new descriptors.
    let (ours, theirs) = unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        let made = libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr());
        assert_eq!(made, 0, "socketpair");
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    let mut command = of_a_service();
    let fd = theirs.as_raw_fd();
    command.env("PALANTIR_HANDOVER", "100");
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(move || {
            libc::dup2(fd, 100);
            Ok(())
        });
    }
    let addr = free_addr();
    let socket = "[[listeners]]\naddr = \"unix:{dir}/socket\"\n";
    let config = format!("{socket}{}", route("/", &[free_addr()]));
    let proxy = Proxy::launch(
        command,
        addr,
        &format!("listen_addr = \"{addr}\"\n{config}"),
    );
    let threads = format!("/proc/{}/task", proxy.pid());
    let is_start = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "start\n")
    };
    eventually("the start has begun", || {
        let threads = fs::read_dir(&threads).unwrap();
        threads.flatten().any(is_start)
    });
    (proxy, ours)
}

#[test]
fn a_start_ends_at_once() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        let (mut proxy, _other) = waiting_start();
        for early in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH] {
            proxy.signal(early);
        }
        proxy.signal(signal);
        assert_eq!(proxy.wait_for_exit(), 0);
    }
}

/// The start has opened everything, and waits for leave to accept.
#[test]
fn a_start_that_is_ended_leaves_nothing_behind() {
    let (mut proxy, other) = waiting_start();
    let no_more = b"no more";
    // SAFETY: a plain system call on a live descriptor and a live text.
    let sent = unsafe { libc::send(other.as_raw_fd(), no_more.as_ptr().cast(), no_more.len(), 0) };
    assert_eq!(sent, no_more.len() as isize);
    let mut word = [0_u8; 64];
    // SAFETY: a plain system call on a live descriptor and a live buffer.
    let heard = unsafe { libc::recv(other.as_raw_fd(), word.as_mut_ptr().cast(), word.len(), 0) };
    assert!(word[..heard as usize].starts_with(b"ready"));
    let socket = proxy.directory.path().join("socket");
    assert!(socket.exists());
    assert_eq!(proxy.stop(), 0);
    assert!(!socket.exists());
}
