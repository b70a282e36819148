//! The answers that the proxy itself gives: their status, their reason, their form, and what they keep to themselves.

mod blame;

use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::h2::frame;
use crate::support::place::{Directory, black_hole, free_addr};
use crate::support::proxy::route;
use crate::support::{Answer, Client, Link, Origin, PATIENCE, Proxy, get};

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

/// A backend that reads no further keeps an upload waiting, but not beyond the time for the whole exchange.
#[test]
fn an_upload_that_is_not_taken_ends_with_its_exchange() {
    let origin = Origin::start(|link| {
        link.head();
        std::thread::sleep(Duration::from_secs(60));
    });
    let own = "timeout = 0.5\nretries = 0\ntimeouts = { upstream_response = 50 }\n";
    let config = route("/", &[origin.addr]) + own;
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let mut sender = Client::over(client.stream.try_clone().unwrap());
    std::thread::spawn(move || {
        sender.try_send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 90000000\r\n\r\n");
        sender.try_send(vec![b'x'; 90_000_000]);
    });
    let began = Instant::now();
    let answer = client.answer();
    assert_eq!((answer.status(), word(&answer)), (504, "exchange_timeout"));
    assert!(began.elapsed() < Duration::from_secs(30), "{began:?}");
}

/// The second line of an own answer's body.
fn word(answer: &Answer) -> &str {
    let text = std::str::from_utf8(&answer.body).unwrap();
    text.lines().nth(1).unwrap()
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
    let addr = free_addr();
    let _hole = black_hole(addr);
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

/// Fields that a browser is told for a whole site, or needs to be allowed to look at an answer, are missed on a
/// failure, too.
#[test]
fn own_answers_carry_what_their_route_says() {
    let silent = Origin::start(|link| {
        link.request();
        link.rest();
    });
    let edits = "response_headers = { set = { \"strict-transport-security\" = \"max-age=1\", \"Content-Type\" = \"text/mine\", \
        \"Proxy-Status\" = \"hidden\", \"Cache-Control\" = \"max-age=99\" }, remove = [\"X-Request-Id\"] }\n";
    let config = [
        route("/down", &[free_addr()]) + edits,
        route("/silent", &[silent.addr]) + "timeouts = { upstream_response = 0.3 }\n" + edits,
        route("/small", &[silent.addr]) + "limits = { request_body_bytes = 1 }\n" + edits,
        route("/plain", &[free_addr()]),
    ];
    let proxy = Proxy::start(&config.concat());
    let mut multiplexed = proxy.h2();
    let post = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nxx")
    };
    let rows = [
        ("/down", get("/down"), 502, true),
        ("/silent", get("/silent"), 504, true),
        ("/small", post("/small"), 413, true),
        ("/plain", get("/plain"), 502, false),
        ("/none", get("/none"), 404, false),
    ];
    for (path, request, status, is_told) in rows {
        let answer = proxy.ask(&request);
        let fields = match status {
            413 => [("content-length", "2")].to_vec(),
            _ => Vec::new(),
        };
        let raised = match status {
            413 => multiplexed.ask_with(&frame::post(path, &fields), b"xx"),
            _ => multiplexed.ask(&frame::get(path, &[])),
        };
        assert_eq!(
            (answer.status(), raised.status()),
            (status, status),
            "{path}"
        );
        let told = is_told.then_some("max-age=1");
        assert_eq!(answer.field("strict-transport-security"), told, "{path}");
        assert_eq!(raised.field("strict-transport-security"), told, "{path}");
        assert_eq!(
            answer.field("cache-control"),
            None,
            "{path}: not to be kept"
        );
        assert_eq!(answer.field("x-request-id").is_none(), is_told, "{path}");
        assert_eq!(
            answer.field("proxy-status") == Some("hidden"),
            is_told,
            "{path}"
        );
        let kind = answer.field("content-type").unwrap();
        assert!(
            kind.starts_with("text/plain"),
            "an own body is what it is: {kind}"
        );
    }
}

