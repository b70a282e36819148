//! The commands that speak to a running palantir: what they send, what they print, how they end.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::admin::{Admin, Asked, script};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, run};

/// A stand-in that gives one answer, and a directory with a configuration that names it.
fn answering(status: u16, body: Value) -> (Admin, Directory) {
    let mut script = script(
        "api",
        &[
            ("127.0.0.1:9001", "healthy"),
            ("127.0.0.1:9002", "unhealthy"),
        ],
    );
    script.answer = (status, body);
    let admin = Admin::start(free_addr(), script);
    let directory = Directory::new();
    directory.write(
        "config.toml",
        &format!("[admin]\nlisten_addr = \"{}\"\n", admin.addr),
    );
    (admin, directory)
}

fn accepted() -> Value {
    json!({"revision": 7, "changed": true, "notes": ["the file wins"]})
}

fn palantir(directory: &Directory, arguments: &[&str]) -> Output {
    let path = directory.path().join("config.toml");
    let config = ["--config", path.to_str().unwrap()];
    run(&[arguments, &config].concat())
}

#[track_caller]
fn ends(output: &Output, code: i32, stdout: &str, stderr: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    for words in stderr {
        assert!(said.contains(words), "{words:?} is not in {said:?}");
    }
    assert_eq!(said.is_empty(), stderr.is_empty(), "{said}");
}

#[test]
fn each_command_asks_for_one_thing() {
    let rows: [(&[&str], &str, Value, &str); 6] = [
        (
            &["reload"],
            "POST /reload",
            json!({}),
            "now revision 7\nthe file wins\n",
        ),
        (
            &["reload", "--confirm", "60s", "--max-failed-percent", "5"],
            "POST /reload",
            json!({"confirm_secs": 60, "max_failed_percent": 5}),
            "now revision 7\nthe file wins\non trial for 1m: `palantir confirm` keeps it\n",
        ),
        (
            &["confirm"],
            "POST /reload/confirm",
            json!({}),
            "now revision 7\nthe file wins\n",
        ),
        (
            &["rollback", "4"],
            "POST /config/rollback",
            json!({"revision": 4}),
            "now revision 7\nthe file wins\n",
        ),
        (
            &["upgrade"],
            "POST /upgrade",
            json!({}),
            "now revision 7\nthe file wins\n",
        ),
        (
            &["diff"],
            "GET /config/diff",
            Value::Null,
            "the file says what is in force\n",
        ),
    ];
    for (arguments, line, body, stdout) in rows {
        let (admin, directory) = answering(200, accepted());
        ends(&palantir(&directory, arguments), 0, stdout, &[]);
        let expected = Asked {
            line: line.to_owned(),
            body,
            authorization: None,
        };
        assert_eq!(admin.asked(), [expected], "{arguments:?}");
    }
}

#[test]
fn every_mistake_is_printed() {
    let errors = json!([
        {"field": "routes[0].prefix", "detail": "must begin with a slash"},
        {"field": "workers", "detail": "must be a number"},
    ]);
    let (_admin, directory) = answering(
        422,
        json!({"status": 422, "detail": "two mistakes", "errors": errors}),
    );
    let lines = [
        "palantir: routes[0].prefix: must begin with a slash\n",
        "palantir: workers: must be a number\n",
    ];
    ends(&palantir(&directory, &["reload"]), 1, "", &lines);
}

#[test]
fn a_token_comes_from_its_file_or_the_environment() {
    let (admin, directory) = answering(200, accepted());
    admin.change(|script| script.token = Some("s3cret".to_owned()));
    let words = ["a token is needed", "no token was sent", "$PALANTIR_TOKEN"];
    ends(&palantir(&directory, &["confirm"]), 1, "", &words);

    let token = directory.write("token", "s3cret\n");
    let config = format!(
        "[admin]\nlisten_addr = \"{}\"\ntoken_file = {token:?}\n",
        admin.addr
    );
    let path = directory.write("config.toml", &config);
    ends(
        &palantir(&directory, &["confirm"]),
        0,
        "now revision 7\nthe file wins\n",
        &[],
    );

    let confirm = |token: &str| {
        let mut command = command();
        command
            .env("PALANTIR_TOKEN", token)
            .arg("--config")
            .arg(&path);
        command.arg("confirm").output().unwrap()
    };
    ends(&confirm("wrong"), 1, "", &["the token is not the one"]);
    let mut named = command();
    named.env("PALANTIR_ADMIN", admin.addr.to_string());
    named.arg("--config").arg(&path).arg("confirm");
    let stdout = "now revision 7\nthe file wins\n";
    ends(&named.output().unwrap(), 0, stdout, &[]);
    std::fs::remove_file(token).unwrap();
    ends(
        &confirm("s3cret"),
        0,
        "now revision 7\nthe file wins\n",
        &[],
    );
    ends(
        &palantir(&directory, &["confirm"]),
        3,
        "",
        &["the token cannot be read"],
    );
}

