//! The receiver of a body: the stream of a client or of a backend, and the time and rate at which the receiver has to
//! take the body.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::net::{Block, Timer};
use crate::worker::body::{Body, Coming};
use crate::worker::min_rate::{MinRate, TooSlow};
use crate::worker::relay::Broken;
use crate::worker::shard::Shard;
use crate::worker::stream::{Piece, Stream};
use crate::worker::wire::Amount;

/// The sink of a body.
pub struct Sink<'a> {
    /// The core on which the body is passed on.
    pub shard: &'a Shard,
    /// The stream that the body goes to.
    pub stream: &'a Stream,
    /// The timer of the relay's task.
    pub timer: &'a Timer,
    /// How long the receiver may take none of the body.
    pub stall: &'a dyn Fn() -> Duration,
    /// Called with the number of bytes of each piece that is passed on.
    pub count: &'a dyn Fn(usize),
    /// The least rate of the receiver.
    pub rate: &'a MinRate,
    /// Whether the exchange must end although bytes flow or wait for the receiver. The timer's task is woken when the
    /// result changes.
    pub is_cut: &'a dyn Fn() -> bool,
    /// Whether any byte was sent to the receiver.
    pub has_sent: Cell<bool>,
}

impl Sink<'_> {
    /// How much to receive next: never more than the body, if its end is known. Streams that share a connection may all
    /// be stalled at once with the bytes that they hold, so that each holds less.
    pub fn next_receive(&self, body: &Body) -> Amount {
        debug_assert!(!body.has_ended(), "nothing is received behind a body");
        let most = match body.coming {
            Coming::Length(left) => left.min(1 << 30) as usize,
            _ => usize::MAX,
        };
        let is_bulk = body.is_verbatim() && most > limits::BLOCK_BYTES;
        match self.stream {
            Stream::Socket(_) | Stream::Absent if is_bulk && memory::level() < Level::Tight => {
                Amount {
                    size: limits::RELAY_BLOCK_BYTES,
                    most,
                }
            }
            _ => Amount {
                size: limits::BLOCK_BYTES,
                most,
            },
        }
    }

    /// Sends what the receiver takes at once of a head behind which a body follows at once.
    pub fn send_ahead(&self, head: &mut Block) {
        if let Stream::Socket(socket) = self.stream {
            let sent = socket.send_ahead(head.filled());
            self.has_sent.set(self.has_sent.get() || sent > 0);
            head.advance(sent);
        }
    }

    /// Sends the first `count` bytes of `block`. `is_last`: the body ends with them.
    pub async fn send<F>(
        &self,
        block: &mut Block,
        count: usize,
        is_last: bool,
    ) -> Result<(), Broken<F>> {
        debug_assert!(count <= block.len(), "only what is in the block is sent");
        self.timer.set((self.stall)());
        let noted = self.shard.memory.note_send(self.timer, block.capacity());
        let timers = self.timer.timers();
        let moves = || {
            if !noted.was_ended() {
                self.timer.set((self.stall)());
                noted.renew(timers.millis());
            }
        };
        let socket = match self.stream {
            Stream::Socket(socket) => Some(socket),
            Stream::Multiplexed(_) | Stream::Absent => None,
        };
        let progress = |bytes| {
            moves();
            self.rate
                .note_taken(timers.millis(), bytes, socket.is_some());
        };
        self.has_sent.set(self.has_sent.get() || count > 0);
        let sending = self
            .stream
            .send(block, Piece { count, is_last }, self.timer, progress);
        let mut watched = pin!(self.rate.watch(socket, timers, moves, sending));
        let sent = poll_fn(|cx| {
            if (self.is_cut)() {
                Poll::Ready(None)
            } else {
                watched.as_mut().poll(cx).map(Some)
            }
        });
        let Some(sent) = sent.await else {
            return Err(Broken::Cut);
        };
        match sent {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(_))) => Err(Broken::SinkClosed),
            Ok(Err(_)) if noted.was_ended() => Err(Broken::Exhausted),
            Ok(Err(_)) => Err(Broken::SinkTimeout),
            Err(TooSlow) => Err(Broken::TooSlow),
        }
    }

    /// Sends the trailers that end a body, if the framing does not contain them.
    pub fn send_trailers<F>(&self, lines: &[u8]) -> Result<(), Broken<F>> {
        let sent = self.stream.send_trailers(lines);
        sent.map_err(|_| Broken::SinkClosed)
    }
}
