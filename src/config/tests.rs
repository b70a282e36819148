#[test]
fn show() {
    for text in [r#"
listen_adr = "127.0.0.1:8080"
listen_addr = ["127.0.0.1", "unix:/a", "unix:/a", 5]
shutdown_timeout = -1
workers = "4"
trusted_proxies = ["10.0.0.0/33"]
[timeouts]
conect = 2
connect = 0
client_idle = "60"
[limits]
request_headers = 1000
request_body_bytes = 99999999999999999999
timeout = {a = 1,
 b = 2}
[access_log]
format = "jsn"
[[pools]]
backends = []
balancing_algorithm = "round_robbin"
[[pools]]
name = "api"
backends = ["127.0.0.1:9001", { addr = "127.0.0.1", weight = 0, max_connections = -1 }, { wight = 1 }]
hash_on = "header:x y"
health_check = { expect = "3x" }
outlier = { max_ejected_percent = 101 }
[[pools]]
name = "api"
backends = ["a:1"]
balancing_algorithm = "random_two"
hash_on = "path"
health_check = { tcp = true, path = "/" }
[[routes]]
host = "api.example.com:80"
prefix = "api"
pool = "apj"
backend_addrs = ["x:1"]
retries = 11
request_headers = { set = { "Content-Length" = "1", "x-a" = "a\nb", "X-A" = "", "b c" = "" }, remove = ["host", "te"], add = 1 }
[[routes]]
[[routes]]
prefix = "/a/../b"
pool = "zzzzzz"
[[routes]]
prefix = "/"
pool = "api"
host_header = "a b"
answer_continue = "yes"
outlier = {}
"#, "name = \"api\nx = 3\ny = \nz = [1, 2\n[[pools]]\nname = 5x\n", "workers = 1\nworkers = 2\n[pools\nb=1\n[x]\nc=1\n", "\u{0}a=\u{1}\n"] {
        match super::parse("config.toml".as_ref(), text.to_owned()) { Err(e) => println!("{e}\n"), Ok(c) => println!("{c:#?}") }
    }
}
