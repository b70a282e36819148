//! A moving average of latencies that believes bad news at once and good news slowly.

use crate::base::limits;
use crate::base::time::Micros;

/// Rises to a higher sample at once, falls towards lower ones exponentially in time, and fades to zero in silence, so
/// that a backend which once was slow is tried again. Time constant: `limits::LATENCY_DECAY_MICROS`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma {
    /// In microseconds; negative while there was no sample.
    average: f64,
    seen: Option<Micros>,
}

impl PeakEwma {
    /// Takes a sample in.
    pub fn observe(&mut self, sample_micros: u64, now: Micros) {
        let sample = sample_micros as f64;
        self.average = match self.seen {
            Some(seen) if sample < self.average => {
                let kept = kept_after(now.since(seen));
                self.average * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.seen = Some(now);
    }

    /// The average at `now`, in microseconds; `None` if there was no sample yet.
    pub fn value(&self, now: Micros) -> Option<f64> {
        self.seen
            .map(|seen| self.average * kept_after(now.since(seen)))
    }
}

/// The share of an average that is left after this time, from 1 down to 0.
fn kept_after(micros: u64) -> f64 {
    (-(micros as f64) / limits::LATENCY_DECAY_MICROS as f64).exp()
}
