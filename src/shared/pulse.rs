//! Signs of life of a thread, for the threads that watch it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::time::Micros;

/// The pulse of a thread, as all threads hold it.
pub type SharedPulse = std::sync::Arc<Pulse>;

/// A thread that is watched.
#[derive(Debug)]
pub struct Watched {
    /// The thread.
    pub thread: JoinHandle<()>,
    /// The signs of life that the thread gives.
    pub pulse: SharedPulse,
}

/// The time of the thread's last sign of life. The thread itself writes it, and all others read it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Gives a sign of life.
    #[inline]
    pub fn beat(&self, now: Micros) {
        self.0.store(now.0, Relaxed);
    }

    /// The time since the thread's last sign of life.
    pub fn silence(&self, now: Micros) -> Duration {
        Duration::from_micros(now.since(Micros(self.0.load(Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_beat() {
        let pulse = Pulse::default();
        pulse.beat(Micros(3_000_000));
        assert_eq!(pulse.silence(Micros(5_000_000)), Duration::from_secs(2));
        pulse.beat(Micros(5_000_000));
        assert_eq!(pulse.silence(Micros(4_999_999)), Duration::ZERO);
    }
}
