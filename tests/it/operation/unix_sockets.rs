//! Unix sockets that the proxy listens on: who may connect, which files are replaced, and when files are removed.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::managed;
use crate::support::place::{Directory, free_addr, listen};
use crate::support::proxy::{command, route};
use crate::support::shim::{Disk, Strike};
use crate::support::{Lineage, Origin, PATIENCE, Proxy, eventually, get};

/// The binary with this umask.
fn with_umask(umask: u32) -> Command {
    let mut command = command();
    // SAFETY: one system call between fork and exec, without allocation.
    unsafe {
        command.pre_exec(move || {
            libc::umask(umask);
            Ok(())
        });
    }
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn ask(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The configuration of a listener at this socket.
fn listener(path: &Path, more: &str) -> String {
    format!(
        "[[listeners]]\naddr = \"unix:{}\"\n{more}\n",
        path.display()
    )
}

#[test]
fn who_may_connect_is_said_and_not_the_umasks_affair() {
    for umask in [0o000, 0o022, 0o077] {
        let directory = Directory::new();
        let [admin, open, closed] =
            ["admin", "open", "closed"].map(|name| directory.path().join(name));
        // SAFETY: a plain system call that cannot fail.
        let group = unsafe { libc::getegid() };
        let config = format!(
            "[admin]\nlisten_addr = \"unix:{}\"\n{}{}{}",
            admin.display(),
            listener(&open, ""),
            listener(&closed, &format!("mode = \"0620\"\ngroup = \"{group}\"")),
            route("/", &[free_addr()])
        );
        let _proxy = Proxy::start_as(with_umask(umask), &config);
        assert_eq!(
            [&admin, &open, &closed].map(|path| mode(path)),
            [0o600, 0o666, 0o620]
        );
        assert_eq!(fs::metadata(&closed).unwrap().gid(), group);
    }
}

#[test]
fn a_reload_and_an_upgrade_change_who_may_connect() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let config = |more: &str| format!("{}{}", listener(&path, more), route("/", &[origin.addr]));
    let mut lineage = Lineage::start(&config("mode = \"0600\""));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    assert_eq!(mode(&path), 0o600);
    let inode = fs::metadata(&path).unwrap().ino();
    lineage
        .proxy
        .reload(&(head.clone() + &config("mode = \"0660\"")));
    assert_eq!(mode(&path), 0o660);
    lineage.write_config(&(head + &config("")));
    lineage.upgrade();
    // The new process sets the mode once the old one has told it that it is the service.
    eventually("more may connect", || mode(&path) == 0o666);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(ask(&path).contains(" 200 "));
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn rights_that_could_not_be_set_are_told_and_set_at_the_next_reload() {
    let origin = Origin::saying("served");
    let (directory, disk, admin) = (Directory::new(), Disk::new(), free_addr());
    let path = directory.path().join("socket");
    let config = |mode: &str| {
        let listener = listener(&path, &format!("mode = \"{mode}\""));
        let route = route("/", &[origin.addr]);
        format!("workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n{listener}{route}")
    };
    let mut command = command();
    disk.apply(&mut command);
    let proxy = Proxy::start_as(command, &config("0666"));
    let head = format!("listen_addr = \"{}\"\n", proxy.addr);
    proxy
        .directory
        .write("config.toml", &(head + &config("0600")));
    disk.strike("chmod socket", 1, Strike::Error(libc::EIO));
    let reload = || managed::ask(admin, "POST /reload", &[], "");
    let failed = reload();
    assert_eq!(failed.status(), 200, "{}", failed.text());
    assert!(
        failed.text().contains("mode cannot be set"),
        "{}",
        failed.text()
    );
    assert_eq!(mode(&path), 0o666);
    let again = reload();
    assert_eq!(again.status(), 200, "{}", again.text());
    assert!(!again.text().contains("cannot be set"), "{}", again.text());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_is_refused_changes_nobodys_rights() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let (admin, taken) = (free_addr(), free_addr());
    let _taken = listen(taken);
    let no_state = directory.write("state.json", "something else");
    let config = |admin: SocketAddr, more: &str, mode: &str| {
        let listener = listener(&path, &format!("mode = \"{mode}\""));
        let route = route("/", &[origin.addr]);
        format!("workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n{more}\n{listener}{route}")
    };
    let lineage = Lineage::start(&config(admin, "", "0600"));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    assert_eq!(mode(&path), 0o600);
    let state = format!("state_file = {no_state:?}");
    lineage.write_config(&(head.clone() + &config(admin, &state, "0666")));
    let answer = managed::ask(admin, "POST /reload", &[], "");
    assert_eq!(answer.status(), 500, "{}", answer.text());
    assert_eq!(mode(&path), 0o600, "after a reload");
    lineage.write_config(&(head + &config(taken, "", "0666")));
    let answer = managed::ask(admin, "POST /upgrade", &[], "");
    assert_eq!(answer.status(), 500, "{}", answer.text());
    assert_eq!(mode(&path), 0o600, "after an upgrade");
    assert!(ask(&path).contains(" 200 "));
}

#[test]
fn a_socket_of_somebody_else_keeps_its_rights() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let config = |mode: &str| {
        let listener = listener(&path, &format!("mode = \"{mode}\""));
        listener + &route("/", &[origin.addr])
    };
    let mut lineage = Lineage::start(&config("0600"));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    lineage.proxy.reload(&(head.clone() + &config("0666")));
    assert_eq!(mode(&path), 0o640, "after a reload");
    lineage.write_config(&(head + &config("0606")));
    lineage.upgrade();
    lineage.wait_for_elders();
    lineage
        .proxy
        .wait_for_log_times(&["another file is in its place"], 2);
    assert_eq!(mode(&path), 0o640, "after an upgrade");
    assert_eq!(lineage.stop(), 0);
    assert!(path.exists());
}

#[test]
fn a_file_goes_with_its_listener_and_with_the_last_process() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let [kept, removed, dropped, admin] =
        ["kept", "removed", "dropped", "admin"].map(|name| directory.path().join(name));
    let all = [&kept, &removed, &dropped, &admin];
    let there = || all.map(|path| path.exists());
    let config = |paths: &[&PathBuf]| {
        let listeners: String = paths.iter().map(|path| listener(path, "")).collect();
        let admin = format!("[admin]\nlisten_addr = \"unix:{}\"\n", admin.display());
        format!("{admin}{listeners}{}", route("/", &[origin.addr]))
    };
    let mut lineage = Lineage::start(&config(&[&kept, &removed, &dropped]));
    let head = format!("listen_addr = \"{}\"\n", lineage.proxy.addr);
    assert_eq!(there(), [true; 4]);
    lineage
        .proxy
        .reload(&(head.clone() + &config(&[&kept, &dropped])));
    eventually("the removed one is gone", || {
        there() == [true, false, true, true]
    });
    lineage.write_config(&(head + &config(&[&kept])));
    lineage.upgrade();
    eventually("the dropped one is gone", || {
        there() == [true, false, false, true]
    });
    lineage.upgrade();
    lineage.wait_for_elders();
    assert_eq!(
        there(),
        [true, false, false, true],
        "another process has them"
    );
    assert!(ask(&kept).contains(" 200 "));
    assert_eq!(lineage.stop(), 0);
    assert_eq!(there(), [false; 4]);
}

