//! Walks through the cases, and compares what is seen with what the rule demands.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

use super::cases::{
    Case, Elsewhere, Ending, Failure, Flaw, HELLO, Request, Signal, Version, WHOLE,
};
use super::clients::{Seen, ask};
use super::ends::Backends;
use super::rule::{Again, Expected, expected};
use super::stage::{Attempt, Purpose, Received, Stage, token};
use crate::support::place::free_addr;
use crate::support::{Proxy, eventually, metrics};

/// Cases of one proxy: each has a pool of its own, so that nothing of one case is left for another.
const CASES_PER_PROXY: usize = 1000;
/// Clients at once, and those whose backends are silent.
const CLIENTS: usize = 24;
const SLOW_CLIENTS: usize = 200;
/// Classes of cases of which a report shows an example.
const SHOWN: usize = 40;

/// Walks through all cases, each with a pool of its own; fails with what does not hold, by class.
pub fn walk(cases: Vec<Case>) {
    let stage = Arc::new(Stage::new(cases));
    let backends = Backends::start(&stage);
    let numbers: Vec<usize> = (0..stage.cases.len()).collect();
    let houses = numbers.chunks(CASES_PER_PROXY);
    let houses = houses.map(|numbers| House::start(&pools(&stage, &backends, numbers)));
    walk_through(&stage, houses.collect());
}

/// Walks through cases that share one pool.
pub fn walk_together(cases: Vec<Case>) {
    let stage = Arc::new(Stage::new(cases));
    let backends = Backends::start(&stage);
    let first = &stage.cases[0];
    let pool = pool("crowd", first, &backends);
    let routes = (0..stage.cases.len()).map(|number| route(number, "crowd", 1));
    let config = pool + &routes.collect::<String>();
    walk_through(&stage, vec![House::start(&(config + &trap(&backends)))]);
}

fn walk_through(stage: &Stage, mut houses: Vec<House>) {
    let count = stage.cases.len();
    let (slow, quick): (Vec<usize>, Vec<usize>) =
        (0..count).partition(|number| is_slow(&stage.cases[*number]));
    let wrongs = Mutex::new(BTreeMap::<String, Vec<String>>::new());
    thread::scope(|scope| {
        // Cases that wait for time-outs run many at once, and the others go on beside them.
        for (numbers, clients) in [(slow, SLOW_CLIENTS), (quick, CLIENTS)] {
            let queue = Arc::new(Mutex::new(VecDeque::from(numbers)));
            for _ in 0..clients {
                let (queue, wrongs, houses) = (queue.clone(), &wrongs, &houses);
                scope.spawn(move || {
                    while let Some(number) = { queue.lock().unwrap().pop_front() } {
                        let house = &houses[number / CASES_PER_PROXY];
                        if let Err(wrong) = try_case(stage, &house.proxy, number) {
                            let class = stage.cases[number].class();
                            let mut wrongs = wrongs.lock().unwrap();
                            wrongs.entry(class).or_default().push(wrong);
                        }
                    }
                });
            }
        }
    });
    let mut wrongs = wrongs.into_inner().unwrap();
    for (house, number) in houses.iter_mut().zip(0..) {
        let rests = catch_unwind(AssertUnwindSafe(|| house.is_at_rest()));
        if let Err(panic) = rests {
            let class = format!("proxy {number} comes to rest");
            wrongs.insert(class, vec![words(&*panic)]);
        }
    }
    let smuggled = stage.smuggled.load(SeqCst);
    assert!(
        wrongs.is_empty() && smuggled == 0,
        "of {count} cases these do not hold, and {smuggled} requests were smuggled:\n{}",
        report(&wrongs)
    );
}

fn report(wrongs: &BTreeMap<String, Vec<String>>) -> String {
    let mut report = String::new();
    let cases: usize = wrongs.values().map(Vec::len).sum();
    report += &format!("{cases} cases of {} classes\n", wrongs.len());
    for (class, wrongs) in wrongs {
        report += &format!("{} × {class}\n", wrongs.len());
    }
    for (class, wrongs) in wrongs.iter().take(SHOWN) {
        report += &format!("for example {class}\n    {}\n", wrongs[0]);
    }
    report
}

/// Pools and routes of some cases.
fn pools(stage: &Stage, backends: &Backends, numbers: &[usize]) -> String {
    let mut config = trap(backends);
    for &number in numbers {
        let case = &stage.cases[number];
        let name = format!("c{number}");
        let retries = u8::from(case.elsewhere != Elsewhere::Forbidden);
        config += &pool(&name, case, backends);
        config += &route(number, &name, retries);
        if is_slow(case) {
            config += &format!(
                "[[routes]]\nprefix = \"/c{number}/go\"\npool = \"{name}\"\nretries = {retries}\n\
                 timeouts = {{ upstream_response = 4, upstream_idle = 4 }}\n"
            );
        }
    }
    config
}

fn pool(name: &str, case: &Case, backends: &Backends) -> String {
    let protocol = match case.pool {
        Version::H1 => "h1",
        Version::H2 => "h2",
    };
    let backends = backends.of(case.pool, case.failure, case.elsewhere);
    format!("[[pools]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nbackends = {backends}\n")
}

fn route(number: usize, pool: &str, retries: u8) -> String {
    format!("[[routes]]\nprefix = \"/c{number}\"\npool = \"{pool}\"\nretries = {retries}\n")
}

/// Where requests go that nobody sent.
fn trap(backends: &Backends) -> String {
    let addrs = backends.of(Version::H1, Failure::DiesIdle, Elsewhere::Good);
    format!(
        "[[pools]]\nname = \"trap\"\nbackends = {addrs}\n\
         [[routes]]\nprefix = \"/smuggled\"\npool = \"trap\"\n"
    )
}

