//! Mistakes in pools and their backends.

use super::*;

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
