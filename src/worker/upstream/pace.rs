//! How many requests may share one send to a backend. One that takes its time answers those that share one after the
//! other, which takes longer than side by side: so it begins with few, more as long as nobody has to wait for another, and
//! none for a while when somebody has.

use crate::base::limits;

/// What is known of one backend's pace. Times are milliseconds on the core's coarse clock unless said otherwise.
#[derive(Debug)]
pub struct Pace {
    most: u32,
    /// Mean time, in microseconds, from the answer before to one's own.
    mean_wait: u64,
    apart_until: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            most: limits::PIPELINING_FIRST,
            mean_wait: 0,
            apart_until: 0,
        }
    }
}

impl Pace {
    /// How many may share a send now; 1: none.
    pub fn most(&self, now: u64) -> u32 {
        if now < self.apart_until {
            return 1;
        }
        self.most
    }

    /// Notes that somebody in line had the answer so many microseconds after the one before had its own.
    pub fn note_wait(&mut self, micros: u64, now: u64) {
        let micros = micros.min(limits::LINE_MILLIS * 1000);
        self.mean_wait = (15 * self.mean_wait + micros) / 16;
        if self.mean_wait > limits::QUICK_ANSWER_MICROS {
            self.keep_apart(now);
        } else {
            self.most = (self.most + 1).min(limits::PIPELINING_MAX);
        }
    }

    /// Lets none share for a while, and then begin anew.
    pub fn keep_apart(&mut self, now: u64) {
        *self = Pace {
            apart_until: now + limits::KEPT_APART_MILLIS,
            ..Pace::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_backend_is_trusted_with_more_and_more() {
        let mut pace = Pace::default();
        let first = pace.most(0);
        pace.note_wait(100, 0);
        assert_eq!(pace.most(0), first + 1);
        for _ in 0..1000 {
            pace.note_wait(100, 0);
        }
        assert_eq!(pace.most(0), limits::PIPELINING_MAX);
        // One that waits is no pattern yet.
        pace.note_wait(10_000, 0);
        assert_eq!(pace.most(0), limits::PIPELINING_MAX);
    }

    #[test]
    fn a_backend_that_takes_its_time_has_each_by_itself_for_a_while() {
        let mut pace = Pace::default();
        let mut held_up = 0;
        while pace.most(0) > 1 {
            pace.note_wait(10_000, 0);
            held_up += 1;
        }
        assert!(held_up <= 4, "{held_up}");
        assert_eq!(pace.most(limits::KEPT_APART_MILLIS - 1), 1);
        let again = pace.most(limits::KEPT_APART_MILLIS);
        assert_eq!(again, limits::PIPELINING_FIRST);
    }

    #[test]
    fn one_very_slow_answer_is_enough() {
        let mut pace = Pace::default();
        pace.note_wait(3_000_000, 0);
        assert_eq!(pace.most(0), 1);
    }
}