/// A proxy with the pools of some cases.
struct House {
    proxy: Proxy,
    admin: SocketAddr,
}

impl House {
    fn start(pools: &str) -> House {
        let admin = free_addr();
        let config = format!("workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n{pools}");
        House {
            proxy: Proxy::start(&config),
            admin,
        }
    }

    /// Nothing is left over, and the proxy ends when it is told to.
    fn is_at_rest(&mut self) {
        let gauges = [
            "palantir_client_connections",
            "palantir_requests_in_flight",
            "palantir_route_requests_in_flight",
            "palantir_backend_requests_in_flight",
            "palantir_pool_waiting_requests",
        ];
        eventually("every gauge is at 0", || {
            let text = metrics(self.admin);
            let is_raised = |line: &str| {
                let name = line.split(['{', ' ']).next().unwrap();
                gauges.contains(&name) && !line.ends_with(" 0")
            };
            !text.lines().any(is_raised)
        });
        assert_eq!(self.proxy.stop(), 0, "it ends when it is told to");
    }
}

fn is_slow(case: &Case) -> bool {
    matches!(case.failure, Failure::Fails { ending: Ending::Stay, signal: Signal::Nothing, bytes, .. } if bytes != WHOLE)
}

/// Walks through one case; what is wrong is told.
fn try_case(stage: &Stage, proxy: &Proxy, number: usize) -> Result<(), String> {
    let case = &stage.cases[number];
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let warmed = || wait_until_they_died(stage, number);
        let seen = ask(proxy, number, case, &warmed);
        check(stage, number, &seen);
    }));
    outcome.map_err(|panic| {
        let Case {
            elsewhere, reused, ..
        } = case;
        let bytes = match case.failure {
            Failure::Fails { bytes, .. } if bytes != WHOLE => format!(" after {bytes} bytes"),
            _ => String::new(),
        };
        let ledger = stage.ledger(number);
        format!(
            "c{number}, elsewhere {elsewhere:?}, reused {reused}{bytes}: {}\n    attempts {:?}, next on {:?}",
            words(&*panic),
            ledger.attempts,
            ledger.next,
        )
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic without words");
    text.chars().take(600).collect()
}

fn wait_until_they_died(stage: &Stage, number: usize) {
    if stage.cases[number].failure == Failure::DiesIdle {
        eventually("both idle connections have ended", || {
            stage.ledger(number).ended.len() >= 2
        });
    }
}

fn check(stage: &Stage, number: usize, seen: &Seen) {
    let case = &stage.cases[number];
    let rule = expected(case);
    check_answer(number, case, &rule, seen);
    let ledger = stage.ledger(number);
    check_attempts(case, &rule, &ledger.attempts);
    assert!(ledger.wrongs.is_empty(), "{:?}", ledger.wrongs);
    check_connections(stage, number, case, &ledger.attempts, &ledger.next);
}

fn check_answer(number: usize, case: &Case, rule: &Expected, seen: &Seen) {
    let is_head = case.request == Request::Head;
    let said = |body: &str| is_head || seen.body == body;
    let went_well = rule.well && seen.status == 200 && said(&token(number, Purpose::Go));
    let is_scripted = rule.answered == Some(seen.status) && said(HELLO);
    let failed = rule.failures.contains(&seen.status) && !seen.body.contains(HELLO);
    let was_cut = rule.cut == Some(seen.status);
    let holds = if seen.complete {
        went_well || is_scripted || failed
    } else {
        was_cut
    };
    assert!(holds, "the client got {seen:?} instead of {rule:?}");
}

fn check_attempts(case: &Case, rule: &Expected, attempts: &[Attempt]) {
    assert!(
        attempts.len() <= rule.attempts,
        "{} attempts instead of {}",
        attempts.len(),
        rule.attempts
    );
    let is_scripted = matches!(case.failure, Failure::Fails { .. });
    if is_scripted && rule.again == Again::Must && case.elsewhere == Elsewhere::Good {
        assert_eq!(attempts.len(), 2, "it was not sent again");
    }
    for attempt in attempts {
        if let Received::Complete { as_sent, bytes } = attempt.body {
            assert!(as_sent, "a body of {bytes} bytes arrived as if whole");
        }
    }
}

fn check_connections(
    stage: &Stage,
    number: usize,
    case: &Case,
    attempts: &[Attempt],
    next: &[usize],
) {
    let Failure::Fails {
        answer,
        signal,
        ending,
        ..
    } = case.failure
    else {
        return;
    };
    // A stream that failed leaves its connection as it is.
    if case.pool == Version::H2 && matches!(signal, Signal::Reset(_)) && ending == Ending::Stay {
        let first = attempts[0].connection;
        let mut others = attempts.iter().map(|attempt| attempt.connection);
        let stays = others.all(|connection| connection == first) && next == [first];
        let is_alone = case.elsewhere == Elsewhere::Nobody;
        assert!(
            stays || !is_alone,
            "a new connection for a stream that was reset"
        );
    }
    // An answer that went wrong takes its connection of HTTP/1.1 along.
    let is_silent_or_flawed = is_slow(case) || answer.flaw != Flaw::None;
    let is_cut_off = expected(case).answered.is_none() && is_silent_or_flawed;
    if case.pool == Version::H1 && is_cut_off {
        let bad = attempts[0].connection;
        assert!(!next.contains(&bad), "the next request went out on it");
        eventually("the connection to the backend was closed", || {
            stage.ledger(number).ended.contains(&bad)
        });
    }
}
