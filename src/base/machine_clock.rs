//! The clock that all processes of a machine share, for instants that one process tells another.

use rustix::time::{ClockId, clock_gettime};

use crate::base::time::Micros;

/// Translates between [`Micros`], which count from the start of this process, and microseconds of CLOCK_MONOTONIC
/// (clock_gettime(2)), which mean the same in every process of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineClock {
    /// The instant of CLOCK_MONOTONIC at which this process's own clock was zero.
    start: i64,
}

impl MachineClock {
    /// Reads both clocks.
    pub fn read() -> MachineClock {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        MachineClock {
            start: micros - Micros::now().0 as i64,
        }
    }

    /// A clock of a process that began at this instant of CLOCK_MONOTONIC.
    pub const fn began_at(start: i64) -> MachineClock {
        MachineClock { start }
    }

    /// An instant of this process, as every process of the machine understands it.
    pub fn shared(self, at: Micros) -> i64 {
        self.start.saturating_add_unsigned(at.0)
    }

    /// An instant that another process has told, in microseconds from the start of this process; negative: before it.
    pub fn own(self, shared: i64) -> i64 {
        shared.saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_means_the_same_in_both_processes() {
        let (old, new) = (MachineClock::began_at(100), MachineClock::began_at(1_000));
        assert_eq!(new.own(old.shared(Micros(950))), 50);
        assert_eq!(new.own(old.shared(Micros(0))), -900);
        assert_eq!(old.own(old.shared(Micros(7))), 7);
        assert_eq!(new.own(i64::MIN), i64::MIN);
        assert_eq!(new.shared(Micros(u64::MAX)), i64::MAX);
    }

    #[test]
    fn both_clocks_run_alike() {
        let clock = MachineClock::read();
        let before = Micros::now();
        let later = MachineClock::read();
        assert!((later.start - clock.start).abs() < 1_000_000);
        assert!(clock.shared(before) > 0);
    }
}
