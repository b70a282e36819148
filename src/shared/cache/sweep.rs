//! The work in the background: frees entries that a purge has ended, and ends purges that concern nothing any more.

use std::sync::{Arc, PoisonError};

use super::CacheStore;
use super::counted::{Counted, HeapBytes};
use super::entry::{Entry, EntryState};
use crate::base::limits;

/// Where the sweep is.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The next node to look at.
    node: u32,
    /// The purge number when this pass began.
    began: u64,
    /// The purge number up to which all entries were checked.
    done: u64,
    /// The passes over all entries.
    passes: u64,
}

/// The work of one call of [`CacheStore::sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The entries that were looked at.
    pub seen: usize,
    /// The entries that were freed.
    pub freed: usize,
    /// Whether all entries were checked against all purges: there is nothing to do until the next purge.
    pub is_done: bool,
}

impl CacheStore {
    /// Looks at about `steps` entries; call it from a tick in the background. `now` is in milliseconds since 1970.
    pub fn sweep(&self, steps: usize, now: u64) -> Swept {
        // Where nobody looks anything up, changes of other processes would not be heard before they are too many.
        self.hear();
        if self.sharing.is_frozen() {
            return Swept {
                is_done: true,
                ..Swept::default()
            };
        }
        self.sweep_on(steps, now)
    }

    /// The purge number up to which all entries were checked.
    pub(super) fn swept_number(&self) -> u64 {
        let sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        sweep.done
    }

    /// Sweeps also while the store is frozen.
    pub(super) fn sweep_on(&self, steps: usize, now: u64) -> Swept {
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut swept = Swept::default();
        if sweep.node == 0 && sweep.done == self.purges.number() {
            // The purges that stand still wait for the ends of fetches.
            self.end_purges(sweep.done, now);
            swept.is_done = true;
            return swept;
        }
        if sweep.node == 0 {
            sweep.began = self.purges.number();
        }
        while swept.seen < steps {
            let nodes = limits::LISTED_AT_ONCE.min(steps - swept.seen) as u32;
            let (entries, is_end) = self.entries_from(sweep.node, nodes);
            swept.seen += nodes as usize;
            sweep.node += nodes;
            for entry in &entries {
                let was_dead = entry.state() == EntryState::Dead;
                if !was_dead && self.check(entry) == EntryState::Dead {
                    swept.freed += 1;
                }
            }
            if is_end {
                sweep.node = 0;
                sweep.done = sweep.began;
                sweep.passes += 1;
                self.end_purges(sweep.done, now);
                break;
            }
        }
        swept.is_done = sweep.done == self.purges.number();
        swept
    }

    /// Passes over all entries since the start.
    pub fn sweeps(&self) -> u64 {
        let sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        sweep.passes
    }

    /// The entries of so many nodes, and whether there are no further nodes.
    pub(super) fn entries_from(&self, node: u32, nodes: u32) -> (Vec<Arc<Entry>>, bool) {
        let policy = self.policy();
        let end = node.saturating_add(nodes).min(policy.nodes());
        let entries = (node..end).filter_map(|node| policy.get(node).cloned());
        (entries.collect(), end == policy.nodes())
    }

    fn end_purges(&self, swept: u64, now: u64) {
        let mut oldest = u64::MAX;
        for shard in &self.shards {
            let mut shard = Counted::new(shard, &self.budget);
            shard.drop_old_markers(now);
            oldest = oldest.min(shard.oldest_fetch().unwrap_or(u64::MAX));
        }
        let before = self.purges.heap_bytes();
        self.purges.end(swept, oldest);
        let after = self.purges.heap_bytes();
        self.budget.give(before.saturating_sub(after));
    }
}

impl HeapBytes for Sweep {
    fn heap_bytes(&self) -> u64 {
        0
    }
}
