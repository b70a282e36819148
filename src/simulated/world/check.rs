//! Invariants of a run as a whole, checked every tenth of a second.

use super::ledger::Outcome;
use super::run::Run;
use super::scenario::{Change, Id, Scenario, What};
use crate::shared::worker_counters;

/// Microseconds after the last client is gone, when nothing of the clients may be left.
const BACK: u64 = 1_300_000;
/// Microseconds after that, when no connection to a backend may be left either.
const CLOSED: u64 = 14_000_000;
/// The longest that a run may take.
const MOST: u64 = 60_000_000;
/// Attempts to connect to an address that refuses, besides those of requests that came at once.
const REFUSED: u64 = 4;

/// Looks at everything. Invariant: nothing waits without a deadline, so that every request of a run comes out in time.
pub fn look(run: &mut Run) {
    let now = run.stage.now();
    let scenario = run.stage.scenario.clone();
    let kernel = run.stage.kernel.clone();
    let is_connecting = |backend| kernel.is_connecting_to(scenario.addr(backend));
    run.stage.ledger.check_idle(&scenario, is_connecting, now);
    refusals(run, &scenario);
    run.check_accepted();
    if run.gone_at.is_none() && run.are_clients_gone() {
        run.gone_at = Some(now);
        answers(run, &scenario);
    }
    match run.gone_at {
        None if now > MOST => {
            let open: Vec<Id> = run.stage.ledger.open().map(|(id, _)| id).collect();
            let what = format!("requests {open:?} wait without an end");
            run.stage.ledger.violated(what);
        }
        Some(gone) => ending(run, &scenario, now - gone),
        None => {}
    }
}

/// Looks at what is left so many microseconds after the last client was gone.
fn ending(run: &mut Run, scenario: &Scenario, since: u64) {
    if since <= BACK {
        return;
    }
    // Where a client that has ended its side is served, one that has left may be taken for such a client.
    let has_left = scenario
        .clients
        .iter()
        .any(|client| client.leaves.is_some());
    let is_known = !scenario.serves_half_closed || !has_left;
    if is_known || since > CLOSED {
        back(run, scenario);
        ended(run);
        tunnels(run, scenario);
    }
    if since > CLOSED {
        closed(run);
    }
    // Idle connections are closed after a long time: one run in four waits for that.
    run.is_over = since > CLOSED || !scenario.seed.is_multiple_of(4);
}

/// Invariant: a worker that was told to end says so when its last connection is gone.
fn ended(run: &mut Run) {
    let is_told = run.stage.ledger.ending_at.is_some();
    if is_told && run.drained.contains(&false) {
        let what = format!("workers do not say that they have ended: {:?}", run.drained);
        run.stage.ledger.violated(what);
    }
}

/// Invariant: one second after the last client is gone, all gauges and permits are back, and all connections of clients
/// are closed.
fn back(run: &mut Run, scenario: &Scenario) {
    let all = &run.counters;
    let counters = [
        ("exchanges", worker_counters::exchanges(all)),
        ("connections", worker_counters::connections(all)),
        ("clients that wait", worker_counters::waiting(all)),
        ("sockets of clients", run.stage.kernel.open_ends().0 as u64),
    ];
    if let Some((name, count)) = counters.into_iter().find(|(_, count)| *count > 0) {
        run.stage
            .ledger
            .violated(format!("{count} {name} are left after the last client"));
    }
    for at in 0..scenario.backends.len() {
        let Some(id) = run.rows[at] else {
            continue;
        };
        let (under_way, open) = (run.tables.in_flight(id), run.tables.open(id) as usize);
        let sockets = run.stage.kernel.open_to(scenario.addr(at));
        if under_way > 0 {
            run.stage
                .ledger
                .violated(format!("{under_way} requests are left at backend {at}"));
        }
        if open > sockets {
            let what = format!("{open} permits are left for {sockets} connections to backend {at}");
            run.stage.ledger.violated(what);
        }
    }
}

/// Invariant: when idle connections to backends have had their time, these connections and their permits are back, too.
fn closed(run: &mut Run) {
    let (clients, backends) = run.stage.kernel.open_ends();
    if clients + backends > 0 {
        let what = format!("{clients} sockets of clients and {backends} of backends are left");
        run.stage.ledger.violated(what);
    }
    let rows = run.rows.iter().flatten();
    let open: u32 = rows
        .map(|id| run.tables.open(*id) + run.tables.idle(*id))
        .sum();
    if open > 0 {
        run.stage
            .ledger
            .violated(format!("{open} permits or idle connections are left"));
    }
}

