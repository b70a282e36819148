//! The order in which entries go when the store is full: the queues of S3-FIFO by bytes (Yang et al., SOSP 2023), and
//! a count of how often keys were wanted in place of the list of keys that were evicted. New entries stand in a small
//! queue; those that were used there move to the main queue, and so do those that were wanted more often than the one
//! that would go from the main queue. A hit moves nothing.

use super::sketch::Sketch;
use crate::base::limits;
#[cfg(test)]
use crate::base::random::SplitMix64;

/// The share of the small queue, in percent of all bytes. The queue of the paper has 10; the count finds out as well
/// who comes back later, and a larger main queue keeps more of those who do.
const SMALL_PERCENT: u64 = 1;
/// Values that move to the main queue at most when one comes.
const SPILLED: usize = 2;
/// No node.
const NONE: u32 = u32::MAX;
/// Nodes that are allocated at once, so that growth never copies them.
const CHUNK: usize = 1 << 12;

/// A value that the policy decides about.
pub trait Evictable {
    /// The hash of the key.
    fn hash(&self) -> u64;
    /// How often the value was used since this number was set.
    fn uses(&self) -> u8;
    /// Sets the number of uses.
    fn set_uses(&self, uses: u8);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Small,
    Main,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    next: u32,
    previous: u32,
    zone_next: u32,
    zone_previous: u32,
    /// Units of 16 bytes.
    units: u32,
    zone: u16,
    queue: Queue,
}

/// A queue: values enter at `newest`, and `oldest` is looked at first.
#[derive(Clone, Copy, Debug)]
struct Ends {
    newest: u32,
    oldest: u32,
    units: u64,
    count: u64,
}

const EMPTY: Ends = Ends {
    newest: NONE,
    oldest: NONE,
    units: 0,
    count: 0,
};

/// The values of a store in the order in which they may go.
#[derive(Debug)]
pub struct S3Fifo<T> {
    chunks: Vec<Box<[Node<T>]>>,
    free: u32,
    small: Ends,
    main: Ends,
    zones: Vec<Ends>,
    sketch: Sketch,
}

impl<T: Evictable> Default for S3Fifo<T> {
    fn default() -> Self {
        S3Fifo {
            chunks: Vec::new(),
            free: NONE,
            small: EMPTY,
            main: EMPTY,
            zones: Vec::new(),
            sketch: Sketch::default(),
        }
    }
}

