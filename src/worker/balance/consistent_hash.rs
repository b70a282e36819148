//! `consistent_hash`: a request's key decides, and when a backend comes or goes nearly all other keys stay where they
//! were. Maglev hashing (Eisenbud et al.: Maglev, NSDI 2016, section 3.4), weighted.

use crate::worker::balance::hash::{mix, scale};
use crate::worker::balance::{AlgorithmEntry, Balancer, Candidate, View, first_unblocked};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "consistent_hash",
    uses_key: true,
    build: |_worker| Box::new(ConsistentHash::default()),
};

/// Table sizes: prime, so that every backend's stride meets every place. In the smallest, 98 of 100 keys stay where
/// they were when one of up to 100 backends leaves.
const SIZES: [usize; 3] = [8_191, 65_521, 262_139];
/// Places per backend that make shares follow the weights within a few percent.
const PLACES_PER_BACKEND: usize = 64;
/// Places looked at when the first choice is blocked, before all backends are looked at in turn.
const PROBES: usize = 64;

/// Marks a place that nobody has yet.
const FREE: u16 = u16::MAX;

#[derive(Debug, Default)]
struct ConsistentHash {
    /// The index of the candidate that has each place.
    places: Vec<u16>,
    count: usize,
}

impl Balancer for ConsistentHash {
    fn rebuild(&mut self, usable: &[Candidate]) {
        self.count = usable.len();
        self.places = populate(usable);
    }

    fn pick(&mut self, view: &View<'_>) -> Option<usize> {
        let start = scale(view.key, self.places.len());
        let first = usize::from(*self.places.get(start)?);
        if !(view.blocked)(first) {
            return Some(first);
        }
        // The places that follow belong to backends in random order, the same for every request of this key.
        let following = self.places[start..]
            .iter()
            .chain(&self.places[..start])
            .take(PROBES);
        let next = following
            .map(|&index| usize::from(index))
            .find(|&index| !(view.blocked)(index));
        next.or_else(|| first_unblocked(view.blocked, first, self.count))
    }
}

/// What a candidate asks for while places are given away.
struct Wish {
    /// The candidate's own order of all places: this one next, then on by `stride` and around.
    place: usize,
    stride: usize,
    /// Weight not yet turned into places: whoever has saved up the largest weight takes one. Begins so that everyone
    /// takes one in the first round.
    saved: u32,
    weight: u32,
    index: u16,
    identity: u64,
}

impl Wish {
    fn new(candidate: &Candidate, index: u16, size: usize, largest: u16) -> Wish {
        Wish {
            place: scale(mix(candidate.identity), size),
            stride: 1 + scale(mix(!candidate.identity), size - 1),
            saved: u32::from(largest - candidate.weight),
            weight: u32::from(candidate.weight),
            index,
            identity: candidate.identity,
        }
    }

    /// The first place of the candidate's order that is free.
    fn free_place(&mut self, places: &[u16]) -> usize {
        while places[self.place] != FREE {
            self.place += self.stride;
            if self.place >= places.len() {
                self.place -= places.len();
            }
        }
        self.place
    }
}

/// Gives every place to a candidate, in rounds. What comes out depends on identities and weights alone, not on the
/// order of `usable`.
fn populate(usable: &[Candidate]) -> Vec<u16> {
    let Some(largest) = usable.iter().map(|candidate| candidate.weight).max() else {
        return Vec::new();
    };
    let size = table_size(usable.len());
    let wishes = usable.iter().zip(0..);
    let mut wishes: Vec<Wish> = wishes
        .map(|(candidate, index)| Wish::new(candidate, index, size, largest))
        .collect();
    wishes.sort_unstable_by_key(|wish| wish.identity);
    let mut places = vec![FREE; size];
    let mut free = size;
    loop {
        for wish in &mut wishes {
            wish.saved += wish.weight;
            if wish.saved < u32::from(largest) {
                continue;
            }
            wish.saved -= u32::from(largest);
            let place = wish.free_place(&places);
            places[place] = wish.index;
            free -= 1;
            if free == 0 {
                return places;
            }
        }
    }
}

fn table_size(backends: usize) -> usize {
    let wanted = backends * PLACES_PER_BACKEND;
    let enough = SIZES.into_iter().find(|&size| size >= wanted);
    enough.unwrap_or(SIZES[SIZES.len() - 1])
}
