//! How many retries one core may send to one pool, so that a failing pool is not buried under repetitions.

use crate::base::limits;
use crate::base::time::Micros;
use crate::base::token_bucket::{TOKEN, TokenBucket};

/// Every request deposits `limits::RETRY_PERCENT` percent of a retry; `limits::RETRY_FLOOR_PER_SECOND`, shared by all
/// workers, come with time; at most `limits::RETRY_BURST` are saved up, which is the "recent" in "percent of recent
/// requests".
#[derive(Clone, Debug)]
pub struct RetryBudget {
    bucket: TokenBucket,
}

impl RetryBudget {
    /// A budget for one of `workers` workers (at least 1), with the floor of one second in it so that a fresh worker
    /// can retry.
    pub fn new(workers: usize, now: Micros) -> RetryBudget {
        let floor = limits::RETRY_FLOOR_PER_SECOND;
        let per_second = u64::from(floor) * TOKEN / workers.max(1) as u64;
        RetryBudget {
            bucket: TokenBucket::new(limits::RETRY_BURST, per_second, floor, now),
        }
    }

    /// Counts a request. Call it once per exchange, not per attempt.
    pub fn deposit(&mut self) {
        self.bucket
            .deposit(TOKEN * u64::from(limits::RETRY_PERCENT) / 100);
    }

    /// Takes one retry; false if it has to be forgone.
    pub fn try_take(&mut self, now: Micros) -> bool {
        self.bucket.try_take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries that are granted at one moment.
    fn granted(budget: &mut RetryBudget, now: Micros) -> u32 {
        (0..10_000).filter(|_| budget.try_take(now)).count() as u32
    }

    #[test]
    fn grants_follow_the_table() {
        // Workers, requests, seconds since the budget was made, retries.
        let rows = [
            (1, 0, 0, 3),
            (1, 0, 1, 6),
            (1, 0, 1_000, 100),
            (4, 0, 4, 6),
            (1, 100, 0, 23),
            (64, 100, 0, 23),
            (1, 485, 0, 100),
            (1, 1_000_000, 0, 100),
        ];
        for (workers, requests, seconds, expected) in rows {
            let mut budget = RetryBudget::new(workers, Micros(5));
            (0..requests).for_each(|_| budget.deposit());
            let now = Micros(5 + seconds * 1_000_000);
            assert_eq!(
                granted(&mut budget, now),
                expected,
                "{workers} workers, {requests} requests, {seconds} s"
            );
        }
    }

    #[test]
    fn when_everything_fails_a_fifth_is_retried() {
        let mut budget = RetryBudget::new(1, Micros(0));
        granted(&mut budget, Micros(0));
        let retried = (0..100_000).filter(|_| {
            budget.deposit();
            budget.try_take(Micros(0))
        });
        assert_eq!(retried.count(), 20_000);
    }
}
