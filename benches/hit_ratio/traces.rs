//! Requests with fixed seeds, and two caches without a body that answer them: the policy of the store, and LRU.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use super::{Evictable, S3Fifo, SplitMix64};

/// The size of an object where all have the same.
pub const EQUAL_BYTES: u64 = 1_024;
/// The first key of those that are asked for once.
pub const FLOOD: u64 = 1 << 40;

/// A request for an object.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The key.
    pub key: u64,
    /// The size of the object.
    pub bytes: u64,
}

/// Hits in percent.
#[derive(Clone, Copy, Debug)]
pub struct Hits {
    /// Of the requests.
    pub by_count: f64,
    /// Of the bytes.
    pub by_bytes: f64,
}

/// A cache that answers requests.
pub trait Cache {
    /// Whether the request is a hit; takes the object in if not.
    fn request(&mut self, request: Request) -> bool;
}

fn mixed(number: u64) -> u64 {
    SplitMix64::from_seed(number).number()
}

/// Ranks by the law of Zipf with an exponent of 0.9.
fn ranks(keys: usize, count: usize, seed: u64) -> Vec<u64> {
    let mut sums: Vec<f64> = Vec::with_capacity(keys);
    for rank in 1..=keys {
        sums.push(sums.last().unwrap_or(&0.0) + (rank as f64).powf(-0.9));
    }
    let mut random = SplitMix64::from_seed(seed);
    let total = *sums.last().expect("there are keys");
    let drawn = std::iter::repeat_with(|| {
        let at = random.fraction() * total;
        sums.partition_point(|sum| *sum < at) as u64
    });
    drawn.take(count).collect()
}

/// Keys by the law of Zipf with an exponent of 0.9, all of one size.
pub fn zipf(keys: usize, count: usize, seed: u64) -> Vec<Request> {
    let ranks = ranks(keys, count, seed).into_iter();
    ranks.map(equal).collect()
}

/// Keys as those of [`zipf`], which become others little by little.
pub fn drift(keys: usize, count: usize, seed: u64) -> Vec<Request> {
    let ranks = ranks(keys, count, seed).into_iter().zip(0u64..);
    ranks
        .map(|(rank, at)| equal((rank + at / 50_000 * 200) % keys as u64))
        .collect()
}

/// Keys as those of [`zipf`], all of which become others three times.
pub fn renewal(keys: usize, count: usize, seed: u64) -> Vec<Request> {
    let ranks = ranks(keys, count, seed).into_iter().zip(0u64..);
    let part = count as u64 / 4;
    ranks
        .map(|(rank, at)| equal(rank + at / part * keys as u64))
        .collect()
}

