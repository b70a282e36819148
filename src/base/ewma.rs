//! A moving average of latencies that believes bad news at once and good news slowly.

use crate::base::limits;
use crate::base::time::Micros;

/// Rises to a higher sample at once, falls towards lower ones in time, and fades to zero in silence, so that a backend
/// that once was slow is tried again. Time constant: `limits::LATENCY_DECAY_MICROS`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma {
    /// In microseconds.
    average: f64,
    /// When the last sample came.
    seen: Micros,
}

impl PeakEwma {
    /// The average of one sample.
    pub fn new(sample_micros: u64, now: Micros) -> PeakEwma {
        PeakEwma {
            average: sample_micros as f64,
            seen: now,
        }
    }

    /// Takes a sample in.
    pub fn observe(&mut self, sample_micros: u64, now: Micros) {
        let sample = sample_micros as f64;
        let kept = kept_after(now.since(self.seen));
        self.average = sample.max(self.average * kept + sample * (1.0 - kept));
        debug_assert!(self.average.is_finite() && self.average >= sample);
        self.seen = self.seen.max(now);
    }

    /// The average at `now`, in microseconds.
    pub fn value(&self, now: Micros) -> f64 {
        self.average * kept_after(now.since(self.seen))
    }
}

/// The share of an average that is left after this time, from 1 down to 0: exponential decay, by the 16th step of the
/// sequence that defines it, `(1 + t/16)^-16`. It is cheaper than `exp` on the way of a
/// request, and it never reaches zero.
fn kept_after(micros: u64) -> f64 {
    let step = 1.0 / (1.0 + micros as f64 * (1.0 / (16.0 * limits::LATENCY_DECAY_MICROS as f64)));
    let second = step * step;
    let fourth = second * second;
    let eighth = fourth * fourth;
    eighth * eighth
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: u64 = limits::LATENCY_DECAY_MICROS;

    /// Samples, then the least and the most that the average may be.
    type Row = (&'static [(u64, u64)], f64, f64);

    /// The average after samples of `(microseconds, when)`, read at the time of the last one.
    fn after(samples: &[(u64, u64)]) -> f64 {
        let mut average = PeakEwma::new(samples[0].0, Micros(samples[0].1));
        for &(sample, at) in &samples[1..] {
            average.observe(sample, Micros(at));
        }
        average.value(Micros(samples[samples.len() - 1].1))
    }

    #[test]
    fn follows_the_table() {
        let rows: [Row; 6] = [
            (&[(1_000, 0)], 1_000.0, 1_000.0),
            // A peak counts at once.
            (&[(1_000, 0), (50_000, 1)], 50_000.0, 50_000.0),
            // A single good answer changes little, and time makes it count.
            (&[(50_000, 0), (1_000, 1_000)], 49_900.0, 50_000.0),
            (&[(50_000, 0), (1_000, DECAY)], 18_000.0, 21_000.0),
            (&[(50_000, 0), (1_000, 20 * DECAY)], 1_000.0, 1_010.0),
            // A clock that seems to go back keeps everything.
            (&[(50_000, 9), (1_000, 3)], 50_000.0, 50_000.0),
        ];
        for (samples, least, most) in rows {
            let value = after(samples);
            assert!((least..=most).contains(&value), "{samples:?} gave {value}");
        }
    }

    #[test]
    fn fades_in_silence() {
        let average = PeakEwma::new(50_000, Micros(0));
        let values: Vec<f64> = (0..100)
            .map(|time| average.value(Micros(time * DECAY / 4)))
            .collect();
        assert!(
            values.is_sorted_by(|earlier, later| earlier > later),
            "{values:?}"
        );
        assert!(values[99] > 0.0 && values[99] < 1.0);
    }

    #[test]
    fn decay_is_nearly_exponential() {
        for quarter in 0..8 {
            let time = quarter as f64 / 4.0;
            let kept = kept_after(quarter * DECAY / 4);
            assert!((kept - (-time).exp()).abs() < 0.02, "{kept} after {time}");
        }
    }
}
