//! Chance for spreading probes out in time. It decides nothing, so it need not be good, only different from process to
//! process.

use std::time::Duration;

use crate::base::limits;
use crate::base::random::SplitMix64;

const _: () = assert!(limits::PROBE_JITTER_PERCENT < 100, "no pause is negative");
/// A stream of times.
#[derive(Debug)]
pub struct Jitter(SplitMix64);

impl Jitter {
    /// Starts somewhere else in every process.
    pub fn new() -> Jitter {
        Jitter(SplitMix64::new())
    }

    /// A time from zero up to `most`, each equally likely.
    pub fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.0.fraction())
    }

    /// `duration`, up to [`limits::PROBE_JITTER_PERCENT`] shorter or longer.
    pub fn around(&mut self, duration: Duration) -> Duration {
        let spread = limits::PROBE_JITTER_PERCENT as f64 / 100.0;
        duration.mul_f64(1.0 - spread + 2.0 * spread * self.0.fraction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_its_bounds_and_uses_them() {
        let mut jitter = Jitter(SplitMix64::from_seed(1));
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
