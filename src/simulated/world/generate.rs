//! Makes a scenario of a seed.

use super::scenario::{
    BackendFault, BackendPlan, Change, ClientPlan, PoolKind, RequestPlan, Scenario, Settings, What,
};
use crate::base::random::SplitMix64;
use crate::simulated::{Manner, Weather};

/// Microseconds of a millisecond.
pub const MILLIS: u64 = 1_000;

/// Chances, from a seed.
pub struct Dice(SplitMix64);

impl Dice {
    /// The chances of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(SplitMix64::from_seed(seed))
    }

    /// A number from 0 to below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0.number() % most.max(1)
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of a list.
    pub fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let workers = dice.one_of(&[1, 1, 2, 3]);
    // Half of the runs have no misbehaviour of a kind, so that the others stand out.
    let (rough_clients, rough_backends) = (dice.percent(50), dice.percent(60));
    let settings = settings(&mut dice);
    let mut backends = Vec::new();
    for pool in [PoolKind::One, PoolKind::Two] {
        for _ in 0..1 + dice.below(3) {
            backends.push(backend(&mut dice, pool, rough_backends));
        }
    }
    let mut made = Scenario {
        seed,
        workers,
        weather: Weather {
            latency: dice.one_of(&[200, 2 * MILLIS, 20 * MILLIS]),
            short: dice.one_of(&[0, 20, 60]),
            capacity: dice.one_of(&[2_000, 16_000, 64_000]),
        },
        serves_half_closed: dice.percent(30),
        settings: settings.clone(),
        backends,
        clients: Vec::new(),
        requests: Vec::new(),
        changes: Vec::new(),
    };
    let busy = dice.one_of(&[2, 4, 8]);
    for _ in 0..1 + dice.below(busy) {
        add_client(&mut dice, &mut made, rough_clients, rough_backends);
    }
    if dice.percent(40) {
        add_changes(&mut dice, &mut made, settings);
    }
    add_specials(&mut Dice::new(seed ^ 0x59ec), &mut made);
    made
}

/// Adds what few requests have, and the end of the workers.
fn add_specials(dice: &mut Dice, made: &mut Scenario) {
    for client in &mut made.clients {
        let is_in_turn = !client.http2 && !client.pipelines;
        for &id in &client.requests {
            let request = &mut made.requests[id];
            request.trailers = dice.percent(20);
            request.expects = is_in_turn && request.body > 0 && dice.percent(10);
            request.stalls &= !request.expects;
        }
        // Nothing bounds the time of a tunnel whose client takes one byte after the other.
        let may_tunnel = is_in_turn && client.reads_slowly.is_none();
        if let Some(&last) = client
            .requests
            .last()
            .filter(|_| may_tunnel && dice.percent(15))
        {
            (client.sends_ahead, client.half_closes) = (false, false);
            tunnel(dice, &mut made.requests[last]);
        }
    }
    if dice.percent(12) {
        let at = dice.below(500 * MILLIS);
        let (first, then) = dice.one_of(&[(true, false), (false, true), (true, true)]);
        let retire = first.then_some((at, What::Retire));
        let drain = then.then(|| (at + dice.below(400 * MILLIS), What::Drain));
        let ends = retire.into_iter().chain(drain);
        made.changes
            .extend(ends.map(|(at, what)| Change { at, what }));
        made.changes.sort_by_key(|change| change.at);
    }
}

/// Makes a request one that asks for a tunnel.
fn tunnel(dice: &mut Dice, request: &mut RequestPlan) {
    request.tunnel = true;
    request.pool = PoolKind::One;
    request.method = "GET";
    request.body = dice.one_of(&[0, 10, 3_000, 40_000]);
    (request.expects, request.stalls) = (false, false);
}

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        algorithm: dice.one_of(&[
            "round_robin",
            "least_connections",
            "random_two",
            "peak_ewma",
            "consistent_hash",
        ]),
        retries: dice.one_of(&[0, 1, 2]),
        max_connections: dice.one_of(&[0, 0, 1, 2, 3]),
        tls: dice.one_of(&[0, 0, 1]),
        proxy_protocol: dice.percent(10),
        is_shorter: false,
    }
}

fn backend(dice: &mut Dice, pool: PoolKind, rough: bool) -> BackendPlan {
    let mut manners = Vec::new();
    if rough && dice.percent(30) {
        let manner = dice.one_of(&[Manner::Refuses, Manner::Refuses, Manner::Silent]);
        manners.push((dice.below(300 * MILLIS), manner));
        if dice.percent(50) {
            manners.push((300 * MILLIS + dice.below(1_000 * MILLIS), Manner::Accepts));
        }
    }
    let closes = rough && dice.percent(30);
    BackendPlan {
        pool,
        manners,
        requests_per_connection: if closes { dice.below(4) as u32 } else { 0 },
        idle_close: if closes { dice.below(50 * MILLIS) } else { 0 },
        streams: dice.one_of(&[0, 0, 1, 2]),
    }
}

