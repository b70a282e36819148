//! `random_two`: of two backends drawn by weight, the one with fewer requests under way for its weight, all cores
//! together. Reads two backends' counters whatever the size of the pool: the choice for many cores and many backends.

use crate::base::ids::WorkerId;
use crate::worker::balance::two_choices::TwoChoices;
use crate::worker::balance::{AlgorithmEntry, Balancer, Candidate, View};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "random_two",
    uses_key: false,
    build: |worker| Box::new(RandomTwo::new(worker)),
};

#[derive(Debug)]
struct RandomTwo {
    choices: TwoChoices,
    usable: Vec<Candidate>,
}

impl RandomTwo {
    fn new(worker: WorkerId) -> RandomTwo {
        RandomTwo {
            choices: TwoChoices::new(worker),
            usable: Vec::new(),
        }
    }
}

impl Balancer for RandomTwo {
    fn rebuild(&mut self, usable: &[Candidate]) {
        self.choices.rebuild(usable);
        self.usable = usable.to_vec();
    }

    fn pick(&mut self, view: &View<'_>) -> Option<usize> {
        let usable = &self.usable;
        self.choices.pick(view, |index| {
            let candidate = usable[index];
            f64::from(view.tables.in_flight(candidate.id)) / f64::from(candidate.weight)
        })
    }
}
