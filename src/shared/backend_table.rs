//! Per-core tables of what is known of each backend. Each worker writes its own table and reads the others'; metrics
//! read them all. A row is a [`BackendId`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::balance::InFlight;
use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;

/// Whether a backend takes new requests, as the health thread last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BackendState {
    /// The backend passes its checks, or has none.
    Healthy = 0,
    /// Failed its active checks.
    Unhealthy = 1,
    /// Put aside for a while for what its answers were like.
    Ejected = 2,
    /// Takes no new requests; running ones finish.
    Draining = 3,
}

const _: () = {
    let mut at = 0;
    while at < BackendState::ALL.len() {
        assert!(
            BackendState::ALL[at] as usize == at,
            "a state stands at its number"
        );
        at += 1;
    }
};
impl BackendState {
    /// Every state, in the order of their numbers.
    pub const ALL: [BackendState; 4] = [
        BackendState::Healthy,
        BackendState::Unhealthy,
        BackendState::Ejected,
        BackendState::Draining,
    ];

    /// The label for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            BackendState::Healthy => "healthy",
            BackendState::Unhealthy => "unhealthy",
            BackendState::Ejected => "ejected",
            BackendState::Draining => "draining",
        }
    }

    fn from_u8(value: u8) -> BackendState {
        debug_assert!(value <= BackendState::Draining as u8);
        match value {
            0 => BackendState::Healthy,
            1 => BackendState::Unhealthy,
            2 => BackendState::Ejected,
            _ => BackendState::Draining,
        }
    }
}

/// One worker's table. Only that worker writes to it.
#[derive(Debug)]
pub struct BackendTable {
    state: Box<[AtomicU8]>,
    /// Whether the backend fails its probes, even while it is drained.
    is_down: Box<[AtomicBool]>,
    share: Box<[AtomicU8]>,
    /// Whether the backend takes requests whatever its state.
    is_forced: Box<[AtomicBool]>,
    in_flight: Box<[AtomicU32]>,
    idle: Box<[AtomicU32]>,
}

