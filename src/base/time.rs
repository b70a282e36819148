//! Time as a number. Decisions take it as an argument; only the edges of the program read the clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds on the monotonic clock since the program first asked. Never goes back; wraps after 584,000 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl Micros {
    /// Reads the monotonic clock (about 25 ns).
    pub fn now() -> Micros {
        #[cfg(test)]
        if let Some(now) = crate::simulated::clock::read() {
            return now;
        }
        static START: OnceLock<Instant> = OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        Micros(start.elapsed().as_micros() as u64)
    }

    /// The time that passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant that lies `duration` after this one, without overflow.
    pub fn after(self, duration: Duration) -> Micros {
        Micros(self.0.saturating_add(duration.as_micros() as u64))
    }

    /// The time that is left until this instant; zero if it has passed.
    pub fn until(self) -> Duration {
        Duration::from_micros(self.since(Micros::now()))
    }

    /// Whole milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

/// Milliseconds since 1970 by the clock of the machine.
pub fn unix_millis() -> u64 {
    #[cfg(test)]
    if let Some(now) = crate::simulated::clock::read() {
        return crate::simulated::clock::UNIX_START + now.as_millis();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
