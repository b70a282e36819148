//! The least rate at which a client must send its body, and take its answer. An exchange whose client is slower for
//! long ends. Otherwise a client could hold a connection and its memory for any time with a byte per second.
//!
//! A client begins with a credit of time, the grace. Waiting for the client uses the credit up. Each byte that the
//! client sends or takes restores the time that it may take at the least rate. Time in which palantir waits for
//! somebody else, such as the backend, does not count, nor does time in which the client moves bytes in the other
//! direction.
//!
//! Only a move shows that a client is slow. While nothing moves, the client has paused, or its kernel acknowledges
//! bytes in large steps only; other bounds (`client_idle`, `client_body`) end that. A wait that ends with a move uses
//! up at most half of the grace.

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::net::{Socket, Timer, Timers};
use crate::snapshot::Listener;

const LOOK: Duration = Duration::from_millis(limits::MIN_RATE_LOOK_MILLIS);

/// The client was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

/// The rate of one direction of one exchange, or of the rest of an answer that is on its way.
#[derive(Debug)]
pub struct MinRate {
    /// The bytes that are demanded per second; 0: no demand.
    per_second: u64,
    grace: i64,
    /// The credit of the client in milliseconds.
    credit: Cell<i64>,
    /// Whether the credit has been used up.
    is_over: Cell<bool>,
    /// The bytes that the client has taken since the last look of [`MinRate::watch`], and the core's millisecond of
    /// that look.
    taken: Cell<u64>,
    since: Cell<u64>,
    /// The timer of the looks, once a send has had to wait.
    looks: OnceCell<Timer>,
}

impl MinRate {
    /// The least rate that a listener demands of its clients.
    pub fn of(listener: &Listener) -> MinRate {
        MinRate::new(listener.min_rate, listener.min_rate_grace)
    }

    /// The least rate that a listener demands of a client which has its whole answer and is still sending.
    pub fn behind_answer(listener: &Listener) -> MinRate {
        let most = Duration::from_secs(limits::LINGER_SILENCE_SECS);
        MinRate::new(listener.min_rate, listener.min_rate_grace.min(most))
    }

    /// A rate that demands nothing.
    pub fn none() -> MinRate {
        MinRate::new(0, Duration::ZERO)
    }

    fn new(per_second: u32, grace: Duration) -> MinRate {
        let grace = grace.as_millis() as i64;
        MinRate {
            per_second: per_second.into(),
            grace,
            credit: Cell::new(grace),
            is_over: Cell::default(),
            taken: Cell::default(),
            since: Cell::default(),
            looks: OnceCell::new(),
        }
    }

