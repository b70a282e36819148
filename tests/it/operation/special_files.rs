//! Pipes, sockets and devices in the place of files: messages name their kind, and nothing waits for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, mkfifoat};

use crate::operation::start_check::both;
use crate::support::managed::{Managed, pool};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::command;
use crate::support::tls::Authority;
use crate::support::{Origin, Proxy, eventually, get};

fn fifo(path: &Path) {
    mkfifoat(CWD, path, 0o600.into()).unwrap();
}

/// Each setting that names a file to be read, with `{file}` for the path.
const SETTINGS: [&str; 11] = [
    "[admin]\nlisten_addr = \"unix:{dir}/admin\"\nstate_file = \"{file}\"",
    "[admin]\nlisten_addr = \"unix:{dir}/admin\"\ntoken_file = \"{file}\"",
    "[admin]\nlisten_addr = \"unix:{dir}/admin\"\ntoken_file = \"{dir}/token\"\nread_token_file = \"{file}\"",
    "[tls]\nticket_key_file = \"{file}\"",
    "tls = { certificates = [{ cert = \"{file}\", key = \"{dir}/good.key\" }] }",
    "tls = { certificates = [{ cert = \"{dir}/good.crt\", key = \"{file}\" }] }",
    "tls = { certificates = [{ cert = \"{dir}/good.crt\", key = \"{dir}/good.key\", ocsp = \"{file}\" }] }",
    "tls = { certificates = [{ cert = \"{dir}/good.crt\", key = \"{dir}/good.key\" }], client_ca = \"{file}\" }",
    "[[pools]]\nname = \"p\"\nbackends = [\"127.0.0.1:1\"]\ntls = { ca = \"{file}\" }",
    "[acme]\nstate_dir = \"{dir}/acme\"\nterms_of_service_agreed = true\nca = \"{file}\"",
    "[acme]\nstate_dir = \"{dir}/acme\"\nterms_of_service_agreed = true\n\
     eab = { key_id = \"k\", hmac_key_file = \"{file}\" }",
];

#[test]
fn what_is_no_regular_file_is_told_by_check_and_start_alike() {
    let directory = Directory::new();
    let path = |name: &str| directory.path().join(name);
    directory.write("token", "secret-admin-token-0123456789");
    Authority::new()
        .issue(&["localhost"])
        .write(&directory, "good");
    fifo(&path("pipe"));
    symlink("pipe", path("link")).unwrap();
    let _listening = UnixListener::bind(path("socket")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    for setting in SETTINGS {
        let kinds = [
            ("{dir}/pipe", "a pipe (FIFO) and no regular file"),
            ("{dir}/link", "a pipe (FIFO) and no regular file"),
            ("{dir}/socket", "a socket and no regular file"),
            ("/dev/zero", "a device and no regular file"),
            ("{dir}/folder", "Is a directory"),
        ];
        for (file, words) in kinds {
            let mut config = setting.replace("{file}", file);
            if config.starts_with("tls = ") {
                config = format!("[[listeners]]\naddr = \"127.0.0.1:{{port}}\"\n{config}");
            }
            both(&directory, &config, Some(words));
        }
    }
}

#[test]
fn a_pipe_in_the_place_of_a_certificate_stops_no_change_and_is_told() {
    let directory = Directory::new();
    let pair = Authority::new().issue(&["localhost"]);
    pair.write(&directory, "good");
    let origin = Origin::saying("served");
    let (dir, secure) = (directory.path().display(), free_addr());
    let listener = format!(
        "[[listeners]]\naddr = \"{secure}\"\ntls = {{ certificates = [{{ cert = \"{dir}/good.crt\", key = \"{dir}/good.key\" }}] }}\n"
    );
    let managed = Managed::start("", &format!("{listener}{}", pool(&[origin.addr])));
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 200);
    let cert = directory.path().join("good.crt");
    fs::remove_file(&cert).unwrap();
    fifo(&cert);
    // The log reports the file without a request, and a reload is refused at once for this reason.
    managed
        .proxy
        .wait_for_log(&["good.crt", "a pipe (FIFO) and no regular file"]);
    let refused = managed.ask("POST /reload", &[], "");
    assert_eq!(refused.status(), 422, "{}", refused.text());
    assert!(
        refused.text().contains("a pipe (FIFO) and no regular file"),
        "{}",
        refused.text()
    );
    assert!(managed.get("/health").get("reasons").is_none());
    assert_eq!(managed.proxy.ask(get("/")).text(), "served");
    fs::remove_file(&cert).unwrap();
    pair.write(&directory, "good");
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 200);
}

#[test]
fn a_state_file_never_takes_the_place_of_a_socket_or_pipe() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let state = directory.path().join("state");
    let spare = "127.0.0.1:1".parse().unwrap();
    let managed = Managed::start(
        &format!("state_file = {state:?}\n"),
        &pool(&[origin.addr, spare]),
    );
    let change = || {
        managed.ask(
            "PATCH /pools/api/servers/127.0.0.1:1",
            &[],
            "{\"weight\": 3}",
        )
    };
    let listening = UnixListener::bind(&state).unwrap();
    let refused = change();
    assert_eq!(refused.status(), 500, "{}", refused.text());
    assert!(
        refused.text().contains("a socket and no regular file"),
        "{}",
        refused.text()
    );
    drop(listening);
    fs::remove_file(&state).unwrap();
    fifo(&state);
    assert!(
        change()
            .text()
            .contains("a pipe (FIFO) and no regular file")
    );
    fs::remove_file(&state).unwrap();
    assert_eq!(change().status(), 200);
    eventually("it is written", || state.is_file());
}

#[test]
fn a_pipe_that_the_environment_names_for_authorities_stops_no_start() {
    let directory = Directory::new();
    let pipe = directory.path().join("pipe");
    fifo(&pipe);
    let mut command = command();
    command.env("SSL_CERT_FILE", &pipe);
    let config = "[[routes]]\npool = \"p\"\n[[pools]]\nname = \"p\"\nbackends = [\"127.0.0.1:1\"]\ntls = {}\n";
    let mut proxy = Proxy::launch(command, free_addr(), config);
    assert_eq!(proxy.wait_for_exit(), 1);
    proxy.wait_for_log(&["SSL_CERT_FILE", "a pipe (FIFO) and no regular file"]);
}
