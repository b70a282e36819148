//! Bad files, and what is said of them: all of it at once, word for word.

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
            "10:1: \"a b\" = 2: unknown key; known: listen_addr, listeners, tls, acme, shutdown_timeout, workers, trusted_proxies, pass_fields, forwarded, x_real_ip, resolve_interval, timeouts, limits, access_log, admin, tracing, test_server, pools, routes",
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
fn of_tls_with_clients() {
    expect(
        r#"
[tls]
ticket_key_file = ""
[[listeners]]
addr = "127.0.0.1:1"
redirect_to_https = true
http2 = false
[listeners.tls]
certificates = [{ cert = "/a" }, { cert = "", key = 1, names = ["*.*", "10.0.0.1", "[::1]", "A.example"] }]
min_version = "1.1"
alpn = ["h2", "h3"]
client_cert = "required"
client_subject_header = "x-client"
client_san_header = "x-san"
unknown_sni = "ignore"
ca = "/b"
[[listeners]]
addr = "127.0.0.1:2"
tls = { certificates = [], alpn = [], client_ca = "/ca", client_cert = "maybe", client_subject_header = "Content-Length", client_san_header = "X-Forwarded_For", client_issuer_header = "x_who", client_fingerprint_header = "X-Who" }
[[listeners]]
addr = "127.0.0.1:3"
tls = { certificates = [{ cert = "/a", key = "/b", ocsp = "/c" }], ocsp = "/d", session_tickets = 1 }
[[listeners]]
addr = "127.0.0.1:4"
tls = true
[[listeners]]
addr = "127.0.0.1:5"
tls = {}
"#,
        &[
            "2:19: tls.ticket_key_file = \"\": must name a file",
            "5:21: listeners[0].redirect_to_https = true: the listener speaks TLS itself; leave this out",
            "8:17: listeners[0].tls.certificates[0] = { cert = \"/a\" }: \"key\" is missing",
            "8:43: listeners[0].tls.certificates[1].cert = \"\": must name a file",
            "8:53: listeners[0].tls.certificates[1].key = 1: must be a text in quotes",
            "8:65: listeners[0].tls.certificates[1].names[0] = \"*.*\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "8:72: listeners[0].tls.certificates[1].names[1] = \"10.0.0.1\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "8:84: listeners[0].tls.certificates[1].names[2] = \"[::1]\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "9:15: listeners[0].tls.min_version = \"1.1\": unknown; did you mean \"1.2\"?",
            "10:9: listeners[0].tls.alpn[0] = \"h2\": the listener has http2 = false",
            "10:15: listeners[0].tls.alpn[1] = \"h3\": unknown; did you mean \"h2\"?",
            "11:15: listeners[0].tls.client_cert = \"required\": means nothing without client_ca",
            "12:25: listeners[0].tls.client_subject_header = \"x-client\": means nothing without client_ca",
            "13:21: listeners[0].tls.client_san_header = \"x-san\": means nothing without client_ca",
            "14:15: listeners[0].tls.unknown_sni = \"ignore\": unknown; known: default, refuse",
            "15:1: listeners[0].tls.ca = \"/b\": unknown key; known: min_version, alpn, client_ca, client_cert, unknown_sni, session_tickets, client_subject_header, client_san_header, client_issuer_header, client_fingerprint_header, automatic, certificates, ocsp",
            "18:24: listeners[1].tls.certificates: must name at least one certificate",
            "18:35: listeners[1].tls.alpn: must name at least one",
            "18:72: listeners[1].tls.client_cert = \"maybe\": unknown; known: required, optional",
            "18:105: listeners[1].tls.client_subject_header = \"Content-Length\": \"content-length\" belongs to the connection and cannot be changed",
            "18:143: listeners[1].tls.client_san_header = \"X-Forwarded_For\": \"x-forwarded_for\" belongs to the connection and cannot be changed",
            "18:222: listeners[1].tls.client_fingerprint_header = \"X-Who\": is the name of another such field",
            "21:75: listeners[2].tls.ocsp = \"/d\": the first certificate has one of its own",
            "21:99: listeners[2].tls.session_tickets = 1: must be true or false",
            "24:7: listeners[3].tls = true: must be a table",
            "27:7: listeners[4].tls = {}: \"certificates\" is missing",
        ],
    );
}

