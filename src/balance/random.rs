//! Chance: one generator per balancer, seeded by the worker so that cores do not draw alike, and draws by weight.

use std::hint::select_unpredictable;

use crate::balance::Candidate;
use crate::balance::hash::{mix, scale};
use crate::base::ids::WorkerId;

/// SplitMix64: fast, and random enough to spread load. Not for secrets.
#[derive(Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence that no other worker has.
    pub fn for_worker(worker: WorkerId) -> Random {
        Random {
            state: mix(u64::from(worker.0)),
        }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        scale(self.next_u64(), count)
    }
}

/// Draws an index with the probability that its weight has of all, in constant time: the alias method (Vose: A Linear
/// Algorithm for Generating Random Numbers with a Given Distribution, 1991).
#[derive(Debug, Default)]
pub struct WeightedDraw {
    columns: Vec<Column>,
}

/// One of equally probable columns; its own index holds the part below `threshold`, another index the rest.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of `u32::MAX`.
    threshold: u32,
    other: u32,
}

impl WeightedDraw {
    /// Draws by the weights of `usable`.
    pub fn new(usable: &[Candidate]) -> WeightedDraw {
        let count = usable.len() as u64;
        let total: u64 = usable
            .iter()
            .map(|candidate| u64::from(candidate.weight))
            .sum();
        debug_assert!(
            usable.is_empty() || total > 0,
            "candidates without a weight cannot be drawn"
        );
        // A column holds `total` shares and index `i` has `weight × count` of them to place, so that all fit exactly.
        let mut shares: Vec<u64> = usable
            .iter()
            .map(|candidate| u64::from(candidate.weight) * count)
            .collect();
        let mut columns: Vec<Column> = (0..count as u32)
            .map(|index| Column {
                threshold: u32::MAX,
                other: index,
            })
            .collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|&index| shares[index] < total);
        while let (Some(&giver), Some(taker)) = (rich.last(), poor.pop()) {
            debug_assert!(
                shares[taker] < total && shares[giver] >= total,
                "only a rich column gives"
            );
            columns[taker] = Column {
                threshold: (shares[taker] * u64::from(u32::MAX) / total) as u32,
                other: giver as u32,
            };
            shares[giver] -= total - shares[taker];
            if shares[giver] < total {
                rich.pop();
                poor.push(giver);
            }
        }
        debug_assert!(
            columns
                .iter()
                .all(|column| (column.other as usize) < columns.len())
        );
        WeightedDraw { columns }
    }

    /// How many indices there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// An index; there must be at least one.
    pub fn draw(&self, random: &mut Random) -> usize {
        debug_assert!(!self.columns.is_empty(), "there is a candidate to draw");
        let bits = random.next_u64();
        let index = scale(bits, self.columns.len());
        let column = self.columns[index];
        // The upper bits chose the column, the lower ones choose within it.
        select_unpredictable(
            bits as u32 <= column.threshold,
            index,
            column.other as usize,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::ids::BackendId;
    use crate::base::limits;

    fn draw_of(weights: &[u16]) -> WeightedDraw {
        let candidates = weights.iter().zip(0..).map(|(&weight, id)| Candidate {
            id: BackendId(id),
            weight,
            share: limits::WHOLE_SHARE,
            member: id,
        });
        WeightedDraw::new(&candidates.collect::<Vec<_>>())
    }

    proptest! {
        /// The part of all columns that leads to each index, added up instead of drawn.
        #[test]
        fn each_index_has_the_share_of_its_weight(weights in prop::collection::vec(1..=limits::WEIGHT, 1..200)) {
            let draw = draw_of(&weights);
            let mut shares = vec![0.0; weights.len()];
            for (index, column) in draw.columns.iter().enumerate() {
                let own = f64::from(column.threshold) / f64::from(u32::MAX);
                shares[index] += own;
                shares[column.other as usize] += 1.0 - own;
            }
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (share, weight) in shares.into_iter().zip(&weights) {
                let fair = f64::from(*weight) / total * weights.len() as f64;
                prop_assert!((share - fair).abs() < 1e-6, "{} instead of {}", share, fair);
            }
        }
    }

    #[test]
    fn workers_draw_different_sequences_and_the_same_ones_again() {
        let sequence = |worker| {
            let mut random = Random::for_worker(WorkerId(worker));
            [random.next_u64(), random.next_u64(), random.next_u64()]
        };
        assert_eq!(sequence(3), sequence(3));
        let mut all: Vec<u64> = (0..limits::WORKERS as u32).flat_map(sequence).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * limits::WORKERS);
    }
}
