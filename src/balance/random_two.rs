//! `random_two`: of two backends drawn by weight, the one with fewer requests under way for its weight, all cores
//! together. Reads two backends' counters whatever the size of the pool: the choice for many cores and many backends.

use crate::balance::two_choices::TwoChoices;
use crate::balance::{AlgorithmEntry, Balancer, Candidate, PickInput};
use crate::base::ids::{BackendId, WorkerId};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "random_two",
    uses_key: false,
    parameters: &[],
    build: |worker| Box::new(RandomTwo::new(worker)),
};

#[derive(Debug)]
struct RandomTwo {
    choices: TwoChoices,
    backends: Vec<Backend>,
}

#[derive(Clone, Copy, Debug)]
struct Backend {
    id: BackendId,
    /// The amount that one request adds to the backend's load: the reciprocal of the backend's weight.
    step: f64,
}

impl RandomTwo {
    fn new(worker: WorkerId) -> RandomTwo {
        RandomTwo {
            choices: TwoChoices::new(worker),
            backends: Vec::new(),
        }
    }
}

impl Balancer for RandomTwo {
    fn rebuild(&mut self, usable: &[Candidate]) {
        self.choices.rebuild(usable);
        let backends = usable.iter().map(|candidate| Backend {
            id: candidate.id,
            step: 1.0 / f64::from(candidate.weight),
        });
        self.backends = backends.collect();
    }

    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize> {
        let backends = &self.backends;
        self.choices.pick(view, |index| {
            let backend = backends[index];
            f64::from(view.in_flight.at(backend.id)) * backend.step
        })
    }
}
