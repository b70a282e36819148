//! Everything that has a bound stays within its bound, and the proxy goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, eventually, get};

#[test]
fn a_backends_max_connections_hold_over_all_workers() {
    // Requests that the backend has and has not answered: each takes up a connection, of which the backend sees the end
    // later than the proxy.
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let peak = most.clone();
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            running.fetch_sub(1, SeqCst);
            link.send(ok("done"));
        }
    });
    let config = format!(
        "workers = 4\n[timeouts]\nconnect = 20\n[[pools]]\nname = \"few\"\nbackends = [{{ addr = \"{}\", max_connections = 3 }}]\n\
         [[routes]]\nprefix = \"/\"\npool = \"few\"\n",
        origin.addr
    );
    let proxy = Proxy::start(&config);
    let asking: Vec<_> = (0..24)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let answer = client.ask(get("/"));
                    assert_eq!((answer.status(), answer.text().as_str()), (200, "done"));
                }
            })
        })
        .collect();
    for thread in asking {
        thread.join().unwrap();
    }
    assert_eq!(most.load(SeqCst), 3, "requests at once");
    assert_eq!(origin.count(), 240);
}

/// Whether a new connection is served within a second.
fn answers(proxy: &Proxy) -> bool {
    let mut client = proxy.client();
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    client.try_send(get("/"));
    client.stream.peek(&mut [0]).is_ok_and(|count| count > 0)
}

#[test]
fn without_descriptors_accepting_pauses_and_established_connections_go_on() {
    let origin = Origin::saying("served");
    let limits = "workers = 1\n[limits]\nconnections = 10000\n";
    let proxy = Proxy::start(&(limits.to_owned() + &route("/", &[origin.addr])));
    let mut established = proxy.client();
    assert_eq!(established.ask(get("/")).text(), "served");
    let begin = Instant::now();
    proxy.leave_descriptors(4);
    let crowd: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    proxy.wait_for_log(&["WARN", "accepting pauses"]);
    for _ in 0..100 {
        assert_eq!(established.ask(get("/")).text(), "served");
    }
    std::thread::sleep(Duration::from_millis(1500));
    let lines = proxy
        .log()
        .lines()
        .filter(|line| line.contains("accepting pauses"))
        .count();
    let most = begin.elapsed().as_secs() as usize + 2;
    assert!(
        lines <= most,
        "{lines} lines, where {most} were enough:\n{}",
        proxy.log()
    );
    drop(crowd);
    eventually("new connections are served", || answers(&proxy));
    assert_eq!(established.ask(get("/")).text(), "served");
}

#[test]
fn without_descriptors_backends_are_not_blamed() {
    let origin = Origin::saying("served");
    let settings = "health_check = { tcp = true, interval_secs = 0.1, timeout_secs = 50, unhealthy_after = 1 }\n\
                    outlier = { consecutive_failures = 1 }\n";
    let config = format!("workers = 1\n{}{settings}", route("/", &[origin.addr]));
    let proxy = Proxy::start(&config);
    let mut established = proxy.client();
    assert_eq!(established.ask(get("/")).text(), "served");
    proxy.leave_descriptors(2);
    let crowd: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    proxy.wait_for_log(&["WARN", "accepting pauses"]);
    // Long enough for many probes, none of which can open a socket.
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(established.ask(get("/")).text(), "served");
    }
    drop(crowd);
    eventually("new connections are served", || answers(&proxy));
}

#[test]
fn a_client_that_does_not_read_is_cut_in_the_end() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            let block = vec![b'x'; 1 << 20];
            while link.try_send(&block) {}
        }
    });
    let timeouts = "[timeouts]\nupstream_idle = 1\nclient_body = 1\nclient_idle = 1\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.client();
    client.send(get("/"));
    // Held open and never read: the backend's connection is not kept for ever.
    origin.wait_for_ended(1);
}

#[test]
fn many_idle_connections_disturb_nobody() {
    let origin = Origin::saying("served");
    let timeouts = "[timeouts]\nclient_header = 600\nclient_idle = 600\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    let idle: Vec<_> = (0..200).map(|_| proxy.client()).collect();
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.ask(get("/")).text(), "served");
    }
    for mut client in idle {
        assert_eq!(client.ask(get("/")).text(), "served");
    }
}
