//! `round_robin`, weighted and smooth: a backend of weight `w` has `w` turns at equal distances in every lap of a
//! circle, and picks walk around it. Each lap is exact, and nobody's turns come in a burst. The walk keeps one pending
//! turn per backend in a heap, so a pick costs the logarithm of the pool's size and no weight makes a table large.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::base::ids::WorkerId;
use crate::worker::balance::{AlgorithmEntry, Balancer, Candidate, View, first_unblocked};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "round_robin",
    uses_key: false,
    build: |worker| Box::new(RoundRobin::new(worker)),
};

#[derive(Debug)]
struct RoundRobin {
    /// The next turn of each backend, the earliest on top.
    turns: BinaryHeap<Turn>,
    /// Where the walk is: laps in the upper 32 bits, the place on the circle in the lower ones.
    place: u64,
}

/// A backend's next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    place: u64,
    /// Where between two of the backend's turns its own lies, of 65,536: what keeps equal weights apart.
    phase: u16,
    /// Which turn of the lap it is: `0..weight`.
    number: u16,
    weight: u16,
    index: u16,
}

impl RoundRobin {
    fn new(worker: WorkerId) -> RoundRobin {
        RoundRobin {
            turns: BinaryHeap::new(),
            // Multiples of the golden ratio lie apart on the circle however many workers there are.
            place: u64::from(worker.0.wrapping_mul(0x9e37_79b9)),
        }
    }

    fn take_turn(&mut self) -> Option<usize> {
        let mut turn = self.turns.peek_mut()?;
        let index = usize::from(turn.index);
        self.place = turn.place;
        *turn = turn.following();
        Some(index)
    }
}

impl Balancer for RoundRobin {
    /// Whoever stays keeps its place in the lap, because the walk goes on from where it is.
    fn rebuild(&mut self, usable: &[Candidate]) {
        let count = usable.len();
        let turns = usable.iter().enumerate().map(|(index, candidate)| Turn {
            place: self.place,
            phase: (((2 * index + 1) << 15) / count) as u16,
            number: 0,
            weight: candidate.weight,
            index: index as u16,
        });
        self.turns = turns.map(|turn| turn.first_after(self.place)).collect();
    }

    fn pick(&mut self, view: &View<'_>) -> Option<usize> {
        let count = self.turns.len();
        let mut index = 0;
        for _ in 0..count {
            index = self.take_turn()?;
            if !(view.blocked)(index) {
                return Some(index);
            }
        }
        first_unblocked(view, index, count)
    }
}

impl Turn {
    /// The same backend's turn after this one.
    fn following(self) -> Turn {
        let lap = self.place >> 32;
        if self.number + 1 < self.weight {
            self.at(lap, self.number + 1)
        } else {
            self.at(lap + 1, 0)
        }
    }

    /// The same backend's first turn that lies after `place`.
    fn first_after(self, place: u64) -> Turn {
        let on_circle = place & u64::from(u32::MAX);
        let number = (on_circle * u64::from(self.weight)) >> 32;
        let turn = self.at(place >> 32, number as u16);
        if turn.place > place {
            turn
        } else {
            turn.following()
        }
    }

    fn at(self, lap: u64, number: u16) -> Turn {
        let turns = (u64::from(number) << 16) + u64::from(self.phase);
        Turn {
            place: (lap << 32) + (turns << 16) / u64::from(self.weight),
            number,
            ..self
        }
    }
}

/// The heap has its greatest on top: a turn is the greater the earlier it comes. Laps wrap after years; the turns of a
/// heap are never more than two laps apart, so the sign of their distance tells which comes first.
impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> Ordering {
        let distance = other.place.wrapping_sub(self.place) as i64;
        distance.cmp(&0).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
