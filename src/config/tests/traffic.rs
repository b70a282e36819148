//! Mistakes in settings of slow clients, of backends that hang, of fields that pass, and of tolerated faults.

use std::time::Duration;

use super::mistakes::expect;
use super::snapshots::snapshot;
use crate::snapshot::Snapshot;

#[test]
fn of_what_a_listener_bears() {
    expect(
        r#"
[[listeners]]
addr = "127.0.0.1:1"
min_rate_bytes = "500"
min_rate_grace = true
merge_slashes = true
tolerate = [2]
half_close = 1
[[listeners]]
addr = "127.0.0.1:2"
min_rate_bytes = -1
min_rate_grace = -1
merge_slashes = "match"
tolerate = ["control_byte"]
half_close = "served"
https_port = "443"
[[listeners]]
addr = "127.0.0.1:3"
min_rate_bytes = 1000000000000
min_rate_grace = 86401
tolerate = "control_bytes"
"#,
        &[
            "3:18: listeners[0].min_rate_bytes = \"500\": must be a whole number of bytes from 0 to 1073741824, or a text such as \"64KiB\" or \"10MB\"",
            "4:18: listeners[0].min_rate_grace = true: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "5:17: listeners[0].merge_slashes = true: must be a text in quotes",
            "6:13: listeners[0].tolerate[0] = 2: must be a text in quotes",
            "7:14: listeners[0].half_close = 1: must be a text in quotes",
            "10:18: listeners[1].min_rate_bytes = -1: must be a whole number of bytes from 0 to 1073741824, or a text such as \"64KiB\" or \"10MB\"",
            "11:18: listeners[1].min_rate_grace = -1: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "12:17: listeners[1].merge_slashes = \"match\": unknown; did you mean \"match_only\"?",
            "13:13: listeners[1].tolerate[0] = \"control_byte\": unknown; did you mean \"control_bytes\"?",
            "14:14: listeners[1].half_close = \"served\": unknown; did you mean \"serve\"?",
            "15:14: listeners[1].https_port = \"443\": means nothing without redirect_to_https",
            "18:18: listeners[2].min_rate_bytes = 1000000000000: must be a whole number of bytes from 0 to 1073741824, or a text such as \"64KiB\" or \"10MB\"",
            "19:18: listeners[2].min_rate_grace = 86401: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "20:12: listeners[2].tolerate = \"control_bytes\": must be a list in brackets",
        ],
    );
}

#[test]
fn of_times_of_both_ways() {
    expect(
        r#"
[timeouts]
tunnel_idle = 0
client_stream_stall = "5 m"
[[routes]]
backend_addrs = ["a:1"]
timeouts = { tunnel_idle = 86401, client_stream_stall = 5 }
"#,
        &[
            "2:15: timeouts.tunnel_idle = 0: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "3:23: timeouts.client_stream_stall = \"5 m\": must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "6:28: routes[0].timeouts.tunnel_idle = 86401: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "6:35: routes[0].timeouts.client_stream_stall = 5: unknown key; known: client_body, connect, upstream_response, upstream_idle, tunnel_idle",
        ],
    );
}

#[test]
fn of_backends_that_hang_or_are_odd() {
    expect(
        r#"
[[pools]]
name = "a"
backends = ["a:1"]
on_unhealthy = "drop"
panic_threshold = 101
strict_responses = "yes"
[[pools]]
name = "b"
backends = ["b:1"]
on_unhealthy = true
panic_threshold = -1
[[pools]]
name = "c"
backends = ["b:1"]
panic_threshold = "50%"
[[routes]]
pool = "a"
[[routes]]
prefix = "/b"
pool = "b"
on_unhealthy = "cut"
[[routes]]
prefix = "/c"
pool = "c"
"#,
        &[
            "4:16: pools[0].on_unhealthy = \"drop\": unknown; known: finish, cut",
            "5:19: pools[0].panic_threshold = 101: must be a whole number from 0 to 100",
            "6:20: pools[0].strict_responses = \"yes\": must be true or false",
            "10:16: pools[1].on_unhealthy = true: must be a text in quotes",
            "11:19: pools[1].panic_threshold = -1: must be a whole number from 0 to 100",
            "15:19: pools[2].panic_threshold = \"50%\": must be a whole number from 0 to 100",
            "21:16: routes[1].on_unhealthy = \"cut\": belongs to the pool; set it in [[pools]]",
        ],
    );
}

#[test]
fn of_what_proxies_say() {
    expect(
        r#"
trusted_proxies = "unix:/run/a.sock"
pass_fields = "x-real-ip"
forwarded = "yes"
x_real_ip = 1
[[routes]]
backend_addrs = ["a:1"]
forwarded = 1
x_real_ip = "on"
rewrite_location = "off"
cookie_domain = "a"
cookie_path = { "/a" = 1 }
"#,
        &[
            "1:19: trusted_proxies = \"unix:/run/a.sock\": must be a list in brackets",
            "2:15: pass_fields = \"x-real-ip\": must be a list in brackets",
            "3:13: forwarded = \"yes\": must be true or false",
            "4:13: x_real_ip = 1: must be true or false",
            "7:13: routes[0].forwarded = 1: must be true or false",
            "8:13: routes[0].x_real_ip = \"on\": must be true or false",
            "9:20: routes[0].rewrite_location = \"off\": must be true or false",
            "10:17: routes[0].cookie_domain = \"a\": must be a table",
            "11:24: routes[0].cookie_path.\"/a\" = 1: must be a text in quotes",
        ],
    );
}

