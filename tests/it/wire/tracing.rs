//! `traceparent`: passed on, made, left out, and in the access log.

use serde_json::Value;

use crate::support::proxy::route;
use crate::support::{Origin, Proxy};

const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The `traceparent` that the backend got, and the log's `trace_id`, for a request with these fields.
fn traced(tracing: &str, fields: &str) -> (Option<String>, Value) {
    let origin = Origin::saying("hello");
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let proxy = Proxy::start(&format!("{log}{tracing}{}", route("/", &[origin.addr])));
    proxy.ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    let line = proxy.access_lines(1).pop().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let received = origin.request();
    let value = received.head.field("traceparent").map(str::to_owned);
    (value, line["trace_id"].clone())
}

#[test]
fn what_the_client_sent_is_passed_on() {
    let field = format!("TraceParent: {SENT}\r\n");
    for tracing in ["", "[tracing]\ncreate = true\n"] {
        let (value, logged) = traced(tracing, &field);
        assert_eq!(value.as_deref(), Some(SENT));
        assert_eq!(logged, "4bf92f3577b34da6a3ce929d0e0e4736");
    }
    let (value, logged) = traced("", "traceparent: nonsense\r\n");
    assert_eq!((value.as_deref(), logged), (Some("nonsense"), Value::Null));
}

#[test]
fn a_trace_begins_only_where_that_is_configured() {
    assert_eq!(traced("", ""), (None, Value::Null));
    let (value, logged) = traced("[tracing]\ncreate = true\n", "");
    let value = value.expect("the backend gets one");
    let parts: Vec<&str> = value.split('-').collect();
    assert_eq!(
        (value.len(), parts[0], parts[3]),
        (55, "00", "01"),
        "{value}"
    );
    assert_eq!(logged, parts[1]);
    let (another, _) = traced("[tracing]\ncreate = true\n", "");
    assert_ne!(another.as_deref(), Some(value.as_str()));
}

#[test]
fn what_strangers_say_of_traces_can_be_left_out() {
    let fields = format!("traceparent: {SENT}\r\ntracestate: a=b\r\n");
    let (value, logged) = traced("[tracing]\npropagate = false\n", &fields);
    assert_eq!((value, logged), (None, Value::Null));
    let (value, _) = traced("[tracing]\npropagate = false\ncreate = true\n", &fields);
    let value = value.expect("the backend gets one");
    assert!(!value.contains("4bf92f3577b34da6"), "{value}");
}