#[test]
fn of_certificates_that_nobody_is_asked_for() {
    expect(
        r#"
[[routes]]
backend_addrs = ["a:1"]
client_cert = "optional"
[[routes]]
prefix = "/a"
backend_addrs = ["a:1"]
client_cert = "required"
[[routes]]
prefix = "/b"
backend_addrs = ["a:1"]
client_cert = true
"#,
        &[
            "7:15: routes[1].client_cert = \"required\": no listener asks clients for a certificate, so every request would be refused: a listener needs tls with a client_ca",
            "11:15: routes[2].client_cert = true: must be a text in quotes",
        ],
    );
}

#[test]
fn names_of_identity_have_no_other_meaning() {
    expect(
        r#"
[[listeners]]
addr = "127.0.0.1:1"
tls = { certificates = [{ cert = "/a", key = "/b" }], client_ca = "/ca", client_subject_header = "X-Forwarded-For", client_san_header = "Via" }
"#,
        &[
            "3:98: listeners[0].tls.client_subject_header = \"X-Forwarded-For\": \"x-forwarded-for\" has another meaning already",
            "3:137: listeners[0].tls.client_san_header = \"Via\": \"via\" has another meaning already",
        ],
    );
}

#[test]
fn of_certificates_that_are_ordered() {
    expect(
        r#"
[acme]
directory = "http://ca.example/directory"
contacts = ["ops@example.com", "mailto:@", "mailto:ops@example.com"]
terms_of_service_agreed = false
challenge = "dns-01"
eab = { key_id = "" }
renew = 1
[[listeners]]
addr = "127.0.0.1:1"
tls = { automatic = ["*.a.example", "a.example", "A.example", "10.0.0.1", "a b"] }
[[listeners]]
addr = "127.0.0.1:2"
tls = { automatic = [], certificates = [] }
[[listeners]]
addr = "127.0.0.1:3"
tls = { automatic = "a.example" }
"#,
        &[
            "1:1: acme: \"state_dir\" is missing",
            "2:13: acme.directory = \"http://ca.example/directory\": must be a URL that begins with https://",
            "3:13: acme.contacts[0] = \"ops@example.com\": must be an address such as \"mailto:ops@example.com\"",
            "3:32: acme.contacts[1] = \"mailto:@\": must be an address such as \"mailto:ops@example.com\"",
            "4:27: acme.terms_of_service_agreed = false: must be true: the authority gives nothing to whoever does not agree",
            "5:13: acme.challenge = \"dns-01\": unknown; known: tls-alpn-01, http-01",
            "6:7: acme.eab: \"hmac_key_file\" is missing",
            "6:18: acme.eab.key_id = \"\": must not be empty",
            "7:1: acme.renew = 1: unknown key; known: terms_of_service_agreed, state_dir, directory, contacts, ca, challenge, eab",
            "10:22: listeners[0].tls.automatic[0] = \"*.a.example\": a wildcard is given for the challenge dns-01 alone, which palantir does not know: name each host, or give a certificate",
            "10:50: listeners[0].tls.automatic[2] = \"A.example\": is named already",
            "10:63: listeners[0].tls.automatic[3] = \"10.0.0.1\": must be a host name such as \"example.com\"",
            "10:75: listeners[0].tls.automatic[4] = \"a b\": must be a host name such as \"example.com\"",
            "13:21: listeners[1].tls.automatic: must name at least one host",
            "13:40: listeners[1].tls.certificates: must name at least one certificate",
            "16:21: listeners[2].tls.automatic = \"a.example\": must be a list in brackets",
        ],
    );
}

#[test]
fn of_certificates_that_cannot_be_ordered() {
    const ACME: &str = "[acme]\nstate_dir = '/a'\nterms_of_service_agreed = true\n";
    const TLS: &str = "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\nautomatic = ['a.b']\n";
    expect(
        TLS,
        &["4:13: listeners[0].tls.automatic: needs an [acme] section"],
    );
    expect(
        &format!("{ACME}challenge = 'http-01'\n{TLS}"),
        &[
            "4:13: acme.challenge = 'http-01': is answered in cleartext, but every listener speaks TLS",
        ],
    );
    expect(
        &format!("{ACME}{TLS}client_ca = '/b'\n"),
        &[
            "7:13: listeners[0].tls.automatic: the authority has no certificate to show when it asks: set challenge = \"http-01\" in [acme], or client_cert = \"optional\"",
        ],
    );
    for fine in [
        format!("{ACME}{TLS}"),
        format!(
            "listen_addr = '127.0.0.1:2'\n{ACME}challenge = 'http-01'\n{TLS}client_ca = '/b'\n"
        ),
        format!("{ACME}{TLS}client_ca = '/b'\nclient_cert = 'optional'\n"),
    ] {
        expect(&fine, &[]);
    }
}

