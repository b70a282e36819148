//! `check` fails if and only if a start fails, whatever is in the place of a file or socket that the configuration
//! names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;

use rustix::fs::{CWD, mkfifoat};

use crate::operation::start_check::both;
use crate::support::Proxy;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route, run};
use crate::support::tls::Authority;

/// Each setting that names a file, with a placeholder for the path.
const SETTINGS: [&str; 8] = [
    "[admin]\nlisten_addr = \"unix:{dir}/admin\"\nstate_file = \"{file}\"",
    "[admin]\nlisten_addr = \"unix:{dir}/admin\"\ntoken_file = \"{file}\"",
    "[admin]\nlisten_addr = \"unix:{file}\"",
    "[tls]\nticket_key_file = \"{file}\"",
    "[access_log]\npath = \"{file}\"",
    "[acme]\nstate_dir = \"{file}\"\nterms_of_service_agreed = true",
    "[[listeners]]\naddr = \"{addr}\"\n[[listeners]]\naddr = \"unix:{file}\"",
    "[[listeners]]\naddr = \"{addr}\"\n\
     tls = { certificates = [{ cert = \"{file}\", key = \"{dir}/good.key\" }] }",
];

/// A folder with one file of each kind.
fn kinds() -> Directory {
    let directory = Directory::new();
    let path = |name: &str| directory.path().join(name);
    Authority::new()
        .issue(&["localhost"])
        .write(&directory, "good");
    directory.write("empty", "");
    for folder in ["folder", "blocked.new", "blocked.new/full"] {
        fs::create_dir(path(folder)).unwrap();
    }
    mkfifoat(CWD, path("pipe"), 0o600.into()).unwrap();
    drop(UnixListener::bind(path("dead")).unwrap());
    symlink("made", path("dangling")).unwrap();
    symlink("absent/made", path("astray")).unwrap();
    symlink("round", path("round")).unwrap();
    symlink("empty", path("strange")).unwrap();
    // Only root can make a link as another user does; for other users this is one more link of their own.
    let _ = lchown(path("strange"), Some(12_345), None);
    directory
}

#[test]
fn check_and_start_agree_whatever_is_in_the_place_of_a_file_or_socket() {
    let names = [
        "new",
        "absent/new",
        "empty",
        "empty/new",
        "folder",
        "blocked",
        "pipe",
        "dead",
        "dangling",
        "astray",
        "round",
        "strange",
    ];
    for setting in SETTINGS {
        for name in names {
            alike(setting, name);
        }
    }
}

#[track_caller]
fn alike(setting: &str, name: &str) {
    let (directory, addr) = (kinds(), free_addr());
    let dir = directory.path().to_str().unwrap();
    let setting = setting.replace("{file}", &format!("{dir}/{name}"));
    let setting = setting
        .replace("{dir}", dir)
        .replace("{addr}", &addr.to_string());
    let head = if setting.contains("[[listeners]]") {
        String::new()
    } else {
        format!("listen_addr = \"{addr}\"\n")
    };
    let config = format!("{head}{setting}\n{}", route("/", &[free_addr()]));
    let path = directory.write("config.toml", &config);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let mut proxy = Proxy::launch(command(), addr, &config);
    if output.status.success() {
        proxy.wait_for_log(&["workers on"]);
        assert_eq!(proxy.stop(), 0, "{config}");
    } else {
        assert_eq!(proxy.wait_for_exit(), 1, "{config}");
    }
}

#[test]
fn what_keeps_a_start_from_listening_is_told_by_check() {
    let directory = Directory::new();
    directory.write("file", "");
    let rows = [
        ("192.0.2.9:{port}", "cannot listen on 192.0.2.9:"),
        ("unix:{dir}/file", "file: address in use"),
        ("unix:{dir}/absent/socket", "absent"),
    ];
    for (addr, words) in rows {
        let listeners = format!("[[listeners]]\naddr = \"{addr}\"\n");
        both(&directory, &listeners, Some(words));
    }
}

#[test]
fn an_owner_that_a_socket_may_not_be_given_is_told_by_check() {
    const NOBODY: u32 = 65_534;
    // SAFETY: a plain system call that cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not shown here: only root can run a program as somebody else");
        return;
    }
    let directory = Directory::new();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dir = directory.path().display();
    for owner in ["owner = \"root\"", "group = \"daemon\""] {
        let addr = free_addr();
        let config = format!(
            "[[listeners]]\naddr = \"{addr}\"\n[[listeners]]\naddr = \"unix:{dir}/socket\"\n{owner}\n{}",
            route("/", &[free_addr()])
        );
        let path = directory.write("config.toml", &config);
        let mut check = command();
        let check = check
            .arg("check")
            .arg("--config")
            .arg(&path)
            .uid(NOBODY)
            .gid(NOBODY);
        let Ok(output) = check.output() else {
            eprintln!("not shown here: nobody else may run the program");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("owner and group cannot be set"), "{said}");
        let mut command = command();
        let output = command
            .arg("--config")
            .arg(&path)
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("owner and group cannot be set"), "{said}");
    }
}
