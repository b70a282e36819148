//! The commands: what they print, where they look for the configuration, how they end.

use std::path::Path;
use std::process::Output;

use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, run};
use crate::support::{Client, Origin, Proxy, get};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that was printed.
fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[track_caller]
fn check(config: &str) -> (Option<i32>, String) {
    let directory = Directory::new();
    let path = directory.write("config.toml", config);
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    (output.status.code(), said(&output))
}

const GOOD: &str = "listen_addr = \"127.0.0.1:8080\"\nshutdown_timeout = 5\n
[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"127.0.0.1:8001\"]\n";

#[test]
fn a_good_configuration_passes() {
    let (code, said) = check(GOOD);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_shipped_configuration_passes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let config = "\
listen_addr = \"127.0.0.1\"
shutdown_timout = 10
workers = -1

[timeouts]
connect = \"2\"

[[pools]]
name = \"api\"
backends = [\"127.0.0.1:9001\", { addr = \"127.0.0.1:9002\", weight = 1000 }]
balancing_algorithm = \"round_robbin\"

[[routes]]
prefix = \"api\"
pool = \"apo\"

[[routes]]
prefix = \"/x\"
backend_addrs = []
health_check = { path = \"health\", interval_secs = 0 }
";
    let (code, said) = check(config);
    assert_eq!(code, Some(1), "{said}");
    let expected = [
        (1, "127.0.0.1"),
        (2, "shutdown_timeout"),
        (3, "-1"),
        (6, "connect"),
        (10, "1000"),
        (11, "round_robin"),
        (14, "api"),
        (15, "api"),
        (19, "backend"),
        (20, "health"),
        (20, "interval_secs"),
    ];
    for (line, words) in expected {
        let place = format!("config.toml:{line}:");
        let found = said
            .lines()
            .any(|said| said.contains(&place) && said.contains(words));
        assert!(found, "no line with {place} and {words:?} in:\n{said}");
    }
    for line in said.lines().filter(|line| line.contains("config.toml:")) {
        let place = line.split("config.toml:").nth(1).unwrap();
        let mut numbers = place.split(':');
        let position: Vec<_> = numbers
            .by_ref()
            .take(2)
            .map(|number| number.parse::<u32>())
            .collect();
        assert!(
            position.iter().all(Result::is_ok),
            "no line and column in {line:?}"
        );
    }
}

#[test]
fn unknown_keys_get_a_suggestion() {
    for (wrong, right) in [
        ("listen_adr", "listen_addr"),
        ("acces_log", "access_log"),
        ("worker", "workers"),
    ] {
        let (code, said) = check(&format!("{wrong} = 1\n{GOOD}"));
        assert_eq!(code, Some(1));
        assert!(said.contains(right) && said.contains(wrong), "{said}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    for config in ["listen_addr = \n", "[[routes]\n", "a = \"b\nc\"\n", "\u{0}"] {
        let (code, said) = check(config);
        assert_eq!(code, Some(1), "{config:?}: {said}");
        assert!(said.contains("config.toml:1:"), "{config:?}: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let directory = Directory::new();
    let missing = directory.path().join("missing.toml");
    let bytes = directory.path().join("bytes.toml");
    std::fs::write(&bytes, b"\xff\xfe\x00").unwrap();
    for path in [missing.as_path(), directory.path(), bytes.as_path()] {
        for arguments in [&["check"][..], &["run"], &[]] {
            let output = command()
                .args(arguments)
                .arg("--config")
                .arg(path)
                .output()
                .unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(path.to_str().unwrap()), "{said}");
            assert!(
                said.lines().count() <= 2 && !said.contains("panicked"),
                "{said}"
            );
        }
    }
}

#[test]
fn mistakes_keep_the_proxy_from_starting() {
    let directory = Directory::new();
    let path = directory.write("config.toml", "listen_adr = 1\n");
    let output = run(&["--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("config.toml:1:1"),
        "{}",
        said(&output)
    );
}

#[test]
fn an_address_in_use_is_one_clear_line() {
    let taken = crate::support::place::listen(free_addr());
    let taken = taken.local_addr().map(|addr| (taken, addr)).unwrap();
    let running = Proxy::to(&[free_addr()]);
    let directory = Directory::new();
    for addr in [taken.1, running.addr] {
        let config = GOOD.replace("127.0.0.1:8080", &addr.to_string());
        let path = directory.write("config.toml", &config);
        let output = run(&["--config", path.to_str().unwrap()]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let lines = said
            .lines()
            .filter(|line| line.contains(&addr.to_string()) && line.contains("in use"))
            .count();
        assert_eq!(lines, 1, "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    // The first address was free, but nothing stays half started.
    let free = free_addr();
    let config = GOOD.replace(
        "\"127.0.0.1:8080\"",
        &format!("[\"{free}\", \"{}\"]", taken.1),
    );
    let path = directory.write("config.toml", &config);
    assert_eq!(
        run(&["--config", path.to_str().unwrap()]).status.code(),
        Some(1)
    );
}

#[test]
fn a_missing_privilege_is_one_clear_line() {
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if least.trim() == "0" {
        eprintln!("not shown here: this machine lets everybody listen on every port");
        return;
    }
    let directory = Directory::new();
    let addr = format!("{}:7", free_addr().ip());
    let path = directory.write("config.toml", &GOOD.replace("127.0.0.1:8080", &addr));
    // Root without the one capability is as good as anybody else.
    let mut command = match unsafe { libc::geteuid() } {
        0 => {
            let mut command = std::process::Command::new("setpriv");
            command.args([
                "--bounding-set=-net_bind_service",
                "--inh-caps=-net_bind_service",
            ]);
            command.arg(env!("CARGO_BIN_EXE_palantir"));
            command
        }
        _ => command(),
    };
    let output = command.arg("--config").arg(path).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.lines()
            .any(|line| line.contains(&addr) && line.to_lowercase().contains("permi")),
        "{said}"
    );
}

#[test]
fn the_configuration_is_found_in_this_order() {
    let directory = Directory::new();
    let at = |name: &str, number: u16| {
        directory.write(name, &GOOD.replace("8001", &number.to_string()));
    };
    let backend = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command();
        command
            .current_dir(directory.path())
            .args(["explain"])
            .args(arguments);
        let output = command
            .envs(variables.iter().copied())
            .args(["GET", "http://test/"])
            .output()
            .unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let number = said
            .split("backend         127.0.0.1:")
            .nth(1)
            .unwrap_or_else(|| panic!("no backend in {said}"));
        number[..4].parse::<u16>().unwrap()
    };
    at("reverse-proxy.toml", 7005);
    assert_eq!(backend(&[], &[]), 7005);
    at("config.toml", 7004);
    assert_eq!(backend(&[], &[]), 7004);
    at("c.toml", 7003);
    let old = ("REVERSE_PROXY_CONFIG_PATH", "c.toml");
    assert_eq!(backend(&[], &[old]), 7003);
    at("b.toml", 7002);
    let new = ("PALANTIR_CONFIG", "b.toml");
    assert_eq!(backend(&[], &[new, old]), 7002);
    at("a.toml", 7001);
    assert_eq!(backend(&["--config", "a.toml"], &[new, old]), 7001);
}

#[test]
fn explain_tells_what_a_request_would_meet() {
    let directory = Directory::new();
    let path = directory.write(
        "config.toml",
        "listen_addr = \"127.0.0.1:8080\"
[[pools]]\nname = \"api-pool\"\nbackends = [\"127.0.0.1:9001\"]\nbalancing_algorithm = \"peak_ewma\"
[[routes]]\nhost = \"api.example.com\"\nprefix = \"/v1\"\npool = \"api-pool\"\nretries = 3
[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"127.0.0.1:9002\"]\n",
    );
    let explain = |method: &str, url: &str| {
        let output = run(&["explain", "--config", path.to_str().unwrap(), method, url]);
        (output.status.code(), said(&output))
    };
    let (code, told) = explain("GET", "http://api.example.com/x/../v1/users?q=1");
    assert_eq!(code, Some(0), "{told}");
    for word in [
        "api.example.com/v1",
        "api-pool",
        "peak_ewma",
        "127.0.0.1:9001",
        "/v1/users",
    ] {
        assert!(told.contains(word), "no {word:?} in:\n{told}");
    }
    let (code, told) = explain("POST", "http://other/v1");
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("127.0.0.1:9002") && told.contains("round_robin"),
        "{told}"
    );
    let (code, told) = explain("GET", "no url");
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn help_and_version() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for word in ["run", "check", "explain", "test-server", "--config"] {
        assert!(help.contains(word), "no {word:?} in:\n{help}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    assert_ne!(run(&["no-such-command"]).status.code(), Some(0));
}

#[test]
fn the_start_is_told_in_a_few_lines() {
    let proxy = Proxy::to(&[free_addr()]);
    proxy.wait_for_log(&[&proxy.addr.to_string()]);
    proxy.wait_for_log(&["workers on"]);
    let log = proxy.log();
    assert!(
        log.contains("io_uring") || log.contains("epoll"),
        "the engine is told:\n{log}"
    );
    assert!(log.lines().count() <= 12, "{log}");
}

#[test]
fn rust_log_decides_what_is_told() {
    let mut command = command();
    command.env("RUST_LOG", "error");
    let origin = Origin::saying("");
    let config = crate::support::proxy::route("/", &[origin.addr]);
    let mut proxy = Proxy::start_as(command, &config);
    assert_eq!(proxy.ask(get("/")).status(), 200);
    assert_eq!(proxy.stop(), 0);
    assert_eq!(proxy.log(), "");
}

#[test]
fn a_configuration_with_test_servers_needs_no_other_server() {
    let servers = [free_addr(), free_addr(), free_addr()];
    let list = crate::support::proxy::list(&servers);
    let config = format!(
        "[test_server]\nlisten_addrs = {list}\n{}",
        crate::support::proxy::route("/", &servers)
    );
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &config));
    let mut client = proxy.client();
    let mut names: Vec<_> = (0..3).map(|_| client.ask(get("/")).text()).collect();
    names.sort();
    for (number, (name, addr)) in names.iter().zip(servers).enumerate() {
        assert!(
            name.contains(&format!("server {}", number + 1)) && name.contains(&addr.to_string()),
            "{name}"
        );
    }
}

#[test]
fn routes_of_the_test_server() {
    let server = free_addr();
    let mut child = command()
        .args(["test-server", "--listen", &server.to_string()])
        .spawn()
        .unwrap();
    let outcome = std::panic::catch_unwind(|| {
        crate::support::eventually("it listens", || {
            std::net::TcpStream::connect(server).is_ok()
        });
        let proxy = Proxy::to(&[server]);
        let mut client = proxy.client();
        assert!(client.ask(get("/")).text().contains(&server.to_string()));
        assert_eq!(client.ask(get("/health")).status(), 200);
        assert_eq!(client.ask(get("/large")).body.len(), 1 << 20);
        assert_eq!(client.ask(get("/slow?ms=20")).status(), 200);
        for status in [204, 304, 404, 418, 503, 599] {
            assert_eq!(
                client.ask(get(&format!("/status/{status}"))).status(),
                status
            );
        }
        let echo = client.ask(
            "PUT /echo?a=b HTTP/1.1\r\nHost: test\r\nX-Odd: a  b\r\nContent-Length: 3\r\n\r\nabc",
        );
        let echo = echo.text();
        assert!(echo.starts_with("PUT /echo?a=b HTTP/1.1\r\n"), "{echo}");
        assert!(
            echo.contains("\r\nX-Odd: a  b\r\n") && echo.ends_with("\r\n\r\nabc"),
            "{echo}"
        );
        let stream = client.ask(get("/stream"));
        assert!(stream.complete && stream.chunk_lines.len() > 2 && !stream.trailers.is_empty());
        let head = client.ask("HEAD /large HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(head.field("content-length"), Some("1048576"));
        events_arrive(&mut client);
        assert!(
            Client::connect(server)
                .ask(get("/"))
                .text()
                .contains(&server.to_string())
        );
    });
    child.kill().unwrap();
    child.wait().unwrap();
    outcome.unwrap();
}

/// Server-sent events come one by one, not when a buffer is full.
fn events_arrive(client: &mut Client) {
    client.send(get("/sse"));
    let answer = client.begin_answer();
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    let first = client.bytes(20);
    assert!(text(&first).contains("id: 1\n"), "{}", text(&first));
}

#[test]
fn a_backend_whose_name_does_not_resolve_is_down_and_nothing_else() {
    let origin = Origin::saying("alive");
    let config = format!(
        "[[routes]]\nprefix = \"/lost\"\nbackend_addrs = [\"no-such-host.invalid:80\"]\n{}",
        crate::support::proxy::route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&["WARN", "no-such-host.invalid"]);
    assert_eq!(proxy.ask(get("/")).text(), "alive");
    assert_eq!(proxy.ask(get("/lost")).status(), 503);
}
