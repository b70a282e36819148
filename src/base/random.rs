//! Numbers by chance: good enough to spread things and to name them, never for secrets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A stream of numbers (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts somewhere else every time.
    pub fn new() -> SplitMix64 {
        SplitMix64(RandomState::new().hash_one(0))
    }

    /// Starts at a known place, for tests.
    pub fn from_seed(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// The next number, each equally likely.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but not including, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Default for SplitMix64 {
    fn default() -> Self {
        SplitMix64::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_go_on() {
        let (mut first, mut second) = (SplitMix64::new(), SplitMix64::new());
        assert_ne!(first.number(), second.number());
        assert_ne!(first.number(), first.number());
        // The first outputs for the seed 1234567, as the authors publish them.
        let mut known = SplitMix64::from_seed(1_234_567);
        let numbers = [known.number(), known.number()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
        assert!((0..1000).all(|_| (0.0..1.0).contains(&known.fraction())));
    }
}
