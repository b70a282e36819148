//! Tokens that come with time or by deposit and are taken one at a time.

use crate::base::time::Micros;

/// A bounded number of tokens. One owner; time is an argument.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    tokens: f64,
    capacity: f64,
    per_micro: f64,
    refilled: Micros,
}

impl TokenBucket {
    /// A bucket that holds at most `capacity` tokens (at least 1, or none could ever be taken), begins with `tokens`,
    /// and is refilled from `now` on.
    pub fn new(capacity: f64, per_second: f64, tokens: f64, now: Micros) -> TokenBucket {
        debug_assert!(capacity >= 1.0 && per_second >= 0.0 && tokens >= 0.0);
        TokenBucket {
            tokens: tokens.min(capacity),
            capacity,
            per_micro: per_second / 1e6,
            refilled: now,
        }
    }

    /// Adds `tokens`, which may be a fraction; what does not fit is lost.
    pub fn deposit(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.capacity);
    }

    /// Takes one token; false if there is less than one.
    pub fn try_take(&mut self, now: Micros) -> bool {
        self.deposit(now.since(self.refilled) as f64 * self.per_micro);
        self.refilled = self.refilled.max(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}
