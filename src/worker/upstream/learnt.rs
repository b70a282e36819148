//! How long a backend keeps an idle connection: learnt from when it closed them and from what it says, so that a
//! connection is retired before the backend closes it under a request.

use crate::base::limits;

/// What is known of one backend's idle time-out. Times are milliseconds on the core's coarse clock.
#[derive(Debug, Default)]
pub struct Learnt {
    /// Smallest age at which an idle connection was closed, or that `Keep-Alive: timeout=` announced.
    smallest: Option<u64>,
    learnt_at: u64,
}

impl Learnt {
    /// As [`Learnt::note_closed`].
    pub fn note_announced(&mut self, age: u64, now: u64) {
        self.note_closed(age, now);
    }

    /// Notes that the backend closed a connection that was idle for `age`, or said that it will. Very young ones teach
    /// nothing: then the backend was restarted, or has a bound on something else.
    pub fn note_closed(&mut self, age: u64, now: u64) {
        if age >= limits::LEARNT_IDLE_MILLIS && self.smallest.is_none_or(|known| age <= known) {
            self.smallest = Some(age);
            self.learnt_at = now;
        }
    }

    /// The age at which to retire an idle connection that may be kept for `keepalive`. Below what was learnt by a
    /// tenth and three ticks, which covers the way of a request and the coarseness of the clock. What was learnt is
    /// forgotten after a while, because the backend may have been given another time-out.
    pub fn retire_after(&mut self, keepalive: u64, now: u64) -> u64 {
        if now.saturating_sub(self.learnt_at) > limits::LEARNT_FOR_MILLIS {
            self.smallest = None;
        }
        match self.smallest {
            None => keepalive,
            Some(age) => keepalive.min((age - age / 10).saturating_sub(3 * limits::TICK_MILLIS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retires_before_the_smallest_age_seen() {
        let mut learnt = Learnt::default();
        assert_eq!(learnt.retire_after(60_000, 0), 60_000);
        learnt.note_closed(5_000, 10);
        learnt.note_closed(7_000, 20);
        assert_eq!(learnt.retire_after(60_000, 30), 4_200);
        assert_eq!(learnt.retire_after(1_000, 30), 1_000);
        learnt.note_closed(1_000, 40);
        assert_eq!(learnt.retire_after(60_000, 40), 600);
    }

    #[test]
    fn young_closes_teach_nothing_and_old_lessons_are_forgotten() {
        let mut learnt = Learnt::default();
        learnt.note_closed(limits::LEARNT_IDLE_MILLIS - 1, 0);
        assert_eq!(learnt.retire_after(60_000, 0), 60_000);
        learnt.note_closed(5_000, 0);
        assert_eq!(
            learnt.retire_after(60_000, limits::LEARNT_FOR_MILLIS),
            4_200
        );
        assert_eq!(
            learnt.retire_after(60_000, limits::LEARNT_FOR_MILLIS + 1),
            60_000
        );
    }
}
