//! The hashes of entries that were evicted a short time ago, each in eight bytes.

/// Hashes that share a row, where the oldest gives way.
const ROW: usize = 4;
/// Rows of the smallest table.
const LEAST_ROWS: usize = 64;

/// Remembers the last evictions, about as many as it is told. A hash may be forgotten early, and rarely a hash that was
/// never put in is found: both only cost a worse guess.
#[derive(Debug)]
pub struct Ghost {
    rows: Box<[[Evicted; ROW]]>,
    /// The number of evictions so far.
    clock: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Evicted {
    /// Bits of the hash; 0: nothing.
    mark: u32,
    /// The eviction's number.
    time: u32,
}

impl Default for Ghost {
    fn default() -> Self {
        Ghost {
            rows: vec![Default::default(); LEAST_ROWS].into_boxed_slice(),
            clock: 0,
        }
    }
}

impl Ghost {
    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        size_of_val(&*self.rows) as u64
    }

    fn row(&self, hash: u64) -> usize {
        (hash as usize >> 7) & (self.rows.len() - 1)
    }

    /// Remembers a hash, and forgets what was evicted more than `window` evictions ago.
    pub fn put(&mut self, hash: u64, window: usize) {
        self.clock = self.clock.wrapping_add(1);
        if window > self.rows.len() * ROW {
            // The table begins anew: to lose what it knew costs less than to move it.
            let rows = window.div_ceil(ROW).next_power_of_two();
            self.rows = vec![Default::default(); rows].into_boxed_slice();
        }
        let clock = self.clock;
        let row = self.row(hash);
        let oldest = self.rows[row]
            .iter_mut()
            .max_by_key(|held| match held.mark {
                0 => u32::MAX,
                _ => clock.wrapping_sub(held.time),
            });
        if let Some(oldest) = oldest {
            *oldest = Evicted {
                mark: mark_of(hash),
                time: clock,
            };
        }
    }

    /// Whether the hash was evicted within the last `window` evictions. The hash is forgotten.
    pub fn take(&mut self, hash: u64, window: usize) -> bool {
        let (row, clock) = (self.row(hash), self.clock);
        let mut held = self.rows[row].iter_mut();
        let Some(found) = held.find(|held| held.mark == mark_of(hash)) else {
            return false;
        };
        let is_recent = (clock.wrapping_sub(found.time) as usize) < window;
        *found = Evicted::default();
        is_recent
    }
}

fn mark_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SplitMix64;

    #[test]
    fn the_last_evictions_are_remembered_and_older_ones_forgotten() {
        let mut ghost = Ghost::default();
        let mut random = SplitMix64::from_seed(1);
        let hashes: Vec<u64> = (0..20_000).map(|_| random.number()).collect();
        for hash in &hashes {
            ghost.put(*hash, 1_000);
        }
        let mut found = |range: std::ops::Range<usize>| {
            let hashes = &hashes[range];
            hashes
                .iter()
                .filter(|hash| ghost.take(**hash, 1_000))
                .count()
        };
        assert_eq!(found(0..18_999), 0);
        let recent = found(19_500..20_000);
        assert!(recent > 400, "{recent} of the last 500");
        assert_eq!(found(19_500..20_000), 0, "a hash is taken once");
    }
}
