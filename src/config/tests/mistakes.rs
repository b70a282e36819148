//! Bad files, and what is said of them: all of it at once, word for word.

mod cache;
mod pools;
mod routes;
mod tls;

use std::path::Path;

use super::parsed;
use crate::base::limits;
use crate::config::load;

/// Checks that a file has exactly these mistakes. Lines are counted from the first one after the opening quote.
pub(super) fn expect(text: &str, expected: &[&str]) {
    let found = match parsed(text.trim_start_matches('\n')) {
        Ok(_) => String::new(),
        Err(mistakes) => mistakes.to_string(),
    };
    let found: Vec<&str> = found
        .lines()
        .map(|line| line.strip_prefix("c.toml:").unwrap())
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn of_the_top_level() {
    expect(
        r#"
listen_adr = "127.0.0.1:8080"
listen_addr = ["localhost:80", "unix:/a", "unix:/a", "[::1]:0", 5, "127.0.0.1:9001"]
shutdown_timeout = -1
workers = "4"
trusted_proxies = ["10.0.0.0/33", "lan", "unix:", "unix:/run/x"]
pass_fields = ["cf-connecting-ip", "accept", "x-forwarded-for"]
resolve_secs = 86401
test_server = { listen_addrs = ["127.0.0.1:9001", "unix:/b"] }
pools = 1
"a b" = 2
"#,
        &[
            "1:1: listen_adr = \"127.0.0.1:8080\": unknown key; did you mean \"listen_addr\"?",
            "2:16: listen_addr[0] = \"localhost:80\": must be an IP address and a port from 1 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a socket \"unix:/path\"",
            "2:43: listen_addr[2] = \"unix:/a\": is listened on already",
            "2:54: listen_addr[3] = \"[::1]:0\": must be an IP address and a port from 1 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a socket \"unix:/path\"",
            "2:65: listen_addr[4] = 5: must be a text in quotes",
            "3:20: shutdown_timeout = -1: must be a number of seconds from 0 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "4:11: workers = \"4\": must be a whole number from 0 to 256",
            "5:20: trusted_proxies[0] = \"10.0.0.0/33\": the prefix length is a number from 0 to 32",
            "5:35: trusted_proxies[1] = \"lan\": \"lan\" is not an IP address",
            "5:51: trusted_proxies[3] = \"unix:/run/x\": \"unix:\" stands for all Unix sockets; write nothing behind it",
            "6:36: pass_fields[1] = \"accept\": is not one of the fields that pass from trusted proxies alone",
            "6:46: pass_fields[2] = \"x-forwarded-for\": is not one of the fields that pass from trusted proxies alone",
            "7:16: resolve_secs = 86401: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "8:33: test_server.listen_addrs[0] = \"127.0.0.1:9001\": is listened on already",
            "8:51: test_server.listen_addrs[1] = \"unix:/b\": must be an IP address and a port from 1 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
            "9:9: pools = 1: must be a list in brackets",
            "10:1: \"a b\" = 2: unknown key; known: listen_addr, listeners, tls, acme, shutdown_timeout, workers, trusted_proxies, pass_fields, forwarded, x_real_ip, resolve_interval, timeouts, limits, access_log, admin, cache, tracing, test_server, pools, routes",
        ],
    );
}

/// Requests of different clients no longer share a connection of HTTP/1.1, and a file that asks for it is told what
/// there is.
#[test]
fn of_the_former_key_pipelining() {
    let why = "is gone: a connection to a backend carries one HTTP/1.1 request at a time, because a backend that breaks framing would answer one client with what is another's; let requests share connections by protocol = \"h2\"";
    expect(
        r#"
listen_addr = "127.0.0.1:1"
[[pools]]
name = "api"
backends = ["127.0.0.1:2"]
pipelining = 16
[[routes]]
pool = "api"
pipelining = 1
[[routes]]
prefix = "/own"
backend_addrs = ["127.0.0.1:3"]
pipelining = 4
"#,
        &[
            &format!("5:14: pools[0].pipelining = 16: {why}"),
            &format!("8:14: routes[0].pipelining = 1: {why}"),
            &format!("12:14: routes[1].pipelining = 4: {why}"),
        ],
    );
}

#[test]
fn of_listeners() {
    expect(
        r#"
listen_addr = "127.0.0.1:1"
[[listeners]]
addr = "127.0.0.1:1"
http2 = "no"
[[listeners]]
adr = "127.0.0.1:2"
[[listeners]]
addr = "localhost:3"
proxy_protocol = "v1"
redirect = true
[[listeners]]
addr = "127.0.0.1:4"
[[listeners]]
addr = "[::ffff:127.0.0.1]:5"
"#,
        &[
            "3:8: listeners[0].addr = \"127.0.0.1:1\": is listened on already",
            "4:9: listeners[0].http2 = \"no\": must be true or false",
            "5:1: listeners[1]: \"addr\" is missing",
            "6:1: listeners[1].adr = \"127.0.0.1:2\": unknown key; did you mean \"addr\"?",
            "8:8: listeners[2].addr = \"localhost:3\": must be an IP address and a port from 1 to 65535, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a socket \"unix:/path\"",
            "9:18: listeners[2].proxy_protocol = \"v1\": must be true or false",
            "10:1: listeners[2].redirect = true: unknown key; did you mean \"redirect_to_https\"?",
            "14:8: listeners[4].addr = \"[::ffff:127.0.0.1]:5\": is an IPv4 address in the form of IPv6; write \"127.0.0.1:5\", or a socket \"unix:/path\"",
        ],
    );
    let addrs: Vec<String> = (1..=limits::LISTENERS)
        .map(|n| format!("\"127.0.0.1:{n}\""))
        .collect();
    let text = format!(
        "listen_addr = [{}]\n[[listeners]]\naddr = \"127.0.0.1:9000\"",
        addrs.join(", ")
    );
    expect(
        &text,
        &[
            "3:8: listeners[0].addr = \"127.0.0.1:9000\": with this there are more than 64 listeners",
        ],
    );
}

#[test]
fn of_proxy_headers() {
    expect(
        r#"
[[listeners]]
addr = "0.0.0.0:1"
proxy_protocol = true
[[listeners]]
addr = "[::]:2"
proxy_protocol = true
proxy_protocol_from = []
[[listeners]]
addr = "127.0.0.1:3"
proxy_protocol_from = ["10.0.0.0/8"]
[[listeners]]
addr = "unix:/run/a.sock"
proxy_protocol = true
proxy_protocol_from = ["10.0.0.0/8"]
[[listeners]]
addr = "192.0.2.1:4"
proxy_protocol = true
proxy_protocol_from = ["10.0.0.0/8", "lan", "::ffff:0:0/90"]
[[listeners]]
addr = "127.0.0.1:5"
proxy_protocol = true
[[listeners]]
addr = "[::ffff:127.0.0.1]:6"
proxy_protocol = true
[[listeners]]
addr = "unix:/run/b.sock"
proxy_protocol = true
"#,
        &[
            "1:1: listeners[0]: has \"proxy_protocol\" at an address that others can reach, who could say that they are anybody, so it needs \"proxy_protocol_from\", the networks of the proxies before it",
            "7:23: listeners[1].proxy_protocol_from: must name at least one network",
            "10:23: listeners[2].proxy_protocol_from: means nothing without proxy_protocol",
            "14:23: listeners[3].proxy_protocol_from: means nothing at a socket, whose clients have no address",
            "18:38: listeners[4].proxy_protocol_from[1] = \"lan\": \"lan\" is not an IP address",
            "18:45: listeners[4].proxy_protocol_from[2] = \"::ffff:0:0/90\": a network of IPv4 is written as one, such as 10.0.0.0/8",
            "23:8: listeners[6].addr = \"[::ffff:127.0.0.1]:6\": is an IPv4 address in the form of IPv6; write \"127.0.0.1:6\", or a socket \"unix:/path\"",
        ],
    );
}

#[test]
fn of_sections() {
    expect(
        r#"
limits = 5
[timeouts]
conect = 2
connect = 0
client_idle = "60"
client_body = nan
upstream_idle = 1e400
[access_log]
format = "jsn"
[test_server]
listen_addr = []
"#,
        &[
            "1:10: limits = 5: must be a table",
            "3:1: timeouts.conect = 2: unknown key; did you mean \"connect\"?",
            "4:11: timeouts.connect = 0: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "5:15: timeouts.client_idle = \"60\": must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "6:15: timeouts.client_body = nan: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "7:17: timeouts.upstream_idle = 1e400: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "8:1: access_log: \"path\" is missing",
            "9:10: access_log.format = \"jsn\": unknown; did you mean \"json\"?",
            "11:1: test_server.listen_addr: unknown key; did you mean \"listen_addrs\"?",
        ],
    );
    expect(
        r#"
[limits]
request_headers = 257
request_head_bytes = 255
request_body_bytes = 99999999999999999999
connections = 1.5
memory_bytes = 1000000
timeout = {a = 1,
 b = 2}
[access_log]
path = ""
format = 1
"#,
        &[
            "2:19: limits.request_headers = 257: must be a whole number from 1 to 256",
            "3:22: limits.request_head_bytes = 255: must be a whole number of bytes from 256 to 262144, or a text such as \"64KiB\" or \"10MB\"",
            "4:22: limits.request_body_bytes = 99999999999999999999: must be a whole number of bytes from 0 to 1125899906842624, or a text such as \"64KiB\" or \"10MB\"",
            "5:15: limits.connections = 1.5: must be a whole number from 0 to 10000000",
            "6:16: limits.memory_bytes = 1000000: must be 0, or a whole number of bytes from 67108864 to 1125899906842624, or a text such as \"64KiB\" or \"10MB\"",
            "7:1: limits.timeout = {a = 1,…: unknown key; known: request_head_size, request_headers, request_target_size, request_body_size, connections, requests_per_connection, memory",
            "10:8: access_log.path = \"\": must name a file",
            "11:10: access_log.format = 1: must be a text in quotes",
        ],
    );
}

#[test]
fn of_the_admin_address_and_tracing() {
    expect(
        r#"
listen_addr = ["127.0.0.1:8687", "unix:/a"]
[admin]
read_token_file = "/read"
state_file = ""
[tracing]
create = "yes"
propogate = true
"#,
        &[
            "2:1: admin: has a read_token_file, so it needs a token_file: changing must not take less than reading",
            "2:1: admin: is listened on already",
            "4:14: admin.state_file = \"\": must name a file",
            "6:10: tracing.create = \"yes\": must be true or false",
            "7:1: tracing.propogate = true: unknown key; did you mean \"propagate\"?",
        ],
    );
    for addr in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
        let text = format!("[admin]\nlisten_addr = \"{addr}\"");
        let mistake = format!(
            "2:15: admin.listen_addr = \"{addr}\": is not a loopback address: others may reach it, so it needs a token_file, or tls with a client_ca"
        );
        expect(&text, &[mistake.as_str()]);
        assert!(parsed(&format!("{text}\ntoken_file = \"t\"")).is_ok());
    }
    for addr in ["127.8.0.1:1", "[::1]:1", "unix:/b"] {
        let config = parsed(&format!("[admin]\nlisten_addr = \"{addr}\"")).unwrap();
        let admin = config.settings.admin.unwrap();
        assert_eq!(admin.listen_addr.to_string(), addr);
    }
    let config = parsed("[admin]").unwrap();
    let admin = config.settings.admin.unwrap();
    assert_eq!(admin.listen_addr.to_string(), "127.0.0.1:8687");
}

