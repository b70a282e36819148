//! The least rate at which a client must send its body, and take its answer: whoever is slower for long ends. A client
//! with a byte a second would otherwise hold a connection, and what is kept for it, for as long as it likes.
//!
//! A client begins with some time to its credit, the grace. Waiting for the client uses the time up; what the client
//! sends or takes brings as much of it as that may take at the least rate. Time in which somebody else is waited for,
//! such as the backend, does not count, nor does time in which the client moves something in the other direction.
//!
//! Only a move shows that a client is slow. While nothing moves, the client has paused, or its kernel tells of what it
//! has read in large steps only; other bounds (`client_idle`, `client_body`) end that. A wait that ends with a move
//! uses up half of the grace at most.

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::net::{Socket, Timer, Timers};
use crate::snapshot::Listener;
use crate::worker::stream::Stream;

const LOOK: Duration = Duration::from_millis(limits::MIN_RATE_LOOK_MILLIS);

/// The client was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

/// One direction of one exchange, or what is left of an answer on its way.
#[derive(Debug)]
pub struct MinRate {
    /// Bytes; 0: none is demanded.
    per_second: u64,
    grace: i64,
    /// Milliseconds to the client's credit.
    credit: Cell<i64>,
    /// Whether the credit was used up.
    is_over: Cell<bool>,
    /// The bytes that the client has taken since [`MinRate::watch`] last looked, and when that was in the core's
    /// milliseconds.
    taken: Cell<u64>,
    since: Cell<u64>,
    /// When to look next, once a send has had to wait.
    looks: OnceCell<Timer>,
}

impl MinRate {
    /// What a listener demands of its clients.
    pub fn of(listener: &Listener) -> MinRate {
        MinRate::new(listener.min_rate_bytes, listener.min_rate_grace)
    }

    /// What it demands of a client that has its whole answer and still sends.
    pub fn behind_answer(listener: &Listener) -> MinRate {
        let most = Duration::from_secs(limits::LINGER_SILENCE_SECS);
        MinRate::new(listener.min_rate_bytes, listener.min_rate_grace.min(most))
    }

    /// No demand.
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

    /// Notes that `bytes` moved after the client was waited for, so many milliseconds. False if it is too slow.
    fn note(&self, waited: u64, bytes: u64) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let brought = (bytes.saturating_mul(1_000) / self.per_second).min(i64::MAX as u64) as i64;
        let most = self.grace * limits::MIN_RATE_SAVED;
        let credit = self.credit.get() - waited as i64;
        self.credit.set(credit.saturating_add(brought).min(most));
        let is_fast_enough = self.credit.get() > 0;
        self.is_over.set(self.is_over.get() || !is_fast_enough);
        is_fast_enough
    }

    /// Whether as many bytes in as many milliseconds are what is demanded, or more.
    pub fn is_met_by(&self, millis: u64, bytes: u64) -> bool {
        bytes.saturating_mul(1_000) >= self.per_second.saturating_mul(millis)
    }

    /// Notes that `bytes` moved after a wait that may have been a pause: no more than a part of the grace is used up.
    pub fn note_after_pause(&self, waited: u64, bytes: u64) -> bool {
        self.note(waited.min(self.grace as u64 / 2), bytes)
    }

    /// Notes that the client has taken bytes of an answer; none: it is not to blame that it took none until now.
    pub fn note_taken(&self, now: u64, bytes: usize, to: &Stream) {
        match to {
            _ if bytes == 0 => self.pardon(now),
            Stream::Socket(_) => self.note_sent(bytes),
            Stream::Multiplexed(_) => {
                let waited = now.saturating_sub(self.since.replace(now));
                self.note_after_pause(waited, bytes as u64);
            }
        }
    }

    /// Notes that a client's socket has taken bytes.
    pub fn note_sent(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes as u64);
    }

    /// Notes that the time until now is not to be held against the client.
    pub fn pardon(&self, now: u64) {
        self.since.set(now);
    }

    /// Grants the grace once more.
    pub fn begin_anew(&self) {
        self.credit.set(self.grace);
        self.is_over.set(false);
    }

    /// Waits for a send, during which [`MinRate::note_taken`] or [`MinRate::note_sent`] is called. What a client takes
    /// of a stream of HTTP/2 is known byte by byte. A socket takes more when a third of its buffer is free, which may
    /// last: while a send waits, the kernel is asked now and then how much the peer has acknowledged. `moves` is called
    /// when it has some, whether or not a rate is demanded: a peer that takes a little all the time is not silent.
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
            match self.is_over.get() {
                true => Poll::Ready(Err(TooSlow)),
                false => Poll::Pending,
            }
        })
        .await
    }
}

/// The bytes that a client has acknowledged between two looks, if the socket has taken so many for it meanwhile. At the
/// first look nothing is known but what the socket has taken.
fn acknowledged(before: Option<u64>, taken: u64, now: Option<u64>) -> u64 {
    match (before, now) {
        (Some(before), Some(now)) => (before + taken).saturating_sub(now),
        _ => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds waited and bytes that came then, again and again; how many times that goes well.
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
