//! The number of connections to a backend that were in use at the same time recently: as many are worth keeping.

use crate::base::limits;

/// The largest number in this period and in the period before, so that a number is forgotten after one or two periods.
/// Times are milliseconds on the core's coarse clock.
#[derive(Debug, Default)]
pub struct Peak {
    now: u32,
    before: u32,
    /// The number of the period that `now` belongs to.
    period: u64,
}

impl Peak {
    /// Notes how many connections are in use.
    pub fn note(&mut self, in_use: u32, now: u64) {
        self.turn(now);
        self.now = self.now.max(in_use);
    }

    /// The most connections that were recently in use at the same time.
    pub fn get(&mut self, now: u64) -> u32 {
        self.turn(now);
        self.now.max(self.before)
    }

    fn turn(&mut self, now: u64) {
        let period = now / limits::IDLE_PEAK_MILLIS;
        debug_assert!(period >= self.period, "time does not go back");
        match period - self.period {
            0 => return,
            1 => self.before = self.now,
            _ => self.before = 0,
        }
        (self.now, self.period) = (0, period);
    }
}

/// The number of `idle` connections to close at this tick, the oldest first: a part of the connections that the recent
/// load does not need besides the ones in use, so that a pause does not close all of them at once. At most `most` stay.
pub fn surplus(idle: usize, in_use: u32, peak: u32, most: u32) -> usize {
    let least = limits::IDLE_CONNECTIONS_LEAST.min(most);
    let wanted = peak.saturating_sub(in_use).clamp(least, most) as usize;
    let beyond = idle.saturating_sub(wanted);
    beyond.div_ceil(limits::IDLE_CLOSING_TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = limits::IDLE_PEAK_MILLIS;

    #[test]
    fn a_peak_is_remembered_for_one_or_two_periods() {
        let mut peak = Peak::default();
        peak.note(512, PERIOD / 2);
        peak.note(3, PERIOD - 1);
        // The time, and the number that is remembered then.
        let rows = [
            (PERIOD - 1, 512),
            (PERIOD, 512),
            (2 * PERIOD - 1, 512),
            (2 * PERIOD, 0),
        ];
        for (now, expected) in rows {
            assert_eq!(peak.get(now), expected, "at {now}");
        }
        peak.note(7, 2 * PERIOD);
        peak.note(5, 3 * PERIOD);
        assert_eq!(peak.get(4 * PERIOD - 1), 7);
        assert_eq!(peak.get(4 * PERIOD), 5);
        assert_eq!(peak.get(9 * PERIOD), 0);
    }

    #[test]
    fn idle_connections_follow_the_load() {
        let least = limits::IDLE_CONNECTIONS_LEAST;
        // Idle, in use, peak, most; closed at this tick.
        let rows = [
            (512, 0, 512, 1024, 0),
            (300, 212, 512, 1024, 0),
            (512, 0, 0, 1024, (512 - least as usize).div_ceil(32)),
            (least as usize, 0, 0, 1024, 0),
            (least as usize + 1, 0, 0, 1024, 1),
            (100, 100, 100, 1024, 3),
            (5, 0, 900, 2, 1),
            (3, 0, 900, 0, 1),
            (0, 7, 9, 1024, 0),
        ];
        for (idle, in_use, peak, most, expected) in rows {
            let closed = surplus(idle, in_use, peak, most);
            assert_eq!(closed, expected, "{idle} {in_use} {peak} {most}");
        }
    }

    #[test]
    fn what_is_not_needed_is_gone_within_a_minute() {
        let mut idle = limits::IDLE_CONNECTIONS_MAX as usize;
        let ticks = 60_000 / limits::TICK_MILLIS;
        for _ in 0..ticks {
            idle -= surplus(idle, 0, 0, limits::IDLE_CONNECTIONS_MAX);
        }
        assert_eq!(idle, limits::IDLE_CONNECTIONS_LEAST as usize);
    }
}
