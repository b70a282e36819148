//! Requests that leave a backend which hangs for a backend with few connections. Such requests wait for a connection as
//! long as they would have waited for the answer of the first backend, and go back to it if it is well again before.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use crate::real_world::hanging_backends::{Second, State, pool};
use crate::support::{Client, Origin, Proxy, eventually, get};

/// The configuration of [`pool`] with one connection for the second backend. `answer`: seconds for an answer.
fn config(first: &Origin, second: &Second, answer: u32) -> String {
    let addr = format!("{{ addr = \"{}\", ", second.addr);
    pool(first.addr, second.addr, "")
        .replace(&addr, &format!("{addr}max_connections = 1, "))
        .replace("workers = 2", "workers = 1")
        .replace("connect = 2000", "connect = 1")
        .replace(
            "upstream_response = 3000",
            &format!("upstream_response = {answer}"),
        )
}

/// Has `count` requests wait in the first backend and leave it when it hangs. The second backend holds the first
/// request that comes to it.
fn leave(proxy: &Proxy, state: &State, second: &Second, count: usize) -> (Vec<Client>, Origin) {
    second.is_away(proxy);
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    state.wait_for(count);
    let origin = second.comes(proxy);
    second.state.is_released.store(false, SeqCst);
    state.set_well(false);
    second.state.wait_for(1);
    (clients, origin)
}

#[test]
fn requests_that_have_left_wait_for_a_backend_with_few_connections() {
    let (state, second) = (State::new(true), Second::new());
    let first = state.start("first");
    let proxy = Proxy::start(&config(&first, &second, 3000));
    let (clients, _origin) = leave(&proxy, &state, &second, 8);
    // Requests that have left no backend wait less than this for a connection.
    thread::sleep(Duration::from_millis(1500));
    second.state.is_released.store(true, SeqCst);
    for mut client in clients {
        assert_eq!(client.answer().text(), "second");
    }
    state.is_released.store(true, SeqCst);
}

#[test]
fn requests_that_wait_go_back_to_a_backend_that_is_well_again() {
    let (state, second) = (State::new(true), Second::new());
    let first = state.start("first");
    let proxy = Proxy::start(&config(&first, &second, 3000));
    let (clients, _origin) = leave(&proxy, &state, &second, 8);
    thread::sleep(Duration::from_millis(1500));
    state.is_released.store(true, SeqCst);
    state.set_well(true);
    proxy.wait_for_log(&[&first.addr.to_string(), "to=\"healthy\""]);
    eventually("the worker knows", || proxy.ask(get("/")).text() == "first");
    second.state.is_released.store(true, SeqCst);
    let answers = clients.into_iter().map(|mut client| client.answer().text());
    let answers: Vec<String> = answers.collect();
    let first_ones = answers.iter().filter(|text| *text == "first").count();
    assert_eq!(first_ones, 7, "{answers:?}");
    assert!(answers.contains(&"second".to_owned()), "{answers:?}");
}

/// Requests that have left wait no longer than the time that the first backend would have had for its answer.
#[test]
fn requests_that_have_left_do_not_wait_for_ever() {
    let (state, second) = (State::new(true), Second::new());
    let first = state.start("first");
    let config = config(&first, &second, 6).replace("timeout_secs = 2 ", "timeout_secs = 1 ");
    let proxy = Proxy::start(&config);
    second.is_away(&proxy);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/wait")));
    state.wait_for(4);
    let _origin = second.comes(&proxy);
    second.state.is_released.store(false, SeqCst);
    state.set_well(false);
    let statuses: Vec<u16> = clients.iter_mut().map(|it| it.answer().status()).collect();
    assert!(
        statuses.iter().all(|status| matches!(status, 503 | 504)),
        "{statuses:?}"
    );
    state.is_released.store(true, SeqCst);
    second.state.is_released.store(true, SeqCst);
}