#[test]
fn of_tls_with_backends() {
    expect(
        r#"
[[pools]]
name = "api"
backends = ["https://a:1"]
tls = "yes"
[[routes]]
backend_addrs = ["a:1"]
tls = { verify = false, ca = "/a", cert = "/b", server_name = "a b", alpn = "h2" }
"#,
        &[
            "3:13: pools[0].backends[0] = \"https://a:1\": write \"name:port\", and tls = true for the pool",
            "4:7: pools[0].tls = \"yes\": must be true or false",
            "7:7: routes[0].tls = { verify = false, ca = \"/a\", cert = \"/b\", server_name = \"a b…: has \"cert\", so it needs \"key\"",
            "7:30: routes[0].tls.ca = \"/a\": with verify = false nobody is verified by it",
            "7:63: routes[0].tls.server_name = \"a b\": must be a host name or an address, without a port",
            "7:70: routes[0].tls.alpn = \"h2\": unknown key; known: verify, ca, cert, key, server_name",
        ],
    );
}

#[test]
fn of_what_backends_speak() {
    expect(
        r#"
[[pools]]
name = "api"
backends = ["a:1"]
protocol = "http/1.1"
proxy_protocol = true
[[routes]]
pool = "api"
protocol = "h2"
[[routes]]
prefix = "/a"
backend_addrs = ["a:1"]
protocol = "h2"
proxy_protocol = "v1"
"#,
        &[
            "4:12: pools[0].protocol = \"http/1.1\": unknown; known: h1, h2",
            "5:18: pools[0].proxy_protocol = true: must be a text in quotes",
            "8:12: routes[0].protocol = \"h2\": belongs to the pool; set it in [[pools]]",
            "13:18: routes[1].proxy_protocol = \"v1\": tells of one client, and a connection of protocol \"h2\" has many",
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
            "6:16: limits.memory_bytes = 1000000: must be 0, which stands for 75% of the memory, or at least 67108864",
            "7:1: limits.timeout = {a = 1,…: unknown key; known: request_head_size, request_headers, request_target_size, request_body_size, connections, requests_per_connection, memory",
            "10:8: access_log.path = \"\": must name a file",
            "11:10: access_log.format = 1: must be a text in quotes",
        ],
    );
}

