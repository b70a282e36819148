//! Mistakes in the settings of health checks: the request of a probe, its fields, its port and its TLS.

use super::mistakes::expect;
use super::*;

/// The mistakes in a health check, each without the path of its key.
fn mistakes(backend: &str, check: &str) -> Vec<String> {
    let text = format!(
        "[[pools]]\nname = \"api\"\nbackends = [\"{backend}\"]\nhealth_check = {{ {check} }}\n"
    );
    match parsed(&text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => {
            let lines = mistakes.to_string();
            let of_check = |line: &str| {
                line.split_once("health_check")
                    .map(|(_, rest)| rest.to_owned())
            };
            lines
                .lines()
                .map(|line| of_check(line).unwrap_or_else(|| line.to_owned()))
                .collect()
        }
    }
}

#[test]
fn what_is_understood() {
    let rows = [
        "path = \"/\", host = \"a.example\", port = 1, method = \"HEAD\"",
        "path = \"/\", host = \"[::1]:8080\", port = 65535, method = \"OPTIONS\", tls = false",
        "path = \"/\", host = \"127.0.0.1\", method = \"PROPFIND\", body_contains = \"\\r\\n\"",
        "path = \"/\", headers = { Authorization = \"Bearer x\", x-a = \"\" }",
        "grpc = true, host = \"a.example\", headers = { authorization = \"x\" }, port = 9, tls = false",
        "tcp = true, port = 9, tls = false",
    ];
    for check in rows {
        assert_eq!(mistakes("a:1", check), [""; 0], "{check}");
    }
}

#[test]
fn what_is_a_mistake() {
    let tcp = "a probe with tcp = true sends no request; leave this out";
    let rows = [
        ("path = \"/\", port = 0", ".port = 0: must be a whole number from 1 to 65535".to_owned()),
        ("path = \"/\", port = 65536", ".port = 65536: must be a whole number from 1 to 65535".to_owned()),
        ("path = \"/\", method = \"get\"", ".method = \"get\": must be a method such as \"GET\", \"HEAD\" or \"OPTIONS\"".to_owned()),
        ("path = \"/\", method = \"CONNECT\"", ".method = \"CONNECT\": is not a method that asks for anything".to_owned()),
        ("path = \"/\", method = \"HEAD\", body_contains = \"a\"", ".body_contains = \"a\": an answer to HEAD has no body".to_owned()),
        ("path = \"/\", body_contains = \"\"", ".body_contains = \"\": must be a text of 1 to 256 bytes".to_owned()),
        ("path = \"/\", headers = { host = \"a\" }", ".headers.host = \"a\": \"host\" is set with host, beside headers".to_owned()),
        ("path = \"/\", headers = { connection = \"a\" }", ".headers.connection = \"a\": \"connection\" belongs to the connection and cannot be set".to_owned()),
        ("path = \"/\", headers = { X-A = \"a\", x-a = \"b\" }", ".headers.x-a = \"b\": \"x-a\" is set twice".to_owned()),
        ("path = \"/\", headers = { authorization = \" secret\" }", ".headers.authorization = ***: a field value has no control characters and no blanks around it".to_owned()),
        ("tcp = true, host = \"a\"", format!(".host = \"a\": {tcp}")),
        ("tcp = true, body_contains = \"a\"", format!(".body_contains = \"a\": {tcp}")),
        ("grpc = true, method = \"GET\"", ".method = \"GET\": a probe with grpc asks its own question; leave this out".to_owned()),
        ("grpc = true, headers = { content-type = \"a\" }", ".headers.content-type = \"a\": a gRPC probe has a \"content-type\" of its own".to_owned()),
    ];
    for (check, expected) in rows {
        assert_eq!(mistakes("a:1", check), [expected], "{check}");
    }
    for host in ["a b", "http://a", "::1", "a:0", "a:65536", "u@a", "a/b", ""] {
        let found = mistakes("a:1", &format!("path = \"/\", host = \"{host}\""));
        assert_eq!(found.len(), 1, "{host}: {found:?}");
        assert!(
            found[0].contains("must be a host name or an address"),
            "{found:?}"
        );
    }
}

#[test]
fn a_unix_socket_has_no_port() {
    expect(
        r#"
[[pools]]
name = "api"
backends = ["unix:/run/a.sock", "a:1"]
health_check = { tcp = true, port = 9 }
[[routes]]
pool = "api"
"#,
        &[
            "4:37: pools[0].health_check.port = 9: backend unix:/run/a.sock is a Unix socket, which has no port",
        ],
    );
}
