//! The answers that the proxy itself gives: their status, their reason, their form, and what they keep to themselves.

use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Answer, Origin, Proxy, get};

#[test]
fn each_way_of_failing_has_its_status() {
    let silent = Origin::start(|link| {
        link.request();
        link.rest();
    });
    let resetting = Origin::start(|link| {
        link.request();
        link.reset_on_close();
    });
    let config = [
        route("/down", &[free_addr()]),
        route("/silent", &[silent.addr]) + "timeouts = { upstream_response = 0.3 }\n",
        route("/reset", &[resetting.addr]) + "retries = 0\n",
        route("/bounded", &[silent.addr])
            + "timeout = 0.3\ntimeouts = { upstream_response = 30 }\n",
    ];
    let proxy = Proxy::start(&config.concat());
    let mut client = proxy.client();
    let post = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx")
    };
    let rows = [
        (get("/none"), 404),
        (get("/down"), 502),
        (post("/down"), 502),
        (get("/reset"), 502),
        (post("/reset"), 502),
        (get("/silent"), 504),
        (post("/silent"), 504),
        (get("/bounded"), 504),
    ];
    for (request, status) in rows {
        let answer = client.ask(&request);
        assert_eq!(answer.status(), status, "{request}");
        assert!(answer.complete && !answer.reason().is_empty(), "{request}");
        if answer.field("connection") == Some("close") {
            client = proxy.client();
        }
    }
}

#[test]
fn a_pool_without_a_usable_backend_says_when_to_come_back() {
    let config = route("/", &[free_addr()])
        + "health_check = { tcp = true, interval_secs = 0.1, unhealthy_after = 1 }\n";
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&["unhealthy"]);
    let mut answer = proxy.ask(get("/"));
    crate::support::eventually("the workers know", || {
        answer = proxy.ask(get("/"));
        answer.status() == 503
    });
    let seconds: u32 = answer
        .field("retry-after")
        .expect("Retry-After")
        .parse()
        .unwrap();
    assert!(seconds > 0);
}

#[test]
fn an_endless_connect_is_given_up() {
    // A listener whose queue is full lets further connections wait for ever.
    let listener = std::net::TcpListener::bind(free_addr()).unwrap();
    let addr = listener.local_addr().unwrap();
    // SAFETY: plain system call on a live descriptor; a second listen() only changes the queue's length.
    unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) };
    let address = addr.into();
    let mut held = Vec::new();
    // Fills the queue until a connection no longer gets through.
    loop {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        match socket.connect_timeout(&address, std::time::Duration::from_millis(500)) {
            Ok(()) => held.push(socket),
            Err(_) => break,
        }
        assert!(held.len() < 64, "the queue does not fill");
    }
    let proxy =
        Proxy::start(&(route("/", &[addr]) + "retries = 0\ntimeouts = { connect = 0.3 }\n"));
    let answer = proxy.ask(get("/"));
    assert_eq!(answer.status(), 504);
    assert!(answer.reason().contains("timeout"), "{}", answer.reason());
}

/// The body's id, however the body is written.
fn id_in(answer: &Answer) -> String {
    let text = answer.text();
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(body) => body["request_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no request_id in {text}"))
            .to_owned(),
        Err(_) => {
            let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
            let mut ids = words
                .filter(|word| word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit()));
            ids.next_back()
                .unwrap_or_else(|| panic!("no id in {text:?}"))
                .to_owned()
        }
    }
}

#[test]
fn the_body_is_what_the_client_likes_and_its_id_is_in_the_log() {
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let proxy = Proxy::start(&(log.to_owned() + &route("/api", &[free_addr()])));
    let rows = [
        ("", false),
        ("Accept: */*\r\n", false),
        (
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
            false,
        ),
        ("Accept: application/json\r\n", true),
        (
            "accept: application/problem+json;q=0.5, Application/JSON\r\n",
            true,
        ),
        ("Accept: text/html, application/json\r\n", false),
        ("Accept: text/plain\r\n", false),
    ];
    for (number, (accept, json)) in rows.into_iter().enumerate() {
        let answer = proxy.ask(format!("GET /api HTTP/1.1\r\nHost: test\r\n{accept}\r\n"));
        assert_eq!(answer.status(), 502, "{accept:?}");
        let kind = answer.field("content-type").expect("Content-Type");
        let expected = if json {
            "application/json"
        } else {
            "text/plain"
        };
        assert!(kind.starts_with(expected), "{accept:?} got {kind}");
        let parsed = serde_json::from_slice::<serde_json::Value>(&answer.body);
        assert_eq!(
            parsed.is_ok_and(|body| body.is_object()),
            json,
            "{accept:?}: {}",
            answer.text()
        );
        assert!(answer.body.len() < 300, "short: {}", answer.text());
        let id = id_in(&answer);
        let lines = proxy.access_lines(number + 1);
        assert!(
            lines[number].contains(&id),
            "{id} is not in {}",
            lines[number]
        );
    }
}

#[test]
fn own_answers_tell_nothing_of_the_inside() {
    let down = free_addr();
    let proxy = Proxy::start(&route("/api", &[down]));
    for target in ["/api", "/none"] {
        let answer = proxy.ask(get(target));
        let all = format!("{}{}", answer.head.text, answer.text());
        assert!(
            !all.contains(&down.to_string()) && !all.contains(&down.ip().to_string()),
            "{all}"
        );
        assert!(!all.contains("os error") && !all.contains("src/"), "{all}");
    }
}

#[test]
fn own_answers_to_head_have_no_body() {
    let proxy = Proxy::start(&route("/api", &[free_addr()]));
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask("HEAD /none HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(answer.status(), 404);
    }
    assert_eq!(client.ask(get("/none")).status(), 404);
}

#[test]
fn the_reason_is_the_same_word_in_answer_and_log() {
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let proxy = Proxy::start(&(log.to_owned() + &route("/api", &[free_addr()])));
    let requests = [
        get("/none"),
        get("/api"),
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(),
    ];
    for (number, request) in requests.iter().enumerate() {
        let answer = proxy.ask(request);
        let line: serde_json::Value =
            serde_json::from_str(&proxy.access_lines(number + 1)[number]).unwrap();
        let word = line["failure"]
            .as_str()
            .unwrap_or_else(|| panic!("no failure in {line}"));
        let status = answer.field("proxy-status").unwrap();
        assert!(
            !word.is_empty() && status.contains(word),
            "{word:?} is not in {status:?}"
        );
        assert!(
            answer.text().contains(word),
            "{word:?} is not in {:?}",
            answer.text()
        );
    }
}
