//! Makes a scenario with a cache of a seed.

use super::scenario::{
    Ask, AskKind, CachePolicy, CachedScenario, Control, Event, Framing, OriginFault, Outage,
    PurgePlan, Purged, Resource, Validator, Visitor, When,
};
use crate::simulated::Weather;
use crate::simulated::world::generate::{Dice, MILLIS};
use crate::simulated::world::scenario::PoolKind;

const SECOND: u64 = 1_000 * MILLIS;
/// The time within which most happens, in microseconds.
const SPAN: u64 = 6 * SECOND;

/// Hosts and targets that are mistaken for each other most easily.
const NAMES: [(&str, &str); 8] = [
    ("a.test", "/x"),
    ("b.test", "/x"),
    ("a.test", "/x?"),
    ("a.test", "/x?v=1"),
    ("a.test", "/x?v=2"),
    ("a.test", "/xy"),
    ("a.test", "/dir/x"),
    ("b.test", "/dir/x/y"),
];

/// The scenario of a seed.
pub fn cached_scenario(seed: u64) -> CachedScenario {
    let mut dice = Dice::new(seed ^ 0xcac4e);
    let workers = dice.one_of(&[1, 2, 2, 3]);
    // Half of the runs have no misbehaviour of a kind, so that the others stand out.
    let (is_rough, has_trouble) = (dice.percent(40), dice.percent(50));
    let mut made = CachedScenario {
        seed,
        workers,
        weather: Weather {
            latency: dice.one_of(&[200, 2 * MILLIS, 20 * MILLIS]),
            short: dice.one_of(&[0, 20, 60]),
            capacity: dice.one_of(&[2_000, 16_000, 64_000]),
        },
        policy: policy(&mut dice, has_trouble),
        resources: Vec::new(),
        visitors: Vec::new(),
        asks: Vec::new(),
        purges: Vec::new(),
        changes: Vec::new(),
        outages: Vec::new(),
    };
    add_resources(&mut dice, &mut made);
    let most = dice.one_of(&[3, 6, 10]);
    for _ in 0..1 + dice.below(most) {
        add_visitor(&mut dice, &mut made, (is_rough, has_trouble));
    }
    for _ in 0..dice.below(4) {
        let resource = dice.below(made.resources.len() as u64) as usize;
        made.changes.push((dice.below(SPAN), resource));
    }
    if has_trouble && dice.percent(60) {
        let from = dice.below(SPAN);
        let to = from + dice.below(2 * SECOND);
        let pool = dice.one_of(&[PoolKind::One, PoolKind::Two]);
        made.outages.push(Outage { pool, from, to });
    }
    for _ in 0..dice.below(5) {
        let purge = purge(&mut dice, &made);
        made.purges.push(purge);
    }
    made
}

fn policy(dice: &mut Dice, has_trouble: bool) -> CachePolicy {
    CachePolicy {
        stale_while_revalidate: dice.one_of(&[0, 0, 2]),
        stale_if_error: if has_trouble { dice.one_of(&[0, 5]) } else { 0 },
        stale_if_unreachable: dice.one_of(&[0, 5, 600]),
        stale_after: dice.one_of(&[0, 0, 50, 300]),
        max_object: dice.one_of(&[1_000, 60_000, 200_000]),
        max_percent: dice.one_of(&[100, 100, 10]),
    }
}

fn add_resources(dice: &mut Dice, made: &mut CachedScenario) {
    let pools = match dice.below(3) {
        0 => vec![PoolKind::One],
        1 => vec![PoolKind::Two],
        _ => vec![PoolKind::One, PoolKind::Two],
    };
    let first = dice.below(NAMES.len() as u64) as usize;
    for at in 0..1 + dice.below(5) as usize {
        let (host, target) = NAMES[(first + at) % NAMES.len()];
        let pool = dice.one_of(&pools);
        let tags = (0..3).filter(|_| dice.percent(35)).collect();
        made.resources.push(Resource {
            pool,
            host,
            target,
            control: control(dice),
            is_varied: dice.percent(35),
            validator: dice.one_of(&[Validator::None, Validator::Weak, Validator::Strong]),
            length: dice.one_of(&[0, 60, 3_000, 30_000, 50_000, 120_000]),
            framing: dice.one_of(&[
                Framing::Length,
                Framing::Length,
                Framing::Chunked,
                Framing::Close,
            ]),
            tags,
            changes_always: dice.percent(30),
            has_ranges: dice.percent(50),
        });
    }
}

