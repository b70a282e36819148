//! The memory of a store with a million small entries, and the time of its longest steps: `cargo bench --bench
//! store_memory`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use palantir::cache::facts::EntryFacts;
use palantir::shared::cache::{CacheStore, NewEntry, Purge, PurgeEffect, Share, StoreSettings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENTRIES: usize = 1_000_000;
const KEY: usize = 60;
const HEAD: usize = 300;
const BODY: usize = 1_024;
const CONTENT: usize = KEY + HEAD + BODY;
/// Entries that one step of the sweep looks at.
const STEP: usize = 256;

fn main() {
    let settings = StoreSettings {
        max_bytes: 4 << 30,
        cores: 2,
    };
    let store = CacheStore::new(settings).expect("there is memory");
    let before = resident();
    let (mut longest, start) = (Duration::ZERO, cpu_time());
    for number in 0..ENTRIES {
        let start = cpu_time();
        put(&store, number);
        longest = longest.max(cpu_time() - start);
    }
    let all = cpu_time() - start;
    let usage = store.usage();
    let held = resident();
    println!(
        "entries: {}; stored in {all:?}, the slowest in {longest:?}",
        usage.entries
    );
    println!(
        "resident: {held} bytes, {} for each entry",
        held / usage.entries
    );
    println!(
        "without the process: {} for each entry",
        (held - before) / usage.entries
    );
    println!(
        "counted: {} for each entry, of which content: {CONTENT}",
        usage.used_bytes / usage.entries
    );

    let start = cpu_time();
    store.purge(Purge::All, PurgeEffect::Hard);
    println!("purge of all: {:?}", cpu_time() - start);
    let (mut longest, mut steps, start) = (Duration::ZERO, 0, cpu_time());
    loop {
        let start = cpu_time();
        let is_done = store.sweep(STEP, 0).is_done;
        longest = longest.max(cpu_time() - start);
        steps += 1;
        if is_done {
            break;
        }
    }
    let all = cpu_time() - start;
    println!("sweep: {all:?} in {steps} steps, the longest {longest:?}");
    println!(
        "left: {} entries, {} bytes",
        store.usage().entries,
        store.usage().used_bytes
    );
}

fn put(store: &Arc<CacheStore>, number: usize) {
    let key = format!("{number:0>KEY$}");
    let key = key.as_bytes();
    let new = NewEntry {
        facts: EntryFacts::default(),
        variant: b"",
        head: &[b'h'; HEAD],
        tags: b"",
        length: Some(BODY as u64),
        share: Share {
            zone: 0,
            max_percent: 100,
            max_object: 8 << 20,
            max_variants: 64,
        },
    };
    let fetch = store.begin_fetch(store.hash(key), key);
    let mut filling = fetch.store(new).expect("there is room");
    filling.push(&[b'b'; BODY]).expect("there is room");
    filling.finish(b"").expect("nothing was purged");
}

/// The time that the thread has run: other programs of the machine do not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The bytes of the process that are in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    kibibytes
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1_024
}
