//! The remains of a store that nobody uses any more, for tests.

use super::CacheStore;

/// The parts of a store that have to end with the requests that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The fetches that run.
    pub fetches: u32,
    /// The followers of fetches.
    pub followers: u32,
    /// Bytes of blocks that are in use.
    pub blocks: u64,
    /// Bytes that are counted as used, and belong neither to blocks nor to tables.
    pub unexplained: i64,
}

impl CacheStore {
    /// The remains of the store's work. While there are entries, the bytes of the blocks and the unexplained ones are
    /// theirs, too.
    pub fn remains(&self) -> Remains {
        let (mut fetches, mut followers, mut tables) = (0, 0, 0);
        for shard in &self.shards {
            let shard = shard.lock().unwrap();
            let running = shard.running();
            fetches += running.0;
            followers += running.1;
            tables += shard.heap_bytes();
        }
        tables += self.policy().heap_bytes() + self.purges.heap_bytes();
        tables += self.validations.heap_bytes();
        tables += self.uses.heap_bytes() + self.range_uses.heap_bytes();
        let (touched, free, resident) = self.arena.touched();
        let explained = (tables + resident + (touched - free)) as i64;
        Remains {
            fetches,
            followers,
            blocks: touched - free,
            unexplained: self.budget.used() as i64 - explained,
        }
    }
}