#[test]
fn of_syntax_and_before_it() {
    expect(
        "workers = 1\nworkers = 2\nlisten_adr = \"\"\nshutdown_timeout = 1s\nresolve_secs = \"x\"\n[pools\nb = 1\n",
        &[
            "2:1: workers = 2: duplicate key",
            "3:1: listen_adr = \"\": unknown key; did you mean \"listen_addr\"?",
            "4:20: shutdown_timeout = 1s: string values must be quoted, expected literal string",
            "6:7: [pools: unclosed table, expected `]`",
        ],
    );
    expect(
        "name = \"api\n",
        &["1:12: name = \"api: invalid basic string, expected `\"`"],
    );
    expect(
        "\u{1}\n",
        &["1:1: \u{fffd}: invalid unquoted key, expected letters, numbers, `-`, `_`"],
    );
}

#[test]
fn of_a_key_given_twice_and_elsewhere() {
    expect(
        "workers = 1\nworkers = 2\n[[routes]]\npool = \"api\"\n",
        &[
            "2:1: workers = 2: duplicate key",
            "4:8: routes[0].pool = \"api\": unknown pool; there is none",
        ],
    );
}

#[test]
fn of_size() {
    let names: Vec<String> = (0..limits::BACKENDS)
        .map(|n| format!("\"a{n}:1\""))
        .collect();
    let backends = names.join(",");
    expect(
        &format!(
            "[[routes]]\nbackend_addrs = [{backends}]\n[[routes]]\nprefix = \"/a\"\nbackend_addrs = [\"b:1\"]\n"
        ),
        &["3:1: routes[1]: with this there are more than 4096 backends"],
    );
    expect(
        &format!("[[routes]]\nbackend_addrs = [{backends}, \"b:1\"]\n"),
        &["2:17: routes[0].backend_addrs: has 4097 entries; at most 4096 are possible"],
    );
    let wrong = parsed(
        &"[[pools]]\nname = \"\"\nbackends = [\"a:1\"]\n".repeat(limits::CONFIG_MISTAKES + 3),
    )
    .unwrap_err();
    assert!(
        wrong.to_string().ends_with("\nc.toml: and 3 more"),
        "{wrong}"
    );
}

#[test]
fn of_files() {
    let said = |path: &Path| load(path).unwrap_err().to_string();
    assert_eq!(
        said(Path::new("/nowhere/c.toml")),
        "/nowhere/c.toml: cannot be read: No such file or directory (os error 2)"
    );
    let path = std::env::temp_dir().join(format!("palantir-config-{}.toml", std::process::id()));
    std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    let expected = format!("{}:2:6: not UTF-8 from here on", path.display());
    let found = said(&path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found, expected);
}
