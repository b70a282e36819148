//! After a switch of protocols, both sides speak a protocol that palantir does not know: bytes go both ways until both
//! sides have ended, or no bytes move for too long. A tunnel whose listener was removed, or has other demands now, ends
//! within `shutdown_timeout`, because the tunnel would otherwise outlast the rules by which its client was accepted.
//! The oldest tunnels end in this way, too, when too many snapshots are in use.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Interrupted, Timer};
use crate::worker::downstream::{Client, Persistence};
use crate::worker::exchange::Exchange;
use crate::worker::leave::is_cut;
use crate::worker::shard::Shard;
use crate::worker::stream::{Piece, Stream};
use crate::worker::upstream::Upstream;
use crate::worker::wire::{Amount, Wire, nothing};

const NEXT_LOOK: Duration = Duration::from_millis(limits::TICK_MILLIS);

/// Runs the tunnel to its end.
pub async fn run(shard: &Shard, client: &Client, exchange: &Exchange, upstream: &Upstream) {
    client.note(Persistence::ends);
    client.wire.stream.allow_leisure();
    let timers = [(); 2].map(|()| Timer::new(&shard.timers));
    let to_upstream = Direction {
        shard,
        from: &client.wire,
        to: &upstream.wire,
        idle: exchange.route().timeouts.tunnel_idle,
        timer: &timers[0],
        other_timer: &timers[1],
    };
    let to_client = Direction {
        from: to_upstream.to,
        to: to_upstream.from,
        timer: to_upstream.other_timer,
        other_timer: to_upstream.timer,
        ..to_upstream
    };
    let mut sending = pin!(to_upstream.run(|bytes| exchange.count_request(bytes)));
    let mut receiving = pin!(to_client.run(|bytes| exchange.count_response(bytes)));
    let (mut sent, mut received) = (None, None);
    let next_look = Timer::new(&shard.timers);
    next_look.set(NEXT_LOOK);
    let mut timer_of_end = None;
    poll_fn(|cx| {
        if sent.is_none()
            && let Poll::Ready(end) = sending.as_mut().poll(cx)
        {
            sent = Some(end);
        }
        if received.is_none()
            && let Poll::Ready(end) = receiving.as_mut().poll(cx)
        {
            received = Some(end);
        }
        if is_cut(shard, exchange) {
            return Poll::Ready(());
        }
        if client.arrival.listener.is_over() || exchange.config.due().is_some() {
            let timer = timer_of_end.get_or_insert_with(|| last_time(shard));
            if timer.poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        match (sent, received) {
            (Some(End::Broken), _) | (_, Some(End::Broken)) => Poll::Ready(()),
            (Some(End::Orderly), Some(End::Orderly)) => Poll::Ready(()),
            _ if is_one_gone([&client.wire.stream, &upstream.wire.stream], &next_look, cx) => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    })
    .await;
}

/// Whether one side is gone although nothing is received from it, because the other side does not take the bytes that
/// it sent before.
fn is_one_gone(sides: [&Stream; 2], next_look: &Timer, cx: &mut Context<'_>) -> bool {
    let is_unheard = sides.iter().any(|side| !side.is_watched());
    let may_ask = is_unheard && next_look.is_due_again(NEXT_LOOK, cx);
    sides.iter().any(|side| match side {
        Stream::Multiplexed(stream) => stream.is_gone(),
        Stream::Socket(socket) => may_ask && !socket.is_watched() && socket.is_reset(),
    })
}

/// A timer for the time that a tunnel has left which has to end.
fn last_time(shard: &Shard) -> Timer {
    let timer = Timer::new(&shard.timers);
    timer.set(shard.config().snapshot().shutdown_timeout);
    timer
}

#[derive(Clone, Copy)]
enum End {
    /// The sender has ended its side, and the receiver was told.
    Orderly,
    /// One side is gone or silent, and the whole tunnel ends.
    Broken,
}

struct Direction<'a> {
    shard: &'a Shard,
    from: &'a Wire,
    to: &'a Wire,
    idle: Duration,
    timer: &'a Timer,
    /// The timer of the other direction.
    other_timer: &'a Timer,
}

impl Direction<'_> {
    async fn run(&self, count: impl Fn(usize)) -> End {
        loop {
            let mut block = self.from.take();
            count(block.len());
            self.moves();
            let noted = self.shard.memory.note_send(self.timer, block.capacity());
            let (length, timer) = (block.len(), self.timer);
            let progress = |_| {
                if !noted.was_ended() {
                    self.moves();
                    noted.renew(timer.timers().millis());
                }
            };
            let piece = Piece {
                count: length,
                is_last: false,
            };
            let sent = self
                .to
                .stream
                .send(&mut block, piece, timer, progress)
                .await;
            drop(noted);
            self.from.put(block, &self.shard.blocks);
            if !matches!(sent, Ok(Ok(()))) {
                return End::Broken;
            }
            let blocks = &self.shard.blocks;
            let more = self.from.more(blocks, Amount::BLOCK, timer, nothing);
            match more.await {
                Ok(Ok(0)) => {
                    self.to.stream.end_sending();
                    return End::Orderly;
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(Interrupted::Expired) => return End::Broken,
                Err(Interrupted::Watched(never)) => match never {},
            }
        }
    }

    /// Notes that bytes have moved in this direction. Silence in one direction ends the tunnel only if the other
    /// direction is silent, too.
    fn moves(&self) {
        self.timer.set(self.idle);
        if !self.other_timer.expired() {
            self.other_timer.set(self.idle);
        }
    }
}
