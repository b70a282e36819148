//! A fetch that others wait for: what is known of its response, and whom to wake when more is known.

use std::ops::Deref;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use std::sync::{Arc, OnceLock};

use super::budget::Budget;
use super::entry::Entry;
use super::readers::{READER_BYTES, Reader, Readers};

/// Wakes the tasks of one core that follow a fill. The call comes from any thread, and must not wait.
pub trait Wake: Send + Sync + std::fmt::Debug {
    /// Wakes those who follow the fill of this number.
    fn wake(&self, fill: u64);
}

/// The cores that may follow fills, each with how it is woken.
#[derive(Debug)]
pub struct Wakers(Box<[OnceLock<Arc<dyn Wake>>]>);

impl Wakers {
    /// Wakers for so many cores, none of which is known yet.
    pub fn new(cores: usize) -> Wakers {
        Wakers((0..cores).map(|_| OnceLock::new()).collect())
    }

    /// Makes known how a core is woken; the first call for a core counts.
    pub fn register(&self, core: usize, wake: Arc<dyn Wake>) {
        if let Some(slot) = self.0.get(core) {
            let _ = slot.set(wake);
        }
    }

    fn wake(&self, core: usize, fill: u64) {
        if let Some(wake) = self.0.get(core).and_then(OnceLock::get) {
            wake.wake(fill);
        }
    }
}

/// The knowledge of the response of a fill.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The head has not come, or is not decided about yet.
    Undecided,
    /// The response is being stored: this is its entry, whose body grows until [`RunningFill::end`] says more.
    Storable(Arc<Entry>),
    /// The response is not stored. Everybody fetches alone, and the key is not collapsed until this time in
    /// milliseconds since 1970 (0: it is collapsed again at once).
    Uncacheable(u64),
    /// The fetch ended without a response. One of those that waited may fetch for the others.
    Gone,
}

/// How the body of a fill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FillEnd {
    /// More bytes may come.
    Open = 0,
    /// The body is whole.
    Complete = 1,
    /// The body has ended before it was whole.
    Failed = 2,
    /// The store had no room for the rest: a follower cannot have the rest from here.
    Broken = 3,
}

const UNDECIDED: u32 = 0;
const STORABLE: u32 = 1;
const UNCACHEABLE: u32 = 2;
const GONE: u32 = 3;

/// A fetch that others may wait for.
#[derive(Debug)]
pub struct RunningFill {
    number: u64,
    /// The purge number when the request of the fetch was sent.
    purge_number: AtomicU64,
    /// The number of the last invalidation then.
    invalidation: AtomicU64,
    outcome: AtomicU32,
    until: AtomicU64,
    entry: OnceLock<Arc<Entry>>,
    trailers: OnceLock<Box<[u8]>>,
    end: AtomicU8,
    followers: AtomicU32,
    readers: Readers,
    /// The core whose writer waits for followers, and one more; 0: no writer waits.
    writer: AtomicU32,
    /// A bit for each core that has to be woken.
    waiting: Box<[AtomicU64]>,
    wakers: Arc<Wakers>,
    budget: Arc<Budget>,
}

impl RunningFill {
    /// A fill of which nothing is known.
    pub(super) fn new(
        number: u64,
        (purge_number, invalidation): (u64, u64),
        wakers: Arc<Wakers>,
        budget: Arc<Budget>,
    ) -> RunningFill {
        let words = wakers.0.len().div_ceil(64);
        let fill = RunningFill {
            number,
            purge_number: AtomicU64::new(purge_number),
            invalidation: AtomicU64::new(invalidation),
            outcome: AtomicU32::new(UNDECIDED),
            until: AtomicU64::new(0),
            entry: OnceLock::new(),
            trailers: OnceLock::new(),
            end: AtomicU8::new(FillEnd::Open as u8),
            followers: AtomicU32::new(0),
            readers: Readers::default(),
            writer: AtomicU32::new(0),
            waiting: (0..words).map(|_| AtomicU64::new(0)).collect(),
            wakers,
            budget,
        };
        fill.budget.note(fill.cost());
        fill
    }

    fn cost(&self) -> u64 {
        (size_of::<RunningFill>() + 16 + self.waiting.len() * 8) as u64
    }

    /// The number by which [`Wake::wake`] calls the fill.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The knowledge of the response.
    pub fn outcome(&self) -> Outcome {
        match self.outcome.load(Acquire) {
            UNDECIDED => Outcome::Undecided,
            UNCACHEABLE => Outcome::Uncacheable(self.until.load(Relaxed)),
            STORABLE => match self.entry.get() {
                Some(entry) => Outcome::Storable(entry.clone()),
                None => Outcome::Gone,
            },
            _ => Outcome::Gone,
        }
    }