#[test]
fn a_file_that_is_another_one_by_now_stays() {
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let config = listener(&path, "") + &route("/", &[free_addr()]);
    let mut proxy = Proxy::start(&config);
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    assert_eq!(proxy.stop(), 0);
    assert!(UnixStream::connect(&path).is_ok());
    drop(other);
    assert!(path.exists());
    // The socket file that a killed process left is replaced.
    let mut proxy = Proxy::start(&config);
    eventually("the socket is there", || UnixStream::connect(&path).is_ok());
    assert_eq!(proxy.stop(), 0);
    assert!(!path.exists());
}

#[test]
fn a_start_that_fails_leaves_no_file() {
    let directory = Directory::new();
    let path = directory.path().join("socket");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let config = format!(
        "{}[[listeners]]\naddr = \"{taken}\"\n{}",
        listener(&path, ""),
        route("/", &[free_addr()])
    );
    let mut proxy = Proxy::launch(command(), taken, &config);
    assert_eq!(proxy.wait_for_exit(), 1);
    assert!(!path.exists());
    drop(holder);
}

/// Sockets of other processes: one whose queue is full, one of another kind, and a file that is no socket.
#[test]
fn what_lives_at_a_path_stays_and_stops_nobody() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let [full, datagram, file] =
        ["full", "datagram", "file"].map(|name| directory.path().join(name));
    let busy = UnixListener::bind(&full).unwrap();
    // SAFETY: a plain system call on a live descriptor.
    assert_eq!(unsafe { libc::listen(busy.as_raw_fd(), 0) }, 0);
    let _waiting = UnixStream::connect(&full).unwrap();
    let living = UnixDatagram::bind(&datagram).unwrap();
    fs::write(&file, "mine").unwrap();
    let admin = free_addr();
    let rest = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", &[origin.addr])
    );
    let mut proxy = Proxy::start(&rest);
    let head = format!("listen_addr = \"{}\"\n", proxy.addr);
    for path in [&full, &datagram, &file] {
        proxy.reload(&format!("{head}{}{rest}", listener(path, "")));
        let name = path.display().to_string();
        proxy.wait_for_log(&["refused", &name, "in use"]);
        assert_eq!(proxy.ask(get("/")).text(), "served");
    }
    assert!(fs::metadata(&datagram).unwrap().file_type().is_socket());
    assert!(fs::metadata(&full).unwrap().file_type().is_socket());
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    drop(living);
    assert_eq!(proxy.stop(), 0);
}