#[test]
fn of_what_a_check_asks() {
    expect(
        r#"
[[pools]]
name = "a"
backends = ["a:1"]
health_check = { path = "/", method = 1, host = 2, port = "80", headers = ["a"], body_contains = 3, tls = "on" }
[[pools]]
name = "b"
backends = ["b:1"]
health_check = { path = "/", method = "GET /", host = "a b", port = 65536, headers = { "a b" = "c" }, body_contains = "", tls = { vrify = 1 } }
[[routes]]
pool = "a"
[[routes]]
prefix = "/b"
pool = "b"
"#,
        &[
            "4:39: pools[0].health_check.method = 1: must be a text in quotes",
            "4:49: pools[0].health_check.host = 2: must be a text in quotes",
            "4:59: pools[0].health_check.port = \"80\": must be a whole number from 1 to 65535",
            "4:75: pools[0].health_check.headers: must be a table",
            "4:98: pools[0].health_check.body_contains = 3: must be a text in quotes",
            "4:107: pools[0].health_check.tls = \"on\": must be true or false",
            "8:39: pools[1].health_check.method = \"GET /\": must be a method such as \"GET\", \"HEAD\" or \"OPTIONS\"",
            "8:55: pools[1].health_check.host = \"a b\": must be a host name or an address, with or without a port: \"app.example.com\", \"[::1]:80\"",
            "8:69: pools[1].health_check.port = 65536: must be a whole number from 1 to 65535",
            "8:96: pools[1].health_check.headers.\"***\" = ***: is not a field name",
            "8:119: pools[1].health_check.body_contains = \"\": must be a text of 1 to 256 bytes",
            "8:131: pools[1].health_check.tls.vrify = 1: unknown key; did you mean \"verify\"?",
        ],
    );
}

/// A configuration that palantir has shown has masks in the place of its secrets.
#[test]
fn of_masks() {
    expect(
        r#"
[admin]
token_file = "***"
[[routes]]
backend_addrs = [{ addr = "a:1", health_check = { path = "/", headers = { Cookie = "***", x-a = "***" } } }]
request_headers = { set = { Authorization = "***", x-team = "***" } }
[routes.response_headers.set]
set-cookie = "***"
"#,
        &[
            "2:14: admin.token_file = \"***\": *** stands for a name that is not shown; write the name of the file",
            "4:84: routes[0].backend_addrs[0].health_check.headers.Cookie = ***: *** stands for a credential that is not shown; write the credential",
            "5:45: routes[0].request_headers.set.Authorization = ***: *** stands for a credential that is not shown; write the credential",
            "7:14: routes[0].response_headers.set.set-cookie = ***: *** stands for a credential that is not shown; write the credential",
        ],
    );
}

/// Times and sizes may be written as texts with units, wherever they may be written as numbers.
#[test]
fn of_units() {
    let numbers = r#"
shutdown_timeout = 0.5
resolve_secs = 60
[timeouts]
client_idle = 86400
[limits]
request_head_bytes = 65536
request_target_bytes = 4000
memory_bytes = 1073741824
[[listeners]]
addr = "127.0.0.1:1"
min_rate_bytes = 1000
min_rate_grace = 5
[[routes]]
backend_addrs = [{ addr = "a:1", remove_after_secs = 120 }]
timeout = 30
timeouts = { connect = 0.25 }
limits = { request_body_bytes = 10000000 }
health_check = { tcp = true, interval_secs = 1, timeout_secs = 0.1 }
outlier = { eject_secs = 3600 }
"#;
    let units = r#"
shutdown_timeout = "500ms"
resolve_secs = "1m"
[timeouts]
client_idle = "1d"
[limits]
request_head_bytes = "64KiB"
request_target_bytes = "4kB"
memory_bytes = "1GiB"
[[listeners]]
addr = "127.0.0.1:1"
min_rate_bytes = "1KB"
min_rate_grace = "5000ms"
[[routes]]
backend_addrs = [{ addr = "a:1", remove_after_secs = "2m" }]
timeout = "30s"
timeouts = { connect = "250ms" }
limits = { request_body_bytes = "10MB" }
health_check = { tcp = true, interval_secs = "1s", timeout_secs = "100ms" }
outlier = { eject_secs = "1h" }
"#;
    let (one, other) = (snapshot(numbers), snapshot(units));
    assert_eq!(one.client.idle_timeout, Duration::from_secs(86_400));
    assert_eq!(
        (one.shutdown_timeout, one.memory_bytes, &one.client.head),
        (
            other.shutdown_timeout,
            other.memory_bytes,
            &other.client.head
        )
    );
    assert_eq!(one.client.idle_timeout, other.client.idle_timeout);
    let of_route = |snapshot: &Snapshot| {
        let route = &snapshot.routes[0];
        (
            route.timeout,
            route.timeouts.connect,
            route.request_body_bytes,
        )
    };
    assert_eq!(of_route(&one), of_route(&other));
    assert_eq!(one.pools[0].outlier, other.pools[0].outlier);
    let of_backend = |snapshot: &Snapshot| {
        let backend = &snapshot.pools[0].backends[0];
        (backend.remove_after, backend.health_check.clone())
    };
    assert_eq!(of_backend(&one), of_backend(&other));
    let of_listener = |snapshot: &Snapshot| {
        let listener = &snapshot.listeners[0];
        (listener.min_rate, listener.min_rate_grace)
    };
    assert_eq!(of_listener(&one), of_listener(&other));
    assert_eq!(of_listener(&one), (1000, Duration::from_secs(5)));
}
