//! Clients that leave before their answer.

use crate::support::proxy::route;
use crate::support::{Origin, Proxy, get};

const LOG: &str = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";

/// A client that ends its sending side counts as gone.
const ABORT: &str = "half_close = \"abort\"";

/// An origin that reads a request, answers nothing and waits for the connection's end.
fn silent() -> Origin {
    Origin::start(|link| {
        if link.request().is_some() {
            link.rest();
        }
    })
}

#[track_caller]
fn logged_as_499(proxy: &Proxy) {
    let lines = proxy.access_lines(1);
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["status"], 499, "{line}");
}

#[test]
fn the_backends_connection_is_dropped() {
    let origin = silent();
    let proxy = Proxy::with_listener(ABORT, &(LOG.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send(get("/"));
    origin.wait_for_requests(1);
    drop(client);
    origin.wait_for_ended(1);
    logged_as_499(&proxy);
}

#[test]
fn a_client_that_resets_is_gone_too() {
    let origin = silent();
    let proxy = Proxy::start(&(LOG.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send(get("/"));
    origin.wait_for_requests(1);
    client.leave();
    origin.wait_for_ended(1);
    logged_as_499(&proxy);
}

#[test]
fn in_the_middle_of_a_request_body() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.rest();
        }
    });
    let proxy = Proxy::start(&(LOG.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nabc");
    crate::support::eventually("the backend is connected to", || origin.accepted() == 1);
    drop(client);
    origin.wait_for_ended(1);
    logged_as_499(&proxy);
}

#[test]
fn in_the_middle_of_a_small_request_body() {
    let origin = Origin::saying("");
    let proxy = Proxy::start(&(LOG.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc");
    drop(client);
    logged_as_499(&proxy);
    assert_eq!(origin.count(), 0, "half a request is none");
}

#[test]
fn in_the_middle_of_a_response_body() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            link.rest();
        }
    });
    let proxy = Proxy::with_listener(ABORT, &route("/", &[origin.addr]));
    let mut client = proxy.client();
    client.send(get("/"));
    client.begin_answer();
    assert_eq!(client.bytes(10), b"5\r\nhello\r\n");
    drop(client);
    origin.wait_for_ended(1);
}

#[test]
fn while_its_request_waits_for_a_connection() {
    let origin = silent();
    let config = format!(
        "{LOG}[[pools]]\nname = \"one\"\nbackends = [{{ addr = \"{}\", max_connections = 1 }}]\n\
         [[routes]]\nprefix = \"/\"\npool = \"one\"\n",
        origin.addr
    );
    let proxy = Proxy::with_listener(
        ABORT,
        &format!("workers = 1\n[timeouts]\nconnect = 60\n{config}"),
    );
    let mut first = proxy.client();
    first.send(get("/first"));
    origin.wait_for_requests(1);
    let mut second = proxy.client();
    second.send(get("/second"));
    drop(second);
    logged_as_499(&proxy);
    drop(first);
    proxy.access_lines(2);
    assert_eq!(origin.count(), 1, "nobody waited for the second answer");
}
