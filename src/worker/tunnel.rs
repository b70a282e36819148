//! After a switch of protocols, both sides speak a protocol that palantir does not know: bytes go both ways until both
//! sides have ended, one of them is gone, or no bytes move for too long. Only the two sides know where a message of
//! theirs ends. So a side is told of an orderly end only if the other side has ended in order; otherwise its connection
//! is cut. A tunnel whose listener was removed, or has other demands now, ends within `shutdown_timeout`, because the
//! tunnel would otherwise outlast the rules by which its client was accepted. The oldest tunnels end in this way, too,
//! when too many snapshots are in use.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Expired, Interrupted, Timer};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave::is_cut;
use crate::worker::shard::Shard;
use crate::worker::stream::{Piece, Stream};
use crate::worker::upstream::Upstream;
use crate::worker::wire::{Amount, Wire, nothing};

const NEXT_LOOK: Duration = Duration::from_millis(limits::TICK_MILLIS);

/// Runs the tunnel to its end. Errors: the backend has not ended its side, so that the client's connection is to be
/// cut. (Closing is the regular end of a tunnel of HTTP/1.) The backend's connection is cut unless the client has ended
/// its side.
pub async fn run(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    upstream: &Upstream,
) -> Result<(), Failure> {
    debug_assert!(
        exchange.tally().is_answered,
        "a tunnel begins behind its answer"
    );
    client.note(|persistence| persistence.answer_begins(false, true));
    client.wire.stream.allow_leisure();
    let timers = [(); 2].map(|()| Timer::new(&shard.timers));
    let to_upstream = Direction {
        shard,
        from: &client.wire,
        to: &upstream.wire,
        idle: exchange.route().timeouts.tunnel_idle,
        timer: &timers[0],
        other_timer: &timers[1],
        lost: [Failure::ClientLeft, Failure::TunnelBroken],
    };
    let to_client = to_upstream.back();
    let mut sending = pin!(to_upstream.run(|bytes| exchange.count_request(bytes)));
    let mut receiving = pin!(to_client.run(|bytes| exchange.count_response(bytes)));
    let (mut sent, mut received) = (None, None);
    let next_look = Timer::new(&shard.timers);
    next_look.set(NEXT_LOOK);
    let mut timer_of_end = None;
    let failure = poll_fn(|cx| {
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
            return Poll::Ready(Some(Failure::BackendDown));
        }
        if client.arrival.listener.is_over() || exchange.config.due().is_some() {
            let timer = timer_of_end.get_or_insert_with(|| last_time(shard));
            if timer.poll(cx).is_ready() {
                return Poll::Ready(Some(Failure::CutByStop));
            }
        }
        match (sent, received) {
            (Some(Err(failure)), _) | (_, Some(Err(failure))) => Poll::Ready(Some(failure)),
            (Some(Ok(())), Some(Ok(()))) => Poll::Ready(None),
            _ => poll_gone(client, upstream, &next_look, cx).map(Some),
        }
    })
    .await;
    if sent != Some(Ok(())) {
        upstream.wire.stream.reset_on_close();
    }
    match failure {
        // A client that has the whole answer has lost nothing.
        Some(failure) if received != Some(Ok(())) => Err(failure),
        _ => Ok(()),
    }
}

/// Ready when one side is gone although nothing is received from it, because the other side does not take the bytes
/// that were sent before.
fn poll_gone(
    client: &Client,
    upstream: &Upstream,
    next_look: &Timer,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    let sides = [
        (&client.wire.stream, Failure::ClientLeft),
        (&upstream.wire.stream, Failure::TunnelBroken),
    ];
    let is_unheard = sides.iter().any(|(side, _)| !side.is_watched());
    let may_ask = is_unheard && next_look.is_due_again(NEXT_LOOK, cx);
    let is_gone = |side: &Stream| match side {
        Stream::Multiplexed(stream) => stream.is_gone(),
        Stream::Socket(socket) => may_ask && !socket.is_watched() && socket.is_reset(),
        Stream::Absent => true,
    };
    let gone = sides.iter().find(|(side, _)| is_gone(side));
    gone.map_or(Poll::Pending, |(_, failure)| Poll::Ready(*failure))
}

/// A timer for the time that a tunnel has left which has to end.
fn last_time(shard: &Shard) -> Timer {
    let timer = Timer::new(&shard.timers);
    timer.set(shard.config().snapshot().shutdown_timeout);
    timer
}

struct Direction<'a> {
    shard: &'a Shard,
    from: &'a Wire,
    to: &'a Wire,
    idle: Duration,
    timer: &'a Timer,
    /// The timer of the other direction.
    other_timer: &'a Timer,
    /// The failures that the loss of the sender and that of the receiver mean.
    lost: [Failure; 2],
}

impl Direction<'_> {
    /// The direction from the receiver to the sender.
    fn back(&self) -> Direction<'_> {
        let [sender_lost, receiver_lost] = self.lost;
        Direction {
            shard: self.shard,
            from: self.to,
            to: self.from,
            idle: self.idle,
            timer: self.other_timer,
            other_timer: self.timer,
            lost: [receiver_lost, sender_lost],
        }
    }

    /// Passes bytes on until the sender ends its side, of which the receiver is told. Errors: the whole tunnel ends.
    async fn run(&self, count: impl Fn(usize)) -> Result<(), Failure> {
        let [sender_lost, receiver_lost] = self.lost;
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
            let was_ended = noted.was_ended();
            drop(noted);
            self.from.put(block, &self.shard.blocks);
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(receiver_lost),
                Err(Expired) if was_ended => return Err(Failure::Exhausted),
                Err(Expired) => return Err(Failure::TunnelIdle),
            }
            let blocks = &self.shard.blocks;
            let more = self.from.more(blocks, Amount::BLOCK, timer, nothing);
            match more.await {
                Ok(Ok(0)) => {
                    self.to.stream.end_sending();
                    return Ok(());
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(sender_lost),
                Err(Interrupted::Expired) => return Err(Failure::TunnelIdle),
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
