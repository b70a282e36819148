//! The share of hits of the store's policy beside that of LRU, for traces with fixed seeds: `cargo bench --bench
//! hit_ratio`.

mod traces;

use palantir::base::random::SplitMix64;
use palantir::shared::cache::s3_fifo::{Evictable, S3Fifo};

use self::traces::{EQUAL_BYTES, Hits, Lru, Policy, Request};

/// Keys and requests of the traces.
const KEYS: usize = 200_000;
const REQUESTS: usize = 1_000_000;

fn main() {
    let equal = 2_000 * EQUAL_BYTES;
    println!("hits in percent: policy / LRU       all requests     second half       bytes");
    show(
        "zipf 0.9, room for 1 % of the keys",
        &traces::zipf(KEYS, REQUESTS, 1),
        equal,
    );
    show(
        "the same, keys drift",
        &traces::drift(KEYS, REQUESTS, 1),
        equal,
    );
    show(
        "the same, all keys change",
        &traces::renewal(KEYS, REQUESTS, 1),
        equal,
    );
    show(
        "cycle of 3,000 keys, room for 2,000",
        &traces::cycle(3_000, REQUESTS as u64),
        equal,
    );
    show(
        "half of the keys are never repeated",
        &traces::flood(1_500, REQUESTS as u64, 1),
        equal,
    );
    for mebibytes in [64, 512, 2_048] {
        let name = format!("log-normal sizes, {mebibytes} MiB");
        show(&name, &traces::sizes(KEYS, REQUESTS, 3), mebibytes << 20);
    }
}

fn show(name: &str, trace: &[Request], capacity: u64) {
    let (all, warm) = traces::hits(trace, Policy::new(capacity));
    let (all_lru, warm_lru) = traces::hits(trace, Lru::new(capacity));
    let pair = |policy: fn(Hits) -> f64, of: (Hits, Hits)| {
        format!("{:6.2} / {:5.2}", policy(of.0), policy(of.1))
    };
    let all_requests = pair(|hits| hits.by_count, (all, all_lru));
    let second_half = pair(|hits| hits.by_count, (warm, warm_lru));
    let bytes = pair(|hits| hits.by_bytes, (all, all_lru));
    println!("{name:36}{all_requests}  {second_half}  {bytes}");
}
