//! The one pump for bodies, in both directions: a body goes from its source through its filters to its sink. The pump
//! never holds more than a block of received bytes, and a slow sink stops the source, because nothing is received
//! before the bytes received last have been sent.

pub mod filter;
mod sink;
mod source;

use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Block, Expired, Interrupted};
use crate::worker::body::{Body, BodyProgress, Unacceptable};

pub use filter::Filters;
pub use sink::Sink;
pub use source::{Source, Supply};

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
    /// There was no memory for more of the body.
    Exhausted,
    /// The watched event has happened meanwhile.
    Watched(F),
    /// The exchange ends because its backend has become unhealthy.
    Cut,
}

impl<F> From<Interrupted<F>> for Broken<F> {
    /// The wait for more of a body was interrupted.
    fn from(interrupted: Interrupted<F>) -> Broken<F> {
        match interrupted {
            Interrupted::Expired => Broken::SourceTimeout,
            Interrupted::Watched(seen) => Broken::Watched(seen),
        }
    }
}

/// One direction of an exchange.
pub struct Relay<'a> {
    /// The source of the body.
    pub source: Source<'a>,
    /// The sink of the body.
    pub sink: Sink<'a>,
}

impl Relay<'_> {
    /// Sends `head`, which is emptied, and the body behind it to its end. `watch` is polled while the source brings
    /// nothing.
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
            debug_assert!(
                head.is_empty(),
                "nothing is received before what was received has been sent"
            );
            drop(admission);
            if body.ends_here() {
                return Ok(());
            }
            if body.has_ended() {
                return self.sink.send_trailers(&body.trailers);
            }
            if is_slow {
                return Err(Broken::TooSlow);
            }
            self.hold_back(body, &mut watch).await?;
            let amount = self.sink.next_receive(body);
            admission = self.source.await_memory(&mut watch).await?;
            // A body that comes in small pieces need not wait for its turn.
            let in_turn = is_ample || amount.size == limits::RELAY_BLOCK_BYTES;
            let piece = self.source.receive(amount, in_turn, &mut watch).await?;
            if piece.bytes == 0 && !body.source_ended(self.source.take_trailers(), head) {
                return Err(Broken::SourceEnded);
            }
            (is_ample, is_slow) = (piece.bytes >= amount.size, piece.is_slow);
        }
    }

    /// Receives no more of a body that the store does not keep while those who follow it are far behind. Who reads
    /// nothing for a while is not waited for.
    async fn hold_back<F>(
        &self,
        body: &Body,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<(), Broken<F>> {
        let Some(filling) = body.fill.as_ref().and_then(|fill| fill.held_back()) else {
            return Ok(());
        };
        let (shard, timer) = (self.source.shard, self.source.timer);
        let number = filling.fill().map_or(0, |fill| fill.number());
        let wait = shard.wait_for_fill(number);
        filling.mark();
        loop {
            timer.set(Duration::from_millis(limits::RING_PATIENCE_MILLIS));
            let read_on = timer.bound(|cx: &mut Context<'_>| {
                wait.set(cx);
                filling.wait(shard.worker.index());
                if filling.is_held_back() {
                    watch(cx).map(|seen| Err(Broken::Watched(seen)))
                } else {
                    Poll::Ready(Ok(()))
                }
            });
            match read_on.await {
                Ok(outcome) => {
                    filling.go_on();
                    return outcome;
                }
                Err(Expired) => filling.forsake(),
            }
        }
    }

    /// Sends `head` and as much of the body as was received.
    async fn pass_on<F>(&self, head: &mut Block, body: &mut Body) -> Result<(), Broken<F>> {
        let mut received = self.source.take();
        let taken = match body.take_verbatim(received.filled()) {
            Ok(taken) => taken,
            Err(unacceptable) => {
                self.source.put(received);
                return Err(Broken::Unacceptable(unacceptable));
            }
        };
        (self.sink.count)(taken);
        self.notice_end(body, head);
        let is_last = body.ends_here();
        let left = join(head, &mut received, taken);
        if left > 0 && !head.is_empty() && received.before_pages().is_some() {
            self.sink.send_ahead(head);
        }
        let mut sent = self.sink.send(head, head.len(), is_last && left == 0).await;
        if sent.is_ok() && left > 0 {
            sent = self.sink.send(&mut received, left, is_last).await;
        }
        if sent.is_ok() {
            head.clear();
        }
        self.source.put(received);
        sent
    }

    /// Sends the received bytes of a body that a filter changes or that is framed anew: the pieces are copied behind
    /// `head`.
    async fn pass_on_reframed<F>(
        &self,
        head: &mut Block,
        body: &mut Body,
    ) -> Result<(), Broken<F>> {
        let mut received = self.source.take();
        let outcome = loop {
            let allowed = body.most;
            let progress = body.reframe(&mut received, head);
            // The framing of the body takes nothing from what the body may still have.
            (self.sink.count)((allowed - body.most) as usize);
            if progress == Ok(BodyProgress::Drained) {
                self.notice_end(body, head);
            }
            let sent = match progress {
                Ok(_) => self.sink.send(head, head.len(), body.ends_here()).await,
                Err(unacceptable) => break Err(Broken::Unacceptable(unacceptable)),
            };
            head.clear();
            if sent.is_err() || (progress != Ok(BodyProgress::Full) && !body.is_held_back()) {
                break sent;
            }
        };
        self.source.put(received);
        outcome
    }

    /// Ends a body whose end has already been received, so that the send of the last piece also ends the message.
    fn notice_end(&self, body: &mut Body, head: &mut Block) {
        if self.source.is_complete() {
            body.source_ended(self.source.take_trailers(), head);
        }
    }
}

/// Joins `head` with the first `taken` received bytes, so that one send carries both. Usually the head fits in front of
/// these bytes; otherwise as many of them as fit are copied behind the head. The result is the number of bytes of
/// `received` that are to be sent after `head`.
fn join(head: &mut Block, received: &mut Block, taken: usize) -> usize {
    debug_assert!(taken <= received.len(), "no more is sent than was received");
    if head.is_empty() {
        return taken;
    }
    if taken > 0 && received.prepend(head.filled()) {
        let length = head.len();
        head.clear();
        return length + taken;
    }
    // Pages that the kernel takes by reference are not copied.
    let copied = received.before_pages().unwrap_or(usize::MAX);
    let behind = taken.min(head.room()).min(copied);
    head.extend(&received.filled()[..behind]);
    received.consume(behind);
    taken - behind
}

#[cfg(test)]
pub mod tests;
