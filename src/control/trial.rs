//! A reload that is taken back unless somebody confirms it.

use std::time::Duration;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::change_request::Trial;
use crate::shared::worker_counters::Outcomes;

/// A reload on trial. Time and counts are arguments.
#[derive(Debug)]
pub struct OnTrial {
    /// The revision to go back to.
    pub back_to: u64,
    until: Micros,
    most_failed_percent: f64,
    /// The outcomes of requests when the trial began.
    before: Outcomes,
}

impl OnTrial {
    /// Begins now; `before`: how requests have come out so far.
    pub fn new(trial: Trial, back_to: u64, before: Outcomes, now: Micros) -> OnTrial {
        OnTrial {
            back_to,
            until: now.after(trial.within),
            most_failed_percent: trial.most_failed_percent,
            before,
        }
    }

    /// Why to go back now, if that is so. A few requests prove nothing: [`limits::TRIAL_REQUESTS`] have to have ended.
    pub fn why_back(&self, outcomes: &Outcomes, now: Micros) -> Option<String> {
        let since = outcomes.since(&self.before);
        let percent = 100.0 * since.failed as f64 / since.requests().max(1) as f64;
        if since.requests() >= limits::TRIAL_REQUESTS && percent > self.most_failed_percent {
            let (failed, all) = (since.failed, since.requests());
            return Some(format!("{failed} of {all} requests failed"));
        }
        (self.until <= now).then(|| "the configuration was not confirmed in time".to_owned())
    }

    /// The time for which the trial may still wait for a confirmation.
    pub fn left(&self, now: Micros) -> Duration {
        Duration::from_micros(self.until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(succeeded: u64, failed: u64) -> Outcomes {
        Outcomes {
            succeeded,
            failed,
            ..Outcomes::default()
        }
    }

    #[test]
    fn goes_back_for_failures_or_when_its_time_is_over() {
        let trial = Trial {
            within: Duration::from_secs(60),
            most_failed_percent: 5.0,
        };
        let on_trial = OnTrial::new(trial, 3, outcomes(1_000, 900), Micros(0));
        // Succeeded and failed since, seconds, whether to go back.
        let rows = [
            (0, 0, 59, false),
            (0, 0, 60, true),
            (1_000, 0, 60, true),
            (0, limits::TRIAL_REQUESTS - 1, 1, false),
            (0, limits::TRIAL_REQUESTS, 1, true),
            (95, 5, 1, false),
            (94, 6, 1, true),
        ];
        for (succeeded, failed, seconds, expected) in rows {
            let outcomes = outcomes(1_000 + succeeded, 900 + failed);
            let why = on_trial.why_back(&outcomes, Micros(seconds * 1_000_000));
            assert_eq!(why.is_some(), expected, "{succeeded}, {failed}: {why:?}");
        }
    }
}
