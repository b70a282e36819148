//! The handover of a store at an upgrade. The old process freezes the store, and the new process serves from the same
//! memory, and owns the memory once the old process is no longer the service.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::arena::Arena;
use super::budget::Budget;
use super::changes::{Change, ChangeRing};
use super::{CacheStore, Counted};
use crate::base::limits;

/// The process owns its memory.
const OWN: u8 = 0;
/// Another process owns the memory, or may own it soon: nothing is stored.
const FROZEN: u8 = 1;
/// Another process owns the memory for good: what is stored lies elsewhere.
const APART: u8 = 2;

/// The relation of a store to other processes.
#[derive(Debug)]
pub struct StoreSharing {
    mode: AtomicU8,
    /// Memory for what comes while another process owns the arena.
    spare: OnceLock<Option<Arc<Arena>>>,
    /// Purges and invalidations that processes tell each other.
    pub changes: ChangeRing,
    /// A pipe that nobody writes to, and whose end says that this process has ended.
    life: OnceLock<(OwnedFd, OwnedFd)>,
    /// The pipes of the processes that had the memory before.
    elders: Mutex<Vec<OwnedFd>>,
}

/// The knowledge that the next process needs beside the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandedIndex {
    /// The purge number up to which all entries were checked.
    pub purge_number: u64,
    /// The zones by their numbers.
    pub zones: Vec<String>,
    /// The first of the changes that are not in the memory yet.
    pub change: u32,
}

/// A store as one process hands it to the next.
#[derive(Debug)]
pub struct HandedStore {
    /// The memory.
    pub memory: OwnedFd,
    /// A pipe for each process that may read the memory; the pipe of one that has ended is at its end.
    pub readers: Vec<OwnedFd>,
    /// The knowledge that the next process needs beside the memory.
    pub state: HandedIndex,
}

impl StoreSharing {
    /// A store that shares nothing. `process` tells processes apart.
    pub fn new(process: u32) -> StoreSharing {
        StoreSharing {
            mode: AtomicU8::new(OWN),
            spare: OnceLock::new(),
            changes: ChangeRing::new(process),
            life: OnceLock::new(),
            elders: Mutex::default(),
        }
    }

    /// A store in the memory of other processes.
    pub fn after(process: u32, elders: Vec<OwnedFd>, change: u32) -> StoreSharing {
        let sharing = StoreSharing {
            mode: AtomicU8::new(FROZEN),
            elders: Mutex::new(elders),
            ..StoreSharing::new(process)
        };
        sharing.changes.begin(change);
        sharing
    }

    fn elders(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.elders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_elder(&self) -> Option<OwnedFd> {
        let elders = self.elders();
        elders.first().and_then(|first| first.try_clone().ok())
    }

    /// Whether nothing is stored and nothing evicted.
    pub fn is_frozen(&self) -> bool {
        self.mode.load(SeqCst) == FROZEN
    }
}

impl CacheStore {
    /// The arena that new blocks are made in; `None`: the machine has no memory for one.
    pub(super) fn arena_now(&self) -> Option<&Arc<Arena>> {
        if self.sharing.mode.load(SeqCst) == OWN {
            return Some(&self.arena);
        }
        let spare = self.sharing.spare.get_or_init(|| {
            let bytes = (self.max_bytes / limits::SPARE_PART).max(limits::STORE_LEAST_BYTES);
            Arena::new(bytes, Arc::new(Budget::new(bytes))).ok()
        });
        spare.as_ref()
    }

