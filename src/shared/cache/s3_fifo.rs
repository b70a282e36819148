//! Which entry goes when the store is full: S3-FIFO by bytes (Yang et al., SOSP 2023). New entries stand in a small
//! queue; those that were used there move to the main queue, the others are evicted early and remembered for a while.
//! A hit moves nothing.

use super::ghost::Ghost;
use crate::base::limits;

/// The share of the small queue, in percent of all bytes.
const SMALL_PERCENT: u64 = 10;
/// No node.
const NONE: u32 = u32::MAX;
/// Nodes that are allocated at once, so that growth never copies them.
const CHUNK: usize = 1 << 12;

/// What the policy decides about.
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
    ghost: Ghost,
}

impl<T: Evictable> Default for S3Fifo<T> {
    fn default() -> Self {
        S3Fifo {
            chunks: Vec::new(),
            free: NONE,
            small: EMPTY,
            main: EMPTY,
            zones: Vec::new(),
            ghost: Ghost::default(),
        }
    }
}

impl<T: Evictable> S3Fifo<T> {
    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let nodes = self.chunks.len() * CHUNK * size_of::<Node<T>>();
        let zones = self.zones.capacity() * size_of::<Ends>();
        (nodes + zones) as u64 + self.ghost.heap_bytes()
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
        let window = self.ghost_window();
        let queue = match self.ghost.take(value.hash(), window) {
            true => Queue::Main,
            false => Queue::Small,
        };
        let number = self.free_node();
        if self.zones.len() <= usize::from(zone) {
            self.zones.resize(usize::from(zone) + 1, EMPTY);
        }
        let node = self.node_mut(number);
        node.value = Some(value);
        node.units = bytes.div_ceil(16).min(u64::from(u32::MAX)) as u32;
        node.zone = zone;
        self.push(number, queue);
        self.push_zone(number);
        number
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
        for _ in 0..limits::EVICTION_STEPS {
            let total = self.small.units + self.main.units;
            let of_small = self.small.units * 100 >= total * SMALL_PERCENT;
            let (number, uses, used) = match (self.small.oldest, self.main.oldest) {
                (NONE, NONE) => return None,
                (small, main) if main == NONE || (small != NONE && of_small) => {
                    let uses = self.uses(small);
                    (small, uses.saturating_sub(1).min(uses), uses > 0)
                }
                (_, main) => {
                    let uses = self.uses(main);
                    (main, uses.saturating_sub(1), uses > 0)
                }
            };
            if !used {
                return self.evict_node(number);
            }
            if let Some(value) = self.get(number) {
                value.set_uses(uses);
            }
            self.unlink(number);
            self.push(number, Queue::Main);
        }
        let number = match self.main.oldest {
            NONE => self.small.oldest,
            main => main,
        };
        self.evict_node(number)
    }

    /// Evicts a value of a zone: the oldest of the next few that was not used.
    pub fn evict_of_zone(&mut self, zone: u16) -> Option<T> {
        for _ in 0..limits::EVICTION_STEPS {
            let number = self.zones.get(usize::from(zone))?.oldest;
            let uses = self.uses(number);
            if uses == 0 {
                return self.evict_node(number);
            }
            self.get(number)?.set_uses(uses - 1);
            self.unlink_zone(number);
            self.push_zone(number);
        }
        let number = self.zones.get(usize::from(zone))?.oldest;
        self.evict_node(number)
    }

    fn evict_node(&mut self, number: u32) -> Option<T> {
        let queue = self.node_mut(number).queue;
        let value = self.remove(number)?;
        if queue == Queue::Small {
            let window = self.ghost_window();
            self.ghost.put(value.hash(), window);
        }
        Some(value)
    }

    /// As many evictions are remembered as there are values.
    fn ghost_window(&self) -> usize {
        self.count() as usize
    }

    fn uses(&self, number: u32) -> u8 {
        self.get(number).map_or(0, Evictable::uses)
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
