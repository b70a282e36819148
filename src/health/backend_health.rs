//! The judgement of one backend: the pure rules of rise, fall and ejection. Time is an argument.

use std::mem;
use std::time::Duration;

use crate::base::limits;
use crate::base::machine_clock::MachineClock;
use crate::base::time::Micros;
use crate::shared::backend_table::BackendState;
use crate::shared::health_record::{EjectionRecord, HealthRecord};
use crate::snapshot::{Backend, HealthCheck, Outlier, Pool};

/// The knowledge of one backend. A new backend is healthy until something speaks against it.
#[derive(Debug, Default)]
pub struct BackendHealth {
    /// The opinion of the probes, once enough of them agreed.
    down: bool,
    /// The configuration says that it takes no new requests.
    draining: bool,
    /// Probes in a row that contradict `down`: not 0 means between two states.
    against: u32,
    ejection: Option<Ejection>,
    /// The last ejection, while it is remembered.
    last: Option<Ejection>,
}

/// A time out of service.
#[derive(Clone, Copy, Debug)]
struct Ejection {
    until: Micros,
    /// 1 for the first, one more for each that followed before the one before it was forgotten.
    number: u32,
}

impl BackendHealth {
    /// The state that the workers should go by. Failed probes outweigh an ejection, and draining outweighs both:
    /// whatever else is found out meanwhile makes no event before it is over.
    pub fn state(&self) -> BackendState {
        if self.draining {
            BackendState::Draining
        } else if self.down {
            BackendState::Unhealthy
        } else if self.ejection.is_some() {
            BackendState::Ejected
        } else {
            BackendState::Healthy
        }
    }

    /// Whether the backend has failed its probes.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Counts a probe. If the probe has changed the state of the backend, the result is the number of consecutive
    /// probes that this took.
    pub fn probed(&mut self, passed: bool, check: &HealthCheck) -> Option<u32> {
        if passed != self.down {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.down {
            check.healthy_after
        } else {
            check.unhealthy_after
        };
        if self.against < needed {
            return None;
        }
        self.down = !self.down;
        Some(mem::take(&mut self.against))
    }

    /// Time from the start of one probe to that of the next, before jitter.
    pub fn pause(&self, check: &HealthCheck) -> Duration {
        if self.against > 0 {
            short_pause(check)
        } else {
            check.interval
        }
    }

    /// The time for the next probe.
    pub fn timeout(&self, check: &HealthCheck) -> Duration {
        if !self.down && self.against > 0 {
            check.timeout_again
        } else {
            check.timeout
        }
    }

    /// The judgement of a backend that another check probes from now on: the state stays, until the new check has
    /// failed or passed often enough.
    pub fn asked_anew(self) -> BackendHealth {
        BackendHealth { against: 0, ..self }
    }

    /// Takes over the settings: what can no longer be found out again is forgotten.
    pub fn apply(&mut self, backend: &Backend, pool: &Pool) {
        self.draining = backend.draining;
        if backend.health_check.is_none() {
            self.down = false;
            self.against = 0;
        }
        if pool.outlier.is_none() {
            self.ejection = None;
            self.last = None;
        }
    }

    /// Ejects the backend; until when. Each ejection that follows another lasts one `outlier.eject` longer, up to
    /// [`limits::EJECT_MULTIPLE`] of them.
    pub fn eject(&mut self, now: Micros, outlier: &Outlier) -> Micros {
        debug_assert!(
            self.ejection.is_none(),
            "a backend is ejected once at a time"
        );
        let memory = outlier.eject * limits::EJECT_MULTIPLE;
        let before = match self.last {
            Some(last) if now < last.until.after(memory) => last.number,
            _ => 0,
        };
        let number = (before + 1).min(limits::EJECT_MULTIPLE);
        let until = now.after(outlier.eject * number);
        self.ejection = Some(Ejection { until, number });
        until
    }

    /// When the present ejection ends.
    pub fn ejected_until(&self) -> Option<Micros> {
        self.ejection.map(|ejection| ejection.until)
    }

    /// Ends the ejection if its time has come.
    pub fn end_ejection(&mut self, now: Micros) {
        if self.ejection.is_some_and(|ejection| ejection.until <= now) {
            self.last = self.ejection.take();
        }
    }

    /// Ends the ejection before its time.
    pub fn forgive(&mut self) {
        self.last = self.ejection.take();
    }
}

/// The state of a backend, as one process hands it to the next.
impl BackendHealth {
    /// Writes what is known to the record.
    pub fn write_to(&self, record: &mut HealthRecord, clock: MachineClock) {
        record.is_down = self.down;
        record.against = self.against;
        let ejection = |ejection: Ejection| EjectionRecord {
            until: clock.shared(ejection.until),
            number: ejection.number,
        };
        record.ejection = self.ejection.map(ejection);
        record.last_ejection = self.last.map(ejection);
    }

