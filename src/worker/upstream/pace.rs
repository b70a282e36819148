//! How many requests may share one send to a backend. One that takes its time answers those that share one after the
//! other, where it could answer side by side: so as many may share as add little to what an answer takes anyway. That is
//! few at first, and none for a while where a second is too many.

use crate::base::limits;
use crate::base::time::Micros;

/// What is known of one backend's pace. Times are microseconds, `now` milliseconds on the core's coarse clock.
#[derive(Debug)]
pub struct Pace {
    most: u32,
    /// From a request to its answer, of those that had nobody before them.
    latency: Mean,
    /// From the answer before to one's own, of those that had.
    wait: Mean,
    /// Until when waiting is known of.
    known_until: Micros,
    apart_until: u64,
}

/// An exponentially weighted mean.
#[derive(Debug, Default)]
struct Mean(Option<u64>);

impl Mean {
    fn note(&mut self, micros: u64) {
        let mean = self.0.unwrap_or(micros);
        self.0 = Some((15 * mean + micros) / 16);
    }

    fn get(&self) -> u64 {
        self.0.unwrap_or(0)
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            most: limits::PIPELINING_FIRST,
            latency: Mean::default(),
            wait: Mean::default(),
            known_until: Micros(0),
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

    /// Notes how long an answer took that had none before it.
    pub fn note_latency(&mut self, micros: u64) {
        self.latency.note(micros);
    }

    /// Notes when the answer before came, and when the next one. Those that wait at the same time, on several connections,
    /// say the same thing, and only the first is listened to.
    pub fn note_wait(&mut self, began: Micros, ended: Micros, now: u64) {
        if began < self.known_until {
            return;
        }
        self.known_until = ended;
        // A single one that is very late is no pattern: who waits behind it does not wait for long.
        let micros = ended.since(began);
        self.wait.note(micros.min(4 * self.unnoticed()));
        let wait = self.wait.get().max(1);
        let fitting = 1 + (self.unnoticed() / wait).min(limits::PIPELINING_MAX.into()) as u32;
        match fitting {
            1 => self.keep_apart(now),
            fitting => self.most = (self.most + 1).min(fitting),
        }
    }

    /// What the last of those that share may wait longer than the first. Where answers take long because many are asked
    /// for, each that waits in line has fewer before it elsewhere.
    fn unnoticed(&self) -> u64 {
        (self.latency.get() * 3 / 4).max(limits::UNNOTICED_MICROS)
    }

    /// How long, in milliseconds, to wait in line before something must be wrong with somebody in front.
    pub fn patience(&self) -> u64 {
        let millis = self.latency.get() / 1000;
        (4 * millis).clamp(
            limits::PIPELINE_WAIT_MILLIS,
            limits::PIPELINE_WAIT_MILLIS_MAX,
        )
    }

    /// Lets none share for a while, and then begin anew.
    pub fn keep_apart(&mut self, now: u64) {
        *self = Pace {
            apart_until: now + limits::KEPT_APART_MILLIS,
            known_until: self.known_until,
            ..Pace::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend that takes so long for an answer, and so long for the next one when it has several.
    fn after(answers: u32, latency: u64, wait: u64) -> u32 {
        let mut pace = Pace::default();
        for number in 0..u64::from(answers) {
            pace.note_latency(latency);
            wait_in(&mut pace, 1_000_000 * number, wait);
        }
        pace.most(0)
    }

    fn wait_in(pace: &mut Pace, began: u64, micros: u64) {
        pace.note_wait(Micros(began), Micros(began + micros), 0);
    }

    #[test]
    fn as_many_as_add_little_to_an_answer() {
        let rows = [
            ("at once", 300, 10, 65),
            ("quick", 300, 200, 26),
            ("a millisecond each", 1_000, 1_000, 6),
            ("four milliseconds each", 4_000, 4_000, 2),
            ("ten milliseconds each", 10_000, 10_000, 1),
            ("one after the other", 100_000, 100_000, 1),
            ("busy, but quick", 20_000, 500, 31),
            ("busier", 20_000, 4_000, 4),
        ];
        for (name, latency, wait, most) in rows {
            assert_eq!(after(200, latency, wait), most, "{name}");
        }
    }

    #[test]
    fn it_begins_with_few_and_gives_up_at_once() {
        assert_eq!(Pace::default().most(0), limits::PIPELINING_FIRST);
        assert_eq!(after(1, 300, 10), limits::PIPELINING_FIRST + 1);
        let mut pace = Pace::default();
        pace.note_latency(10_000);
        wait_in(&mut pace, 0, 10_000);
        assert_eq!(pace.most(limits::KEPT_APART_MILLIS - 1), 1);
        let again = pace.most(limits::KEPT_APART_MILLIS);
        assert_eq!(again, limits::PIPELINING_FIRST);
    }

    #[test]
    fn patience_table() {
        let rows = [
            (0, limits::PIPELINE_WAIT_MILLIS),
            (1_000, limits::PIPELINE_WAIT_MILLIS),
            (50_000, 200),
            (9_000_000, limits::PIPELINE_WAIT_MILLIS_MAX),
        ];
        for (latency, millis) in rows {
            let mut pace = Pace::default();
            pace.note_latency(latency);
            assert_eq!(pace.patience(), millis);
        }
    }

    #[test]
    fn one_late_answer_is_no_pattern() {
        let mut pace = Pace::default();
        for number in 0..100 {
            wait_in(&mut pace, 100 * number, 10);
        }
        // Many that wait at the same time are one.
        for _ in 0..100 {
            wait_in(&mut pace, 20_000, 3_000_000);
        }
        assert!(pace.most(0) > 1);
        for number in 1..10 {
            wait_in(&mut pace, 4_000_000 * number, 3_000_000);
        }
        assert_eq!(pace.most(0), 1);
    }
}
