//! Counting what is an attack in numbers: one bucket of tokens per kind, filled by time and by honest work.

use super::error::{Abuse, COUNTED_ABUSES};
use crate::base::limits::h2_flood;
use crate::base::time::Micros;
use crate::base::token_bucket::{TOKEN, TokenBucket};

/// The buckets of one connection.
#[derive(Debug)]
pub(super) struct Floods([TokenBucket; COUNTED_ABUSES]);

impl Floods {
    /// Full buckets.
    pub(super) fn new(now: Micros) -> Floods {
        Floods(h2_flood::BURST_AND_PER_MINUTE.map(|(burst, per_minute)| {
            TokenBucket::new(burst, u64::from(per_minute) * TOKEN / 60, burst, now)
        }))
    }

    /// Counts one of these. Errors: there were too many.
    pub(super) fn count(&mut self, abuse: Abuse, now: Micros) -> Result<(), Abuse> {
        match self.0[abuse as usize].try_take(now) {
            true => Ok(()),
            false => Err(abuse),
        }
    }

    /// A stream came to its proper end.
    pub(super) fn earn_by_exchange(&mut self) {
        self.earn(Abuse::RapidReset, 1);
        self.earn(Abuse::ProvokedReset, 1);
    }

    /// A head was received.
    pub(super) fn earn_by_head(&mut self) {
        self.earn(Abuse::Priority, h2_flood::PRIORITIES_PER_HEAD);
    }

    /// DATA with bytes in it was received; peers measure round trips with a PING for some of it.
    pub(super) fn earn_by_received(&mut self) {
        self.earn(Abuse::Ping, 1);
        self.earn(Abuse::EmptyData, 1);
    }

    /// So many bytes of DATA were sent; the peer answers with updates for the stream and the connection, some peers
    /// with several.
    pub(super) fn earn_by_sent(&mut self, bytes: usize) {
        let parts = bytes as u64 * (TOKEN / h2_flood::BYTES_PER_WINDOW_UPDATE);
        self.deposit(Abuse::WindowUpdate, parts);
        self.deposit(Abuse::Ping, parts);
    }

    /// A DATA frame was sent that is as long as its sender wanted, however short. One that a window cut short earns
    /// nothing by this: else a peer that opens windows byte by byte would be allowed every update by the one before.
    pub(super) fn earn_by_piece(&mut self) {
        self.earn(Abuse::WindowUpdate, 2);
        self.earn(Abuse::Ping, 1);
    }

    fn earn(&mut self, abuse: Abuse, tokens: u64) {
        self.deposit(abuse, tokens * TOKEN);
    }

    fn deposit(&mut self, abuse: Abuse, parts: u64) {
        self.0[abuse as usize].deposit(parts);
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
            Abuse::WindowStall,
        ];
        let mut floods = Floods::new(Micros(0));
        assert_eq!(kinds.len(), COUNTED_ABUSES);
        for (kind, (burst, per_minute)) in kinds.into_iter().zip(h2_flood::BURST_AND_PER_MINUTE) {
            assert_eq!(until_refused(&mut floods, kind, Micros(0)), burst);
            let minute = Micros(61_000_000);
            let recovered = until_refused(&mut floods, kind, minute);
            assert_eq!(recovered, per_minute.min(burst), "{}", kind.word());
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
        assert_eq!(
            until_refused(&mut floods, Abuse::WindowUpdate, Micros(0)),
            4
        );
        assert_eq!(until_refused(&mut floods, Abuse::Ping, Micros(0)), 4);
        let priorities = until_refused(&mut floods, Abuse::Priority, Micros(0));
        assert_eq!(u64::from(priorities), h2_flood::PRIORITIES_PER_HEAD);
    }
}