    /// Takes over the results of another process's probes, which had the same settings.
    pub fn resume_probes(&mut self, record: &HealthRecord) {
        self.down = record.is_down;
        self.against = record.against;
    }

    /// Takes over the ejections of another process whose pool has the same settings. What the record says is kept
    /// within the bounds of the settings, since the record comes from elsewhere.
    pub fn resume_ejections(
        &mut self,
        record: &HealthRecord,
        outlier: &Outlier,
        clock: MachineClock,
        now: Micros,
    ) {
        let longest = outlier.eject * limits::EJECT_MULTIPLE;
        let own = |ejection: EjectionRecord| {
            let until = Micros(u64::try_from(clock.own(ejection.until)).unwrap_or(0));
            Ejection {
                until: until.min(now.after(longest)),
                number: ejection.number.clamp(1, limits::EJECT_MULTIPLE),
            }
        };
        self.ejection = record.ejection.map(own);
        self.last = record.last_ejection.map(own);
    }
}

/// How many backends of a pool of `backends` may be ejected at once.
pub fn most_ejected(backends: usize, outlier: &Outlier) -> usize {
    debug_assert!(outlier.max_ejected_percent <= 100);
    if outlier.max_ejected_percent == 0 {
        return 0;
    }
    (backends * outlier.max_ejected_percent as usize / 100).max(1)
}

/// The pause of a backend that is between two states, and the longest one before a new backend's first probe.
pub fn short_pause(check: &HealthCheck) -> Duration {
    check
        .interval
        .min(Duration::from_millis(limits::PROBE_AGAIN_MILLIS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::{self, outlier};

    const SECOND: u64 = 1_000_000;

    fn check(unhealthy_after: u32, healthy_after: u32) -> HealthCheck {
        HealthCheck {
            unhealthy_after,
            healthy_after,
            ..sample::check(Duration::from_secs(30))
        }
    }

    /// Probes: `+` passed, `-` failed. State after each: `H` healthy, `U` unhealthy; lower case: between two states.
    #[test]
    fn probes_table() {
        let rows = [
            (3, 2, "+++", "HHH"),
            (3, 2, "--+--+", "hhHhhH"),
            (3, 2, "---", "hhU"),
            (3, 2, "---+-+-", "hhUuUuU"),
            (3, 2, "---++", "hhUuH"),
            (3, 2, "---++--+", "hhUuHhhH"),
            (1, 1, "-+-+", "UHUH"),
            (1, 3, "-++-+++", "UuuUuuH"),
        ];
        for (unhealthy_after, healthy_after, probes, expected) in rows {
            let check = check(unhealthy_after, healthy_after);
            let mut health = BackendHealth::default();
            let mut before = health.state();
            let seen: String = probes
                .chars()
                .map(|probe| {
                    let turned = health.probed(probe == '+', &check);
                    assert_eq!(turned.is_some(), health.state() != before, "{probes}");
                    before = health.state();
                    let message = if before == BackendState::Healthy {
                        'h'
                    } else {
                        'u'
                    };
                    match health.against {
                        0 => message.to_ascii_uppercase(),
                        _ => message,
                    }
                })
                .collect();
            assert_eq!(seen, expected, "{unhealthy_after} {healthy_after} {probes}");
        }
    }

    #[test]
    fn pause_table() {
        let second = Duration::from_secs(1);
        let quick = Duration::from_millis(200);
        let rows = [
            (Duration::from_secs(30), "", Duration::from_secs(30)),
            (Duration::from_secs(30), "-", second),
            (Duration::from_secs(30), "-+", Duration::from_secs(30)),
            (Duration::from_secs(30), "---", Duration::from_secs(30)),
            (Duration::from_secs(30), "---+", second),
            (quick, "", quick),
            (quick, "-", quick),
        ];
        for (interval, probes, expected) in rows {
            let check = HealthCheck {
                interval,
                ..check(3, 2)
            };
            let mut health = BackendHealth::default();
            for probe in probes.chars() {
                health.probed(probe == '+', &check);
            }
            assert_eq!(health.pause(&check), expected, "{interval:?} {probes}");
        }
    }

    #[test]
    fn an_ejection_ends_by_time() {
        let outlier = outlier(2);
        let mut health = BackendHealth::default();
        assert_eq!(health.eject(Micros(0), &outlier), Micros(30 * SECOND));
        assert_eq!(health.state(), BackendState::Ejected);
        health.end_ejection(Micros(30 * SECOND - 1));
        assert_eq!(health.state(), BackendState::Ejected);
        health.end_ejection(Micros(30 * SECOND));
        assert_eq!(health.state(), BackendState::Healthy);
    }

    #[test]
    fn repeated_ejections_last_longer_up_to_a_bound_until_forgotten() {
        let outlier = outlier(5);
        let mut health = BackendHealth::default();
        let mut now = Micros(0);
        for number in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
            let until = health.eject(now, &outlier);
            assert_eq!(until.since(now), number * 30 * SECOND);
            health.end_ejection(until);
            assert_eq!(health.ejected_until(), None);
            now = until.after(Duration::from_secs(1));
        }
        let memory = outlier.eject * limits::EJECT_MULTIPLE;
        now = now.after(memory);
        let until = health.eject(now, &outlier);
        assert_eq!(until.since(now), 30 * SECOND);
    }

    #[test]
    fn another_process_goes_on_with_what_one_has_found() {
        let (old, new) = (
            MachineClock::began_at(0),
            MachineClock::began_at(20 * SECOND as i64),
        );
        let outlier = outlier(5);
        let mut health = BackendHealth::default();
        let first = health.eject(Micros(0), &outlier);
        health.end_ejection(first);
        health.eject(first, &outlier);
        health.probed(false, &check(3, 2));
        let mut record = HealthRecord::default();
        health.write_to(&mut record, old);
        let mut next = BackendHealth::default();
        next.resume_probes(&record);
        next.resume_ejections(&record, &outlier, new, Micros(10 * SECOND));
        assert_eq!(next.state(), BackendState::Ejected);
        assert_eq!(next.ejected_until(), Some(Micros(70 * SECOND)));
        assert_eq!(next.against, 1);
        next.end_ejection(Micros(70 * SECOND));
        let third = next.eject(Micros(71 * SECOND), &outlier);
        assert_eq!(
            third.since(Micros(71 * SECOND)),
            90 * SECOND,
            "the third one"
        );
    }

    #[test]
    fn a_record_that_no_process_writes_stays_within_the_settings() {
        let outlier = outlier(5);
        let clock = MachineClock::began_at(1_000);
        for (until, expected) in [
            (i64::MAX, 301 * SECOND),
            (i64::MIN, 0),
            (999, 0),
            (1_000 + SECOND as i64, SECOND),
        ] {
            let ejection = Some(EjectionRecord {
                until,
                number: u32::MAX,
            });
            let record = HealthRecord {
                ejection,
                last_ejection: ejection,
                ..HealthRecord::default()
            };
            let mut health = BackendHealth::default();
            health.resume_ejections(&record, &outlier, clock, Micros(SECOND));
            assert_eq!(health.ejected_until(), Some(Micros(expected)), "{until}");
            assert_eq!(health.last.unwrap().number, limits::EJECT_MULTIPLE);
        }
    }

    #[test]
    fn failed_probes_outweigh_an_ejection() {
        let mut health = BackendHealth::default();
        health.eject(Micros(0), &outlier(5));
        health.probed(false, &check(1, 1));
        assert_eq!(health.state(), BackendState::Unhealthy);
        health.probed(true, &check(1, 1));
        assert_eq!(health.state(), BackendState::Ejected);
    }

    #[test]
    fn most_ejected_table() {
        let rows = [
            (10, 50, 5),
            (10, 0, 0),
            (10, 1, 1),
            (1, 50, 1),
            (3, 50, 1),
            (3, 67, 2),
            (4, 100, 4),
        ];
        for (backends, max_ejected_percent, expected) in rows {
            let outlier = Outlier {
                max_ejected_percent,
                ..outlier(5)
            };
            assert_eq!(
                most_ejected(backends, &outlier),
                expected,
                "{backends} {max_ejected_percent}"
            );
        }
    }
}
