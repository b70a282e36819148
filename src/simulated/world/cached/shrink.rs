//! Makes a failing scenario with a cache smaller: leaves out one thing after the other while the failure remains.

use std::rc::Rc;

use super::run::run;
use super::scenario::{Ask, AskKind, CachedScenario, Resource, Visitor};
use crate::simulated::world::shrink::kind;

/// The smallest scenario found that fails in the same way.
pub fn shrink(scenario: &Rc<CachedScenario>, violation: &str) -> Rc<CachedScenario> {
    let fails = |candidate: &Rc<CachedScenario>| {
        run(candidate).is_some_and(|found| kind(&found) == kind(violation))
    };
    let mut smallest = scenario.clone();
    loop {
        let smaller = candidates(&smallest)
            .into_iter()
            .filter(|candidate| format!("{candidate:?}") != format!("{smallest:?}"))
            .map(Rc::new)
            .find(fails);
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Every scenario that is smaller by one thing.
fn candidates(scenario: &CachedScenario) -> Vec<CachedScenario> {
    let mut made = Vec::new();
    let mut with = |change: &dyn Fn(&mut CachedScenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        made.push(candidate);
    };
    for at in 0..scenario.visitors.len() {
        with(&|one| {
            one.visitors.remove(at);
        });
    }
    for at in 0..scenario.purges.len() {
        with(&|one| {
            one.purges.remove(at);
        });
    }
    with(&|one| one.changes.clear());
    with(&|one| one.outages.clear());
    for at in 0..scenario.visitors.len() {
        let asks = &scenario.visitors[at].asks;
        for &ask in asks.iter().filter(|_| asks.len() > 1) {
            with(&|one| one.visitors[at].asks.retain(|id| *id != ask));
        }
        for change in VISITOR {
            with(&|one| change(&mut one.visitors[at]));
        }
        for id in scenario.visitors[at].asks.clone() {
            for change in ASK {
                with(&|one| change(&mut one.asks[id]));
            }
        }
    }
    for at in 0..scenario.resources.len() {
        for change in RESOURCE {
            with(&|one| change(&mut one.resources[at]));
        }
    }
    with(&|one| one.weather.short = 0);
    with(&|one| one.weather.latency = 200);
    with(&|one| one.weather.capacity = 64_000);
    with(&|one| one.policy.stale_after = 0);
    with(&|one| one.policy.stale_while_revalidate = 0);
    with(&|one| {
        one.workers = 1;
        one.visitors
            .iter_mut()
            .for_each(|visitor| visitor.worker = 0);
    });
    made
}

const VISITOR: [fn(&mut Visitor); 4] = [
    |visitor| visitor.leaves = None,
    |visitor| visitor.reads_slowly = None,
    |visitor| visitor.http2 = false,
    |visitor| visitor.at = 0,
];

const ASK: [fn(&mut Ask); 9] = [
    |ask| ask.fault = None,
    |ask| ask.faulty_attempts = 1,
    |ask| ask.kind = AskKind::Get,
    |ask| ask.gap = 0,
    |ask| ask.wait = 0,
    |ask| ask.pieces = 1,
    |ask| ask.directive = None,
    |ask| (ask.is_authorized, ask.is_conditional) = (false, false),
    |ask| ask.variant = 0,
];

const RESOURCE: [fn(&mut Resource); 4] = [
    |resource| resource.length = resource.length.min(60),
    |resource| resource.is_varied = false,
    |resource| resource.changes_always = false,
    |resource| resource.tags.clear(),
];