impl<T: Evictable> S3Fifo<T> {
    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let nodes = self.chunks.len() * CHUNK * size_of::<Node<T>>();
        let zones = self.zones.capacity() * size_of::<Ends>();
        (nodes + zones) as u64 + self.sketch.heap_bytes()
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.small.count + self.main.count
    }

    /// The bytes of all values.
    pub fn bytes(&self) -> u64 {
        (self.small.units + self.main.units) * 16
    }

    /// The bytes and the number of a zone's values.
    pub fn of_zone(&self, zone: u16) -> (u64, u64) {
        let zone = self.zones.get(usize::from(zone)).unwrap_or(&EMPTY);
        (zone.units * 16, zone.count)
    }

    /// One more than the largest number of a node.
    pub fn nodes(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    /// The value of a node.
    pub fn get(&self, node: u32) -> Option<&T> {
        self.chunks.get(node as usize / CHUNK)?[node as usize % CHUNK]
            .value
            .as_ref()
    }

    /// Adds a value of so many bytes; returns its node.
    pub fn insert(&mut self, value: T, bytes: u64, zone: u16) -> u32 {
        self.sketch.fit(self.count() as usize + 1);
        self.sketch.add(value.hash(), 1);
        self.place(value, bytes, zone)
    }

    /// Prepares for so many values that come by [`S3Fifo::place`].
    pub fn reserve(&mut self, values: usize) {
        self.sketch.fit(self.count() as usize + values);
    }

    /// Adds a value of so many bytes of which no count tells how often it was wanted; returns its node.
    pub fn place(&mut self, value: T, bytes: u64, zone: u16) -> u32 {
        let number = self.free_node();
        if self.zones.len() <= usize::from(zone) {
            self.zones.resize(usize::from(zone) + 1, EMPTY);
        }
        let node = self.node_mut(number);
        node.value = Some(value);
        node.units = bytes.div_ceil(16).min(u64::from(u32::MAX)) as u32;
        node.zone = zone;
        self.push(number, Queue::Small);
        self.push_zone(number);
        self.spill();
        number
    }

    /// Counts that a key was wanted which has no value; returns about how often it was wanted of late, up to 15.
    pub fn note_wanted(&mut self, hash: u64) -> u64 {
        self.sketch.add(hash, 1);
        self.sketch.count(hash)
    }

    /// Removes the value of a node.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let node = self.chunks.get_mut(number as usize / CHUNK)?;
        let value = node[number as usize % CHUNK].value.take()?;
        self.unlink(number);
        self.unlink_zone(number);
        let free = self.free;
        self.node_mut(number).next = free;
        self.free = number;
        Some(value)
    }

    /// Evicts a value; `None` if there is none.
    pub fn evict(&mut self) -> Option<T> {
        self.promote();
        let total = self.small.units + self.main.units;
        let candidate = self.small.oldest;
        let is_long = self.small.units * 100 >= total * SMALL_PERCENT;
        let victim = match self.main.oldest {
            NONE => return self.remove(candidate),
            _ => self.unused_of_main(),
        };
        if candidate == NONE || !is_long {
            return self.remove(victim);
        }
        if self.wanted(candidate) <= self.wanted(victim) {
            return self.remove(candidate);
        }
        self.unlink(candidate);
        self.push(candidate, Queue::Main);
        self.remove(victim)
    }

    /// Moves the excess of the small queue to the main queue while nothing is evicted: as long
    /// as there is room, nobody has to be wanted more than another one.
    fn spill(&mut self) {
        for _ in 0..SPILLED {
            let total = self.small.units + self.main.units;
            let number = self.small.oldest;
            if self.small.units * 100 <= total * SMALL_PERCENT * 2 || self.small.count == 1 {
                return;
            }
            self.unlink(number);
            self.push(number, Queue::Main);
        }
    }

    /// Moves what was used from the end of the small queue to the main queue.
    fn promote(&mut self) {
        for _ in 0..limits::EVICTION_STEPS {
            let number = self.small.oldest;
            if number == NONE || !self.take_use(number) {
                return;
            }
            self.unlink(number);
            self.push(number, Queue::Main);
        }
    }

    /// The oldest of the main queue; the used ones before it begin anew.
    fn unused_of_main(&mut self) -> u32 {
        for _ in 0..limits::EVICTION_STEPS {
            let number = self.main.oldest;
            if !self.take_use(number) {
                return number;
            }
            self.unlink(number);
            self.push(number, Queue::Main);
        }
        self.main.oldest
    }

    /// Counts one use of a value that has one.
    fn take_use(&mut self, number: u32) -> bool {
        let Some(value) = self.get(number) else {
            return false;
        };
        let (uses, hash) = (value.uses(), value.hash());
        if uses > 0 {
            value.set_uses(uses - 1);
            self.sketch.add(hash, 1);
        }
        uses > 0
    }

    /// About how often a value was wanted.
    fn wanted(&self, number: u32) -> u64 {
        let value = self.get(number);
        value.map_or(0, |value| self.sketch.count(value.hash()))
    }

    /// Evicts a value of a zone: the oldest of the next few that was not used.
    pub fn evict_of_zone(&mut self, zone: u16) -> Option<T> {
        for _ in 0..limits::EVICTION_STEPS {
            let number = self.zones.get(usize::from(zone))?.oldest;
            if !self.take_use(number) {
                return self.remove(number);
            }
            self.unlink_zone(number);
            self.push_zone(number);
        }
        let number = self.zones.get(usize::from(zone))?.oldest;
        self.remove(number)
    }

    fn node_mut(&mut self, number: u32) -> &mut Node<T> {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn free_node(&mut self) -> u32 {
        if self.free == NONE {
            let first = self.nodes();
            let nodes = (0..CHUNK as u32).map(|at| Node {
                value: None,
                next: if at + 1 < CHUNK as u32 {
                    first + at + 1
                } else {
                    NONE
                },
                previous: NONE,
                zone_next: NONE,
                zone_previous: NONE,
                units: 0,
                zone: 0,
                queue: Queue::Small,
            });
            self.chunks.push(nodes.collect());
            self.free = first;
        }
        let number = self.free;
        self.free = self.node_mut(number).next;
        number
    }

    fn ends(&mut self, queue: Queue) -> &mut Ends {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn push(&mut self, number: u32, queue: Queue) {
        let next = self.ends(queue).newest;
        let node = self.node_mut(number);
        node.queue = queue;
        node.next = next;
        node.previous = NONE;
        let units = u64::from(node.units);
        if next != NONE {
            self.node_mut(next).previous = number;
        }
        let ends = self.ends(queue);
        ends.add(number, units);
    }

    fn unlink(&mut self, number: u32) {
        let node = self.node_mut(number);
        let (queue, units) = (node.queue, u64::from(node.units));
        let (next, previous) = (node.next, node.previous);
        if next != NONE {
            self.node_mut(next).previous = previous;
        }
        if previous != NONE {
            self.node_mut(previous).next = next;
        }
        self.ends(queue).take(units, next, previous);
    }

    fn push_zone(&mut self, number: u32) {
        let zone = usize::from(self.node_mut(number).zone);
        let next = self.zones[zone].newest;
        let node = self.node_mut(number);
        node.zone_next = next;
        node.zone_previous = NONE;
        let units = u64::from(node.units);
        if next != NONE {
            self.node_mut(next).zone_previous = number;
        }
        self.zones[zone].add(number, units);
    }

    fn unlink_zone(&mut self, number: u32) {
        let node = self.node_mut(number);
        let (zone, units) = (usize::from(node.zone), u64::from(node.units));
        let (next, previous) = (node.zone_next, node.zone_previous);
        if next != NONE {
            self.node_mut(next).zone_previous = previous;
        }
        if previous != NONE {
            self.node_mut(previous).zone_next = next;
        }
        self.zones[zone].take(units, next, previous);
    }
}

impl Ends {
    fn add(&mut self, number: u32, units: u64) {
        self.newest = number;
        if self.oldest == NONE {
            self.oldest = number;
        }
        self.units += units;
        self.count += 1;
    }

    /// A node between `next` (older) and `previous` (newer) goes.
    fn take(&mut self, units: u64, next: u32, previous: u32) {
        if next == NONE {
            self.oldest = previous;
        }
        if previous == NONE {
            self.newest = next;
        }
        self.units -= units;
        self.count -= 1;
    }
}

#[cfg(test)]
#[path = "../../../benches/hit_ratio/traces.rs"]
mod traces;

#[cfg(test)]
mod tests {
    use super::traces::{self, Cache, Lru, Policy};
    use super::*;

    #[test]
    fn hits_are_far_more_than_those_of_lru_where_some_keys_are_wanted_more_than_others() {
        let trace = traces::zipf(200_000, 1_000_000, 1);
        let capacity = 2_000 * traces::EQUAL_BYTES;
        let (cold, warm) = traces::hits(&trace, Policy::new(capacity));
        let (cold_lru, warm_lru) = traces::hits(&trace, Lru::new(capacity));
        assert!(
            cold.by_count > cold_lru.by_count + 11.5,
            "{cold:?} {cold_lru:?}"
        );
        assert!(
            warm.by_count > warm_lru.by_count + 12.0,
            "{warm:?} {warm_lru:?}"
        );
    }

    #[test]
    fn hits_are_no_fewer_than_those_of_lru_in_a_cycle_by_bytes_and_when_keys_change() {
        let cases = [
            (traces::cycle(3_000, 100_000), 2_000 * traces::EQUAL_BYTES),
            (traces::cycle(1_990, 100_000), 2_000 * traces::EQUAL_BYTES),
            (traces::sizes(20_000, 100_000, 2), 64 << 20),
            (
                traces::drift(20_000, 200_000, 5),
                2_000 * traces::EQUAL_BYTES,
            ),
            (
                traces::renewal(200_000, 400_000, 5),
                2_000 * traces::EQUAL_BYTES,
            ),
        ];
        for (trace, capacity) in cases {
            let (cold, _) = traces::hits(&trace, Policy::new(capacity));
            let (lru, _) = traces::hits(&trace, Lru::new(capacity));
            assert!(cold.by_count >= lru.by_count - 1.0, "{cold:?} {lru:?}");
            assert!(cold.by_bytes >= lru.by_bytes - 1.0, "{cold:?} {lru:?}");
        }
    }

    #[test]
    fn requests_for_random_keys_take_little_from_what_is_wanted() {
        let trace = traces::flood(1_500, 300_000, 3);
        let capacity = 2_000 * traces::EQUAL_BYTES;
        let mut policy = Policy::new(capacity);
        let (mut hits, mut wanted) = (0, 0);
        for request in &trace[trace.len() / 2..] {
            let is_hit = policy.request(*request);
            if request.key < traces::FLOOD {
                wanted += 1;
                hits += u64::from(is_hit);
            }
        }
        // The first request for each of the 1,500 keys is a miss.
        let ratio = hits as f64 / f64::from(wanted) * 100.0;
        assert!(ratio > 96.0, "{ratio}");
    }

    #[test]
    fn every_value_leaves_once_and_the_sums_hold() {
        let mut random = SplitMix64::from_seed(4);
        let mut policy = S3Fifo::default();
        let mut held = std::collections::BTreeMap::new();
        for _ in 0..20_000 {
            match random.number() % 4 {
                0 | 1 => {
                    let value = traces::Value::new(random.number());
                    let bytes = random.number() % 100 * 16;
                    let zone = (random.number() % 3) as u16;
                    held.insert(policy.insert(value, bytes, zone), (bytes, zone));
                }
                2 => {
                    let node = (random.number() % u64::from(policy.nodes().max(1))) as u32;
                    assert_eq!(policy.remove(node).is_some(), held.remove(&node).is_some());
                }
                _ => {
                    let zone = (random.number() % 3) as u16;
                    let evicted = match random.number() % 2 {
                        0 => policy.evict(),
                        _ => policy.evict_of_zone(zone),
                    };
                    held.retain(|node, _| policy.get(*node).is_some());
                    assert!(evicted.is_some() || policy.of_zone(zone).1 == 0);
                }
            }
            let of_zone = |zone: u16| held.values().filter(move |held| held.1 == zone);
            for zone in 0..3 {
                let bytes: u64 = of_zone(zone).map(|held| held.0).sum();
                assert_eq!(policy.of_zone(zone), (bytes, of_zone(zone).count() as u64));
            }
            assert_eq!(policy.count(), held.len() as u64);
        }
    }
}
