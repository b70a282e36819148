//! How many retries one core may send to one pool, so that a failing pool is not buried under repetitions.

use crate::base::limits;
use crate::base::time::Micros;
use crate::base::token_bucket::TokenBucket;

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
        let floor = f64::from(limits::RETRY_FLOOR_PER_SECOND);
        RetryBudget {
            bucket: TokenBucket::new(
                f64::from(limits::RETRY_BURST),
                floor / workers.max(1) as f64,
                floor,
                now,
            ),
        }
    }

    /// Counts a request. Call it once per exchange, not per attempt.
    pub fn deposit(&mut self) {
        self.bucket
            .deposit(f64::from(limits::RETRY_PERCENT) / 100.0);
    }

    /// Takes one retry; false if it has to be forgone.
    pub fn try_take(&mut self, now: Micros) -> bool {
        self.bucket.try_take(now)
    }
}