impl BackendTable {
    fn new(rows: usize) -> BackendTable {
        BackendTable {
            state: (0..rows).map(|_| AtomicU8::new(0)).collect(),
            share: (0..rows)
                .map(|_| AtomicU8::new(limits::WHOLE_SHARE))
                .collect(),
            is_down: (0..rows).map(|_| AtomicBool::new(false)).collect(),
            is_forced: (0..rows).map(|_| AtomicBool::new(false)).collect(),
            in_flight: (0..rows).map(|_| AtomicU32::new(0)).collect(),
            idle: (0..rows).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The state that this worker goes by.
    pub fn state(&self, id: BackendId) -> BackendState {
        BackendState::from_u8(self.state[id.index()].load(Relaxed))
    }

    /// Takes over what the health thread said. For the table's own worker.
    pub fn set_state(&self, id: BackendId, state: BackendState) {
        self.state[id.index()].store(state as u8, Relaxed);
    }

    /// Whether the backend fails its probes, even while it is drained.
    pub fn is_down(&self, id: BackendId) -> bool {
        self.is_down[id.index()].load(Relaxed)
    }

    /// Stores whether the backend fails its probes, as the health thread has said. Only the table's own worker calls
    /// this.
    pub fn set_down(&self, id: BackendId, is_down: bool) {
        self.is_down[id.index()].store(is_down, Relaxed);
    }

    /// How much of the requests that it would get otherwise the backend gets from this worker, of
    /// `limits::WHOLE_SHARE`: 0 while it rests because it could not be connected to.
    pub fn share(&self, id: BackendId) -> u8 {
        self.share[id.index()].load(Relaxed)
    }

    /// Whether the backend gets requests of this worker.
    pub fn takes_requests(&self, id: BackendId) -> bool {
        let is_forced = self.is_forced[id.index()].load(Relaxed);
        (is_forced || self.state(id) == BackendState::Healthy) && self.share(id) > 0
    }

    /// Stores whether the backend takes requests whatever its state. Only the table's own worker calls this.
    pub fn set_forced(&self, id: BackendId, is_forced: bool) {
        self.is_forced[id.index()].store(is_forced, Relaxed);
    }

    /// Says how much it gets. For the table's own worker.
    pub fn set_share(&self, id: BackendId, share: u8) {
        debug_assert!(share <= limits::WHOLE_SHARE);
        self.share[id.index()].store(share, Relaxed);
    }

    /// Requests that this worker has under way at the backend.
    pub fn in_flight(&self, id: BackendId) -> u32 {
        self.in_flight[id.index()].load(Relaxed)
    }

    /// Idle connections that this worker keeps to the backend.
    pub fn idle(&self, id: BackendId) -> u32 {
        self.idle[id.index()].load(Relaxed)
    }

    /// Says how many idle connections there are. For the table's own worker.
    pub fn set_idle(&self, id: BackendId, count: u32) {
        self.idle[id.index()].store(count, Relaxed);
    }

    /// Counts one more. For the table's own worker: a load and a store, no locked instruction.
    pub fn begin(&self, id: BackendId) {
        let cell = &self.in_flight[id.index()];
        cell.store(cell.load(Relaxed) + 1, Relaxed);
    }

    /// Gives one back. For the table's own worker.
    pub fn end(&self, id: BackendId) {
        let cell = &self.in_flight[id.index()];
        let count = cell.load(Relaxed);
        debug_assert!(count > 0, "a request ended that never began");
        cell.store(count.saturating_sub(1), Relaxed);
    }
}

/// All workers' tables, and the cells per backend that all cores must share because they count together: connections,
/// by `max_connections`, written when one opens or closes; and failures in a row, by `outlier`, written when a
/// request fails and when one succeeds after that.
#[derive(Debug)]
pub struct BackendTables {
    tables: Box<[CachePadded<BackendTable>]>,
    open: Box<[AtomicU32]>,
    failures: Box<[AtomicU32]>,
}

impl BackendTables {
    /// Tables for `workers` workers.
    pub fn new(workers: usize) -> Arc<BackendTables> {
        BackendTables::with_rows(workers, limits::BACKENDS)
    }

    /// Tables for `workers` workers and so many backends.
    pub fn with_rows(workers: usize, rows: usize) -> Arc<BackendTables> {
        debug_assert!(workers > 0, "a table belongs to a worker");
        debug_assert!(rows <= limits::BACKENDS);
        Arc::new(BackendTables {
            tables: (0..workers)
                .map(|_| CachePadded::new(BackendTable::new(rows)))
                .collect(),
            open: (0..rows).map(|_| AtomicU32::new(0)).collect(),
            failures: (0..rows).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// How many backends there may be.
    pub fn rows(&self) -> usize {
        self.open.len()
    }

    /// The table of one worker.
    pub fn of(&self, worker: WorkerId) -> &BackendTable {
        &self.tables[worker.index()]
    }

    /// Requests under way at the backend, all cores together. Other cores' parts may be a moment old.
    pub fn in_flight(&self, id: BackendId) -> u32 {
        self.tables.iter().map(|table| table.in_flight(id)).sum()
    }

    /// Idle connections to the backend, all cores together.
    pub fn idle(&self, id: BackendId) -> u32 {
        self.iter().map(|table| table.idle(id)).sum()
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.tables.len()
    }

    /// Every worker's table.
    pub fn iter(&self) -> impl Iterator<Item = &BackendTable> {
        self.tables.iter().map(|table| &**table)
    }

    /// Reserves one connection to a backend that may have at most `max` open, until the permit is dropped; `None` if
    /// there are as many already.
    pub fn try_open(self: &Arc<Self>, id: BackendId, max: u32) -> Option<Permit> {
        let taken = self.open[id.index()]
            .try_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1));
        taken.is_ok().then(|| Permit {
            tables: self.clone(),
            id,
        })
    }

    /// Connections reserved now.
    pub fn open(&self, id: BackendId) -> u32 {
        self.open[id.index()].load(Relaxed)
    }

    /// Counts a request to the backend that failed. When as many as `most` have failed in a row: how many, and counting
    /// begins anew.
    pub fn count_failure(&self, id: BackendId, most: u32) -> Option<u32> {
        let cell = &self.failures[id.index()];
        let failures = cell.fetch_add(1, Relaxed) + 1;
        (failures >= most).then(|| {
            cell.store(0, Relaxed);
            failures
        })
    }

    /// Ends a row of failures, if there is one.
    pub fn end_failures(&self, id: BackendId) {
        let cell = &self.failures[id.index()];
        if cell.load(Relaxed) != 0 {
            cell.store(0, Relaxed);
        }
    }

    /// Prepares a row for a backend that no snapshot named until now.
    pub(super) fn reset(&self, id: BackendId) {
        self.end_failures(id);
        for table in self.iter() {
            table.set_state(id, BackendState::Healthy);
            table.set_down(id, false);
            table.set_forced(id, false);
        }
    }
}

impl InFlight for BackendTables {
    fn at(&self, id: BackendId) -> u32 {
        self.in_flight(id)
    }

    fn at_each(&self, ids: &[BackendId], totals: &mut [u32]) {
        debug_assert_eq!(ids.len(), totals.len());
        totals.fill(0);
        for table in self.iter() {
            for (total, &id) in totals.iter_mut().zip(ids) {
                *total += table.in_flight(id);
            }
        }
    }

    fn workers(&self) -> usize {
        self.tables.len()
    }
}

/// One of the connections that a backend may have.
#[derive(Debug)]
pub struct Permit {
    tables: Arc<BackendTables>,
    id: BackendId,
}

impl Permit {
    /// The backend that the permitted connection goes to.
    pub fn backend(&self) -> BackendId {
        self.id
    }

    /// Whether more connections are open than the backend may have, because it may have fewer than when they were made.
    pub fn is_beyond(&self, max: u32) -> bool {
        self.tables.open(self.id) > max
    }

    /// Whether the backend takes requests of this worker.
    pub fn is_usable(&self, worker: WorkerId) -> bool {
        self.tables.of(worker).takes_requests(self.id)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.tables.open[self.id.index()].fetch_sub(1, Relaxed);
        debug_assert!(
            before > 0,
            "a permit is one of the connections that are open"
        );
    }
}
