//! `consistent_hash`: a request's key decides, and when a backend comes or goes nearly all other keys stay where they
//! were. Maglev hashing (Eisenbud et al.: Maglev, NSDI 2016, section 3.4), weighted.

use crate::worker::balance::hash::{mix, scale};
use crate::worker::balance::{AlgorithmEntry, Balancer, Candidate, View, first_unblocked};

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "consistent_hash",
    uses_key: true,
    build: |_worker| Box::new(ConsistentHash::default()),
};

/// Table sizes. Prime, so that every backend's stride meets every place.
const SIZES: [usize; 5] = [1_021, 8_191, 65_537, 131_071, 524_287];
/// Places per backend that make shares follow the weights within about a percent.
const PLACES_PER_BACKEND: usize = 100;
/// Places looked at when the first choice is blocked, before all backends are looked at in turn.
const PROBES: usize = 64;

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
        next.or_else(|| first_unblocked(view, first, self.count))
    }
}

/// The order in which a candidate asks for places.
struct Wish {
    place: usize,
    stride: usize,
    /// Weight not yet turned into places; whoever has collected the largest weight takes one.
    credit: u32,
    weight: u32,
    index: u16,
}

impl Wish {
    fn new(candidate: &Candidate, index: usize, size: usize) -> Wish {
        Wish {
            place: scale(mix(candidate.identity), size),
            stride: 1 + scale(mix(!candidate.identity), size - 1),
            credit: 0,
            weight: u32::from(candidate.weight),
            index: index as u16,
        }
    }
}

fn populate(usable: &[Candidate]) -> Vec<u16> {
    const FREE: u16 = u16::MAX;
    let Some(largest) = usable
        .iter()
        .map(|candidate| u32::from(candidate.weight))
        .max()
    else {
        return Vec::new();
    };
    let wanted = usable.len() * PLACES_PER_BACKEND;
    let size = SIZES
        .into_iter()
        .find(|&size| size >= wanted)
        .unwrap_or(SIZES[SIZES.len() - 1]);
    let mut wishes: Vec<Wish> = (0..)
        .zip(usable)
        .map(|(index, candidate)| Wish::new(candidate, index, size))
        .collect();
    let mut places = vec![FREE; size];
    let mut free = size;
    loop {
        for wish in &mut wishes {
            wish.credit += wish.weight;
            if wish.credit < largest {
                continue;
            }
            wish.credit -= largest;
            while places[wish.place] != FREE {
                wish.place += wish.stride;
                if wish.place >= size {
                    wish.place -= size;
                }
            }
            places[wish.place] = wish.index;
            free -= 1;
            if free == 0 {
                return places;
            }
        }
    }
}
