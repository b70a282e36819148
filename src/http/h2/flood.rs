//! Counts frames that are an attack in large numbers. Each kind has a bucket of tokens that fills with time, and tokens
//! that honest work has earned besides. The allowed number therefore grows with the use of a connection, however long
//! it lives.

use super::error::{Abuse, COUNTED_ABUSES};
use crate::base::limits::h2_flood;
use crate::base::time::Micros;
use crate::base::token_bucket::{TOKEN, TokenBucket};

/// The frames of each kind that one connection may still send.
#[derive(Debug)]
pub(super) struct Floods {
    buckets: [TokenBucket; COUNTED_ABUSES],
    /// Parts of tokens that work has earned. Earned tokens are spent when the bucket is empty.
    earned: [u64; COUNTED_ABUSES],
}

impl Floods {
    /// Full buckets.
    pub(super) fn new(now: Micros) -> Floods {
        Floods {
            buckets: h2_flood::BURST_AND_PER_MINUTE.map(|(burst, per_minute)| {
                TokenBucket::new(burst, u64::from(per_minute) * TOKEN / 60, burst, now)
            }),
            earned: [0; COUNTED_ABUSES],
        }
    }

    /// Counts one of these. Errors: there were too many.
    pub(super) fn count(&mut self, abuse: Abuse, now: Micros) -> Result<(), Abuse> {
        let earned = &mut self.earned[abuse as usize];
        if self.buckets[abuse as usize].try_take(now) {
            return Ok(());
        }
        *earned = earned.checked_sub(TOKEN).ok_or(abuse)?;
        Ok(())
    }

    /// Credits a stream that came to its proper end. A reset wastes the work of a backend, so no more resets can be
    /// saved up than a bucket holds.
    pub(super) fn earn_by_exchange(&mut self) {
        for abuse in [Abuse::RapidReset, Abuse::ProvokedReset] {
            self.buckets[abuse as usize].deposit(TOKEN);
        }
    }

    /// Credits the head of a request or of an answer that was received.
    pub(super) fn earn_by_head(&mut self) {
        for (abuse, tokens) in h2_flood::PER_HEAD.into_iter().enumerate() {
            self.deposit(abuse, tokens * TOKEN);
        }
    }

    /// DATA with bytes in it was received; peers measure round trips with a PING for some of it.
    pub(super) fn earn_by_received(&mut self) {
        self.earn(Abuse::Ping, 1);
        self.earn(Abuse::EmptyData, 1);
        self.earn(Abuse::UnknownFrame, 1);
    }

    /// So many bytes of DATA were sent; the peer answers with updates for the stream and the connection, some peers
    /// with several.
    pub(super) fn earn_by_sent(&mut self, bytes: usize) {
        let parts = bytes as u64 * (TOKEN / h2_flood::BYTES_PER_WINDOW_UPDATE);
        self.deposit(Abuse::WindowUpdate as usize, parts);
        self.deposit(Abuse::Ping as usize, parts);
    }

    /// A DATA frame was sent that is as long as its sender wanted, however short. One that a window cut short earns
    /// nothing by this: else a peer that opens windows byte by byte would be allowed every update by the one before.
    pub(super) fn earn_by_piece(&mut self) {
        self.earn(Abuse::WindowUpdate, 2);
        self.earn(Abuse::Ping, 1);
        self.earn(Abuse::UnknownFrame, 1);
    }

    fn earn(&mut self, abuse: Abuse, tokens: u64) {
        self.deposit(abuse as usize, tokens * TOKEN);
    }

    fn deposit(&mut self, abuse: usize, parts: u64) {
        let earned = self.earned[abuse] + parts;
        self.earned[abuse] = earned.min(h2_flood::EARNED_MOST * TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until_refused(floods: &mut Floods, abuse: Abuse, now: Micros) -> u32 {
        (0..100_000)
            .find(|_| floods.count(abuse, now).is_err())
            .unwrap()
    }

    #[test]
    fn every_kind_has_its_own_bound_and_recovers_with_time() {
        let kinds = [
            Abuse::RapidReset,
            Abuse::ProvokedReset,
            Abuse::Settings,
            Abuse::Ping,
            Abuse::EmptyData,
            Abuse::WindowUpdate,
            Abuse::Priority,
            Abuse::UnknownFrame,
        ];
        let mut floods = Floods::new(Micros(0));
        assert_eq!(kinds.len(), COUNTED_ABUSES);
        for (kind, (burst, per_minute)) in kinds.into_iter().zip(h2_flood::BURST_AND_PER_MINUTE) {
            assert_eq!(until_refused(&mut floods, kind, Micros(0)), burst);
            let minute = Micros(61_000_000);
            let recovered = until_refused(&mut floods, kind, minute);
            assert_eq!(recovered, per_minute.min(burst), "{}", kind.label());
        }
    }

    #[test]
    fn work_earns() {
        let mut floods = Floods::new(Micros(0));
        for kind in [
            Abuse::RapidReset,
            Abuse::WindowUpdate,
            Abuse::Ping,
            Abuse::Priority,
        ] {
            until_refused(&mut floods, kind, Micros(0));
        }
        floods.earn_by_exchange();
        floods.earn_by_head();
        floods.earn_by_received();
        floods.earn_by_piece();
        for _ in 0..4 {
            floods.earn_by_sent(h2_flood::BYTES_PER_WINDOW_UPDATE as usize / 2);
        }
        assert_eq!(until_refused(&mut floods, Abuse::RapidReset, Micros(0)), 1);
        let per_head = |abuse| h2_flood::PER_HEAD[abuse as usize] as u32;
        for (abuse, more) in [
            (Abuse::WindowUpdate, 4),
            (Abuse::Ping, 4),
            (Abuse::Priority, 0),
        ] {
            let counted = until_refused(&mut floods, abuse, Micros(0));
            assert_eq!(counted, per_head(abuse) + more, "{}", abuse.label());
        }
    }

    /// A reader that pauses acknowledges everything that was sent meanwhile at once. The credit for such
    /// acknowledgements has a bound.
    #[test]
    fn what_is_earned_is_saved_up_to_a_bound() {
        let mut floods = Floods::new(Micros(0));
        let (burst, _) = h2_flood::BURST_AND_PER_MINUTE[Abuse::WindowUpdate as usize];
        (0..5_000).for_each(|_| floods.earn_by_piece());
        let counted = until_refused(&mut floods, Abuse::WindowUpdate, Micros(0));
        assert_eq!(counted, burst + 10_000);
        (0..100_000).for_each(|_| floods.earn_by_piece());
        let counted = until_refused(&mut floods, Abuse::WindowUpdate, Micros(0));
        assert_eq!(u64::from(counted), h2_flood::EARNED_MOST);
    }
}
