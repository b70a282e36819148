//! Picks the backend of a request: one live [`Balancer`] per core and pool, told which backends are usable and asked
//! for one of them. Pure: no I/O, no clock, no lock; how many requests are under way at a backend is asked of
//! [`InFlight`].
//!
//! A new algorithm is one new file and one line in [`ALGORITHMS`]; configuration, messages and the tests of this
//! folder derive from that slice.

mod consistent_hash;
mod hash;
mod key;
mod least_connections;
mod peak_ewma;
mod random;
mod random_two;
mod round_robin;
mod two_choices;

use std::fmt::Debug;
use std::sync::Arc;

use crate::base::ids::{BackendId, WorkerId};
use crate::base::setting::Setting;
use crate::base::time::Micros;

pub use hash::hash_key;
pub use key::HashKey;

/// Every algorithm, in the order in which messages list them.
pub static ALGORITHMS: &[AlgorithmEntry] = &[
    round_robin::ENTRY,
    least_connections::ENTRY,
    random_two::ENTRY,
    peak_ewma::ENTRY,
    consistent_hash::ENTRY,
];

/// An algorithm as the program knows it.
#[derive(Debug)]
pub struct AlgorithmEntry {
    /// The name that a configuration gives.
    pub name: &'static str,
    /// Whether [`PickInput::key`] decides; otherwise the caller need not compute it.
    pub uses_key: bool,
    /// The settings of a pool that mean something to this algorithm.
    pub parameters: &'static [Setting],
    /// A balancer for one worker, without backends until its first [`Balancer::rebuild`].
    pub build: fn(WorkerId) -> Box<dyn Balancer>,
}

/// A backend of a pool, whatever its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// `1..=limits::WEIGHT`.
    pub weight: u16,
    /// [`hash_key`] of the backend's address, so that a key finds the same backend on every core, after a restart and
    /// on another machine, whatever rows the backends have there.
    pub identity: u64,
}

/// A table that is made of all backends of a pool, once for all workers, for an algorithm that uses keys.
#[derive(Debug)]
pub struct KeyTable {
    /// The member that has each place, as index in the pool's backends.
    places: Box<[u16]>,
}

/// The table of a pool's backends as every snapshot of the pool holds it.
pub type SharedHashTable = Arc<KeyTable>;

impl KeyTable {
    /// Milliseconds of work for thousands of members: not for a worker.
    pub fn new(members: &[Member]) -> KeyTable {
        KeyTable {
            places: consistent_hash::populate(members).into(),
        }
    }
}

/// A pool's algorithm as configured.
#[derive(Clone, Debug)]
pub struct AlgorithmSettings {
    entry: &'static AlgorithmEntry,
    /// Where [`PickInput::key`] comes from; without meaning if [`AlgorithmSettings::uses_key`] is false.
    pub key: HashKey,
}

impl AlgorithmSettings {
    /// The algorithm called `name`; `None` if [`ALGORITHMS`] has none of that name.
    pub fn new(name: &str, key: HashKey) -> Option<AlgorithmSettings> {
        let entry = ALGORITHMS.iter().find(|entry| entry.name == name)?;
        Some(AlgorithmSettings { entry, key })
    }

    /// The algorithm's name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Whether a request's key decides.
    pub fn uses_key(&self) -> bool {
        self.entry.uses_key
    }

    /// The table that the algorithm makes of all backends of a pool, once for all workers; `None`: the algorithm uses
    /// none.
    pub fn table(&self, members: impl Iterator<Item = Member>) -> Option<SharedHashTable> {
        let members = || members.collect::<Vec<_>>();
        self.uses_key()
            .then(|| SharedHashTable::new(KeyTable::new(&members())))
    }

    /// A balancer for one worker, without backends until its first [`Balancer::rebuild`].
    pub fn build(&self, worker: WorkerId) -> Box<dyn Balancer> {
        (self.entry.build)(worker)
    }
}

/// A backend that takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The backend.
    pub id: BackendId,
    /// `1..=limits::WEIGHT`; while some backend of the pool has only a share of its requests, that times the share.
    pub weight: u16,
    /// The member's share of the requests that the member would get otherwise, in parts of `limits::WHOLE_SHARE`.
    pub share: u8,
    /// The member's index in the pool's backends.
    pub member: u32,
}

/// The numbers of requests under way at the backends, as far as the calling worker knows them.
pub trait InFlight {
    /// The requests under way at a backend, those of all workers together. The numbers of other workers may be a moment
    /// old.
    fn at(&self, id: BackendId) -> u32;

    /// Writes the number of each of the backends `ids` to the same index of `totals`, which is as long as `ids`.
    fn at_each(&self, ids: &[BackendId], totals: &mut [u32]);

    /// The number of workers, each of which has a counter per backend that [`InFlight::at`] reads.
    fn workers(&self) -> usize;
}

/// The part of a worker's state that a pick may look at.
#[derive(Clone, Copy)]
pub struct PickInput<'a> {
    /// The requests under way at each backend.
    pub in_flight: &'a dyn InFlight,
    /// The time of the pick.
    pub now: Micros,
    /// [`hash_key`] of what the request has for [`AlgorithmSettings::key`]; 0 if the algorithm uses none.
    pub key: u64,
    /// Whether this request may not use the candidate of this index: tried already, or at its `max_connections`.
    /// Asked only for candidates that would be picked.
    pub blocked: &'a dyn Fn(usize) -> bool,
}

/// One worker's live algorithm for one pool.
pub trait Balancer: Debug {
    /// Takes over what was made of the pool's backends if the algorithm uses keys. Called before [`Balancer::rebuild`].
    fn take_table(&mut self, _table: &SharedHashTable) {}

    /// Takes over the usable backends, at most `limits::BACKENDS`. Called before the first pick and whenever a state,
    /// a weight or the configuration changed; what is known of backends that stay is kept.
    fn rebuild(&mut self, usable: &[Candidate]);

    /// An index into the slice last given to [`Balancer::rebuild`]; `None` only if every candidate is blocked.
    fn pick(&mut self, view: &PickInput<'_>) -> Option<usize>;

    /// Learns how long a backend took until its response head was complete. Not called for attempts that failed:
    /// refusing quickly must not look like answering quickly.
    fn observe(&mut self, _id: BackendId, _latency_micros: u64, _now: Micros) {}
}

/// The first candidate that is not blocked, counted from `start` and around: where picks end that met only blocked
/// ones. Range of `start`: `0..count`.
fn first_unblocked(blocked: impl Fn(usize) -> bool, start: usize, count: usize) -> Option<usize> {
    debug_assert!(start <= count);
    (start..count)
        .chain(0..start)
        .find(|&index| !blocked(index))
}

#[cfg(test)]
mod tests;
