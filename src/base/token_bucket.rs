//! Tokens that come with time or by deposit and are taken one at a time.

use crate::base::time::Micros;

/// One token, in the parts that amounts are counted in: so small that what a microsecond brings is exact to a
/// thousandth even if a token takes minutes.
pub const TOKEN: u64 = 1_000_000_000_000;

/// A bounded number of tokens. One owner; time is an argument.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    parts: u64,
    capacity: u64,
    per_micro: u64,
    refilled: Micros,
}

impl TokenBucket {
    /// A bucket for at most `capacity` tokens (1 to a million) that begins with `tokens` and gains `per_second` parts
    /// of [`TOKEN`] a second from `now` on.
    pub fn new(capacity: u32, per_second: u64, tokens: u32, now: Micros) -> TokenBucket {
        debug_assert!((1..=1_000_000).contains(&capacity));
        TokenBucket {
            parts: u64::from(tokens.min(capacity)) * TOKEN,
            capacity: u64::from(capacity) * TOKEN,
            per_micro: per_second / 1_000_000,
            refilled: now,
        }
    }

    /// Adds `parts` of [`TOKEN`]; what does not fit is lost.
    pub fn deposit(&mut self, parts: u64) {
        self.parts = self.parts.saturating_add(parts).min(self.capacity);
    }

    /// Takes one token; false if there is less than one.
    pub fn try_take(&mut self, now: Micros) -> bool {
        self.deposit(now.since(self.refilled).saturating_mul(self.per_micro));
        self.refilled = self.refilled.max(now);
        let left = self.parts.checked_sub(TOKEN);
        self.parts = left.unwrap_or(self.parts);
        debug_assert!(self.parts <= self.capacity);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_with_time_up_to_the_capacity() {
        let mut bucket = TokenBucket::new(2, 4 * TOKEN, 0, Micros(0));
        // Microseconds and whether there is a token then: one comes every 250,000.
        let rows = [
            (0, false),
            (249_000, false),
            (250_000, true),
            (250_000, false),
            (750_000, true),
            (750_000, true),
            (750_000, false),
            // Nine seconds would bring 36, but two fit.
            (9_750_000, true),
            (9_750_000, true),
            (9_750_000, false),
            // A clock that seems to go back brings nothing, then or later.
            (1_000_000, false),
            (9_999_000, false),
            (10_000_000, true),
        ];
        for (row, (now, expected)) in rows.into_iter().enumerate() {
            assert_eq!(bucket.try_take(Micros(now)), expected, "row {row}");
        }
    }

    #[test]
    fn deposits_add_up() {
        let mut bucket = TokenBucket::new(3, 0, 1, Micros(0));
        assert!(bucket.try_take(Micros(0)));
        for _ in 0..4 {
            bucket.deposit(TOKEN / 4);
        }
        assert!(bucket.try_take(Micros(0)));
        assert!(!bucket.try_take(Micros(0)));
        bucket.deposit(u64::MAX);
        let taken = (0..10).filter(|_| bucket.try_take(Micros(0))).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn no_more_than_the_capacity_to_begin_with() {
        let mut bucket = TokenBucket::new(1, 0, 5, Micros(0));
        assert!(bucket.try_take(Micros(0)));
        assert!(!bucket.try_take(Micros(0)));
    }
}
