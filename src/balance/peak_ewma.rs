//! `peak_ewma`: of two backends drawn by weight, the one where a request will probably end first: its recent latency
//! times the requests that are ahead of this one, for its weight. Latency is what this core saw; requests under way
//! are those of all cores. The idea is Finagle's load balancer of the same name.

use crate::balance::two_choices::TwoChoices;
use crate::balance::{AlgorithmEntry, Balancer, Candidate, PickInput};
use crate::base::ewma::PeakEwma;
use crate::base::ids::{BackendId, WorkerId};
use crate::base::time::Micros;

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "peak_ewma",
    uses_key: false,
    parameters: &[],
    build: |worker| Box::new(PeakEwmaBalancer::new(worker)),
};

/// Latency taken for a backend that has requests under way but has answered none: high enough that it gets no second
/// one before its first answer while others answer, in microseconds.
const UNKNOWN_MICROS: f64 = 60e6;

#[derive(Debug)]
struct PeakEwmaBalancer {
    choices: TwoChoices,
    known: Vec<Known>,
    /// Indices into `known` in the order of their ids.
    by_id: Vec<(BackendId, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: BackendId,
    /// The reciprocal of its weight.
    step: f64,
    /// `None` until its first answer.
    latency: Option<PeakEwma>,
}

impl PeakEwmaBalancer {
    fn new(worker: WorkerId) -> PeakEwmaBalancer {
        PeakEwmaBalancer {
            choices: TwoChoices::new(worker),
            known: Vec::new(),
            by_id: Vec::new(),
        }
    }

    fn index_of(&self, id: BackendId) -> Option<usize> {
        let place = self.by_id.binary_search_by_key(&id, |entry| entry.0).ok()?;
        Some(self.by_id[place].1 as usize)
    }
}

impl Balancer for PeakEwmaBalancer {
    fn rebuild(&mut self, usable: &[Candidate]) {
        self.choices.rebuild(usable);
        let known = usable.iter().map(|candidate| Known {
            id: candidate.id,
            step: 1.0 / f64::from(candidate.weight),
            latency: self
                .index_of(candidate.id)
                .and_then(|index| self.known[index].latency),
        });
        self.known = known.collect();
        self.by_id = usable
            .iter()
            .zip(0..)
            .map(|(candidate, index)| (candidate.id, index))
            .collect();
        self.by_id.sort_unstable();
        debug_assert!(
            self.by_id.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "a backend is a candidate once"
        );
    }

    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize> {
        let known = &self.known;
        self.choices.pick(view, |index| known[index].cost(view))
    }

    fn observe(&mut self, id: BackendId, latency_micros: u64, now: Micros) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        match &mut self.known[index].latency {
            Some(latency) => latency.observe(latency_micros, now),
            latency => *latency = Some(PeakEwma::new(latency_micros, now)),
        }
    }
}

impl Known {
    /// Microseconds until a request given to it now would probably end.
    fn cost(&self, view: &PickInput<'_>) -> f64 {
        debug_assert!(self.step.is_finite() && self.step > 0.0);
        let ahead = f64::from(view.in_flight.at(self.id));
        match self.latency {
            Some(latency) => latency.value(view.now) * (ahead + 1.0) * self.step,
            None => UNKNOWN_MICROS * ahead * self.step,
        }
    }
}
