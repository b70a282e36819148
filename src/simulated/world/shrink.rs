//! Makes a failing scenario smaller: leaves out one thing after the other while the failure remains.

use std::rc::Rc;

use super::run::run;
use super::scenario::{ClientPlan, RequestPlan, Scenario};

/// The smallest scenario found that fails in the same way.
pub fn shrink(scenario: &Rc<Scenario>, violation: &str) -> Rc<Scenario> {
    let mut smallest = scenario.clone();
    loop {
        let smaller = candidates(&smallest)
            .into_iter()
            .filter(|candidate| format!("{candidate:?}") != format!("{smallest:?}"))
            .map(Rc::new)
            .find(|candidate| run(candidate).is_some_and(|found| kind(&found) == kind(violation)));
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// The text of a violation without its numbers.
pub fn kind(violation: &str) -> String {
    violation
        .chars()
        .filter(|message| !message.is_ascii_digit())
        .collect()
}

/// Every scenario that is smaller by one thing.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut made = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        made.push(candidate);
    };
    for at in 0..scenario.clients.len() {
        with(&|one| {
            one.clients.remove(at);
        });
    }
    for at in 0..scenario.changes.len() {
        with(&|one| {
            one.changes.remove(at);
        });
    }
    for at in 0..scenario.clients.len() {
        let requests = &scenario.clients[at].requests;
        for &request in requests.iter().filter(|_| requests.len() > 1) {
            with(&|one| one.clients[at].requests.retain(|id| *id != request));
        }
        for change in CLIENT {
            with(&|one| change(&mut one.clients[at]));
        }
        for id in scenario.clients[at].requests.clone() {
            for change in REQUEST {
                with(&|one| change(&mut one.requests[id]));
            }
        }
    }
    for at in 0..scenario.backends.len() {
        with(&|one| one.backends[at].manners.clear());
        with(&|one| one.backends[at].requests_per_connection = 0);
        with(&|one| one.backends[at].idle_close = 0);
        with(&|one| one.backends[at].streams = 0);
    }
    with(&|one| one.weather.short = 0);
    with(&|one| one.weather.latency = 200);
    with(&|one| one.weather.capacity = 64_000);
    with(&|one| one.settings.tls = 0);
    with(&|one| one.settings.proxy_protocol = false);
    with(&|one| one.settings.max_connections = 0);
    with(&|one| {
        one.workers = 1;
        one.clients.iter_mut().for_each(|client| client.worker = 0);
    });
    made
}

const CLIENT: [fn(&mut ClientPlan); 7] = [
    |client| client.leaves = None,
    |client| client.reads_slowly = None,
    |client| client.half_closes = false,
    |client| client.sends_ahead = false,
    |client| client.pipelines = false,
    |client| client.http2 = false,
    |client| client.at = 0,
];

const REQUEST: [fn(&mut RequestPlan); 12] = [
    |request| request.fault = None,
    |request| request.stalls = false,
    |request| request.pause = 0,
    |request| request.gap = 0,
    |request| request.wait = 0,
    |request| request.body = request.body.min(10),
    |request| request.answer = request.answer.min(5),
    |request| request.is_chunked = false,
    |request| (request.long_field, request.long_query) = (0, 0),
    |request| request.faulty_attempts = 1,
    |request| request.trailers = false,
    |request| request.expects = false,
];
