//! The verdict of `check` is the verdict of a start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, descriptors, route, run};
use crate::support::{Client, Proxy, eventually};

/// Checks and starts one configuration; both must fail with these words, or both must succeed.
#[track_caller]
pub fn both(directory: &Directory, config: &str, words: Option<&str>) {
    let addr = free_addr();
    let dir = directory.path().display().to_string();
    let config = config
        .replace("{dir}", &dir)
        .replace("{port}", &addr.port().to_string());
    let head = if config.contains("[[listeners]]") {
        String::new()
    } else {
        format!("listen_addr = \"{addr}\"\n")
    };
    let config = format!("{head}{config}\n{}", route("/", &[free_addr()]));
    let path = directory.write("config.toml", &config);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(i32::from(words.is_some())),
        "{config}{said}"
    );
    let mut proxy = Proxy::launch(command(), addr, &config);
    match words {
        Some(words) => {
            assert!(said.contains(words), "{said}");
            assert_eq!(proxy.wait_for_exit(), 1, "{config}");
            proxy.wait_for_log(&[words]);
        }
        None => {
            proxy.wait_for_log(&["workers on"]);
            assert_eq!(proxy.stop(), 0, "{config}");
        }
    }
}

#[test]
fn what_a_start_cannot_open_is_told_by_check() {
    let directory = Directory::new();
    directory.write("empty", "");
    directory.write("token", "secret-admin-token-0123456789");
    directory.write("nonsense", "{");
    fs::create_dir(directory.path().join("folder")).unwrap();
    let admin = |more: &str| format!("[admin]\nlisten_addr = \"unix:{{dir}}/admin\"\n{more}");
    let rows = [
        (admin("token_file = \"{dir}/token\""), None),
        (
            admin("token_file = \"{dir}/absent\""),
            Some("absent: No such file"),
        ),
        (
            admin("token_file = \"{dir}/empty\""),
            Some("must hold one token"),
        ),
        (
            admin("token_file = \"{dir}/token\"\nread_token_file = \"{dir}/token\""),
            Some("hold the same token"),
        ),
        (admin("state_file = \"{dir}/state\""), None),
        (
            admin("state_file = \"{dir}/absent/state\""),
            Some("absent: No such file"),
        ),
        (admin("state_file = \"{dir}/nonsense\""), Some("nonsense: ")),
        (
            admin("state_file = \"{dir}/folder\""),
            Some("folder: Is a directory"),
        ),
        ("[access_log]\npath = \"{dir}/log\"".to_owned(), None),
        (
            "[access_log]\npath = \"{dir}/absent/log\"".to_owned(),
            Some("absent: No such file"),
        ),
        (
            "[access_log]\npath = \"{dir}/folder\"".to_owned(),
            Some("folder: "),
        ),
        (
            "[access_log]\npath = \"{dir}/token/log\"".to_owned(),
            Some("token"),
        ),
        ("[tls]\nticket_key_file = \"{dir}/keys\"".to_owned(), None),
        (
            "[tls]\nticket_key_file = \"{dir}/absent/keys\"".to_owned(),
            Some("absent: No such file"),
        ),
        (
            "[tls]\nticket_key_file = \"{dir}/nonsense\"".to_owned(),
            Some("holds no key"),
        ),
    ];
    for (config, words) in rows {
        both(&directory, &config, words);
    }
}

#[test]
fn a_lock_that_a_start_cannot_take_is_told_by_check() {
    let directory = Directory::new();
    let path = |name: &str| directory.path().join(name);
    let state = |name: &str| {
        format!("[admin]\nlisten_addr = \"unix:{{dir}}/admin\"\nstate_file = \"{{dir}}/{name}\"")
    };
    fs::create_dir(path("folder.lock")).unwrap();
    std::os::unix::fs::symlink("elsewhere", path("link.lock")).unwrap();
    let pipe = std::ffi::CString::new(path("pipe.lock").to_str().unwrap()).unwrap();
    // SAFETY: a plain system call on a text that ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    for name in ["folder", "link", "pipe"] {
        both(&directory, &state(name), Some("no regular file"));
    }
    assert!(!path("elsewhere").exists());
    let secret = "0123456789abcdefghijklmnop\n";
    directory.write("a.lock", secret);
    both(&directory, &state("a"), Some("no lock of palantir"));
    assert_eq!(fs::read_to_string(path("a.lock")).unwrap(), secret);
    // A lock that a process has left behind is taken.
    directory.write("b.lock", "4194304   \n");
    both(&directory, &state("b"), None);
    // SAFETY: a plain system call that cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        directory.write("c.lock", "");
        fs::set_permissions(path("c.lock"), fs::Permissions::from_mode(0o400)).unwrap();
        both(&directory, &state("c"), Some("c.lock: Permission denied"));
    }
}

