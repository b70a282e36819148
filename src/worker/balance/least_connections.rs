//! `least_connections`: the backend with the fewest requests under way for its weight, counted on all cores. Every
//! pick reads every usable backend's counters of every worker; where that is too much, `random_two` reads two.

use crate::base::ids::{BackendId, WorkerId};
use crate::worker::balance::{AlgorithmEntry, Balancer, Candidate, View, first_unblocked};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "least_connections",
    uses_key: false,
    build: |worker| Box::new(LeastConnections::new(worker)),
};

#[derive(Debug)]
struct LeastConnections {
    ids: Vec<BackendId>,
    /// What one request adds to a backend's load: the reciprocal of its weight.
    steps: Vec<f32>,
    totals: Vec<u32>,
    loads: Vec<f32>,
    /// Where the search for the least load begins, so that equals take turns.
    start: usize,
}

impl LeastConnections {
    fn new(worker: WorkerId) -> LeastConnections {
        LeastConnections {
            ids: Vec::new(),
            steps: Vec::new(),
            totals: Vec::new(),
            loads: Vec::new(),
            start: worker.index(),
        }
    }
}

impl Balancer for LeastConnections {
    fn rebuild(&mut self, usable: &[Candidate]) {
        self.ids = usable.iter().map(|candidate| candidate.id).collect();
        self.steps = usable
            .iter()
            .map(|candidate| 1.0 / f32::from(candidate.weight))
            .collect();
        self.totals = vec![0; usable.len()];
        self.loads = vec![0.0; usable.len()];
    }

    fn pick(&mut self, view: &View<'_>) -> Option<usize> {
        let count = self.ids.len();
        if count == 0 {
            return None;
        }
        view.tables.in_flight_each(&self.ids, &mut self.totals);
        for ((load, &total), &step) in self.loads.iter_mut().zip(&self.totals).zip(&self.steps) {
            *load = total as f32 * step;
        }
        self.start = if self.start + 1 < count {
            self.start + 1
        } else {
            0
        };
        let order = (self.start..count).chain(0..self.start);
        let least = order
            .filter(|&index| !(view.blocked)(index))
            .min_by(|&a, &b| self.loads[a].total_cmp(&self.loads[b]));
        least.or_else(|| first_unblocked(view, self.start, count))
    }
}
