//! A standard error or a standard output that cannot be written to blocks nothing and ends no process.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output, Stdio};

use crate::support::frozen::Frozen;
use crate::support::managed::Managed;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, end_with_this_thread, route};
use crate::support::{Client, Origin, Proxy, eventually, get, metrics};

/// A configuration with a route that works, one that fails, and a management API.
fn config(addr: SocketAddr, admin: SocketAddr, origin: &Origin) -> String {
    format!(
        "listen_addr = \"{addr}\"\n[admin]\nlisten_addr = \"{admin}\"\n{}{}",
        route("/", &[origin.addr]),
        route("/down", &[free_addr()]),
    )
}

fn lost_lines(admin: SocketAddr) -> u64 {
    let text = metrics(admin);
    let name = "palantir_log_lost_lines_total";
    let line = text.lines().find(|line| line.starts_with(name));
    let (_, value) = line.expect(name).rsplit_once(' ').unwrap();
    value.parse().unwrap()
}

/// A pipe that is full.
fn unread_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: plain system call on a live descriptor.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert!(size >= 4096, "the pipe's size");
    writer.write_all(&vec![b'\n'; size as usize]).unwrap();
    (reader, writer.into())
}

/// Sends failing requests for as long as it takes to lose lines, if lines are lost at all; everything else must work
/// meanwhile.
fn goes_on(mut proxy: Proxy, admin: SocketAddr, loses: bool) {
    proxy.wait_until_it_accepts();
    eventually("lines are lost", || {
        for _ in 0..20 {
            assert_eq!(proxy.ask(get("/down")).status(), 502);
        }
        !loses || lost_lines(admin) > 0
    });
    assert_eq!(proxy.ask(get("/")).status(), 200);
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_reader_that_has_gone_stops_nobody() {
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let (reader, writer) = std::io::pipe().unwrap();
    let config = config(addr, admin, &origin);
    let proxy = Proxy::launch_logging_to(writer.into(), command(), addr, &config);
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).unwrap();
    assert!(first.contains("listening"), "{first}");
    goes_on(proxy, admin, true);
}

#[test]
fn a_full_disk_below_standard_error_stops_nobody() {
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let config = config(addr, admin, &origin);
    let proxy = Proxy::launch_logging_to(full.into(), command(), addr, &config);
    goes_on(proxy, admin, true);
}

#[test]
fn a_closed_standard_error_stops_nobody() {
    use std::os::unix::process::CommandExt;
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let mut command = command();
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::close(2);
            Ok(())
        });
    }
    let config = config(addr, admin, &origin);
    let proxy = Proxy::launch_logging_to(Stdio::null(), command, addr, &config);
    goes_on(proxy, admin, false);
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody_and_what_was_lost_is_told_when_it_is_read() {
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let (reader, writer) = unread_pipe();
    let config = config(addr, admin, &origin);
    let mut proxy = Proxy::launch_logging_to(writer, command(), addr, &config);
    proxy.wait_until_it_accepts();
    // A hundred mistakes are a hundred lines, whatever asks for the reload.
    let mistakes: String = (0..100)
        .map(|number| format!("{}{number} = 1\n", "x".repeat(200)))
        .collect();
    proxy.directory.write("config.toml", &mistakes);
    eventually("lines are lost", || {
        let mut client = Client::connect(admin);
        for _ in 0..10 {
            let reload = format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n");
            let answer = client.ask(reload + "Content-Type: application/json\r\n\r\n");
            assert_eq!(answer.status(), 422, "{answer:?}");
        }
        lost_lines(admin) > 0
    });
    assert_eq!(proxy.ask(get("/down")).status(), 502);
    assert_eq!(proxy.ask(get("/")).status(), 200);
    let health = format!("GET /health HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    eventually("the health says that the log stands still", || {
        let answer = Client::connect(admin).ask(&health);
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.text().contains("the program's log stands still")
    });
    let is_told = |line: &String| line.contains("log lines were lost") && line.contains("lines=");
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    assert!(lines.any(|line| is_told(&line)), "the losses are told");
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_pipe_that_nobody_reads_delays_no_end() {
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let (_reader, writer) = unread_pipe();
    let config = config(addr, admin, &origin);
    let proxy = Proxy::launch_logging_to(writer, command(), addr, &config);
    goes_on(proxy, admin, false);
}