#[test]
fn nobody_there_is_said_with_an_exit_code_of_its_own() {
    let directory = Directory::new();
    let nobody = free_addr();
    directory.write(
        "config.toml",
        &format!("[admin]\nlisten_addr = \"{nobody}\"\n"),
    );
    let words = [&*format!("no palantir at {nobody}"), "refused"];
    ends(&palantir(&directory, &["upgrade"]), 3, "", &words);
    directory.write(
        "config.toml",
        "[admin]\nlisten_addr = \"unix:/nonexistent/admin.sock\"\n",
    );
    ends(
        &palantir(&directory, &["diff"]),
        3,
        "",
        &["unix:/nonexistent/admin.sock"],
    );
    directory.write("config.toml", "listen_addr = \"127.0.0.1:1\"\n");
    ends(
        &palantir(&directory, &["reload"]),
        3,
        "",
        &["the file has no [admin] section", "$PALANTIR_ADMIN"],
    );
}

#[test]
fn the_rest_of_the_file_may_be_broken() {
    let (admin, directory) = answering(200, accepted());
    let config = format!(
        "workers = \"many\"\n[admin]\nlisten_addr = \"{}\"\n",
        admin.addr
    );
    directory.write("config.toml", &config);
    ends(
        &palantir(&directory, &["rollback", "4"]),
        0,
        "now revision 7\nthe file wins\n",
        &[],
    );
}

#[test]
fn top_without_a_terminal_says_what_to_do_instead() {
    let (_admin, directory) = answering(200, accepted());
    ends(
        &palantir(&directory, &["top"]),
        1,
        "",
        &["needs a terminal", "/board"],
    );
}

/// `script` lends a terminal. A word that is drawn is written in one piece.
#[test]
fn top_shows_the_board_until_q() {
    let (_admin, directory) = answering(200, accepted());
    let line = format!(
        "stty rows 40 cols 140; {} top --config {}",
        env!("CARGO_BIN_EXE_palantir"),
        directory.path().join("config.toml").display()
    );
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color");
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut script = script.expect("start script, of bsdutils");
    let mut keys = script.stdin.take().unwrap();
    std::thread::spawn(move || {
        // The first frame is drawn before any key is read; a key more does no harm.
        for _ in 0..PATIENCE.as_secs() {
            std::thread::sleep(Duration::from_secs(1));
            if keys.write_all(b"q").is_err() {
                return;
            }
        }
    });
    let output = script.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{seen}");
    for words in ["revision", "127.0.0.1:9001", "healthy", "unhealthy", "4321"] {
        assert!(seen.contains(words), "{words:?} is not in {seen:?}");
    }
}

#[test]
fn the_token_goes_to_no_other_machine_in_clear_text() {
    let (admin, directory) = answering(200, accepted());
    let path = directory.write("config.toml", "");
    let confirm = |addr: &str, variables: &[(&str, &str)]| {
        let mut command = command();
        command.args(["confirm", "--config"]).arg(&path);
        command.env("PALANTIR_ADMIN", addr);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    // No machine has this address, and the kernel refuses to connect to it.
    let elsewhere = "255.255.255.255:9";
    let (token, allowed) = (
        ("PALANTIR_TOKEN", "s3cret"),
        ("PALANTIR_CLEARTEXT_TOKEN", "1"),
    );
    let refused = ["in clear text", "https://", "PALANTIR_CLEARTEXT_TOKEN"];
    ends(&confirm(elsewhere, &[token]), 3, "", &refused);
    let unreachable = ["no palantir at 255.255.255.255:9"];
    ends(&confirm(elsewhere, &[]), 3, "", &unreachable);
    ends(&confirm(elsewhere, &[token, allowed]), 3, "", &unreachable);
    // A server without TLS must not get the token.
    let secure = format!("https://{}", admin.addr);
    ends(&confirm(&secure, &[token]), 3, "", &["no palantir at"]);
    assert_eq!(admin.asked(), []);
    let plain = format!("http://{}", admin.addr);
    let done = "now revision 7\nthe file wins\n";
    ends(&confirm(&plain, &[token]), 0, done, &[]);
}
