//! Runs that once broke a promise of the cache, as small as they can be.

use std::rc::Rc;

use super::run::run;
use super::scenario::{
    Ask, AskKind, CachePolicy, CachedScenario, Control, Framing, OriginFault, Outage, PurgePlan,
    Purged, Resource, Validator, Visitor, When,
};
use crate::net;
use crate::simulated::Weather;
use crate::simulated::world::scenario::PoolKind;

fn resource() -> Resource {
    Resource {
        pool: PoolKind::One,
        host: "a.test",
        target: "/x",
        control: Control {
            max_age: Some(60),
            ..Control::default()
        },
        is_varied: false,
        validator: Validator::Strong,
        length: 3_000,
        framing: Framing::Length,
        tags: Vec::new(),
        changes_always: false,
        has_ranges: true,
    }
}

fn ask(kind: AskKind) -> Ask {
    Ask {
        resource: 0,
        variant: 0,
        kind,
        gap: 0,
        is_authorized: false,
        directive: None,
        is_conditional: false,
        wait: 0,
        pieces: 1,
        pause: 1_000,
        fault: None,
        faulty_attempts: 1,
    }
}

/// A run with one resource, whose requests come in seconds after each other, each from a client of its own.
fn in_turn(resource: Resource, asks: Vec<Ask>) -> CachedScenario {
    let visitor = |at: usize| Visitor {
        at: at as u64 * 1_000_000,
        worker: 0,
        http2: false,
        asks: vec![at],
        leaves: None,
        reads_slowly: None,
    };
    CachedScenario {
        seed: 0,
        workers: 1,
        weather: Weather {
            latency: 200,
            short: 0,
            capacity: 64_000,
        },
        policy: CachePolicy {
            stale_while_revalidate: 0,
            stale_if_error: 0,
            stale_if_unreachable: 0,
            stale_after: 0,
            max_object: 60_000,
            max_percent: 100,
        },
        resources: vec![resource],
        visitors: (0..asks.len()).map(visitor).collect(),
        asks,
        purges: Vec::new(),
        changes: Vec::new(),
        outages: Vec::new(),
    }
}

fn check(scenario: CachedScenario) {
    net::inside_engine(|| assert_eq!(run(&Rc::new(scenario)), None));
}

#[test]
fn the_whole_of_what_is_too_large_is_asked_for_although_a_part_is_stored() {
    let asks = vec![ask(AskKind::Range(0, 499)), ask(AskKind::Get)];
    let mut scenario = in_turn(resource(), asks);
    scenario.policy.max_object = 1_000;
    check(scenario);
}

#[test]
fn a_part_that_was_validated_is_still_a_part() {
    let mut first = ask(AskKind::Get);
    // The answer is not stored, and tells the tag.
    first.is_authorized = true;
    let mut cut = ask(AskKind::Get);
    cut.is_conditional = true;
    cut.fault = Some(OriginFault::Breaks(1_081));
    let mut resource = resource();
    resource.control = Control {
        stale_while_revalidate: Some(2),
        ..Control::default()
    };
    check(in_turn(resource, vec![first, cut, ask(AskKind::Get)]));
}

#[test]
fn what_a_soft_purge_made_stale_is_stale_also_in_trouble() {
    let mut resource = resource();
    resource.control.must_revalidate = true;
    let asks = vec![ask(AskKind::Get), ask(AskKind::Get), ask(AskKind::Get)];
    let mut scenario = in_turn(resource, asks);
    scenario.policy.stale_if_unreachable = 600;
    scenario.purges.push(PurgePlan {
        when: When::At(1_500_000),
        what: Purged::All,
        is_soft: true,
    });
    scenario.outages.push(Outage {
        pool: PoolKind::One,
        from: 1_500_000,
        to: 9_000_000,
    });
    check(scenario);
}

#[test]
fn what_a_soft_purge_made_stale_is_stale_also_when_another_response_has_replaced_it() {
    let mut resource = resource();
    resource.control.must_revalidate = true;
    resource.changes_always = true;
    // A request for a range has no followers. The answer to the other request comes before the failure.
    let mut failing = ask(AskKind::Range(0, 9));
    failing.wait = 2_000_000;
    failing.fault = Some(OriginFault::Error);
    let asks = vec![ask(AskKind::Get), ask(AskKind::Get), failing];
    let mut scenario = in_turn(resource, asks);
    scenario.policy.stale_if_error = 5;
    scenario.visitors[1].at = 2_500_000;
    scenario.purges.push(PurgePlan {
        when: When::At(1_500_000),
        what: Purged::All,
        is_soft: true,
    });
    check(scenario);
}
