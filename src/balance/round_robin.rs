//! `round_robin`, weighted and smooth. Backends of equal weight form a ring and are served in turn; a ring has its
//! weight times its members of turns, at equal distances on a circle, and picks walk around that circle. So every lap
//! is exact, nobody's turns come in a burst, and a pick costs the logarithm of the number of different weights: nothing
//! in the usual pool, little in the largest.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::balance::{AlgorithmEntry, Balancer, Candidate, PickInput, first_unblocked};
use crate::base::ids::WorkerId;

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "round_robin",
    uses_key: false,
    parameters: &[],
    build: |worker| Box::new(RoundRobin::new(worker)),
};

/// The walk. Also gives turns to those whom `least_connections` finds equal.
#[derive(Debug)]
pub struct RoundRobin {
    /// The ring whose turn comes first is on top.
    rings: BinaryHeap<Ring>,
    /// Indices of the candidates, those of a ring side by side.
    members: Vec<u16>,
    /// Where the walk is: laps in the upper 32 bits, the place on the circle in the lower ones.
    place: u64,
}

/// Backends of one weight, and their next turn.
#[derive(Clone, Copy, Debug)]
struct Ring {
    /// Where the next turn lies, as in [`RoundRobin::place`].
    place: u64,
    /// The number of the next turn within the lap: `0..turns`.
    number: u32,
    /// Per lap: weight times members.
    turns: u32,
    /// The member whose turn comes next: `0..count`, counted from `first` in [`RoundRobin::members`].
    member: u16,
    first: u16,
    count: u16,
    /// Where a turn lies within its share of the circle, in 65,536ths: what keeps rings from coming at once.
    phase: u16,
}

impl RoundRobin {
    /// No backends yet; a place to begin that lies apart from every other worker's.
    pub fn new(worker: WorkerId) -> RoundRobin {
        RoundRobin {
            rings: BinaryHeap::new(),
            members: Vec::new(),
            // Multiples of the golden ratio are spread over the circle however many there are.
            place: u64::from(worker.0.wrapping_mul(0x9e37_79b9)),
        }
    }

    /// The backend whose turn it is, whether blocked or not; `None` without backends.
    pub fn take_turn(&mut self) -> Option<usize> {
        let mut ring = self.rings.peek_mut()?;
        debug_assert!(ring.member < ring.count);
        let member = self.members[usize::from(ring.first + ring.member)];
        self.place = ring.place;
        ring.step();
        Some(usize::from(member))
    }
}

impl Balancer for RoundRobin {
    /// The walk goes on from its place, so that those who stay are served next as if nothing had happened.
    fn rebuild(&mut self, usable: &[Candidate]) {
        debug_assert!(usable.len() <= usize::from(u16::MAX));
        self.members = (0..usable.len() as u16).collect();
        self.members
            .sort_by_key(|&index| usable[usize::from(index)].weight);
        let weight = |index: &u16| usable[usize::from(*index)].weight;
        let rings = self.members.chunk_by(|a, b| weight(a) == weight(b));
        let ring_count = rings.clone().count() as u32;
        let mut first = 0;
        let rings = rings.zip(0..).map(|(members, number)| {
            let phase = ((2 * number + 1) << 15) / ring_count;
            let ring = Ring::new(
                weight(&members[0]),
                first,
                members.len() as u16,
                phase as u16,
            );
            first += ring.count;
            ring.first_after(self.place)
        });
        self.rings = rings.collect();
    }

    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize> {
        let count = self.members.len();
        let mut index = 0;
        for _ in 0..count {
            index = self.take_turn()?;
            if !(view.blocked)(index) {
                return Some(index);
            }
        }
        first_unblocked(view.blocked, index, count)
    }
}

impl Ring {
    fn new(weight: u16, first: u16, count: u16, phase: u16) -> Ring {
        debug_assert!(
            weight > 0 && count > 0,
            "a ring has members, and each member has turns"
        );
        Ring {
            place: 0,
            number: 0,
            turns: u32::from(weight) * u32::from(count),
            member: 0,
            first,
            count,
            phase,
        }
    }

    /// Goes on to the ring's next turn.
    fn step(&mut self) {
        let lap = self.place >> 32;
        self.member = if self.member + 1 < self.count {
            self.member + 1
        } else {
            0
        };
        if self.number + 1 < self.turns {
            self.number += 1;
            self.place = self.place_in(lap);
        } else {
            self.number = 0;
            self.place = self.place_in(lap + 1);
        }
    }

    /// The ring with its first turn that lies after `place`.
    fn first_after(mut self, place: u64) -> Ring {
        let on_circle = place & u64::from(u32::MAX);
        self.number = ((on_circle * u64::from(self.turns)) >> 32) as u32;
        debug_assert!(self.number < self.turns);
        self.member = (self.number % u32::from(self.count)) as u16;
        self.place = self.place_in(place >> 32);
        if self.place <= place {
            self.step();
        }
        self
    }

    fn place_in(&self, lap: u64) -> u64 {
        let turns = (u64::from(self.number) << 16) + u64::from(self.phase);
        (lap << 32) + (turns << 16) / u64::from(self.turns)
    }
}

/// The heap has its greatest on top: a ring is the greater the earlier its turn comes. Laps wrap after years; the turns
/// in a heap are never more than two laps apart, so the sign of their distance tells which one comes first. Rings whose
/// turns fall on the same place come in the same order in every lap: otherwise a lap counted from between them would
/// not be exact.
impl Ord for Ring {
    fn cmp(&self, other: &Ring) -> Ordering {
        let earlier = (other.place.wrapping_sub(self.place) as i64).cmp(&0);
        earlier.then(other.first.cmp(&self.first))
    }
}

impl PartialOrd for Ring {
    fn partial_cmp(&self, other: &Ring) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Ring) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ring {}
