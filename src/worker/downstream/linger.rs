//! A client's socket outside of requests: the bytes before the first request, and the end of the connection, which must
//! not destroy the last message.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Block, Expired, Socket, Timer};
use crate::worker::min_rate::MinRate;
use crate::worker::shard::Shard;

/// How long palantir receives and discards the bytes of a client after its last message to the client.
#[derive(Clone, Copy, Debug)]
pub struct Lingering {
    /// The longest time in all for which the client's bytes are discarded.
    most: Duration,
    /// The longest time in which no byte comes from the client.
    silence: Duration,
    /// The longest time in which the client takes none of the bytes that are on their way to it.
    stall: Duration,
}

impl Lingering {
    /// The times behind an answer. `is_sending`: whether more of a request is on its way. `stall`: how long the client
    /// may take none of the answer.
    pub fn behind_answer(is_sending: bool, stall: Duration) -> Lingering {
        Lingering {
            most: Duration::from_secs(limits::LINGER_MOST_SECS),
            silence: if is_sending {
                Duration::from_secs(limits::LINGER_SILENCE_SECS)
            } else {
                Duration::from_millis(limits::LINGER_MILLIS)
            },
            stall,
        }
    }

    /// The times that are left after `passed`.
    pub fn after(self, passed: Duration) -> Lingering {
        Lingering {
            most: self.most.saturating_sub(passed),
            ..self
        }
    }

    /// The times behind a last message that is no answer.
    pub fn after_last_message() -> Lingering {
        let wait = Duration::from_millis(limits::LINGER_MILLIS);
        Lingering {
            most: wait,
            silence: wait,
            stall: wait,
        }
    }

    /// How much longer the client's bytes are received, after `passed` in all and `silent` since the client's last
    /// byte.
    pub fn left(self, passed: Duration, silent: Duration) -> Duration {
        let most = self.most.saturating_sub(passed);
        most.min(self.silence.saturating_sub(silent))
    }

    /// The times in a process that is to end.
    fn shortened(self) -> Lingering {
        let wait = Duration::from_millis(limits::LINGER_MILLIS);
        Lingering {
            most: self.most.min(wait),
            ..self
        }
    }
}

/// Lingers behind a last message that is no answer, such as an alert of TLS.
pub async fn linger_after_last_message(shard: &Shard, socket: &Socket, timer: &Timer) {
    let rate = MinRate::none();
    linger(shard, socket, timer, Lingering::after_last_message(), &rate).await;
}

/// Lets the client read its last answer although it may still be sending. Palantir ends its sending side, and throws
/// away the bytes that the client sends for a while, and for as long as the client takes the bytes that are on their
/// way to it (RFC 9112 section 9.6). If palantir closed at once, bytes of the client would reset the connection, and
/// the answer would be lost. `rate`: how fast the client must take the bytes that are on their way to it.
pub async fn linger(
    shard: &Shard,
    socket: &Socket,
    timer: &Timer,
    lingering: Lingering,
    rate: &MinRate,
) {
    socket.end_sending();
    let since = |then: u64| Duration::from_millis(timer.timers().millis().saturating_sub(then));
    let begun = timer.timers().millis();
    let (mut heard_at, mut moved_at, mut is_too_slow) = (begun, begun, false);
    let mut unacknowledged = socket.unacknowledged();
    timer.set(lingering.left(Duration::ZERO, Duration::ZERO));
    loop {
        match discard_some(shard, socket, timer).await {
            Ok(true) => heard_at = timer.timers().millis(),
            Ok(false) => return,
            Err(Expired) => {}
        }
        let bounds = if shard.is_ending() {
            lingering.shortened()
        } else {
            lingering
        };
        let left = bounds.left(since(begun), since(heard_at));
        if !left.is_zero() {
            timer.set(left);
            continue;
        }
        let before = std::mem::replace(&mut unacknowledged, socket.unacknowledged());
        let moved = before.saturating_sub(unacknowledged);
        let now = timer.timers().millis();
        if moved > 0 {
            let waited = now.saturating_sub(std::mem::replace(&mut moved_at, now));
            is_too_slow = !rate.note_after_pause(waited, moved as u64);
        }
        if unacknowledged == 0 || is_too_slow || since(moved_at) >= bounds.stall {
            return;
        }
        timer.set(Duration::from_millis(limits::LINGER_MILLIS));
    }
}

/// Waits for bytes at most until the timer's deadline, and throws them away; false if no more bytes will come. The wait
/// also ends when the process begins to end. No block is held meanwhile.
async fn discard_some(shard: &Shard, socket: &Socket, timer: &Timer) -> Result<bool, Expired> {
    let was_ending = shard.is_ending();
    socket.watch();
    let readable = timer.bound(|cx| match socket.poll_readable(cx) {
        Poll::Pending if shard.is_ending() != was_ending => Poll::Ready(false),
        polled => polled.map(|()| true),
    });
    if !readable.await? {
        return Err(Expired);
    }
    let mut block = shard.blocks.take();
    let received = socket.receive(&mut block, usize::MAX);
    block.clear();
    shard.blocks.give(block);
    match received {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Ok(count @ 1..) => {
            shard.bulk_turns.admit(count.min(limits::BLOCK_BYTES)).await;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Receives something behind what `block` holds, at most until the timer's deadline; false if nothing more will come.
pub async fn receive_some(socket: &Socket, block: &mut Block, timer: &Timer) -> bool {
    socket.watch();
    let received = timer.bound(|cx| poll_receive(socket, block, cx)).await;
    matches!(received, Ok(Ok(count)) if count > 0)
}

fn poll_receive(
    socket: &Socket,
    block: &mut Block,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_readable(cx));
        match socket.receive(block, usize::MAX) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.watch(),
            outcome => {
                socket.watch();
                return Poll::Ready(outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_silence_bound_how_long_a_client_is_listened_to() {
        let seconds = Duration::from_secs;
        let bounds = Lingering {
            most: seconds(30),
            silence: seconds(5),
            stall: seconds(60),
        };
        let rows = [
            (bounds, 0, 0, 5),
            (bounds, 3, 1, 4),
            (bounds, 28, 0, 2),
            (bounds, 30, 0, 0),
            (bounds, 31, 1, 0),
            (bounds, 9, 5, 0),
            (bounds.shortened(), 0, 0, 2),
            (bounds.shortened(), 9, 0, 0),
        ];
        for (bounds, passed, silent, expected) in rows {
            let left = bounds.left(seconds(passed), seconds(silent));
            assert_eq!(left, seconds(expected), "{bounds:?} {passed} {silent}");
        }
    }
}
