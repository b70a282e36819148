//! When a certificate is ordered: plain arithmetic. The time is an argument, and so is chance, from 0 up to 1.

use std::time::Duration;

use crate::base::limits;

/// When a certificate of this validity is renewed, in seconds since 1970 like the validity: after two thirds of it, so
/// that a third is left for an authority that has trouble; up to [`limits::RENEWAL_JITTER_PERCENT`] earlier, so that
/// those that were given at once are not renewed at once.
pub fn renewal(not_before: i64, not_after: i64, chance: f64) -> i64 {
    debug_assert!((0.0..=1.0).contains(&chance));
    let lifetime = not_after.saturating_sub(not_before).max(0);
    let jitter = lifetime as f64 * chance * limits::RENEWAL_JITTER_PERCENT as f64 / 100.0;
    let after = lifetime as i128 * 2 / 3 - jitter as i128;
    not_before.saturating_add(after as i64)
}

/// The side that has the trouble because of which an order failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTrouble {
    /// The authority did not see the order, or did not answer it: to ask again costs it nothing.
    Unreachable,
    /// The authority has looked at the order and did not give a certificate. Authorities count such orders.
    Refused,
}

/// How long to wait after the `failures`-th failure in a row, from 1.
pub fn pause(trouble: OrderTrouble, failures: u32, chance: f64) -> Duration {
    debug_assert!((0.0..=1.0).contains(&chance));
    let (first, factor, most) = match trouble {
        OrderTrouble::Unreachable => limits::UNREACHABLE_PAUSE_SECS,
        OrderTrouble::Refused => limits::REFUSED_PAUSE_SECS,
    };
    let grown = first.saturating_mul(factor.saturating_pow(failures.saturating_sub(1)));
    let jitter = chance * limits::ORDER_JITTER_PERCENT as f64 / 100.0;
    Duration::from_secs(grown.min(most)).mul_f64(1.0 - jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_table() {
        const DAY: i64 = 86_400;
        let rows = [
            // From, to, chance, when.
            (0, 90 * DAY, 0.0, 60 * DAY),
            (0, 90 * DAY, 0.5, 60 * DAY - 90 * DAY / 40),
            (100, 106, 0.0, 104),
            (1_000, 1_100, 1.0, 1_061),
            (7, 7, 0.9, 7),
            // A certificate that ends before it begins is no reason to be elsewhere than at its beginning.
            (7, 3, 0.9, 7),
            (i64::MIN, i64::MAX, 0.0, -3_074_457_345_618_258_604),
        ];
        for (from, to, chance, expected) in rows {
            assert_eq!(renewal(from, to, chance), expected, "{from}..{to} {chance}");
        }
    }

    #[test]
    fn pauses_table() {
        let rows = [
            (OrderTrouble::Unreachable, 1, 5),
            (OrderTrouble::Unreachable, 2, 10),
            (OrderTrouble::Unreachable, 7, 320),
            (OrderTrouble::Unreachable, 8, 600),
            (OrderTrouble::Unreachable, u32::MAX, 600),
            (OrderTrouble::Refused, 1, 10),
            (OrderTrouble::Refused, 2, 60),
            (OrderTrouble::Refused, 3, 360),
            (OrderTrouble::Refused, 4, 2_160),
            (OrderTrouble::Refused, 5, 12_960),
            (OrderTrouble::Refused, 6, 21_600),
            (OrderTrouble::Refused, u32::MAX, 21_600),
        ];
        for (trouble, failures, secs) in rows {
            let longest = Duration::from_secs(secs);
            assert_eq!(
                pause(trouble, failures, 0.0),
                longest,
                "{trouble:?} {failures}"
            );
            let shorter = pause(trouble, failures, 0.999);
            assert!(
                shorter < longest && shorter > longest * 79 / 100,
                "{shorter:?}"
            );
        }
    }

    #[test]
    fn authorities_see_five_orders_in_the_first_hour() {
        let pauses = (1..).map(|failures| pause(OrderTrouble::Refused, failures, 0.999).as_secs());
        let sums = pauses.scan(0, |sum, pause| {
            *sum += pause;
            Some(*sum)
        });
        assert_eq!(1 + sums.take_while(|at| *at < 3_600).count(), 5);
    }
}
