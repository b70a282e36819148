//! The commands and configurations in the pages.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::pages::{Block, Page, all, root};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, end_with_this_thread};
use crate::support::trusted::Trusted;
use crate::support::{Client, Lineage, eventually, get};

/// The blocks of all pages that begin with these words.
fn blocks(kind: &str) -> Vec<(Page, Block)> {
    let pages = all().into_iter();
    let found: Vec<_> = pages
        .flat_map(|page| {
            let blocks = page.blocks().into_iter();
            let of_page = move |block| {
                (
                    Page {
                        path: page.path.clone(),
                        text: String::new(),
                    },
                    block,
                )
            };
            blocks.map(of_page).collect::<Vec<_>>()
        })
        .filter(|(_, block)| block.kind == kind)
        .collect();
    assert!(!found.is_empty(), "blocks of {kind} are found");
    found
}

/// The text with the addresses of this test in the place of those that a reader's machine has.
fn at_home(text: &str, ip: IpAddr) -> String {
    let ip = ip.to_string();
    text.replace("localhost", &ip).replace("127.0.0.1", &ip)
}

#[test]
fn commands_work() {
    let ip = free_addr().ip();
    let shipped = fs::read_to_string(root().join("config.toml")).unwrap();
    let mut palantir =
        Lineage::launch(command(), SocketAddr::new(ip, 8080), &at_home(&shipped, ip));
    palantir.proxy.wait_until_it_accepts();
    let directory = palantir.proxy.directory.path().to_owned();
    // A refusal is a failure of curl, and nothing hangs.
    fs::write(
        directory.join(".curlrc"),
        "fail\nsilent\nshow-error\nmax-time = 60\n",
    )
    .unwrap();
    let admin = SocketAddr::new(ip, 8687);
    eventually("the backends are healthy", || {
        Client::connect(admin)
            .ask(get("/ready").replace("Host: test", &format!("Host: {admin}")))
            .status()
            == 200
    });
    for (page, block) in blocks("sh") {
        let output = shell(&at_home(&block.text, ip), &directory);
        assert!(
            output.status.success(),
            "{}: {output:?}",
            page.at(block.line)
        );
        if block.text.contains("palantir upgrade") {
            palantir.note_upgrade();
        }
    }
}

/// Runs commands in a folder, as a user does who has installed palantir.
fn shell(text: &str, folder: &Path) -> Output {
    let installed = Path::new(env!("CARGO_BIN_EXE_palantir")).parent().unwrap();
    let path = format!("{}:{}", installed.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-e", "-o", "pipefail", "-c", text])
        .current_dir(folder)
        .env("PATH", path)
        .env("CURL_HOME", folder)
        .env_remove("PALANTIR_CONFIG")
        .env_remove("PALANTIR_ADMIN")
        .stdin(Stdio::null());
    end_with_this_thread(&mut bash);
    bash.output().expect("run bash")
}

#[test]
fn commands_that_are_not_run_here_are_well_formed() {
    for (page, block) in blocks("sh checked") {
        let mut bash = Command::new("bash");
        let output = bash.args(["-n", "-c", &block.text]).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {output:?}",
            page.at(block.line)
        );
        for line in block.text.lines() {
            check(line, &page.at(block.line));
        }
    }
}

/// The programs and options of this repository that a command names exist, and so do those of cargo.
fn check(line: &str, place: &str) {
    let line = line.split(" #").next().unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    let help = match words[..] {
        [] => return,
        ["palantir", command, ..] => help_of_palantir(command),
        ["cargo", command, ..] => help("cargo", &[command, "--help"]),
        ["bash", script, ..] => return assert!(root().join(script).exists(), "{place}: {line}"),
        [program, ..] if program.starts_with("bench-scripts/") => {
            help(root().join(program).to_str().unwrap(), &["--help"])
        }
        [program, ..] if program.starts_with("tests/") => {
            return assert!(root().join(program).exists(), "{place}: {line}");
        }
        _ => return,
    };
    let options = words.iter().take_while(|word| **word != "--");
    for option in options.filter(|word| word.starts_with("--")) {
        let option = option.split('=').next().unwrap();
        assert!(help.contains(option), "{place}: {line}: {option}");
    }
}

/// The text that `palantir COMMAND --help` prints; fails if there is no such command.
pub fn help_of_palantir(command: &str) -> String {
    help(env!("CARGO_BIN_EXE_palantir"), &[command, "--help"])
}

fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn configurations_are_accepted() {
    let ip = free_addr().ip();
    let trusted = Trusted::new();
    for (page, block) in blocks("toml") {
        let directory = Directory::new();
        let folder = directory.path().to_str().unwrap();
        let text = block
            .text
            .replace("/etc/palantir/a.pem", trusted.cert())
            .replace("/etc/palantir/a.key", trusted.key())
            .replace("/var/lib/palantir", folder)
            .replace("0.0.0.0", &ip.to_string());
        directory.write("config.toml", &text);
        let output = shell("palantir check", directory.path());
        assert!(
            output.status.success(),
            "{}: {output:?}",
            page.at(block.line)
        );
    }
}

#[test]
fn blocks_are_of_a_known_kind() {
    for page in all() {
        for block in page.blocks() {
            let known = ["sh", "sh checked", "toml", "toml other", "text"];
            assert!(
                known.contains(&&block.kind[..]),
                "{}: {}",
                page.at(block.line),
                block.kind
            );
        }
    }
}
