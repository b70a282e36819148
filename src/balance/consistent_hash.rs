//! `consistent_hash`: a request's key decides, and when a backend comes or goes nearly all other keys stay where they
//! were. Maglev hashing (Eisenbud et al.: Maglev, NSDI 2016, section 3.4), weighted.
//!
//! The table has all backends of the pool, whatever their states, and is made once, with the configuration, for all
//! workers: for thousands of backends that takes longer than a request may wait for a worker. A backend that takes no
//! requests is passed over when a key is looked up, so that only its own keys go elsewhere, and come back with it.

use crate::balance::SharedHashTable;
use crate::balance::hash::{mix, scale};
use crate::balance::key::HASH_ON;
use crate::balance::{AlgorithmEntry, Balancer, Candidate, Member, PickInput, first_unblocked};
use crate::base::limits;

pub const ENTRY: AlgorithmEntry = AlgorithmEntry {
    name: "consistent_hash",
    uses_key: true,
    parameters: &[HASH_ON],
    build: |_worker| Box::new(ConsistentHash::default()),
};

/// Table sizes: prime, so that every backend's stride meets every place. In the smallest, 98 of 100 keys stay where
/// they were when one of up to 100 backends leaves.
const SIZES: [usize; 3] = [8_191, 65_521, 262_139];
/// Places per backend that make shares follow the weights within a few percent.
const PLACES_PER_BACKEND: usize = 64;
/// Places looked at when the first choice is blocked, before all backends are looked at in turn.
const PROBES: usize = 64;

/// Marks a place that nobody has yet, and a backend that takes no requests.
const NOBODY: u16 = u16::MAX;

const _: () = assert!(
    limits::BACKENDS < NOBODY as usize,
    "an index is never NOBODY"
);
const _: () = assert!(SIZES[0] < SIZES[1] && SIZES[1] < SIZES[2]);
const _: () = assert!(limits::BACKENDS < SIZES[2], "each backend has a place");

#[derive(Debug, Default)]
struct ConsistentHash {
    table: Option<SharedHashTable>,
    /// The index among the usable candidates of each backend of the pool.
    usable: Vec<u16>,
    /// Of each usable candidate.
    shares: Vec<u8>,
}

impl ConsistentHash {
    /// The candidate that has a place of the table, if it may be picked.
    fn at(&self, place: u16, view: &PickInput<'_>) -> Option<usize> {
        let index = *self.usable.get(usize::from(place))?;
        debug_assert!(index == NOBODY || usize::from(index) < self.shares.len());
        let takes = || self.takes(index.into(), view.key) && !(view.blocked)(index.into());
        (index != NOBODY && takes()).then_some(index.into())
    }
}

impl ConsistentHash {
    /// Whether a key is among the share of the keys that the candidate gets already: a share that grows takes no key
    /// back that was in it before.
    fn takes(&self, index: usize, key: u64) -> bool {
        mix(!key) % u64::from(limits::WHOLE_SHARE) < u64::from(self.shares[index])
    }
}

impl Balancer for ConsistentHash {
    fn take_table(&mut self, table: &SharedHashTable) {
        self.table = Some(table.clone());
    }

    fn rebuild(&mut self, usable: &[Candidate]) {
        self.shares = usable.iter().map(|candidate| candidate.share).collect();
        let members = usable.iter().map(|candidate| candidate.member + 1).max();
        self.usable = vec![NOBODY; members.unwrap_or(0) as usize];
        for (candidate, index) in usable.iter().zip(0..) {
            debug_assert_eq!(
                self.usable[candidate.member as usize], NOBODY,
                "a member is a candidate once"
            );
            self.usable[candidate.member as usize] = index;
        }
    }

    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize> {
        let places = &*self.table.as_ref()?.places;
        let start = scale(view.key, places.len());
        debug_assert!(places.is_empty() || start < places.len());
        if let Some(first) = self.at(*places.get(start)?, view) {
            return Some(first);
        }
        // The places that follow belong to backends in random order, the same for every request of this key.
        let following = places[start..].iter().chain(&places[..start]).take(PROBES);
        let next = following.filter_map(|&place| self.at(place, view)).next();
        let count = self.shares.len();
        let any = || first_unblocked(view.blocked, scale(mix(view.key), count), count);
        next.or_else(any)
    }
}

/// The order in which a member asks for places of the table while places are given away.
struct Permutation {
    /// The member's own order of all places: this one next, then on by `stride` and around.
    place: usize,
    stride: usize,
    /// Weight not yet turned into places: whoever has saved up the largest weight takes one. Begins so that everyone
    /// takes one in the first round.
    saved: u32,
    weight: u32,
    index: u16,
    identity: u64,
}

impl Permutation {
    fn new(member: &Member, index: u16, size: usize, largest: u16) -> Permutation {
        debug_assert!(size > 1 && member.weight <= largest);
        Permutation {
            place: scale(mix(member.identity), size),
            stride: 1 + scale(mix(!member.identity), size - 1),
            saved: u32::from(largest - member.weight),
            weight: u32::from(member.weight),
            index,
            identity: member.identity,
        }
    }

    /// The first place of the member's order that is free.
    fn free_place(&mut self, places: &[u16]) -> usize {
        while places[self.place] != NOBODY {
            self.place += self.stride;
            if self.place >= places.len() {
                self.place -= places.len();
            }
        }
        self.place
    }
}

/// Gives every place to a member, in rounds; each place has the index of its member. What comes out depends on
/// identities and weights alone, not on the order of `members`.
pub(super) fn populate(members: &[Member]) -> Vec<u16> {
    let Some(largest) = members.iter().map(|member| member.weight).max() else {
        return Vec::new();
    };
    debug_assert!(largest > 0, "without a weight no place is ever taken");
    let size = table_size(members.len());
    let permutations = members.iter().zip(0..);
    let mut permutations: Vec<Permutation> = permutations
        .map(|(member, index)| Permutation::new(member, index, size, largest))
        .collect();
    permutations.sort_unstable_by_key(|permutation| permutation.identity);
    let mut places = vec![NOBODY; size];
    let mut free = size;
    loop {
        for permutation in &mut permutations {
            permutation.saved += permutation.weight;
            if permutation.saved < u32::from(largest) {
                continue;
            }
            permutation.saved -= u32::from(largest);
            let place = permutation.free_place(&places);
            places[place] = permutation.index;
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