fn control(dice: &mut Dice) -> Control {
    let mut control = Control {
        max_age: dice.one_of(&[None, Some(0), Some(1), Some(1), Some(2), Some(60)]),
        ..Control::default()
    };
    match dice.below(12) {
        0 => control.s_maxage = dice.one_of(&[Some(0), Some(2)]),
        1 | 2 => control.stale_while_revalidate = Some(2),
        3 | 4 => control.stale_if_error = Some(4),
        5 => control.is_public = true,
        6 => control.is_private = true,
        7 => control.is_no_store = true,
        8 => control.is_no_cache = true,
        9 => control.must_revalidate = true,
        _ => {}
    }
    control
}

fn add_visitor(dice: &mut Dice, made: &mut CachedScenario, (rough, trouble): (bool, bool)) {
    let count = 1 + dice.below(6) as usize;
    let first = made.asks.len();
    let favourite = dice.below(made.resources.len() as u64) as usize;
    for _ in 0..count {
        let ask = ask(dice, made, (favourite, trouble));
        made.asks.push(ask);
    }
    let is_odd = rough && dice.percent(50);
    made.visitors.push(Visitor {
        at: dice.one_of(&[0, 0, MILLIS, 100 * MILLIS, 3 * SECOND]) + dice.below(5 * MILLIS),
        worker: dice.below(made.workers as u64) as usize,
        http2: dice.percent(50),
        asks: (first..first + count).collect(),
        leaves: (is_odd && dice.percent(60)).then(|| (dice.below(SECOND), dice.percent(50))),
        reads_slowly: (is_odd && dice.percent(40)).then(|| {
            dice.one_of(&[
                (300, 20 * MILLIS),
                (5_000, 20 * MILLIS),
                (5_000, 300 * MILLIS),
                (1, 5_000 * MILLIS),
            ])
        }),
    });
}

fn ask(dice: &mut Dice, made: &CachedScenario, (favourite, trouble): (usize, bool)) -> Ask {
    let all = made.resources.len() as u64;
    let resource = match dice.percent(70) {
        true => favourite,
        false => dice.below(all) as usize,
    };
    let has_validator = made.resources[resource].validator != Validator::None;
    let length = made.resources[resource].length;
    let kind = match dice.below(20) {
        0 | 1 if has_validator => AskKind::Head,
        2 | 3 => AskKind::Post(dice.percent(30).then(|| dice.below(all) as usize)),
        4 | 5 => {
            let first = dice.below(length as u64 + 10) as usize;
            AskKind::Range(first, first + dice.below(20_000) as usize)
        }
        _ => AskKind::Get,
    };
    let longest_gap = dice.one_of(&[1, MILLIS, 50 * MILLIS, SECOND, 3 * SECOND]);
    let longest_wait = dice.one_of(&[1, MILLIS, 20 * MILLIS, 400 * MILLIS, SECOND]);
    let breaks = OriginFault::Breaks(dice.below(length as u64 + 1) as usize);
    let faults = [
        OriginFault::Resets,
        breaks,
        breaks,
        OriginFault::Silent,
        OriginFault::Error,
        OriginFault::Error,
    ];
    Ask {
        resource,
        variant: dice.below(3) as u8,
        kind,
        gap: dice.below(longest_gap),
        is_authorized: dice.percent(7),
        directive: dice
            .percent(10)
            .then(|| dice.one_of(&["no-cache", "max-age=1", "only-if-cached", "no-store"])),
        is_conditional: kind == AskKind::Get && dice.percent(15),
        wait: dice.below(longest_wait),
        pieces: dice.one_of(&[1, 1, 2, 5]),
        pause: dice.one_of(&[MILLIS, 30 * MILLIS, 300 * MILLIS]),
        fault: (trouble && dice.percent(30)).then(|| dice.one_of(&faults)),
        faulty_attempts: dice.one_of(&[1, 1, 3]),
    }
}

fn purge(dice: &mut Dice, made: &CachedScenario) -> PurgePlan {
    let resource = dice.below(made.resources.len() as u64) as usize;
    let of = &made.resources[resource];
    let what = match dice.below(5) {
        0 | 1 => Purged::Url(resource),
        2 => Purged::Prefix(of.pool, of.host, dice.one_of(&["/", "/x", "/dir"])),
        3 => Purged::Tag(dice.below(3) as u8),
        _ => Purged::All,
    };
    let when = if dice.percent(30) {
        When::At(dice.below(SPAN))
    } else {
        let events = [
            Event::Asked,
            Event::Arrived,
            Event::Answered,
            Event::Sent,
            Event::Received,
        ];
        let nth = 1 + dice.below(made.asks.len() as u64) as usize;
        When::After(dice.one_of(&events), nth, dice.below(40))
    };
    PurgePlan {
        when,
        what,
        is_soft: dice.percent(40),
    }
}
