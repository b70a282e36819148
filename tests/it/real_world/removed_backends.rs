//! Backends that hang and are taken out of the configuration while requests wait in them.

use std::net::SocketAddr;

use crate::real_world::hanging_backends::{POST, State, pool};
use crate::support::{Client, Origin, Proxy, get};

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

#[test]
fn requests_in_a_hung_backend_leave_it_or_end_although_it_was_taken_out() {
    for renames in [false, true] {
        let (state, other) = (State::new(true), State::new(true));
        let (first, second): (Origin, Origin) = (state.start("first"), other.start("second"));
        other
            .is_released
            .store(true, std::sync::atomic::Ordering::SeqCst);
        let more = "on_unhealthy = \"cut\"";
        let proxy = Proxy::start(&pool(first.addr, second.addr, more));
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send([get("/wait"), POST.to_owned()][number % 2].as_str());
        }
        state.wait_for(1);
        proxy.reload(&changed(first.addr, second.addr, more, renames));
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