    /// Freezes the store for the next process: hits are served on, but nothing is stored, evicted or freed. Errors: the
    /// process does not own its memory, or the machine has no descriptors left; nothing is frozen.
    pub fn freeze(&self) -> io::Result<HandedStore> {
        if self.sharing.mode.load(SeqCst) != OWN {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = self.arena.file().ok_or(io::ErrorKind::Unsupported)?;
        let memory = file.try_clone_to_owned()?;
        if self.sharing.life.get().is_none() {
            let _ = self.sharing.life.set(pipe_with(PipeFlags::CLOEXEC)?);
        }
        let elders = self.sharing.elders();
        let life = self.sharing.life.get().map(|(end, _)| end);
        let readers = elders.iter().chain(life).map(OwnedFd::try_clone);
        let readers = readers.collect::<io::Result<Vec<_>>>()?;
        drop(elders);
        self.sharing.mode.store(FROZEN, SeqCst);
        self.arena.freeze();
        if let Some(tier) = self.disk.get() {
            // The next process has the folder from here on.
            tier.suspend();
        }
        let change = ChangeRing::next(&self.arena);
        if !self.sharing.changes.has_peer() {
            self.sharing.changes.begin(change);
        }
        // A thread that stores or invalidates has the lock of a shard.
        for shard in &self.shards {
            drop(Counted::new(shard, &self.budget));
        }
        // The next process does not hear the changes that others have told up to here.
        self.hear();
        let purge_number = self.check_all();
        let zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let zones = zones.iter().map(ToString::to_string).collect();
        let state = HandedIndex {
            purge_number,
            zones,
            change,
        };
        Ok(HandedStore {
            memory,
            readers,
            state,
        })
    }

    /// Checks all entries against all purges, so that the next process need not know the purges; returns the number of
    /// the last of them.
    fn check_all(&self) -> u64 {
        for _ in 0..limits::FREEZE_STEPS {
            if self.sweep_on(limits::LISTED_AT_ONCE, 0).is_done {
                break;
            }
        }
        self.swept_number()
    }

    /// Goes on as before, because the next process has not come to serve.
    pub fn thaw(&self) {
        if self.sharing.is_frozen() {
            self.decide_owner(false);
        }
    }

    /// Owns the memory from here on, because the process before is no longer the service.
    pub fn take_over(&self) {
        if self.sharing.is_frozen() {
            self.decide_owner(true);
        }
    }

    fn decide_owner(&self, is_new: bool) {
        let is_mine = self.arena.own(is_new);
        let mode = if is_mine { OWN } else { APART };
        self.sharing.mode.store(mode, SeqCst);
        if mode == OWN
            && let Some(tier) = self.disk.get()
        {
            tier.resume();
        }
        self.end_sharing_if_alone();
        self.settle();
    }

    /// Waits until the processes that had the memory before have ended, and uses the blocks again that these might have
    /// read. Blocks; `None`: without end.
    pub fn await_elders(&self, patience: Option<Timespec>) {
        loop {
            let Some(first) = self.sharing.first_elder() else {
                break;
            };
            let mut waits = [PollFd::new(&first, PollFlags::empty())];
            let polled = rustix::io::retry_on_intr(|| poll(&mut waits, patience.as_ref()));
            if polled == Ok(0) {
                return;
            }
            self.sharing.elders().remove(0);
        }
        self.end_sharing_if_alone();
    }

    fn end_sharing_if_alone(&self) {
        let is_alone = self.sharing.elders().is_empty();
        if is_alone && !self.sharing.is_frozen() {
            self.arena.end_sharing();
            if self.sharing.mode.load(SeqCst) == OWN {
                self.sharing.changes.end();
            }
        }
    }

    /// Does what other processes have told, if there is something new.
    #[inline]
    pub(super) fn hear(&self) {
        if self.sharing.changes.has_more(&self.arena) {
            self.hear_all();
        }
    }

    #[cold]
    fn hear_all(&self) {
        let hear = |change: Change<'_>| match change {
            Change::Invalidation(key) => self.invalidate_here(self.hash(key), key),
            Change::Purge(purge, effect) => {
                self.purge_here(purge, effect);
            }
        };
        let doubt = || self.doubt_all();
        self.sharing.changes.hear(&self.arena, hear, doubt);
    }

    pub(super) fn tell(&self, change: Change<'_>) {
        self.sharing.changes.tell(&self.arena, change);
    }
}
