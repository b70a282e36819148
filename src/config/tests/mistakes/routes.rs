//! Mistakes in routes, and in what they rewrite.

use super::*;

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
