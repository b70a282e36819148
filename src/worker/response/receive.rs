//! Receives the head of a response, from a backend of either version of HTTP, whoever the response is for.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::http::h1::{
    self, Asked, FieldSlots, ResponseHead, may_be_repaired, may_end_head, repair_response,
};
use crate::http::refusal::Refusal;
use crate::net::{Block, Expired, Interrupted, Timer};
use crate::worker::failure::Failure;
use crate::worker::multiplex;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;
use crate::worker::wire::Amount;

/// The wait for a response.
pub struct Receiving<'a> {
    /// The core that receives.
    pub shard: &'a Shard,
    /// The connection that the response comes on.
    pub upstream: &'a Upstream,
    /// The facts of the request that decide how the response is read.
    pub asked: Asked,
    /// The timer of the task that waits.
    pub timer: &'a Timer,
    /// The time that is left for the head.
    pub wait: &'a dyn Fn() -> Duration,
    /// Whether the time for the head begins anew when it has ended.
    pub may_wait_on: &'a dyn Fn() -> bool,
    /// The failure that the end of the time means.
    pub expired: &'a dyn Fn() -> Failure,
    /// Called when the backend has sent any byte of an answer to the request.
    pub hear: &'a dyn Fn(),
    /// Polled while nothing comes. Ready, with the reason, when the response is needed no longer.
    pub watch: &'a dyn Fn(&mut Context<'_>) -> Poll<Failure>,
}

impl Receiving<'_> {
    /// Receives one head, which may be an interim one, and has `take` read the head in its buffer. Errors: no head
    /// comes in time, the head breaks a rule, and the failures of `take` and `watch`.
    pub async fn receive_head<T>(
        &self,
        take: impl FnMut(&ResponseHead<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match &self.upstream.wire.stream {
            Stream::Socket(_) | Stream::Absent => self.receive_written_head(take).await,
            Stream::Multiplexed(stream) => self.await_head(stream, take).await,
        }
    }

    async fn await_head<T>(
        &self,
        stream: &multiplex::MultiplexStream,
        mut take: impl FnMut(&ResponseHead<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.timer.set((self.wait)());
        loop {
            let waited = self.timer.bound(|cx| match stream.poll_head(cx) {
                Poll::Ready(outcome) => Poll::Ready(outcome.map_err(Failure::of_gone)),
                Poll::Pending => (self.watch)(cx).map(Err),
            });
            match waited.await {
                Ok(outcome) => {
                    if matches!(outcome, Ok(_) | Err(Failure::MalformedResponse(_))) {
                        (self.hear)();
                    }
                    let (head, end) = outcome?;
                    let mut slots = FieldSlots::new();
                    let parsed = head.as_response(end, self.asked, &mut slots);
                    let taken = take(&parsed.map_err(Failure::MalformedResponse)?)?;
                    stream.give_head(head);
                    return Ok(taken);
                }
                Err(Expired) if (self.may_wait_on)() => self.timer.set((self.wait)()),
                Err(Expired) => {
                    stream.suspect();
                    return Err((self.expired)());
                }
            }
        }
    }

    async fn receive_written_head<T>(
        &self,
        mut take: impl FnMut(&ResponseHead<'_, '_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (wire, blocks) = (&self.upstream.wire, &self.shard.blocks);
        self.timer.set((self.wait)());
        let mut seen = 0;
        loop {
            let length = wire.with(|received| received.len());
            let is_over = length > limits::RESPONSE_HEAD_BYTES as usize;
            let ends = wire.with(|received| may_end_head(received.filled(), seen));
            if length > 0 {
                (self.hear)();
            }
            if length > 0 && (ends || is_over || seen == 0) {
                let mut received = wire.take();
                let read = self.read_head(&mut received, &mut take);
                wire.put(received, blocks);
                if let Some(taken) = read? {
                    return Ok(taken);
                }
            }
            seen = length;
            let watch = |cx: &mut Context<'_>| (self.watch)(cx);
            let more = wire.more(blocks, Amount::BLOCK, self.timer, watch);
            match more.await {
                Ok(Ok(count)) if count > 0 => {}
                Ok(_) => return Err(self.upstream.end_without_answer(self.shard)),
                Err(Interrupted::Watched(failure)) => return Err(failure),
                Err(Interrupted::Expired) if (self.may_wait_on)() => self.timer.set((self.wait)()),
                Err(Interrupted::Expired) => return Err((self.expired)()),
            }
        }
    }

    fn read_head<T>(
        &self,
        received: &mut Block,
        take: &mut impl FnMut(&ResponseHead<'_, '_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut slots = FieldSlots::new();
        let (asked, most) = (self.asked, limits::RESPONSE_HEAD_BYTES);
        let parsed = match h1::parse_response(received.filled(), &mut slots, asked, most) {
            Err(refusal) if !asked.strict && may_be_repaired(refusal) => {
                return self.read_odd_head(received, take);
            }
            parsed => parsed.map_err(Failure::MalformedResponse)?,
        };
        let Some(head) = parsed else {
            return Ok(None);
        };
        let taken = take(&head)?;
        let consumed = head.head_bytes;
        received.consume(consumed);
        Ok(Some(taken))
    }

    /// Reads a head that is not well-formed and has one reading. Errors: the head has more than one reading.
    #[cold]
    fn read_odd_head<T>(
        &self,
        received: &mut Block,
        take: &mut impl FnMut(&ResponseHead<'_, '_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        const MOST: usize = limits::RESPONSE_HEAD_BYTES as usize;
        let beginning = &received.filled()[..received.len().min(MOST)];
        let repaired = match repair_response(beginning).map_err(Failure::MalformedResponse)? {
            Some(repaired) => repaired,
            None if beginning.len() < MOST => return Ok(None),
            None => return Err(Failure::MalformedResponse(Refusal::HeadTooLarge)),
        };
        let mut slots = FieldSlots::new();
        let parsed = h1::parse_response(&repaired.text, &mut slots, self.asked, u32::MAX);
        let Some(mut head) = parsed.map_err(Failure::MalformedResponse)? else {
            return Ok(None);
        };
        head.keep_alive &= repaired.is_first;
        let taken = take(&head)?;
        received.consume(repaired.taken);
        Ok(Some(taken))
    }
}
