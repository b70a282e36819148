//! The access log, line by line.

use serde_json::Value;

use crate::support::proxy::{list, route};
use crate::support::{Origin, Proxy, get};

fn config(format: &str, routes: &str) -> String {
    format!("[access_log]\npath = \"{{dir}}/access.log\"\nformat = \"{format}\"\n{routes}")
}

/// The access log's lines as JSON, once there are this many.
#[track_caller]
fn json_lines(proxy: &Proxy, count: usize) -> Vec<Value> {
    let lines = proxy.access_lines(count);
    let parsed = lines.iter().map(|line| serde_json::from_str(line));
    parsed
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {lines:#?}"))
}

/// The framing of chunks is no part of a body.
#[test]
fn the_bytes_of_a_body_are_counted_without_its_framing() {
    let chunks = "2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::answering(format!("{head}{chunks}"));
    let proxy = Proxy::start(&config("json", &route("/", &[origin.addr])));
    let post = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = proxy.ask(format!("{post}{chunks}"));
    assert_eq!(answer.text(), "okay!");
    let line = &json_lines(&proxy, 1)[0];
    assert_eq!(line["request_bytes"], 5, "{line}");
    assert_eq!(line["response_bytes"], 5, "{line}");
}

#[test]
fn json_tells_what_became_of_each_request() {
    let origin = Origin::saying("hello");
    let nowhere = crate::support::place::free_addr();
    let routes = route("/api", &[origin.addr])
        + "[[routes]]\nprefix = \"/down\"\nbackend_addrs = "
        + &list(&[nowhere])
        + "\n";
    let proxy = Proxy::start(&config("json", &routes));
    let mut client = proxy.client();
    client.ask(
        "POST /api/x?q=\"1\" HTTP/1.1\r\nHost: test\r\nUser-Agent: a\"b\\cä\r\nReferer: http://r/\r\nContent-Length: 3\r\n\r\nabc",
    );
    let missed = client.ask(get("/none"));
    client.ask(get("/down"));
    client.ask("GET / HTTP/1.1\r\nHost : test\r\n\r\n");
    let lines = json_lines(&proxy, 4);
    assert_eq!(lines.len(), 4, "{lines:#?}");

    let served = &lines[0];
    assert_eq!(served["status"], 200, "{served}");
    assert_eq!(served["method"], "POST", "{served}");
    assert_eq!(served["target"], "/api/x?q=\"1\"", "{served}");
    assert_eq!(served["client"], "127.0.0.1", "{served}");
    assert_eq!(served["attempts"], 1, "{served}");
    assert_eq!(served["request_bytes"], 3, "{served}");
    assert_eq!(served["response_bytes"], 5, "{served}");
    assert_eq!(served["route"], "/api", "{served}");
    assert_eq!(served["backend"], origin.addr.to_string(), "{served}");
    assert!(
        served["user_agent"]
            .as_str()
            .unwrap()
            .starts_with("a\"b\\c"),
        "{served}"
    );
    assert_eq!(served["referer"], "http://r/", "{served}");

    let (length, line) = (missed.text().len(), &lines[1]);
    assert!(length > 0 && line["response_bytes"] == length, "{line}");
    let statuses: Vec<_> = lines
        .iter()
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 404, 502, 400]);
    for line in &lines[1..] {
        assert!(!line["failure"].as_str().unwrap().is_empty(), "{line}");
    }
}

#[test]
fn combined_is_what_other_tools_read() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::start(&config("combined", &route("/", &[origin.addr])));
    proxy.ask("GET /x?y=z HTTP/1.1\r\nHost: test\r\nUser-Agent: agent \"x\"\r\nReferer: http://r/\r\n\r\n");
    let line = proxy.access_lines(1).pop().unwrap();
    let rest = line
        .strip_prefix("127.0.0.1 - - [")
        .unwrap_or_else(|| panic!("{line}"));
    let (time, rest) = rest.split_once("] ").unwrap();
    assert!(
        time.len() == "10/Oct/2000:13:55:36 +0000".len() && time.ends_with(" +0000"),
        "{line}"
    );
    assert!(
        rest.starts_with("\"GET /x?y=z HTTP/1.1\" 200 5 \"http://r/\" \"agent "),
        "{line}"
    );
    assert!(
        !rest.contains("agent \"x\""),
        "a quote inside a quoted text is escaped: {line}"
    );
}

#[test]
fn no_request_can_forge_a_line() {
    let origin = Origin::saying("");
    for format in ["json", "combined"] {
        let proxy = Proxy::start(&config(format, &route("/", &[origin.addr])));
        let mut client = proxy.client();
        client.ask("GET /%0a%22 HTTP/1.1\r\nHost: test\r\nUser-Agent: \"}\u{2028}\t\\\"\r\n\r\n");
        client.ask(get("/end"));
        let lines = proxy.access_lines(2);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines
                .iter()
                .all(|line| line.chars().all(|char| !char.is_control())),
            "{lines:?}"
        );
    }
}

#[test]
fn a_trusted_proxy_is_believed_about_the_client() {
    let origin = Origin::saying("");
    let forwarded = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.9, 198.51.100.7, 10.1.1.1\r\n\r\n";
    for (trusted, client) in [
        ("[]", "127.0.0.1"),
        ("[\"10.0.0.0/8\"]", "127.0.0.1"),
        ("[\"127.0.0.0/8\", \"10.0.0.0/8\"]", "198.51.100.7"),
    ] {
        let top = format!("trusted_proxies = {trusted}\n");
        let proxy = Proxy::start(&(top + &config("json", &route("/", &[origin.addr]))));
        proxy.ask(forwarded);
        assert_eq!(
            json_lines(&proxy, 1)[0]["client"],
            client,
            "trusting {trusted}"
        );
    }
}

#[test]
fn every_line_is_written_before_the_end() {
    let origin = Origin::saying("");
    let mut proxy = Proxy::start(&config("json", &route("/", &[origin.addr])));
    let mut client = proxy.client();
    let requests: String = (0..500).map(|n| get(&format!("/{n}"))).collect();
    client.send(requests);
    for _ in 0..500 {
        assert_eq!(client.answer().status(), 200);
    }
    drop(client);
    assert_eq!(proxy.stop(), 0);
    assert_eq!(json_lines(&proxy, 500).len(), 500);
}