/// Runs a command to its end with this standard output.
fn run_into(output: Stdio, arguments: &[&str]) -> Output {
    let mut command: Command = command();
    command
        .args(arguments)
        .stdout(output)
        .stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn commands_end_quietly_when_nobody_reads_what_they_print() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let proxy = Proxy::start(&format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", &[origin.addr])
    ));
    let file = proxy.directory.path().join("config.toml");
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["check", "--config", file],
        &["explain", "GET", "http://a/b", "--config", file],
        &["diff", "--config", file],
        &["reload", "--config", file],
        &["--help"],
        &["--version"],
        &["explain", "--help"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = run_into(writer.into(), arguments);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            (ended.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    for arguments in &commands[..4] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = run_into(full.into(), arguments);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("No space left"), "{arguments:?}: {said}");
    }
}

#[test]
fn mistakes_that_nobody_reads_are_mistakes_all_the_same() {
    let directory = Directory::new();
    let file = directory.write("config.toml", "wrong = 1\n");
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 3] = [
        &["check", "--config", file],
        &["explain", "GET", "http://a/b", "--config", file],
        &["--config", file],
    ];
    for arguments in commands {
        let mut command: Command = command();
        let full: File = OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.args(arguments).stdout(Stdio::piped()).stderr(full);
        let mut child = command.spawn().unwrap();
        let mut printed = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut printed)
            .unwrap();
        assert_eq!(printed, "", "{arguments:?}");
        assert_eq!(child.wait().unwrap().code(), Some(1), "{arguments:?}");
    }
}

/// The variable that is set for the process that panics.
const PANICS: &str = "PALANTIR_TEST_PANICS";

/// Does nothing, unless a test below has started this program for it.
#[test]
fn a_process_that_panics() {
    if std::env::var_os(PANICS).is_some() {
        palantir::base::log::start().unwrap();
        panic!("seen {}", "by the operator");
    }
}

/// The program of the tests, which will panic with this standard error.
fn panicking(standard_error: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "--nocapture",
            "operation::program_log::a_process_that_panics",
        ])
        .env(PANICS, "1")
        .stdout(Stdio::null())
        .stderr(standard_error);
    end_with_this_thread(&mut command);
    command.spawn().unwrap()
}

#[test]
fn a_panic_is_told_with_its_place() {
    let ended = panicking(Stdio::piped()).wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success());
    let line = said.lines().next().unwrap_or_default();
    for word in [
        "palantir: thread",
        "program_log.rs:",
        "seen by the operator",
    ] {
        assert!(line.contains(word), "{said}");
    }
}

#[test]
fn a_panic_that_nobody_reads_delays_no_end() {
    let (_reader, writer) = unread_pipe();
    let mut child = panicking(writer);
    eventually("the process ends", || child.try_wait().unwrap().is_some());
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(!panicking(full.into()).wait().unwrap().success());
}

#[test]
fn a_thread_of_the_log_that_stands_still_is_told_by_health() {
    let managed = Managed::to(&[free_addr()]);
    let reasons = || managed.get("/health")["reasons"].to_string();
    assert_eq!(reasons(), "null");
    let frozen = Frozen::new(managed.proxy.pid(), "log");
    // Only a waiting line shows that the thread stands still; the signal has one logged.
    managed.proxy.signal(libc::SIGHUP);
    eventually("it is told", || {
        reasons().contains("the program's log stands still")
    });
    assert_eq!(managed.get("/health")["status"], "ok");
    drop(frozen);
    eventually("it is well again", || reasons() == "null");
}