fn add_client(dice: &mut Dice, made: &mut Scenario, rough: bool, rough_backends: bool) {
    let http2 = dice.percent(50);
    let count = 1 + dice.below(5) as usize;
    let first = made.requests.len();
    for _ in 0..count {
        let request = request(dice, rough, rough_backends);
        made.requests.push(request);
    }
    let is_odd = rough && dice.percent(60);
    let config = ClientPlan {
        at: dice.below(200 * MILLIS),
        worker: dice.below(made.workers as u64) as usize,
        http2,
        requests: (first..first + count).collect(),
        pipelines: dice.percent(20),
        leaves: (is_odd && dice.percent(50)).then(|| (dice.below(400 * MILLIS), dice.percent(50))),
        reads_slowly: (is_odd && dice.percent(40)).then(|| {
            // Either all of an answer is read within half a minute, or the client is slower than it may be.
            dice.one_of(&[
                (1, 50 * MILLIS),
                (300, 50 * MILLIS),
                (5_000, 50 * MILLIS),
                (1, 5_000 * MILLIS),
                (5_000, 5_000 * MILLIS),
            ])
        }),
        half_closes: made.serves_half_closed && dice.percent(20),
        sends_ahead: is_odd && dice.percent(30),
    };
    made.clients.push(config);
}

fn request(dice: &mut Dice, rough: bool, rough_backends: bool) -> RequestPlan {
    let body = dice.one_of(&[0, 0, 10, 3_000, 20_000, 60_000]);
    let method = match body {
        0 => dice.one_of(&["GET", "GET", "POST"]),
        _ => dice.one_of(&["PUT", "POST", "POST"]),
    };
    let pool = dice.one_of(&[PoolKind::One, PoolKind::Two]);
    let is_long = dice.percent(3);
    let longest_gap = dice.one_of(&[1, MILLIS, 100 * MILLIS, 1_500 * MILLIS]);
    RequestPlan {
        pool,
        gap: dice.below(longest_gap),
        method,
        body: body + dice.below(body as u64 / 2 + 1) as usize,
        is_chunked: dice.percent(50),
        pause: if dice.percent(30) {
            dice.below(100 * MILLIS)
        } else {
            0
        },
        stalls: rough && dice.percent(5),
        long_field: if is_long {
            dice.one_of(&[1_000, 9_500, 12_000])
        } else {
            0
        },
        long_query: if is_long {
            dice.one_of(&[100, 4_000, 7_000])
        } else {
            0
        },
        wait: if dice.percent(60) {
            dice.below(MILLIS)
        } else {
            dice.below(200 * MILLIS)
        },
        answer: dice.one_of(&[0, 5, 2_000, 30_000, 100_000]),
        answer_is_chunked: dice.percent(50),
        expects: false,
        trailers: false,
        tunnel: false,
        fault: (rough_backends && dice.percent(25)).then(|| fault(dice, pool)),
        faulty_attempts: dice.one_of(&[1, 1, 1, 3]),
    }
}

fn fault(dice: &mut Dice, pool: PoolKind) -> BackendFault {
    let breaks = BackendFault::Breaks(dice.below(3_000) as usize);
    let common = [
        BackendFault::Resets,
        BackendFault::Closes,
        breaks,
        BackendFault::Early,
        BackendFault::Silent,
        BackendFault::Garbage,
    ];
    let of_streams = [
        BackendFault::RefusesStream,
        BackendFault::ResetsStream,
        BackendFault::GoesAway,
    ];
    if pool == PoolKind::Two && dice.percent(60) {
        dice.one_of(&of_streams)
    } else {
        dice.one_of(&common)
    }
}

fn add_changes(dice: &mut Dice, made: &mut Scenario, mut settings: Settings) {
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(600 * MILLIS);
        let what = if dice.percent(60) {
            change(dice, &mut settings);
            What::Reload(settings.clone())
        } else {
            What::Health {
                backend: dice.below(made.backends.len() as u64) as usize,
                is_down: dice.percent(60),
            }
        };
        made.changes.push(Change { at, what });
    }
    made.changes.sort_by_key(|change| change.at);
}

fn change(dice: &mut Dice, settings: &mut Settings) {
    match dice.below(5) {
        0 => settings.max_connections = dice.one_of(&[0, 1, 2, 4]),
        1 => settings.proxy_protocol = !settings.proxy_protocol,
        2 => settings.is_shorter = !settings.is_shorter,
        _ => settings.tls = (settings.tls + 1 + dice.below(2) as u8) % 3,
    }
}
