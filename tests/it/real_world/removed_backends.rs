//! Backends that hang and are taken out of the configuration while requests wait in them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use crate::real_world::hanging_backends::{POST, State, pool};
use crate::support::{Client, Origin, Proxy, eventually, get};

/// The configuration of `pool` under another name, or without its first backend.
fn changed(first: SocketAddr, second: SocketAddr, more: &str, renames: bool) -> String {
    let config = pool(first, second, more);
    if renames {
        return config.replace("\"api\"", "\"web\"");
    }
    let is_kept = |line: &&str| !line.contains(&format!("addr = \"{first}\""));
    config
        .lines()
        .filter(is_kept)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Puts a configuration in force on the same listener.
fn reload(proxy: &Proxy, config: &str) {
    proxy.reload(&format!("listen_addr = \"{}\"\n{config}", proxy.addr));
}

#[test]
fn requests_in_a_hung_backend_leave_it_or_end_although_it_was_taken_out() {
    for renames in [false, true] {
        let (state, other) = (State::new(true), State::new(true));
        let (first, second): (Origin, Origin) = (state.start("first"), other.start("second"));
        other.is_released.store(true, SeqCst);
        let more = "on_unhealthy = \"cut\"";
        let proxy = Proxy::start(&pool(first.addr, second.addr, more));
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send([get("/wait"), POST.to_owned()][number % 2].as_str());
        }
        state.wait_for(1);
        reload(&proxy, &changed(first.addr, second.addr, more, renames));
        state.set_well(false);
        let mut cut = 0;
        for client in &mut clients {
            let answer = client.answer();
            let (status, text) = (answer.status(), answer.text());
            cut += usize::from(status == 502);
            assert!(status == 502 || text == "second", "{status}: {text}");
        }
        proxy.wait_for_log(&["that was taken out", &first.addr.to_string(), "is down"]);
        assert!(cut <= 4, "requests that may be repeated were cut");
    }
}

/// Two backends hang and are taken out. Requests wait in one of them; the other one is empty, so that nobody probes it.
/// The requests go to the third one.
#[test]
fn requests_that_leave_a_backend_go_to_one_that_is_still_there() {
    let states = [(); 3].map(|()| State::new(true));
    let [first, second, third] = &states;
    let origins = [
        first.start("first"),
        second.start("second"),
        third.start("third"),
    ];
    second.is_released.store(true, SeqCst);
    third.is_released.store(true, SeqCst);
    let both = pool(origins[0].addr, origins[1].addr, "").replace("workers = 2", "workers = 1");
    let without_first =
        changed(origins[0].addr, origins[1].addr, "", false).replace("workers = 2", "workers = 1");
    let (own, other) = (origins[1].addr.to_string(), origins[2].addr.to_string());
    let line = without_first
        .lines()
        .find(|line| line.contains(&own))
        .unwrap();
    let third_line = line.replace(&own, &other).replace(" ]", ",");
    let proxy = Proxy::start(&both.replace(line, &format!("{third_line}\n{line}")));
    let waiting = || states.iter().map(|state| state.waiting.load(SeqCst));
    let mut clients: Vec<Client> = Vec::new();
    while first.waiting.load(SeqCst) < 4 {
        let mut client = proxy.client();
        client.send(get("/wait"));
        clients.push(client);
        eventually("the request is there", || {
            waiting().sum::<usize>() == clients.len()
        });
    }
    reload(&proxy, &without_first.replace(&own, &other));
    second.is_released.store(false, SeqCst);
    let before: Vec<usize> = waiting().collect();
    second.set_well(false);
    first.set_well(false);
    eventually("all have left", || {
        waiting().sum::<usize>() == clients.len() + 4
    });
    assert_eq!(second.waiting.load(SeqCst), before[1]);
    assert_eq!(third.waiting.load(SeqCst), before[2] + 4);
    for client in &mut clients {
        assert_ne!(client.answer().text(), "first");
    }
}