    /// Notes that `bytes` moved after a wait of `waited` milliseconds for the client. False if the client is too slow.
    fn note(&self, waited: u64, bytes: u64) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let brought = (bytes.saturating_mul(1_000) / self.per_second).min(i64::MAX as u64) as i64;
        debug_assert!(self.grace >= 0);
        let most = self.grace * limits::MIN_RATE_SAVED;
        let credit = self.credit.get() - waited as i64;
        self.credit.set(credit.saturating_add(brought).min(most));
        let is_fast_enough = self.credit.get() > 0;
        self.is_over.set(self.is_over.get() || !is_fast_enough);
        is_fast_enough
    }

    /// Whether `bytes` in `millis` are at least the demanded rate.
    pub fn is_met_by(&self, millis: u64, bytes: u64) -> bool {
        bytes.saturating_mul(1_000) >= self.per_second.saturating_mul(millis)
    }

    /// Notes that `bytes` moved after a wait that may have been a pause. Such a wait uses up at most half of the grace.
    pub fn note_after_pause(&self, waited: u64, bytes: u64) -> bool {
        self.note(waited.min(self.grace as u64 / 2), bytes)
    }

    /// Notes that the client has taken bytes of an answer. With 0 bytes, the client is not to blame for the time until
    /// now. `is_socket`: the bytes are with the client's socket, and not yet with the client.
    pub fn note_taken(&self, now: u64, bytes: usize, is_socket: bool) {
        if bytes == 0 {
            self.pardon(now);
        } else if is_socket {
            self.note_sent(bytes);
        } else {
            let waited = now.saturating_sub(self.since.replace(now));
            self.note_after_pause(waited, bytes as u64);
        }
    }

    /// Notes that the socket of a client has taken bytes.
    pub fn note_sent(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes as u64);
    }

    /// Notes that the time until now does not count against the client.
    pub fn pardon(&self, now: u64) {
        self.since.set(now);
    }

    /// Grants the grace once more.
    pub fn begin_anew(&self) {
        self.credit.set(self.grace);
        self.is_over.set(false);
    }

    /// Waits for a send, during which [`MinRate::note_taken`] or [`MinRate::note_sent`] is called. On a stream of
    /// HTTP/2 every byte that the client takes is known. A socket takes more bytes only when a third of its buffer is
    /// free, which may take long: while a send waits, palantir asks the kernel at intervals how much the peer has
    /// acknowledged. `moves` is called when the peer has acknowledged some, whether or not a rate is demanded: a peer
    /// that takes a little all the time is not silent.
    pub async fn watch<T>(
        &self,
        to: Option<&Socket>,
        timers: &Rc<Timers>,
        moves: impl Fn(),
        sending: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        let mut sending = pin!(sending);
        self.taken.set(0);
        self.since.set(timers.millis());
        let (mut is_waiting, mut unacknowledged) = (false, None);
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                self.note(0, self.taken.take());
                self.looks.get().into_iter().for_each(Timer::clear);
                return Poll::Ready(Ok(sent));
            }
            if let Some(socket) = to {
                let look = self.looks.get_or_init(|| Timer::new(timers));
                if !std::mem::replace(&mut is_waiting, true) {
                    look.set(LOOK);
                }
                if look.is_due_again(LOOK, cx) {
                    let before = unacknowledged.replace(socket.unacknowledged() as u64);
                    let moved = acknowledged(before, self.taken.take(), unacknowledged);
                    if moved > 0 {
                        moves();
                        let now = timers.millis();
                        let waited = now.saturating_sub(self.since.replace(now));
                        self.note_after_pause(waited, moved);
                    }
                }
            }
            if self.is_over.get() {
                Poll::Ready(Err(TooSlow))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// The bytes that a client has acknowledged between two looks, of those that the socket has taken for it meanwhile. At
/// the first look only the number of bytes that the socket has taken is known.
fn acknowledged(before: Option<u64>, taken: u64, now: Option<u64>) -> u64 {
    match (before, now) {
        (Some(before), Some(now)) => (before + taken).saturating_sub(now),
        _ => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the same wait and the same bytes again and again. The result is how many times the rate was met.
    fn times(rate: &MinRate, waited: u64, bytes: u64) -> usize {
        let mut all = 0..10_000;
        all.position(|_| !rate.note(waited, bytes))
            .unwrap_or(usize::MAX)
    }

    #[test]
    fn who_is_slower_than_the_rate_ends_after_the_grace() {
        let rate = || MinRate::new(500, Duration::from_secs(10));
        let rows = [
            (1_000, 1, 10),
            (1_000, 250, 19),
            (1_000, 500, usize::MAX),
            (5_000, 10_000, usize::MAX),
            (1_000, 0, 9),
            (0, 0, usize::MAX),
        ];
        for (waited, bytes, expected) in rows {
            let times = times(&rate(), waited, bytes);
            assert_eq!(times, expected, "{bytes} in {waited} ms");
        }
        assert_eq!(times(&MinRate::none(), 1_000, 0), usize::MAX);
    }

    #[test]
    fn what_was_fast_saves_up_little() {
        let rate = MinRate::new(500, Duration::from_secs(10));
        assert!(rate.note(0, 1 << 40));
        assert_eq!(times(&rate, 1_000, 1), 30);
    }

    #[test]
    fn a_pause_uses_up_a_part_of_the_grace() {
        let rate = MinRate::new(500, Duration::from_secs(10));
        assert!(rate.note_after_pause(300_000, 0));
        assert!(!rate.note_after_pause(300_000, 0));
    }

    #[test]
    fn what_is_acknowledged_follows_from_what_is_not() {
        let rows = [
            (None, 70, 1_000, 70),
            (Some(1_000), 0, 900, 100),
            (Some(900), 600, 1_400, 100),
            (Some(1_400), 0, 1_400, 0),
            (Some(1_400), 0, 2_000, 0), // A TLS record is longer than what it carries.
        ];
        for (before, taken, now, expected) in rows {
            assert_eq!(acknowledged(before, taken, Some(now)), expected);
        }
    }
}
