//! Chance for spreading probes out in time. It decides nothing, so it need not be good, only different from process to
//! process.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::base::limits;

/// A stream of numbers (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts somewhere else in every process.
    pub fn new() -> Jitter {
        Jitter(RandomState::new().hash_one(0))
    }

    /// A time from zero up to `most`, each equally likely.
    pub fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.fraction())
    }

    /// `duration`, up to [`limits::PROBE_JITTER_PERCENT`] shorter or longer.
    pub fn around(&mut self, duration: Duration) -> Duration {
        let spread = limits::PROBE_JITTER_PERCENT as f64 / 100.0;
        duration.mul_f64(1.0 - spread + 2.0 * spread * self.fraction())
    }

    /// From 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_its_bounds_and_uses_them() {
        let mut jitter = Jitter(1);
        let (mut early, mut late, mut short, mut long) = (0, 0, 0, 0);
        for _ in 0..1000 {
            let below = jitter.below(Duration::from_millis(1000));
            assert!(below < Duration::from_millis(1000));
            early += usize::from(below < Duration::from_millis(100));
            late += usize::from(below > Duration::from_millis(900));
            let around = jitter.around(Duration::from_millis(1000));
            assert!((900..=1100).contains(&around.as_millis()), "{around:?}");
            short += usize::from(around < Duration::from_millis(920));
            long += usize::from(around > Duration::from_millis(1080));
        }
        for count in [early, late, short, long] {
            assert!((50..=150).contains(&count), "{count}");
        }
    }
}
