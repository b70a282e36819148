//! The configuration file and the files that it names: which contents are loaded, which are refused, and which are
//! shown.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, mpsc};

use serde_json::Value;

use crate::support::managed::{Managed, is_problem, pool};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list, route, run};
use crate::support::{Origin, PATIENCE, Proxy, eventually, get};

/// The whole file of a proxy with a management API.
fn whole(managed: &Managed, rest: &str) -> String {
    let (addr, admin) = (managed.proxy.addr, managed.admin);
    format!("listen_addr = \"{addr}\"\nworkers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{rest}")
}

fn write(managed: &Managed, text: &str) {
    managed.proxy.directory.write("config.toml", text);
}

fn fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a plain system call with a live text.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_file_that_would_end_the_service_is_taken_over_only_when_that_is_meant() {
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let unrouted = format!(
        "[[pools]]\nname = \"api\"\nbackends = {}\n",
        list(&[origin.addr])
    );
    let deaf = whole(&managed, &pool(&[origin.addr]));
    let deaf = deaf.replace(
        &format!("\"{}\"\nworkers", managed.proxy.addr),
        "[]\nworkers",
    );
    for text in ["", "# all gone\n", &whole(&managed, &unrouted), &deaf] {
        write(&managed, text);
        let answer = managed.ask("POST /reload", &[], "");
        is_problem(&answer, 422);
        assert_eq!(managed.proxy.ask(get("/")).text(), "here", "{text:?}");
    }
    write(&managed, "");
    managed.proxy.signal(libc::SIGHUP);
    managed
        .proxy
        .wait_for_log(&["refused", "SIGHUP", "allow_empty"]);
    assert_eq!(managed.proxy.ask(get("/")).text(), "here");
    write(&managed, &whole(&managed, &unrouted));
    let reload = managed.ask("POST /reload?allow_empty=true", &[], "");
    assert_eq!(reload.status(), 200, "{}", reload.text());
    eventually("there is no route any more", || {
        managed.proxy.ask(get("/")).status() == 404
    });
}

#[test]
fn a_file_that_is_a_pipe_is_checked_and_stops_no_process_that_runs() {
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let path = managed.proxy.directory.path().join("config.toml");
    fs::remove_file(&path).unwrap();
    fifo(&path);
    let answer = managed.ask("POST /reload", &[], "");
    assert!(
        answer.text().contains("no regular file"),
        "{}",
        answer.text()
    );
    assert_eq!(managed.ask("GET /health", &[], "").status(), 200);
    let mut running = command();
    running.arg("--config").arg(&path).stderr(Stdio::piped());
    let ended = running.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("no regular file"), "{said}");
    let mut check = command();
    check.args(["check", "--config", "/dev/stdin"]);
    check.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut check = check.spawn().unwrap();
    let text = route("/", &[origin.addr]);
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let checked = check.wait_with_output().unwrap();
    assert_eq!(checked.status.code(), Some(0));
}