/// Invariant: a backend that refuses connections is left alone for a while, by requests of earlier settings as well. A
/// reload that changes how the backend is connected to ends its rest.
fn refusals(run: &mut Run, scenario: &Scenario) {
    let is_reload = |change: &&Change| matches!(change.what, What::Reload(_));
    let rests = 1 + scenario.changes.iter().filter(is_reload).count() as u64;
    let now = run.stage.now();
    for (at, backend) in scenario.backends.iter().enumerate() {
        let Some((since, _)) = backend.manners.first() else {
            continue;
        };
        let seconds = now.saturating_sub(*since) / 1_000_000 + 1;
        let at_once = scenario.clients.len() as u64;
        let is_h2_client = |client: &&super::scenario::ClientPlan| client.http2 || client.pipelines;
        let streams = scenario.clients.iter().filter(is_h2_client);
        let streams: usize = streams.map(|client| client.requests.len()).sum();
        let seconds_of_workers = seconds * (REFUSED + scenario.workers as u64);
        let most = rests * (at_once + streams as u64) + seconds_of_workers;
        let refused = run.stage.kernel.refused(scenario.addr(at));
        if refused > most {
            let what = format!("backend {at} refused {refused} connections in {seconds} s");
            run.stage.ledger.violated(what);
        }
    }
}

/// Invariant: where nobody misbehaves, every request is answered, and so is one that was under way when its worker was
/// told to end.
fn answers(run: &mut Run, scenario: &Scenario) {
    for client in &scenario.clients {
        let is_odd = client.leaves.is_some() || client.reads_slowly.is_some() || client.sends_ahead;
        if is_odd || client.pipelines {
            continue;
        }
        for &id in &client.requests {
            if !is_calm(scenario, id)
                || client
                    .requests
                    .iter()
                    .any(|id| scenario.requests[*id].stalls)
            {
                continue;
            }
            let ledger = &run.stage.ledger;
            if ledger.is_late(id) {
                continue;
            }
            let outcome = ledger.records[id].outcome;
            let is_saturated = outcome == Some(Outcome::Refused(503)) && is_bounded(scenario);
            let is_unsent = outcome == Some(Outcome::Unsent);
            if outcome != Some(Outcome::Answered) && !is_saturated && !is_unsent {
                let what =
                    format!("request {id} came out as {outcome:?} although nobody misbehaved");
                run.stage.ledger.violated(what);
            }
        }
    }
}

/// Invariant: all bytes of a tunnel arrive at their peer.
fn tunnels(run: &mut Run, scenario: &Scenario) {
    let ledger = &run.stage.ledger;
    let is_lossy = |&id: &Id| {
        let is_answered = ledger.records[id].outcome == Some(Outcome::Answered);
        let has_tunnelled = ledger.has_tunnelled(scenario, id) == (true, true);
        scenario.requests[id].tunnel && is_calm(scenario, id) && is_answered && !has_tunnelled
    };
    if let Some(id) = (0..scenario.requests.len()).find(is_lossy) {
        let what = format!("bytes of the tunnel of request {id} are missing");
        run.stage.ledger.violated(what);
    }
}

/// Whether nothing that could make a request fail happens to it.
fn is_calm(scenario: &Scenario, id: Id) -> bool {
    let config = &scenario.requests[id];
    let pool = scenario.pool(config.pool);
    let is_changed = scenario
        .changes
        .iter()
        .any(|change| matches!(change.what, What::Health { .. }));
    // A connection of HTTP/2 that breaks takes its other streams with it.
    let is_any_faulty = scenario
        .requests
        .iter()
        .any(|other| other.pool == config.pool && other.fault.is_some());
    !is_any_faulty
        && !is_changed
        && pool
            .iter()
            .all(|backend| scenario.is_steady(*backend) && scenario.backends[*backend].streams == 0)
}

fn is_bounded(scenario: &Scenario) -> bool {
    let changed = scenario.changes.iter().any(|change| match &change.what {
        What::Reload(settings) => settings.max_connections > 0,
        What::Health { .. } | What::Retire | What::Drain => false,
    });
    scenario.settings.max_connections > 0 || changed
}