#[test]
fn a_folder_that_may_not_be_written_in_is_told_by_check() {
    // SAFETY: a plain system call that cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        eprintln!("not shown here: root may write everywhere");
        return;
    }
    let directory = Directory::new();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    for config in [
        "[access_log]\npath = \"{dir}/folder/log\"",
        "[tls]\nticket_key_file = \"{dir}/folder/keys\"",
        "[admin]\nlisten_addr = \"unix:{dir}/admin\"\nstate_file = \"{dir}/folder/state\"",
    ] {
        both(&directory, config, Some("folder: Permission denied"));
    }
}

#[test]
fn addresses_that_overlap_are_told_by_check() {
    let directory = Directory::new();
    let two = |one: &str, other: &str| {
        format!("[[listeners]]\naddr = \"{one}\"\n[[listeners]]\naddr = \"{other}\"")
    };
    let words = Some("listens on all addresses of this port already");
    both(
        &directory,
        &two("0.0.0.0:{port}", "127.0.0.1:{port}"),
        words,
    );
    both(
        &directory,
        &two("127.0.0.1:{port}", "0.0.0.0:{port}"),
        words,
    );
    let admin =
        "[[listeners]]\naddr = \"0.0.0.0:{port}\"\n[admin]\nlisten_addr = \"127.0.0.1:{port}\"";
    both(&directory, admin, words);
    if TcpListener::bind("[::1]:0").is_ok() {
        both(&directory, &two("[::]:{port}", "[::1]:{port}"), words);
        both(&directory, &two("[::]:{port}", "0.0.0.0:{port}"), None);
    }
}

#[test]
fn check_makes_nothing_and_says_what_it_does_not_know() {
    let directory = Directory::new();
    let dir = directory.path().display().to_string();
    let config = "listen_addr = \"unix:{dir}/s\"\n[admin]\nlisten_addr = \"unix:{dir}/a\"\n\
        state_file = \"{dir}/state\"\n[access_log]\npath = \"{dir}/log\"\n[tls]\nticket_key_file = \"{dir}/keys\"\n";
    let config = config.replace("{dir}", &dir) + &route("/", &[free_addr()]);
    let path = directory.write("config.toml", &config);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("ok: ") && said.contains("not looked at: "),
        "{said}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let absent = config.replace("/s\"", "/absent/s\"");
    let path = directory.write("config.toml", &absent);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("cannot listen on unix:") && said.contains("absent: No such file"),
        "{said}"
    );
}

/// Whether `/config/check` reveals that a file exists, and what it contains.
fn tells(api: std::net::SocketAddr, token: &str, file: &Path) -> (bool, bool) {
    let tls = format!("tls = {{ ca = {file:?} }}");
    let text = format!(
        "[[pools]]\nname = \"a\"\nbackends = [\"127.0.0.1:1\"]\n{tls}\n[[routes]]\nprefix = \"/\"\npool = \"a\"\n"
    );
    let length = text.len();
    let answer = Client::connect(api).ask(format!(
        "POST /config/check HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/toml\r\n{token}Content-Length: {length}\r\n\r\n{text}"
    ));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let said = answer.text();
    (
        said.contains("\"files_checked\":true"),
        said.contains("holds no certificate"),
    )
}

#[test]
fn who_shows_no_token_learns_nothing_of_files() {
    let directory = Directory::new();
    let token = directory.write("token", "secret-admin-token-0123456789");
    let secret = directory.write("ca.crt", "no certificate");
    let api = free_addr();
    let rest = route("/", &[free_addr()]);
    let open = format!("[admin]\nlisten_addr = \"{api}\"\n{rest}");
    let proxy = Proxy::start(&open);
    assert_eq!(tells(api, "", &secret), (false, false));
    drop(proxy);
    let closed = format!("[admin]\nlisten_addr = \"{api}\"\ntoken_file = {token:?}\n{rest}");
    let _proxy = Proxy::start(&closed);
    let shown = "Authorization: Bearer secret-admin-token-0123456789\r\n";
    assert_eq!(tells(api, shown, &secret), (true, true));
}

#[test]
fn a_start_with_too_few_descriptors_says_so_and_does_not_panic() {
    for count in 30..44 {
        let addr = free_addr();
        let mut command = command();
        descriptors(&mut command, count);
        let config = format!(
            "listen_addr = \"{addr}\"\nworkers = 1\n{}",
            route("/", &[free_addr()])
        );
        let proxy = Proxy::launch(command, addr, &config);
        let ends = ["cannot start", "workers on", "panicked"];
        eventually("the start has an outcome", || {
            ends.iter().any(|end| proxy.log().contains(end))
        });
        assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
    }
}