    /// The entry that is being stored.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        self.entry.get()
    }

    /// The number of bytes of the body that can be read by [`Entry::read_at`]. Read [`RunningFill::end`] first: a body
    /// that has ended does not grow.
    pub fn filled(&self) -> u64 {
        self.entry.get().map_or(0, |entry| entry.body_len())
    }

    /// How the body stands.
    pub fn end(&self) -> FillEnd {
        match self.end.load(Acquire) {
            0 => FillEnd::Open,
            1 => FillEnd::Complete,
            2 => FillEnd::Failed,
            _ => FillEnd::Broken,
        }
    }

    /// The trailers of a complete body; mostly empty.
    pub fn trailers(&self) -> &[u8] {
        self.trailers.get().map_or(&[], |trailers| trailers)
    }

    /// The number of those who follow.
    pub fn followers(&self) -> u32 {
        self.followers.load(Relaxed)
    }

    /// Asks that this core be woken once when more is known. A task that waits looks at the fill again after this
    /// call, for what came before the call wakes nobody.
    pub fn wait(&self, core: usize) {
        if let Some(word) = self.waiting.get(core / 64) {
            word.fetch_or(1 << (core % 64), SeqCst);
        }
        fence(SeqCst);
    }

    /// Wakes the cores that have asked for it, each once.
    pub(super) fn wake(&self) {
        fence(SeqCst);
        for (at, word) in self.waiting.iter().enumerate() {
            if word.load(Relaxed) == 0 {
                continue;
            }
            let mut cores = word.swap(0, SeqCst);
            while cores != 0 {
                self.wakers
                    .wake(at * 64 + cores.trailing_zeros() as usize, self.number);
                cores &= cores - 1;
            }
        }
    }

    /// Where those who follow have come to.
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Asks that the writer's core be woken once when a follower has passed a position or is gone.
    pub(super) fn await_readers(&self, core: usize, position: u64) {
        self.writer.store(core as u32 + 1, SeqCst);
        self.readers.want(position);
    }

    /// Asks that the writer's core be woken once when the last follower is gone.
    pub fn await_last(&self, core: usize) {
        self.writer.store(core as u32 + 1, SeqCst);
        fence(SeqCst);
    }

    /// The writer waits no longer.
    pub(super) fn await_nobody(&self) {
        self.readers.want_nothing();
        self.writer.store(0, Relaxed);
    }

    fn wake_writer(&self) {
        if let Some(core) = self.writer.swap(0, SeqCst).checked_sub(1) {
            self.wakers.wake(core as usize, self.number);
        }
    }

    pub(super) fn purge_number(&self) -> u64 {
        self.purge_number.load(Relaxed)
    }

    pub(super) fn invalidation(&self) -> u64 {
        self.invalidation.load(Relaxed)
    }

    /// The request of the fetch is sent now, after these numbers.
    pub(super) fn set_sent(&self, purge_number: u64, invalidation: u64) {
        self.purge_number.store(purge_number, Relaxed);
        self.invalidation.store(invalidation, Relaxed);
    }

    pub(super) fn decide_storable(&self, entry: Arc<Entry>) {
        let _ = self.entry.set(entry);
        self.decide(STORABLE);
    }

    pub(super) fn decide_uncacheable(&self, until: u64) {
        self.until.store(until, Relaxed);
        self.decide(UNCACHEABLE);
    }

    pub(super) fn decide_gone(&self) {
        self.decide(GONE);
    }

    /// The first decision counts.
    fn decide(&self, outcome: u32) {
        let undecided = self
            .outcome
            .compare_exchange(UNDECIDED, outcome, Release, Relaxed);
        if undecided.is_ok() {
            self.wake();
        }
    }

    pub(super) fn set_end(&self, end: FillEnd, trailers: &[u8]) {
        if !trailers.is_empty() {
            let _ = self.trailers.set(trailers.into());
        }
        self.end.store(end as u8, Release);
        self.wake();
    }
}

impl Drop for RunningFill {
    fn drop(&mut self) {
        self.budget.give(self.cost());
    }
}

/// A request that follows a fill.
#[derive(Debug)]
pub struct Follower {
    fill: Arc<RunningFill>,
    reader: Arc<Reader>,
}

impl Follower {
    pub(super) fn new(fill: Arc<RunningFill>) -> Follower {
        Follower::at(fill, 0)
    }

    /// A follower that needs the body from this position on.
    fn at(fill: Arc<RunningFill>, position: u64) -> Follower {
        fill.followers.fetch_add(1, Relaxed);
        fill.budget.note(READER_BYTES);
        let reader = fill.readers.add(position);
        Follower { fill, reader }
    }

    /// The fill that is followed.
    pub fn fill(&self) -> &Arc<RunningFill> {
        &self.fill
    }

    /// Notes the first byte of the body that this follower still needs: where the store keeps no more than a part of
    /// the body, the writer waits for the slowest of those who follow. `u64::MAX`: the follower needs nothing more.
    pub fn note_read(&self, position: u64) {
        if self.fill.readers.note(&self.reader, position) {
            self.fill.wake_writer();
        }
    }
}

impl Clone for Follower {
    fn clone(&self) -> Follower {
        Follower::at(self.fill.clone(), self.reader.position())
    }
}

impl Deref for Follower {
    type Target = RunningFill;

    fn deref(&self) -> &RunningFill {
        &self.fill
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let is_last = self.fill.followers.fetch_sub(1, SeqCst) == 1;
        let is_awaited = self.fill.readers.remove(&self.reader);
        if is_last || is_awaited {
            self.fill.wake_writer();
        }
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::LosesMemory) {
            return;
        }
        self.fill.budget.give(READER_BYTES);
    }
}