#[test]
fn of_pools() {
    expect(
        r#"
[[pools]]
backends = []
balancing_algorithm = "round_robbin"
hash_on = "cookie:a"
[[pools]]
name = "a/b"
[[pools]]
name = "api"
backends = ["127.0.0.1", { addr = "a:1", weight = 0, max_connections = -1 }, { wight = 1 }, true]
hash_on = "path"
health_check = { expect = "3x" }
outlier = { max_ejected_percent = 101 }
[[pools]]
name = "api"
backends = ["a:1"]
balancing_algorithm = "random"
health_check = { tcp = true, path = "/" }
idle_connections = 16385
[[pools]]
name = "hash"
backends = ["a:1"]
balancing_algorithm = "consistent_hash"
hash_on = "header:x y"
health_check = { path = "health", intervall = 3 }
[[pools]]
name = "calls"
backends = ["a:1"]
health_check = { grpc = "a b", path = "/" }
"#,
        &[
            "1:1: pools[0]: \"name\" is missing",
            "2:12: pools[0].backends: must name at least one backend",
            "3:23: pools[0].balancing_algorithm = \"round_robbin\": unknown algorithm; did you mean \"round_robin\"?",
            "5:1: pools[1]: \"backends\" is missing",
            "6:8: pools[1].name = \"a/b\": must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
            "9:13: pools[2].backends[0] = \"127.0.0.1\": must be \"address:port\", \"name:port\" or \"unix:/path\", the port from 1 to 65535",
            "9:51: pools[2].backends[1].weight = 0: must be a whole number from 1 to 256",
            "9:72: pools[2].backends[1].max_connections = -1: must be a whole number from 0 to 10000000",
            "9:78: pools[2].backends[2] = { wight = 1 }: \"addr\" is missing",
            "9:80: pools[2].backends[2].wight = 1: unknown key; did you mean \"weight\"?",
            "9:93: pools[2].backends[3] = true: must be a text in quotes",
            "10:11: pools[2].hash_on = \"path\": round_robin uses no key; leave this out",
            "11:16: pools[2].health_check = { expect = \"3x\" }: needs path = \"/…\" for an HTTP probe, tcp = true, or grpc = true",
            "11:27: pools[2].health_check.expect = \"3x\": must be statuses such as \"2xx\", \"204\", \"200-399\" or \"2xx, 404\"",
            "12:35: pools[2].outlier.max_ejected_percent = 101: must be a whole number from 0 to 100",
            "14:8: pools[3].name = \"api\": there is a pool \"api\" already",
            "16:23: pools[3].balancing_algorithm = \"random\": unknown algorithm; did you mean \"random_two\"?",
            "17:37: pools[3].health_check.path = \"/\": a probe with tcp = true sends no request; leave this out",
            "18:20: pools[3].idle_connections = 16385: must be a whole number from 0 to 16384",
            "23:11: pools[4].hash_on = \"header:x y\": is not a field name",
            "24:25: pools[4].health_check.path = \"health\": must begin with \"/\" and have no blanks; other characters are written as %XX",
            "24:35: pools[4].health_check.intervall = 3: unknown key; did you mean \"interval\"?",
            "28:25: pools[5].health_check.grpc = \"a b\": must be true, or the name of a service in 1 to 127 characters without blanks",
            "28:39: pools[5].health_check.path = \"/\": a probe with grpc asks its own question; leave this out",
        ],
    );
}

