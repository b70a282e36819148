//! The one pump for bodies, in both directions: it takes what was received, passes it on, and never holds more than a
//! block of it. A receiver that is slow stops the sender, because nothing is received before what was received has been
//! sent.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::net::{Block, Blocks, Expired, Timer};
use crate::worker::body::{Body, Coming, Progress, Unacceptable};
use crate::worker::memory::Memory;
use crate::worker::min_rate::{MinRate, TooSlow};
use crate::worker::pace::Pace;
use crate::worker::stream::Stream;
use crate::worker::wire::{Interrupted, Wire};

/// Why a body could not be passed on to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken<F> {
    /// The sender ended or reset its side too early.
    SourceEnded,
    SourceTimeout,
    Unacceptable(Unacceptable),
    /// The receiver is gone.
    SinkClosed,
    SinkTimeout,
    /// The client, which may be the sender or the receiver, is too slow.
    TooSlow,
    /// There was no memory for more of it.
    Exhausted,
    /// What was watched meanwhile happened.
    Watched(F),
    /// The exchange ends because its backend has become unhealthy.
    Cut,
}

/// One direction of an exchange.
pub struct Relay<'a> {
    pub blocks: &'a Blocks,
    pub pace: &'a Pace,
    pub memory: &'a Memory,
    pub from: &'a Wire,
    pub to: &'a Stream,
    pub timer: &'a Timer,
    /// How long to wait for more of the body.
    pub idle: &'a dyn Fn() -> Duration,
    /// How long to wait for the receiver to take any of it.
    pub stall: &'a dyn Fn() -> Duration,
    /// Told the bytes of each piece that is passed on.
    pub count: &'a dyn Fn(usize),
    /// Called with the milliseconds of a wait for the sender and the number of bytes that then came. The result says
    /// whether the sender is too slow.
    pub is_source_slow: &'a dyn Fn(u64, usize) -> bool,
    /// The least rate of the receiver.
    pub sink_rate: &'a MinRate,
    /// Whether the exchange is to end although bytes flow or wait for the receiver. The timer's task is woken when the
    /// answer changes.
    pub is_cut: &'a dyn Fn() -> bool,
    /// Whether the receiver was given anything, and may have some of it.
    pub has_sent: Cell<bool>,
}

