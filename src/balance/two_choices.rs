//! The power of two choices (Mitzenmacher, 2001): draw two backends by weight, take the better. Avoids both the herd
//! that follows a single best one and the cost of looking at all.

use std::hint::select_unpredictable;

use crate::balance::random::{Random, WeightedDraw};
use crate::balance::{Candidate, PickInput, first_unblocked};
use crate::base::ids::WorkerId;

/// Draws that may meet unusable candidates before all are looked at in turn.
const DRAWS: usize = 4;

/// Draws pairs.
#[derive(Debug)]
pub struct TwoChoices {
    random: Random,
    draw: WeightedDraw,
}

impl TwoChoices {
    /// No candidates yet; a sequence of draws that no other worker has.
    pub fn new(worker: WorkerId) -> TwoChoices {
        TwoChoices {
            random: Random::for_worker(worker),
            draw: WeightedDraw::default(),
        }
    }

    /// Draws among these from now on.
    pub fn rebuild(&mut self, usable: &[Candidate]) {
        self.draw = WeightedDraw::new(usable);
    }

    /// The cheaper of two different candidates that are not blocked, the first one drawn if they cost the same; the
    /// only one if there is but one.
    #[inline]
    pub fn pick(&mut self, view: &PickInput<'_>, cost: impl Fn(usize) -> f64) -> Option<usize> {
        let first = self.draw_one(view.blocked)?;
        let unfit = |index| index == first || (view.blocked)(index);
        match self.draw_one(unfit) {
            Some(second) => Some(select_unpredictable(
                cost(second) < cost(first),
                second,
                first,
            )),
            None => Some(first),
        }
    }

    #[inline]
    fn draw_one(&mut self, unfit: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.draw.len();
        if count == 0 {
            return None;
        }
        for _ in 0..DRAWS {
            let index = self.draw.draw(&mut self.random);
            debug_assert!(index < count);
            if !unfit(index) {
                return Some(index);
            }
        }
        first_unblocked(unfit, self.random.below(count), count)
    }
}
