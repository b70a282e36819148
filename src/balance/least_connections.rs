//! `least_connections`: the backend with the fewest requests under way for its weight, counted on all cores.
//!
//! With few counters (`limits::IN_FLIGHT_COUNTERS`: backends times cores) each pick reads them all. In a large pool
//! that would cost a cache miss for each line that another core has written: what was read then serves for
//! `limits::IN_FLIGHT_AGE_MICROS`, and meanwhile each pick is added to it. A core that picks less often than that
//! always sees the present; one that picks more often overlooks at most what other cores began, and what any core
//! ended, within that time.

use crate::balance::round_robin::RoundRobin;
use crate::balance::{AlgorithmEntry, Balancer, Candidate, PickInput};
use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;
use crate::base::time::Micros;

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "least_connections",
    uses_key: false,
    parameters: &[],
    build: |worker| Box::new(LeastConnections::new(worker)),
};

#[derive(Debug)]
struct LeastConnections {
    ids: Vec<BackendId>,
    /// The amount that one request adds to a backend's load: the reciprocal of the backend's weight.
    steps: Vec<f32>,
    /// Requests under way for a backend's weight; infinite where there is no backend.
    loads: Vec<f32>,
    /// When `loads` were read; `None` if they must be read before the next pick.
    read: Option<Micros>,
    /// Says who comes first among equals, by weight.
    turns: RoundRobin,
    /// Where the search for the least load begins.
    start: usize,
    totals: Vec<u32>,
}

impl LeastConnections {
    fn new(worker: WorkerId) -> LeastConnections {
        LeastConnections {
            ids: Vec::new(),
            steps: Vec::new(),
            loads: Vec::new(),
            read: None,
            turns: RoundRobin::new(worker),
            start: 0,
            totals: Vec::new(),
        }
    }

    fn read_loads(&mut self, view: &PickInput<'_>) {
        view.in_flight.at_each(&self.ids, &mut self.totals);
        for ((load, &total), &step) in self.loads.iter_mut().zip(&self.totals).zip(&self.steps) {
            *load = total as f32 * step;
        }
        self.start = self.turns.take_turn().unwrap_or(0);
        self.read = Some(view.now);
    }

    fn is_read(&self, now: Micros) -> bool {
        self.read
            .is_some_and(|read| now.since(read) < limits::IN_FLIGHT_AGE_MICROS)
    }
}

impl Balancer for LeastConnections {
    fn rebuild(&mut self, usable: &[Candidate]) {
        debug_assert!(
            usable.iter().all(|candidate| candidate.weight > 0),
            "a weight divides a load"
        );
        self.ids = usable.iter().map(|candidate| candidate.id).collect();
        self.steps = usable
            .iter()
            .map(|candidate| 1.0 / f32::from(candidate.weight))
            .collect();
        self.loads = vec![f32::INFINITY; usable.len().next_multiple_of(LANES)];
        self.totals = vec![0; usable.len()];
        self.turns.rebuild(usable);
        self.read = None;
    }

    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize> {
        let count = self.ids.len();
        if count == 0 {
            return None;
        }
        let are_few = count * view.in_flight.workers() <= limits::IN_FLIGHT_COUNTERS;
        if are_few || !self.is_read(view.now) {
            self.read_loads(view);
        }
        let least = least_from(&self.loads, self.start);
        let index = if (view.blocked)(least) {
            least_unblocked(view, &self.loads[..count], self.start)?
        } else {
            least
        };
        debug_assert!(
            index < count,
            "the filling of the last lanes is never the least"
        );
        self.loads[index] += self.steps[index];
        Some(index)
    }
}

/// Loads compared at once: what a few vector registers hold. `loads` is filled up to a multiple of it.
const LANES: usize = 8;

/// The index of the least load, the first from `start` and around if several are equal. There must be one.
fn least_from(loads: &[f32], start: usize) -> usize {
    debug_assert!(start <= loads.len() && loads.len().is_multiple_of(LANES));
    let (chunks, _) = loads.as_chunks::<LANES>();
    let mut least = [f32::INFINITY; LANES];
    for chunk in chunks {
        for (least, &load) in least.iter_mut().zip(chunk) {
            *least = lesser(*least, load);
        }
    }
    let least = least_of(least);
    let after = position(&loads[start..], least).map(|index| start + index);
    after
        .or_else(|| position(&loads[..start], least))
        .unwrap_or(start)
}

/// The least of the lanes, half by half: one after the other they would wait for each other.
fn least_of(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = lesser(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// One instruction, because no load is ever NaN.
fn lesser(one: f32, other: f32) -> f32 {
    if other < one { other } else { one }
}

/// Where `load` is first; chunks without it are passed over many loads at a time.
fn position(loads: &[f32], load: f32) -> Option<usize> {
    let mut chunks = loads.chunks(LANES).enumerate();
    let (number, chunk) = chunks.find(|(_, chunk)| {
        chunk
            .iter()
            .fold(false, |found, &other| found | (other == load))
    })?;
    let within = chunk.iter().position(|&other| other == load)?;
    Some(number * LANES + within)
}

/// The least loaded of the candidates that are not blocked, if there are any.
fn least_unblocked(view: &PickInput<'_>, loads: &[f32], start: usize) -> Option<usize> {
    debug_assert!(start <= loads.len());
    (start..loads.len())
        .chain(0..start)
        .filter(|&index| !(view.blocked)(index))
        .min_by(|&a, &b| loads[a].total_cmp(&loads[b]))
}