/// The exit code and the output of `palantir check` for a file.
#[track_caller]
fn check(directory: &Directory, config: &str) -> (Option<i32>, String) {
    let config = config.replace("{dir}", directory.path().to_str().unwrap());
    let path = directory.write("config.toml", &config);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_check_waits_for_no_pipe_in_the_place_of_a_file() {
    let directory = Directory::new();
    fifo(&directory.path().join("pipe"));
    let pipe = "\"{dir}/pipe\"";
    let rows = [
        format!("[admin]\nstate_file = {pipe}\n"),
        format!("[tls]\nticket_key_file = {pipe}\n"),
        format!(
            "[[listeners]]\naddr = \"127.0.0.1:1\"\ntls = {{ certificates = [{{ cert = {pipe}, key = {pipe} }}] }}\n"
        ),
        format!(
            "[acme]\nterms_of_service_agreed = true\nstate_dir = \"{{dir}}/acme\"\n\
             eab = {{ key_id = \"a\", hmac_key_file = {pipe} }}\n"
        ),
    ];
    for text in rows {
        let (code, said) = check(&directory, &(text.clone() + &route("/", &[free_addr()])));
        assert_eq!(code, Some(1), "{text}: {said}");
        assert!(said.contains("no regular file"), "{text}: {said}");
    }
}

#[test]
fn files_that_would_overwrite_each_other_are_refused() {
    let directory = Directory::new();
    let path = |name: &str| directory.path().join(name);
    directory.write("token", "0123456789abcdef0123456789abcdef\n");
    fs::hard_link(path("token"), path("same-token")).unwrap();
    symlink(".", path("round")).unwrap();
    let base = route("/", &[free_addr()]);
    let log = |path: &str| format!("[access_log]\npath = \"{path}\"\n");
    let admin = |key: &str, path: &str| format!("[admin]\n{key} = \"{path}\"\n");
    let tickets = |path: &str| format!("[tls]\nticket_key_file = \"{path}\"\n");
    let token = admin("token_file", "{dir}/token");
    let listens = |path: &str| format!("[[listeners]]\naddr = \"unix:{path}\"\n");
    let ordered = "[acme]\nterms_of_service_agreed = true\nstate_dir = \"{dir}/acme\"\n\
        directory = \"https://a.example/dir\"\n";
    let rows = [
        (log("{dir}/config.toml"), "is the configuration file itself"),
        (
            log("{dir}/round/config.toml"),
            "is the configuration file itself",
        ),
        (
            admin("state_file", "{dir}/./config.toml"),
            "is the configuration file itself",
        ),
        (
            tickets("{dir}/round/a") + &admin("state_file", "{dir}/a"),
            "tls.ticket_key_file",
        ),
        (log("{dir}/a") + &tickets("{dir}/b/../a"), "access_log.path"),
        (
            token.clone() + "state_file = \"{dir}/token\"\n",
            "admin.state_file",
        ),
        (log("{dir}/same-token") + &token, "access_log.path"),
        (
            log("{dir}/a.new") + &admin("state_file", "{dir}/round/a"),
            "admin.state_file",
        ),
        (
            log("{dir}/link.new") + &admin("state_file", "{dir}/link"),
            "",
        ),
        (
            log("{dir}/behind.new") + &admin("state_file", "{dir}/link"),
            "admin.state_file",
        ),
        (
            tickets("{dir}/a.new") + &admin("state_file", "{dir}/a"),
            "is first written to",
        ),
        (
            admin("state_file", "{dir}/token") + "token_file = \"{dir}/token.lock\"\n",
            "has its lock in",
        ),
        (
            log("{dir}/behind.lock") + &admin("state_file", "{dir}/link"),
            "has its lock in",
        ),
        (
            tickets("{dir}/a.lock") + &admin("state_file", "{dir}/round/a"),
            "has its lock in",
        ),
        (
            listens("{dir}/a.lock") + &admin("state_file", "{dir}/a"),
            "has its lock in",
        ),
        (
            log("{dir}/a.sock") + &listens("{dir}/b/../a.sock"),
            "listeners[0].addr",
        ),
        (
            admin("state_file", "{dir}/a.sock") + &listens("{dir}/a.sock"),
            "is the same file as",
        ),
        (
            listens("{dir}/a.sock") + &listens("{dir}/round/a.sock"),
            "is the same file as",
        ),
        (
            listens("{dir}/a.sock") + &admin("listen_addr", "unix:{dir}/round/a.sock"),
            "is the same file as",
        ),
        (
            ordered.to_owned() + &admin("state_file", "{dir}/acme/a.example-dir/state.json"),
            "acme.state_dir",
        ),
    ];
    symlink("behind", path("link")).unwrap();
    fs::create_dir(path("b")).unwrap();
    for (text, words) in rows {
        let (code, said) = check(&directory, &(text.clone() + &base));
        let expected = if words.is_empty() { 0 } else { 1 };
        assert_eq!(code, Some(expected), "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
    }
    let apart = log("{dir}/log") + &tickets("{dir}/keys") + &token;
    let apart = apart + "state_file = \"{dir}/state\"\n" + &base;
    let (code, said) = check(&directory, &apart);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_reload_is_refused_that_would_write_over_its_own_file() {
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let log = format!(
        "[access_log]\npath = \"{}/config.toml\"\n",
        managed.proxy.directory.path().display()
    );
    let text = whole(&managed, &(log + &pool(&[origin.addr])));
    write(&managed, &text);
    is_problem(&managed.ask("POST /reload", &[], ""), 422);
    assert_eq!(managed.proxy.ask(get("/")).status(), 200);
    let path = managed.proxy.directory.path().join("config.toml");
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_backend_that_is_palantirs_own_listener_is_refused() {
    let rows = [
        ("127.0.0.1:1234", "127.0.0.1:1234", 1, "round in circles"),
        ("0.0.0.0:1234", "127.0.0.1:1234", 1, "round in circles"),
        ("0.0.0.0:1234", "127.9.9.9:1234", 1, "round in circles"),
        ("[::]:1234", "[::1]:1234", 1, "round in circles"),
        ("0.0.0.0:1234", "0.0.0.0:1234", 1, "round in circles"),
        ("127.0.0.1:1234", "0.0.0.0:1234", 1, "round in circles"),
        ("[::1]:1234", "[::]:1234", 1, "round in circles"),
        (
            "127.0.0.1:1234",
            "[::ffff:127.0.0.1]:1234",
            1,
            "round in circles",
        ),
        (
            "0.0.0.0:1234",
            "[::ffff:0.0.0.0]:1234",
            1,
            "round in circles",
        ),
        ("127.0.0.1:1234", "localhost:1234", 0, "round in circles"),
        ("127.0.0.1:1234", "localhost:1235", 0, ""),
        (
            "0.0.0.0:1234",
            "192.0.2.1:1234",
            0,
            "if the address is one of this machine",
        ),
        ("0.0.0.0:1234", "[::1]:1234", 0, ""),
        ("0.0.0.0:1234", "127.0.0.1:1235", 0, ""),
        ("127.0.0.1:1234", "127.0.0.2:1234", 0, ""),
    ];
    let directory = Directory::new();
    for (listened, backend, code, words) in rows {
        let text =
            format!("listen_addr = \"{listened}\"\n[[routes]]\nbackend_addrs = [\"{backend}\"]\n");
        let (ended, said) = check(&directory, &text);
        assert_eq!(ended, Some(code), "{listened}, {backend}: {said}");
        assert!(said.contains(words), "{listened}, {backend}: {said}");
        assert_eq!(said.is_empty(), words.is_empty(), "{said}");
    }
    // However the path of a socket is written.
    let folder = directory.path().display();
    std::os::unix::fs::symlink(directory.path(), directory.path().join("link")).unwrap();
    for path in ["a.sock", "link/a.sock", "link/link/./a.sock"] {
        let text = format!(
            "listen_addr = \"unix:{folder}/a.sock\"\n[[routes]]\nbackend_addrs = [\"unix:{folder}/{path}\"]\n"
        );
        let (ended, said) = check(&directory, &text);
        assert_eq!(ended, Some(1), "{path}: {said}");
        assert!(said.contains("round in circles"), "{path}: {said}");
    }
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let own = format!("{{\"url\": \"http://{}\"}}", managed.proxy.addr);
    is_problem(&managed.ask("POST /servers", &[], &own), 422);
}

#[test]
fn no_credential_of_the_file_is_shown_or_logged_whatever_is_wrong_with_it() {
    const SECRET: &str = "SECRET-abcdef";
    let origin = Origin::saying("here");
    let managed = Managed::to(&[origin.addr]);
    let rest = whole(&managed, &pool(&[origin.addr]));
    let edits =
        |edits: &str| rest.replace("pool = \"api\"\n", &format!("pool = \"api\"\n{edits}\n"));
    let admin = |more: &str| rest.replace("[admin]\n", &format!("[admin]\n{more}\n"));
    let acme = |more: &str| {
        format!("[acme]\nterms_of_service_agreed = true\nstate_dir = \"/nowhere/acme\"\n{more}\n")
    };
    let rows = [
        edits("request_headers = { set = { authorization = \"Bearer SECRET-abcdef \" } }"),
        edits("request_headers = { set = { x-api-key = [\"SECRET-abcdef\"] } }"),
        edits("request_headers = { sett = { authorization = \"SECRET-abcdef\" } }"),
        edits("request_headers = { set = { authorization = \"SECRET-abcdef\" } "),
        edits("request_headers.set.authorization = \"SECRET-abcdef\n"),
        edits("request_headers.set.authorization = \"\"\"\nSECRET-abcdef\\q\n\"\"\""),
        edits("request_headers.set.authorization = [\n\"SECRET-abcdef\" \"SECRET-abcdef\"\n]"),
        edits("authorization = \"Bearer SECRET-abcdef\""),
        edits(
            "response_headers.set.set-cookie = \"a\"\nresponse_headers.set.set-cookie = \"SECRET-abcdef\"",
        ),
        edits(
            "response_headers = { set = { set-cookie = \"SECRET-abcdef\", host = \"a\" } }\nretries = -1",
        ),
        edits("response_header = { set = { set-cookie = \"SECRET-abcdef\" } }"),
        edits(
            "request_headers = { set = { authorization = \"SECRET-abcdef\" } }\nbackend_addrs = 1",
        ),
        edits("request_headers = { set = \"authorization: SECRET-abcdef\" }"),
        edits("request_headers = { set = \"Bearer SECRET-abcdef\" }"),
        edits("request_headers = { sett = \"SECRET-abcdef\" }"),
        edits("request_headers = \"authorization: SECRET-abcdef\""),
        edits("request_headers = { remove = [\"x-team\", \"Bearer SECRET-abcdef\"] }"),
        edits("request_headers = { set = { \"authorization: SECRET-abcdef\" = \"\" } }"),
        edits("request_headers = { \"authorization: SECRET-abcdef\" = \"\" }"),
        edits("response_headers = { set = { x-session = \"SECRET-abcdef \" } }"),
        edits("redirect = \"https://user:SECRET-abcdef@a.example/\""),
        edits("redirect = \"https://user:SECRET-abcdef@a.example/"),
        edits("tls = { server_name = \"https://user:SECRET-abcdef@a.example\" }"),
        rest.replace("[\"127.", "[\"user:SECRET-abcdef@127."),
        rest.clone() + &acme("eab = { key_id = \"a\", hmac_key_file = \"SECRET-abcdef\" }"),
        rest.clone() + &acme("eab = { key_id = \"a\", hmac_key_file = \"/SECRET-abcdef\" }"),
        rest.clone() + &acme("eab = \"SECRET-abcdef\""),
        rest.clone() + &acme("eab = \"SECRET-abcdef"),
        rest.clone() + &acme("directory = \"https://a:SECRET-abcdef@a.example/\""),
        rest.clone()
            + "[[listeners]]\naddr = \"127.0.0.1:1\"\n\
               tls = { certificates = [{ cert = \"a.pem\", key = \"SECRET-abcdef\" }] }\n",
        admin("token_file = 1\nread_token_file = \"SECRET-abcdef\""),
        // The others have no mistake: tokens are read at the start alone.
        admin("token_file = \"SECRET-abcdef\""),
        admin("token_file = \"/SECRET-abcdef\""),
        admin(&format!("token_file = \"{}\"", SECRET.repeat(24))),
        admin("token_file = \"/run/token\"\nread_token_file = \"SECRET-abcdef\""),
        edits("request_headers = { set = { authorization = \"SECRET-abcdef\" } }"),
    ];
    let mistaken = rows.len() - 5;
    for (index, text) in rows.iter().enumerate() {
        write(&managed, text);
        let diff = managed.ask("GET /config/diff", &[], "");
        let status = if index < mistaken { 422 } else { 200 };
        assert_eq!(diff.status(), status, "{text}: {}", diff.text());
        let check = [("Content-Type", "application/toml")];
        let checked = managed.ask("POST /config/check", &check, text);
        let reload = managed.ask("POST /reload", &[], "");
        let config = managed.ask("GET /config", &[], "");
        for answer in [diff, checked, reload, config] {
            assert!(!answer.text().contains(SECRET), "{text}: {}", answer.text());
        }
    }
    for path in ["/config", "/config/revisions", "/routes"] {
        let shown = managed.ask(&format!("GET {path}"), &[], "").text();
        assert!(!shown.contains(SECRET), "{path}: {shown}");
    }
    let back = managed.ask("POST /config/rollback", &[], "{\"revision\":1}");
    assert!(!back.text().contains(SECRET), "{}", back.text());
    managed.proxy.signal(libc::SIGHUP);
    managed.proxy.wait_for_log(&["audit=", "SIGHUP"]);
    assert!(
        !managed.proxy.log().contains(SECRET),
        "{}",
        managed.proxy.log()
    );
    let path = managed.proxy.directory.path().join("config.toml");
    let arguments = [
        "explain",
        "GET",
        "http://a/",
        "--config",
        path.to_str().unwrap(),
    ];
    let explained = run(&arguments);
    assert_eq!(explained.status.code(), Some(0));
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("set authorization: ***"), "{explained}");
    assert!(!explained.contains(SECRET), "{explained}");
}

#[test]
fn a_start_does_not_log_a_token_that_stands_where_its_file_is_to_be_named() {
    const SECRET: &str = "SECRET-abcdef";
    let long = SECRET.repeat(24);
    for token in [SECRET, "/SECRET-abcdef", &long] {
        let admin = free_addr();
        let config = format!(
            "[admin]\nlisten_addr = \"{admin}\"\ntoken_file = \"{token}\"\n{}",
            route("/", &[free_addr()])
        );
        let mut proxy = Proxy::launch(command(), free_addr(), &config);
        assert_eq!(proxy.wait_for_exit(), 1);
        proxy.wait_for_log(&["is not the token itself"]);
        assert!(!proxy.log().contains(SECRET), "{}", proxy.log());
    }
}

#[test]
fn secrets_that_everybody_may_read_are_warned_of() {
    let directory = Directory::new();
    let secret = |name: &str, text: &str, mode| {
        let path = directory.write(name, text);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    secret("token", "0123456789abcdef0123456789abcdef", 0o644);
    secret("reads", "fedcba9876543210fedcba9876543210", 0o604);
    secret("keys", "", 0o666);
    secret("hmac", "c2VjcmV0", 0o644);
    let text = "[tls]\nticket_key_file = \"{dir}/keys\"\n[admin]\ntoken_file = \"{dir}/token\"\n\
        read_token_file = \"{dir}/reads\"\n[acme]\nterms_of_service_agreed = true\nstate_dir = \"{dir}/acme\"\n\
        eab = { key_id = \"a\", hmac_key_file = \"{dir}/hmac\" }\n";
    let text = text.to_owned() + &route("/", &[free_addr()]);
    let warned = || {
        let (code, said) = check(&directory, &text);
        assert_eq!(code, Some(0), "{said}");
        let lines = said
            .lines()
            .filter(|line| line.contains("everybody on this machine"));
        lines.count()
    };
    assert_eq!(warned(), 4);
    for name in ["token", "reads", "keys", "hmac"] {
        let path = directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(warned(), 0);
}

#[test]
fn a_request_that_outlives_many_changes_is_logged_by_its_names() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = Origin::start(move |link| {
        while link.request().is_some() {
            let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            link.send(ok("slow"));
        }
    });
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let managed = Managed::start("", &(log.to_owned() + &pool(&[slow.addr])));
    let mut client = managed.proxy.client();
    client.send(get("/"));
    slow.wait_for_requests(1);
    for weight in 2..=40 {
        let server = format!("PATCH /pools/api/servers/{}", slow.addr);
        let changed = managed.ask(&server, &[], &format!("{{\"weight\": {weight}}}"));
        assert_eq!(changed.status(), 200, "{}", changed.text());
    }
    let_go.send(()).unwrap();
    assert_eq!(client.answer().text(), "slow");
    let lines = managed.proxy.access_lines(1);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["pool"], "api", "{line}");
    assert_eq!(line["backend"], slow.addr.to_string(), "{line}");
    assert_eq!(line["route"], "/", "{line}");
}