impl Relay<'_> {
    /// Passes on `head`, which is emptied, and the body behind it to its end. `watch` is polled while nothing comes.
    pub async fn run<F>(
        &self,
        head: &mut Block,
        body: &mut Body,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<(), Broken<F>> {
        let mut admission = None;
        let (mut is_ample, mut is_slow) = (false, false);
        loop {
            if body.is_verbatim() {
                self.pass_on(head, body).await?;
            } else {
                self.pass_on_reframed(head, body).await?;
            }
            drop(admission);
            if body.ends_here() {
                return Ok(());
            }
            if body.has_ended() {
                let sent = self.to.send_trailers(&body.trailers);
                return sent.map_err(|_| Broken::SinkClosed);
            }
            if is_slow {
                return Err(Broken::TooSlow);
            }
            let (size, most) = next_receive(body, self.to);
            self.timer.set((self.idle)());
            let held = self.from.held();
            admission = match self.memory.admit(self.timer, held, &mut watch).await {
                Ok(admitted) => admitted,
                Err(Interrupted::Expired) => return Err(Broken::Exhausted),
                Err(Interrupted::Watched(seen)) => return Err(Broken::Watched(seen)),
            };
            self.timer.set((self.idle)()); // The sender was not to blame for that wait.
            let waits_since = self.timer.timers().millis();
            let blocks = self.blocks;
            // What comes in small pieces need not wait for its turn.
            let more = match is_ample || size == limits::RELAY_BLOCK_BYTES {
                true => self.more_in_turn(size, most, &mut watch).await,
                false => {
                    let more = self.from.more(blocks, size, most, self.timer, &mut watch);
                    more.await
                }
            };
            match more {
                Ok(Ok(count)) if count > 0 => {
                    is_ample = count >= size;
                    let waited = self.timer.timers().millis().saturating_sub(waits_since);
                    is_slow = (self.is_source_slow)(waited, count);
                }
                Ok(Ok(_)) if body.source_ended(self.from.stream.take_trailers(), head) => {}
                Ok(_) => return Err(Broken::SourceEnded),
                Err(Interrupted::Expired) => return Err(Broken::SourceTimeout),
                Err(Interrupted::Watched(seen)) => return Err(Broken::Watched(seen)),
            }
        }
    }

    /// Waits for more of the body, as [`Wire::more`] does, and receives it when its turn has come.
    async fn more_in_turn<F>(
        &self,
        size: usize,
        most: usize,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<io::Result<usize>, Interrupted<F>> {
        let stream = &self.from.stream;
        let bytes = size.min(most);
        loop {
            if stream.is_watched() {
                let readable = self.timer.bound(|cx| match stream.poll_readable(cx) {
                    Poll::Ready(()) => Poll::Ready(Ok(())),
                    Poll::Pending => watch(cx).map(Err),
                });
                match readable.await {
                    Ok(Ok(())) => {}
                    Ok(Err(seen)) => return Err(Interrupted::Watched(seen)),
                    Err(Expired) => return Err(Interrupted::Expired),
                }
            }
            self.pace.admit(bytes).await;
            let outcome = self.from.receive(self.blocks, size, most);
            let count = outcome.as_ref().map_or(0, |&count| count);
            self.pace.give_back(bytes.saturating_sub(count));
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.watch(),
                outcome => return Ok(outcome),
            }
        }
    }

    /// Sends `head` and as much of the body as was received.
    async fn pass_on<F>(&self, head: &mut Block, body: &mut Body) -> Result<(), Broken<F>> {
        let mut received = self.from.take();
        let taken = match body.take_verbatim(received.len()) {
            Ok(taken) => taken,
            Err(unacceptable) => {
                self.from.put(received, self.blocks);
                return Err(Broken::Unacceptable(unacceptable));
            }
        };
        (self.count)(taken);
        self.notice_end(body, head);
        let is_last = body.ends_here();
        let left = join(head, &mut received, taken);
        let mut sent = self.send(head, head.len(), is_last && left == 0).await;
        if sent.is_ok() && left > 0 {
            sent = self.send(&mut received, left, is_last).await;
        }
        if sent.is_ok() {
            head.clear();
        }
        self.from.put(received, self.blocks);
        sent
    }

    /// The same where framing is taken off or put on: the pieces are copied behind `head`.
    async fn pass_on_reframed<F>(
        &self,
        head: &mut Block,
        body: &mut Body,
    ) -> Result<(), Broken<F>> {
        let mut received = self.from.take();
        let outcome = loop {
            let before = head.len();
            let progress = body.reframe(&mut received, head);
            if progress == Ok(Progress::Drained) {
                self.notice_end(body, head);
            }
            (self.count)(head.len() - before);
            let sent = match progress {
                Ok(_) => self.send(head, head.len(), body.ends_here()).await,
                Err(unacceptable) => break Err(Broken::Unacceptable(unacceptable)),
            };
            head.clear();
            if sent.is_err() || progress != Ok(Progress::Full) {
                break sent;
            }
        };
        self.from.put(received, self.blocks);
        outcome
    }

    /// Ends a body whose sender has ended it as far as we know already, so that the last piece can say that it is the
    /// last.
    fn notice_end(&self, body: &mut Body, head: &mut Block) {
        if self.from.stream.is_complete() {
            body.source_ended(self.from.stream.take_trailers(), head);
        }
    }

    async fn send<F>(
        &self,
        block: &mut Block,
        count: usize,
        is_last: bool,
    ) -> Result<(), Broken<F>> {
        self.timer.set((self.stall)());
        let noted = self.memory.note_send(self.timer, block.capacity());
        let timers = self.timer.timers();
        let moves = || {
            if !noted.was_ended() {
                self.timer.set((self.stall)());
                noted.renew(timers.millis());
            }
        };
        let progress = |bytes| {
            moves();
            self.sink_rate.note_taken(timers.millis(), bytes, self.to);
        };
        self.has_sent.set(self.has_sent.get() || count > 0);
        let socket = match self.to {
            Stream::Socket(socket) => Some(socket),
            Stream::Multiplexed(_) => None,
        };
        let sending = self.to.send(block, count, is_last, self.timer, progress);
        let mut watched = pin!(self.sink_rate.watch(socket, timers, moves, sending));
        let sent = poll_fn(|cx| match (self.is_cut)() {
            true => Poll::Ready(None),
            false => watched.as_mut().poll(cx).map(Some),
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
}

/// Joins `head` with the first `taken` bytes received, so that one send carries both: it fits, as a rule, into the
/// place of the head that was received before them; else as many of them as fit are copied behind it. Returns how many
/// bytes of `received` are to be sent after `head`.
fn join(head: &mut Block, received: &mut Block, taken: usize) -> usize {
    if head.is_empty() {
        return taken;
    }
    if taken > 0 && received.prepend(head.filled()) {
        let length = head.len();
        head.clear();
        return length + taken;
    }
    let behind = taken.min(head.room());
    head.extend(&received.filled()[..behind]);
    received.consume(behind);
    taken - behind
}

/// Capacity of the block to receive into, and the most to receive: never beyond the body where its end is known.
/// Streams that share a connection may all be stuck at once with what they hold, so each holds less.
fn next_receive(body: &Body, to: &Stream) -> (usize, usize) {
    let most = match body.coming {
        Coming::Length(left) => left.min(1 << 30) as usize,
        _ => usize::MAX,
    };
    let is_bulk = body.is_verbatim() && most > limits::BLOCK_BYTES;
    match to {
        Stream::Socket(_) if is_bulk && memory::level() < Level::Tight => {
            (limits::RELAY_BLOCK_BYTES, most)
        }
        _ => (limits::BLOCK_BYTES, most),
    }
}