#[test]
fn of_what_a_backend_may_say() {
    expect(
        r#"
[[routes]]
backend_addrs = [{ addr = "a:1", drain = 1, remove_after_secs = -1, health_check = { path = "x" } }]
"#,
        &[
            "2:42: routes[0].backend_addrs[0].drain = 1: must be true or false",
            "2:65: routes[0].backend_addrs[0].remove_after_secs = -1: must be a number of seconds from 0 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "2:93: routes[0].backend_addrs[0].health_check.path = \"x\": must begin with \"/\" and have no blanks; other characters are written as %XX",
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
fn of_routes() {
    expect(
        r#"
[[pools]]
name = "api"
backends = ["a:1"]
[[routes]]
host = "api.example.com:80"
prefix = "api"
pool = "apj"
backend_addrs = ["x:1"]
outlier = {}
[[routes]]
[[routes]]
prefix = "/a/../b"
pool = "billing"
[[routes]]
prefix = "/"
pool = "api"
host_header = "a b"
retries = 11
answer_continue = "yes"
[[routes]]
host = "EXAMPLE.com"
prefix = "/api/"
pool = 1
[[routes]]
host = "example.com"
prefix = "/api"
backend_addrs = "a:1"
timeouts = { client_header = 1, connect = 0.0001 }
limits = { request_body_bytes = "1M" }
[[routes]]
prefix = "/a?b"
pool = "api"
[[routes]]
prefix = "/../a"
pool = "api"
[[routes]]
prefix = "/a;x%2fb"
pool = "api"
[[routes]]
host = "example.com"
prefix = "/%61pi;v=1//"
pool = "api"
"#,
        &[
            "5:8: routes[0].host = \"api.example.com:80\": must be a host name without port, such as \"api.example.com\" or \"*.example.com\"",
            "6:10: routes[0].prefix = \"api\": must begin with \"/\"",
            "7:8: routes[0].pool = \"apj\": unknown pool; did you mean \"api\"?",
            "8:17: routes[0].backend_addrs: the route has a \"pool\" already; one of the two must go",
            "9:11: routes[0].outlier = {}: belongs to the pool; set it in [[pools]]",
            "10:1: routes[1]: needs \"pool\", the name of one of [[pools]], or \"backend_addrs\"",
            "12:10: routes[2].prefix = \"/a/../b\": never matches, as paths are normalised first; write \"/b\"",
            "13:8: routes[2].pool = \"billing\": unknown pool; known: api",
            "14:1: routes[3]: there is a route with this host and prefix already",
            "17:15: routes[3].host_header = \"a b\": must be \"backend\", \"preserve\" or a host with or without port",
            "18:11: routes[3].retries = 11: must be a whole number from 0 to 10",
            "19:19: routes[3].answer_continue = \"yes\": must be true or false",
            "23:8: routes[4].pool = 1: must be a text in quotes",
            "24:1: routes[5]: there is a route with this host and prefix already",
            "27:17: routes[5].backend_addrs = \"a:1\": must be a list in brackets",
            "28:14: routes[5].timeouts.client_header = 1: unknown key; known: client_body, connect, upstream_response, upstream_idle, tunnel_idle",
            "28:43: routes[5].timeouts.connect = 0.0001: must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\"",
            "29:33: routes[5].limits.request_body_bytes = \"1M\": must be a whole number of bytes from 0 to 1125899906842624, or a text such as \"64KiB\" or \"10MB\"",
            "31:10: routes[6].prefix = \"/a?b\": must be a path: no blanks, no \"?\" or \"#\", and other characters written as %XX",
            "34:10: routes[7].prefix = \"/../a\": never matches: requests with such a path are refused",
            "37:10: routes[8].prefix = \"/a;x%2fb\": has a slash or backslash behind a semicolon, which servers read differently",
            "39:1: routes[9]: there is a route with this host and prefix already",
        ],
    );
}

#[test]
fn of_what_is_rewritten() {
    expect(
        r#"
[[listeners]]
addr = "127.0.0.1:1"
https_port = 8443
[[listeners]]
addr = "127.0.0.1:2"
redirect_to_https = true
https_port = 0
[[routes]]
backend_addrs = ["a:1"]
rewrite_location = 1
cookie_domain = { "*.a" = "b", "a" = "b c", "c" = 1 }
cookie_path = { "x" = "/", "/y" = "/a;b" }
"#,
        &[
            "3:14: listeners[0].https_port = 8443: means nothing without redirect_to_https",
            "7:14: listeners[1].https_port = 0: must be a whole number from 1 to 65535",
            "10:20: routes[0].rewrite_location = 1: must be true or false",
            "11:27: routes[0].cookie_domain.\"*.a\" = \"b\": \"*.a\" must be a host name such as \"example.com\"",
            "11:38: routes[0].cookie_domain.a = \"b c\": must be a host name such as \"example.com\"",
            "11:51: routes[0].cookie_domain.c = 1: must be a text in quotes",
            "12:23: routes[0].cookie_path.x = \"/\": \"x\" must be a path of at most 1024 bytes, without blanks and semicolons",
            "12:35: routes[0].cookie_path.\"/y\" = \"/a;b\": must be a path of at most 1024 bytes, without blanks and semicolons",
        ],
    );
}

#[test]
fn of_fields() {
    expect(
        r#"
[[routes]]
backend_addrs = ["a:1"]
request_headers = { remove = ["host", "TE", "x-forwarded-for", ""], add = 1 }
[routes.response_headers.set]
Content-Length = "1"
content_length = "1"
x-a = "a\nb"
X-A = "b"
x-c = 1
x-d = " d"
"b c" = ""
"#,
        &[
            "3:31: routes[0].request_headers.remove[0] = \"host\": \"host\" is set with host_header",
            "3:39: routes[0].request_headers.remove[1] = \"TE\": \"te\" belongs to the connection and cannot be changed",
            "3:64: routes[0].request_headers.remove[3] = \"\": is not a field name",
            "3:69: routes[0].request_headers.add = ***: unknown key; known: set, remove",
            "5:18: routes[0].response_headers.set.Content-Length = \"1\": \"content-length\" belongs to the connection and cannot be changed",
            "6:18: routes[0].response_headers.set.content_length = \"1\": \"content_length\" belongs to the connection and cannot be changed",
            "7:7: routes[0].response_headers.set.x-a = \"a\\nb\": a field value has no control characters and no blanks around it",
            "8:7: routes[0].response_headers.set.X-A = \"b\": \"x-a\" is set twice",
            "9:7: routes[0].response_headers.set.x-c = 1: must be a text in quotes",
            "10:7: routes[0].response_headers.set.x-d = \" d\": a field value has no control characters and no blanks around it",
            "11:9: routes[0].response_headers.set.\"***\" = ***: is not a field name",
        ],
    );
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