/// Keys by the law of Zipf with log-normal sizes from 1 KiB to 1 MiB.
pub fn sizes(keys: usize, count: usize, seed: u64) -> Vec<Request> {
    let with_size = |key: u64| {
        let mut random = SplitMix64::from_seed(mixed(key));
        let radius = (-2.0 * (1.0 - random.fraction()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * random.fraction()).cos();
        let bytes = (16_384f64.ln() + 1.5 * normal).exp();
        Request {
            key,
            bytes: bytes.clamp(1_024.0, 1_048_576.0) as u64,
        }
    };
    ranks(keys, count, seed)
        .into_iter()
        .map(with_size)
        .collect()
}

/// Keys one after the other, again and again.
pub fn cycle(keys: u64, count: u64) -> Vec<Request> {
    (0..count).map(|at| equal(at % keys)).collect()
}

/// A set of keys that are wanted again and again, and among them as many keys that are asked for once.
pub fn flood(keys: u64, count: u64, seed: u64) -> Vec<Request> {
    let mut random = SplitMix64::from_seed(seed);
    let requests = (0..count).map(|at| match random.number() % 2 {
        0 => equal(random.number() % keys),
        _ => equal(FLOOD + at),
    });
    requests.collect()
}

fn equal(key: u64) -> Request {
    Request {
        key,
        bytes: EQUAL_BYTES,
    }
}

/// The hits of a cache that is empty at first, and those of the second half, when the cache is warm.
pub fn hits(trace: &[Request], mut cache: impl Cache) -> (Hits, Hits) {
    let halves = trace.split_at(trace.len() / 2);
    let [first, second] = [halves.0, halves.1].map(|half| {
        half.iter()
            .fold([0; 4], |[count, hits, bytes, hit_bytes], request| {
                let is_hit = u64::from(cache.request(*request));
                let hit = request.bytes * is_hit;
                [
                    count + 1,
                    hits + is_hit,
                    bytes + request.bytes,
                    hit_bytes + hit,
                ]
            })
    });
    let percent = |[count, hits, bytes, hit_bytes]: [u64; 4]| Hits {
        by_count: hits as f64 / count as f64 * 100.0,
        by_bytes: hit_bytes as f64 / bytes as f64 * 100.0,
    };
    let all = std::array::from_fn(|at| first[at] + second[at]);
    (percent(all), percent(second))
}

/// A value of the policy: a key and its uses.
#[derive(Clone, Debug)]
pub struct Value {
    key: u64,
    uses: Rc<AtomicU8>,
}

impl Value {
    /// A value that was not used.
    pub fn new(key: u64) -> Value {
        Value {
            key,
            uses: Rc::default(),
        }
    }
}

impl Evictable for Value {
    fn hash(&self) -> u64 {
        mixed(self.key)
    }

    fn uses(&self) -> u8 {
        self.uses.load(Relaxed)
    }

    fn set_uses(&self, uses: u8) {
        self.uses.store(uses, Relaxed);
    }
}

/// The policy of the store.
#[derive(Debug)]
pub struct Policy {
    capacity: u64,
    bytes: u64,
    policy: S3Fifo<Value>,
    held: HashMap<u64, (Value, u64)>,
}

impl Policy {
    /// A cache for so many bytes.
    pub fn new(capacity: u64) -> Policy {
        Policy {
            capacity,
            bytes: 0,
            policy: S3Fifo::default(),
            held: HashMap::new(),
        }
    }
}

impl Cache for Policy {
    fn request(&mut self, Request { key, bytes }: Request) -> bool {
        if let Some((value, _)) = self.held.get(&key) {
            value.set_uses((value.uses() + 1).min(3));
            return true;
        }
        while self.bytes + bytes > self.capacity {
            let Some(evicted) = self.policy.evict() else {
                return false;
            };
            self.bytes -= self.held.remove(&evicted.key).map_or(0, |(_, bytes)| bytes);
        }
        let value = Value::new(key);
        self.policy.insert(value.clone(), bytes, 0);
        self.held.insert(key, (value, bytes));
        self.bytes += bytes;
        false
    }
}

/// The least recently used goes first.
#[derive(Debug)]
pub struct Lru {
    capacity: u64,
    bytes: u64,
    clock: u64,
    uses: VecDeque<(u64, u64)>,
    held: HashMap<u64, (u64, u64)>,
}

impl Lru {
    /// A cache for so many bytes.
    pub fn new(capacity: u64) -> Lru {
        Lru {
            capacity,
            bytes: 0,
            clock: 0,
            uses: VecDeque::new(),
            held: HashMap::new(),
        }
    }
}

impl Cache for Lru {
    fn request(&mut self, Request { key, bytes }: Request) -> bool {
        self.clock += 1;
        self.uses.push_back((key, self.clock));
        if let Some((_, last)) = self.held.get_mut(&key) {
            *last = self.clock;
            return true;
        }
        while self.bytes + bytes > self.capacity {
            let Some((oldest, time)) = self.uses.pop_front() else {
                return false;
            };
            if self
                .held
                .get(&oldest)
                .is_some_and(|(_, last)| *last == time)
            {
                self.bytes -= self.held.remove(&oldest).map_or(0, |(bytes, _)| bytes);
            }
        }
        self.held.insert(key, (bytes, self.clock));
        self.bytes += bytes;
        false
    }
}
