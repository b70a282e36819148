//! Chance: one generator per balancer, seeded by the worker so that cores do not draw alike, and draws by weight.

use std::hint::select_unpredictable;

use crate::base::ids::WorkerId;
use crate::worker::balance::Candidate;
use crate::worker::balance::hash::{mix, scale};

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
        WeightedDraw { columns }
    }

    /// How many indices there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// An index; there must be at least one.
    pub fn draw(&self, random: &mut Random) -> usize {
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
