//! About how often each key was wanted of late, in 16 bytes for each entry of the store (a count-min sketch as in
//! TinyLFU, Einziger et al. 2017). The counts are of keys in the store and of others.

/// Counters for each entry that the sketch is made for.
const COUNTERS_PER_ENTRY: usize = 32;
/// Words of a line, with 16 counters each.
const LINE: usize = 8;
/// The largest count.
const MOST: u64 = 15;
/// Counts after which one line is halved: the older a count, the less it says. Fewer of them forget sooner what was
/// wanted once, and more of them tell better how keys rank that are wanted for long.
const HALVE_EVERY: u32 = 200;
/// Words that are allocated when the first of them is needed, so that growth takes no time.
const CHUNK: usize = 2_048;
/// Entries of the smallest sketch.
const LEAST_ENTRIES: usize = 1 << 10;

/// Counts of four bits each.
#[derive(Debug)]
pub struct Sketch {
    chunks: Vec<Option<Box<[u64; CHUNK]>>>,
    entries: usize,
    allocated: usize,
    /// Counts since a line was halved, and the line that is halved next.
    counted: u32,
    next: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch::new(LEAST_ENTRIES)
    }
}

impl Sketch {
    fn new(entries: usize) -> Sketch {
        Sketch {
            chunks: vec![None; entries * COUNTERS_PER_ENTRY / 16 / CHUNK],
            entries,
            allocated: 0,
            counted: 0,
            next: 0,
        }
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let list = self.chunks.capacity() * size_of::<Option<Box<[u64; CHUNK]>>>();
        (list + self.allocated * size_of::<[u64; CHUNK]>()) as u64
    }

    /// Makes the sketch large enough for so many entries. A larger sketch begins anew: to lose what the smaller one
    /// counted costs less than to move its counts.
    pub fn fit(&mut self, entries: usize) {
        if entries > self.entries {
            *self = Sketch::new(entries.next_power_of_two());
        }
    }

    fn lines(&self) -> usize {
        self.chunks.len() * CHUNK / LINE
    }

    fn word(&self, at: usize) -> u64 {
        let chunk = self.chunks[at / CHUNK].as_ref();
        chunk.map_or(0, |chunk| chunk[at % CHUNK])
    }

    fn word_mut(&mut self, at: usize) -> &mut u64 {
        let chunk = &mut self.chunks[at / CHUNK];
        self.allocated += usize::from(chunk.is_none());
        &mut chunk.get_or_insert_with(|| Box::new([0; CHUNK]))[at % CHUNK]
    }

    /// Where the counters of a hash are: the word, and the shift within it.
    fn counters(&self, hash: u64) -> [(usize, u32); 4] {
        let line = (hash >> 20) as usize & (self.lines() - 1);
        let mut bits = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // Each counter has two words of the line for itself.
        std::array::from_fn(|at| {
            let word = line * LINE + at * 2 + (bits & 1) as usize;
            let shift = (bits >> 1 & 15) as u32 * 4;
            bits >>= 5;
            (word, shift)
        })
    }

    /// The count of a hash; mostly right, sometimes too large.
    pub fn count(&self, hash: u64) -> u64 {
        let counters = self.counters(hash).into_iter();
        let counts = counters.map(|(word, shift)| self.word(word) >> shift & MOST);
        counts.min().unwrap_or(0)
    }

    /// Counts a hash so many times.
    pub fn add(&mut self, hash: u64, times: u64) {
        let count = (self.count(hash) + times).min(MOST);
        for (word, shift) in self.counters(hash) {
            let word = self.word_mut(word);
            if *word >> shift & MOST < count {
                *word = *word & !(MOST << shift) | count << shift;
            }
        }
        self.counted += times as u32;
        while self.counted >= HALVE_EVERY {
            self.counted -= HALVE_EVERY;
            self.halve_line();
        }
    }

    fn halve_line(&mut self) {
        let first = self.next * LINE;
        if let Some(chunk) = &mut self.chunks[first / CHUNK] {
            for word in &mut chunk[first % CHUNK..][..LINE] {
                *word = *word >> 1 & 0x7777_7777_7777_7777;
            }
        }
        self.next = (self.next + 1) % self.lines();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SplitMix64;

    #[test]
    fn counts_are_at_least_what_was_counted_and_rarely_more() {
        let mut sketch = Sketch::new(1 << 12);
        let mut random = SplitMix64::from_seed(1);
        let hashes: Vec<u64> = (0..4_000).map(|_| random.number()).collect();
        for (at, hash) in hashes.iter().enumerate() {
            sketch.add(*hash, at as u64 % 4);
        }
        let wrong = |(at, hash): (usize, &u64)| {
            let (count, true_count) = (sketch.count(*hash), at as u64 % 4);
            // Of 1,024 lines, about 30 were halved meanwhile.
            count != true_count
        };
        let wrong = hashes
            .iter()
            .enumerate()
            .filter(|pair| wrong(*pair))
            .count();
        assert!(wrong < 200, "{wrong} of 4,000");
    }

    #[test]
    fn counts_fade() {
        let mut sketch = Sketch::new(1 << 10);
        sketch.add(7 << 20, 100);
        assert_eq!(sketch.count(7 << 20), MOST);
        let lines = (1 << 10) * COUNTERS_PER_ENTRY / 16 / LINE;
        for _ in 0..lines * HALVE_EVERY as usize {
            sketch.add(u64::MAX, 1);
        }
        assert_eq!(sketch.count(7 << 20), MOST / 2);
    }
}