/// Where a request is refused for the way that it came, its route is known all the same, and not counted.
#[test]
fn redirects_carry_what_their_route_says() {
    let origin = Origin::saying("");
    let config =
        route("/a", &[origin.addr]) + "response_headers = { set = { x-frame = \"deny\" } }\n";
    let redirecting = free_addr();
    let admin = free_addr();
    let listener = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{redirecting}\"\nredirect_to_https = true\n"
    );
    let proxy = crate::support::Proxy::start(&(listener + &config));
    let mut client = crate::support::Client::connect(redirecting);
    for (path, told) in [("/a/b?c", Some("deny")), ("/b", None), ("/../b", None)] {
        let answer = client.ask(get(path));
        assert_eq!(answer.status(), 308, "{path}");
        assert_eq!(
            answer.field("location"),
            Some(&format!("https://test{path}")[..])
        );
        assert_eq!(answer.field("x-frame"), told, "{path}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(proxy.ask(get("/a")).status(), 200);
    crate::support::eventually("the one request of the route is counted", || {
        let text = crate::support::metrics(admin);
        let lines = text.lines().filter(|line| {
            line.starts_with("palantir_route_requests_total")
                || line.starts_with("palantir_requests_total")
        });
        let of_route = lines.filter(|line| line.contains("route=\"/a\""));
        let counts = of_route.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum::<u64>() == 1
    });
}

/// A redirect to HTTPS and the answer to OPTIONS at its last proxy are answers, no failures: they are counted and
/// logged without a reason.
#[test]
fn replies_that_tell_no_failure_are_counted_as_answers() {
    let origin = Origin::saying("");
    let (redirecting, admin) = (free_addr(), free_addr());
    let config = format!(
        "[admin]\nlisten_addr = \"{admin}\"\n[access_log]\npath = \"{{dir}}/access.log\"\nformat = \"json\"\n\
         [[listeners]]\naddr = \"{redirecting}\"\nredirect_to_https = true\n{}",
        route("/a", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let mut client = Client::connect(redirecting);
    for _ in 0..2 {
        assert_eq!(client.ask(get("/a")).status(), 308);
    }
    let options = "OPTIONS /a HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!(proxy.ask(options).status(), 200);
    assert_eq!(proxy.ask(get("/none")).status(), 404);
    let logged = |line: String| {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let failure = line["failure"].as_str().unwrap_or_default();
        format!("{} {failure}", line["status"])
    };
    let mut lines: Vec<_> = proxy.access_lines(4).into_iter().map(logged).collect();
    lines.sort();
    assert_eq!(lines, ["200 ", "308 ", "308 ", "404 no_route"]);
    let count = |name: &str, label: &str| {
        let text = crate::support::metrics(admin);
        let is_meant = |line: &&str| line.starts_with(name) && line.contains(label);
        let lines = text.lines().filter(is_meant);
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum::<u64>()
    };
    assert_eq!(count("palantir_requests_total", "code=\"3xx\""), 2);
    assert_eq!(count("palantir_failures_total", "reason="), 1, "of the 404");
    let stats = Client::connect(admin).ask(format!("GET /stats HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    let stats: serde_json::Value = serde_json::from_str(&stats.text()).unwrap();
    assert_eq!(stats["client"]["success"], 3, "{stats}");
    assert_eq!(stats["client"]["failed"], 1, "{stats}");
}

/// A reply that is sent again has the id of its own request in head and body.
#[test]
fn a_reply_that_is_sent_again_has_the_id_of_its_request() {
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &route("/a", &[free_addr()])));
    let mut client = proxy.client();
    let mut ids: Vec<String> = Vec::new();
    for accept in ["*/*", "application/json", "*/*", "application/json"] {
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
        let answer = client.ask(request);
        let id = answer.field("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 16, "{answer:?}");
        assert!(answer.text().contains(&id), "{answer:?}");
        assert!(
            answer.field("date").unwrap().ends_with(" GMT"),
            "{answer:?}"
        );
        assert!(
            !answer.field("date").unwrap().contains(" 1970 "),
            "{answer:?}"
        );
        assert!(!ids.contains(&id), "{id} twice");
        ids.push(id);
    }
}

/// A call that fails carries it, too, and keeps its own status.
#[test]
fn calls_that_fail_carry_what_their_route_says() {
    let edits = "response_headers = { set = { x-frame = \"deny\", \"grpc-status\" = \"0\" }, remove = [\"grpc-message\"] }\n";
    let proxy = Proxy::start(&(route("/", &[free_addr()]) + edits));
    let answer = proxy
        .h2()
        .ask(&frame::post("/a", &[("content-type", "application/grpc")]));
    assert_eq!(answer.field("x-frame"), Some("deny"));
    assert_eq!(answer.field("grpc-status"), Some("14"));
    assert_eq!(answer.field("grpc-message"), Some("connect_failed"));
}
