//! Estimates how long a backend keeps an idle connection, from its closes and its announcements. A connection is
//! retired before the backend would close it while a request is on its way (RFC 9112 section 9.5).

use crate::base::limits;

/// The estimate of one backend's idle time-out. Times are milliseconds on the core's coarse clock.
#[derive(Debug, Default)]
pub struct IdleTimeoutEstimate {
    /// The time-out that the backend has announced, or has shown by two closes some time apart.
    sure: Option<Observation>,
    /// The age of the connection at a single close. The backend may only have been restarted.
    once: Option<Observation>,
}

/// The age at which an idle connection was closed, and the time of the close.
#[derive(Clone, Copy, Debug)]
struct Observation {
    age: u64,
    at: u64,
}

impl IdleTimeoutEstimate {
    /// Notes the age, in milliseconds, after which the backend announces to close idle connections.
    pub fn note_announced(&mut self, age: u64, now: u64) {
        if age >= limits::IDLE_ESTIMATE_MIN_MILLIS {
            self.know(age, now);
        }
    }

    /// Notes that the backend closed a connection that was idle for `age`. Very young connections are ignored, because
    /// the backend was restarted, or has a bound on something else. A restarted backend closes connections of any age,
    /// all at once. So an age counts for long only if it is seen again some time later.
    pub fn note_closed(&mut self, age: u64, now: u64) {
        if age < limits::IDLE_ESTIMATE_MIN_MILLIS {
            return;
        }
        let again = self.once.filter(|once| once.is_seen_again(age, now));
        if let Some(once) = again {
            self.once = None;
            self.know(age.min(once.age), now);
        } else if self.sure.is_some_and(|sure| sure.is_like(age)) {
            self.know(age, now);
        } else if self
            .once
            .is_none_or(|once| age <= once.age || !once.is_trusted(now))
        {
            self.once = Some(Observation { age, at: now });
        }
    }

    fn know(&mut self, age: u64, now: u64) {
        let known = self.sure.filter(|sure| sure.is_fresh(now));
        let age = known.map_or(age, |known| known.age.min(age));
        self.sure = Some(Observation { age, at: now });
    }

    /// The age at which to retire an idle connection that may be kept for `keepalive`: below the estimate by a tenth
    /// and three ticks, which covers the way of a request and the coarseness of the clock. An old estimate is ignored,
    /// because the backend may have another time-out now.
    pub fn retire_after(&self, keepalive: u64, now: u64) -> u64 {
        let sure = self.sure.filter(|sure| sure.is_fresh(now));
        let once = self.once.filter(|once| once.is_trusted(now));
        let lessons = [sure, once].into_iter().flatten();
        match lessons.map(|lesson| lesson.age).min() {
            None => keepalive,
            Some(age) => keepalive.min((age - age / 10).saturating_sub(3 * limits::TICK_MILLIS)),
        }
    }
}

impl Observation {
    fn is_fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.at) <= limits::IDLE_ESTIMATE_KEPT_MILLIS
    }

    /// Whether the observation counts although it was seen once.
    fn is_trusted(&self, now: u64) -> bool {
        now.saturating_sub(self.at) <= limits::IDLE_ESTIMATE_ONCE_MILLIS.max(2 * self.age)
    }

    fn is_like(&self, age: u64) -> bool {
        self.age.abs_diff(age) <= self.age / 5
    }

    fn is_seen_again(&self, age: u64, now: u64) -> bool {
        let is_later = now.saturating_sub(self.at) >= limits::IDLE_ESTIMATE_APART_MILLIS;
        is_later && self.is_fresh(now) && self.is_like(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retires_before_the_smallest_age_seen() {
        let mut estimate = IdleTimeoutEstimate::default();
        assert_eq!(estimate.retire_after(60_000, 0), 60_000);
        estimate.note_closed(5_000, 10);
        estimate.note_closed(7_000, 20);
        assert_eq!(estimate.retire_after(60_000, 30), 4_200);
        assert_eq!(estimate.retire_after(1_000, 30), 1_000);
        estimate.note_closed(1_000, 40);
        assert_eq!(estimate.retire_after(60_000, 40), 600);
    }

    #[test]
    fn young_closes_teach_nothing_and_old_lessons_are_forgotten() {
        let mut estimate = IdleTimeoutEstimate::default();
        estimate.note_closed(limits::IDLE_ESTIMATE_MIN_MILLIS - 1, 0);
        assert_eq!(estimate.retire_after(60_000, 0), 60_000);
        estimate.note_announced(5_000, 0);
        let forgotten = limits::IDLE_ESTIMATE_KEPT_MILLIS + 1;
        assert_eq!(estimate.retire_after(60_000, forgotten - 1), 4_200);
        assert_eq!(estimate.retire_after(60_000, forgotten), 60_000);
    }

    /// The backend closes all connections that are idle, whatever their age.
    #[test]
    fn a_restart_is_soon_forgotten() {
        let mut estimate = IdleTimeoutEstimate::default();
        estimate.note_announced(30_000, 0);
        let restart = 50_000;
        for age in [1_000, 4_000, 1_100, 20_000, 1_000] {
            estimate.note_closed(age, restart);
        }
        assert_eq!(estimate.retire_after(60_000, restart), 600);
        let later = restart + limits::IDLE_ESTIMATE_ONCE_MILLIS + 1;
        assert_eq!(estimate.retire_after(60_000, later), 26_700);
    }

    #[test]
    fn what_is_seen_again_is_believed() {
        let mut estimate = IdleTimeoutEstimate::default();
        estimate.note_closed(5_000, 10_000);
        let later = 10_000 + limits::IDLE_ESTIMATE_ONCE_MILLIS + 1;
        assert_eq!(estimate.retire_after(60_000, later), 60_000);
        estimate.note_closed(5_200, later);
        assert_eq!(estimate.retire_after(60_000, later + 300_000), 4_200);
    }
}
