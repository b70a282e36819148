//! The sender of a body: the stream of a backend or of a client with its received bytes, or the store of the cache.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::net::{Block, Expired, Interrupted, Timer};
use crate::worker::cache::sliced_body::SlicedBody;
use crate::worker::cache::stored_body::{Lost, StoredBody};
use crate::worker::memory::RelayAdmission;
use crate::worker::relay::Broken;
use crate::worker::shard::Shard;
use crate::worker::wire::{Amount, Wire};

/// The place that a body comes from.
#[derive(Clone, Copy)]
pub enum Supply<'a> {
    /// A stream, with its received bytes.
    Wire(&'a Wire),
    /// The store.
    Stored(&'a StoredBody),
    /// The store, slice by slice.
    Sliced(&'a SlicedBody<'a>),
}

/// The source of a body.
pub struct Source<'a> {
    /// The core on which the body is passed on.
    pub shard: &'a Shard,
    /// The place that the body comes from.
    pub supply: Supply<'a>,
    /// The timer of the relay's task.
    pub timer: &'a Timer,
    /// How long to wait for more of the body.
    pub idle: &'a dyn Fn() -> Duration,
    /// Called with the milliseconds of a wait for the sender and the number of bytes that then came. The result says
    /// whether the sender is too slow.
    pub is_slow: &'a dyn Fn(u64, usize) -> bool,
}

/// A piece of a body that came in one receive.
pub struct Received {
    /// The number of bytes that came; 0: the sender has ended its side.
    pub bytes: usize,
    /// Whether the sender has been too slow with these bytes.
    pub is_slow: bool,
}

impl Source<'_> {
    /// Reads the beginning of a whole body in the store at once, so that it goes with the head, unless memory is short.
    pub async fn read_ahead(&self, amount: Amount) {
        let Supply::Stored(body) = self.supply else {
            return;
        };
        if !body.is_whole() || memory::level() >= Level::Tight {
            return;
        }
        if amount.size == limits::RELAY_BLOCK_BYTES {
            self.shard.bulk_turns.admit(amount.size).await;
        }
        body.read_ahead(&self.shard.blocks, amount.size.min(amount.most));
    }

    /// Waits until there is memory for more of the body. The caller keeps the admission, if there is one, until it has
    /// passed on the bytes that it receives next.
    pub async fn await_memory<F>(
        &self,
        watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Option<RelayAdmission<'_>>, Broken<F>> {
        self.timer.set((self.idle)());
        let held = match self.supply {
            Supply::Wire(wire) => wire.held(),
            Supply::Stored(body) => body.held(),
            Supply::Sliced(body) => body.held(),
        };
        match self.shard.memory.admit(self.timer, held, watch).await {
            Ok(admission) => Ok(admission),
            Err(Interrupted::Expired) => Err(Broken::Exhausted),
            Err(Interrupted::Watched(seen)) => Err(Broken::Watched(seen)),
        }
    }

    /// Waits for more of the body. `in_turn`: the piece is so large that it waits for its turn among the bulk
    /// transfers.
    pub async fn receive<F>(
        &self,
        amount: Amount,
        in_turn: bool,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Received, Broken<F>> {
        debug_assert!(
            amount.most > 0 && amount.size > 0,
            "a receive without room looks like an end"
        );
        self.timer.set((self.idle)());
        let waits_since = self.timer.timers().millis();
        let blocks = &self.shard.blocks;
        // Lent bytes take no memory, but are moved in one turn: a turn moves less where memory is short.
        let most = match memory::level() {
            Level::Ample => amount.most,
            _ => amount.size.min(amount.most),
        };
        // A source that is reset has ended too early.
        let bytes = match self.supply {
            Supply::Wire(wire) if in_turn => {
                let received = self.more_in_turn(wire, amount, &mut watch).await;
                received?.map_err(|_| Broken::SourceEnded)?
            }
            Supply::Wire(wire) => {
                let received = wire.more(blocks, amount, self.timer, &mut watch).await;
                received?.map_err(|_| Broken::SourceEnded)?
            }
            Supply::Stored(body) => {
                let read = |cx: &mut Context<'_>| body.poll_more(cx, blocks, most);
                let read = self.read_stored(read, amount, in_turn, &mut watch).await;
                read?.map_err(|Lost| Broken::SourceEnded)?
            }
            Supply::Sliced(body) => {
                let read = |cx: &mut Context<'_>| body.poll_more(cx, blocks, most);
                let read = self.read_stored(read, amount, in_turn, &mut watch).await;
                read?.map_err(|Lost| Broken::SourceEnded)?
            }
        };
        let waited = self.timer.timers().millis().saturating_sub(waits_since);
        Ok(Received {
            bytes,
            is_slow: bytes > 0 && (self.is_slow)(waited, bytes),
        })
    }

    /// Waits for more of the body, as [`Wire::more`] does, and receives it when its turn has come.
    async fn more_in_turn<F>(
        &self,
        wire: &Wire,
        amount: Amount,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<io::Result<usize>, Interrupted<F>> {
        let (stream, bulk_turns) = (&wire.stream, &self.shard.bulk_turns);
        let bytes = amount.size.min(amount.most);
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
            bulk_turns.admit(bytes).await;
            let outcome = wire.receive(&self.shard.blocks, amount);
            let count = outcome.as_ref().map_or(0, |&count| count);
            bulk_turns.give_back(bytes.saturating_sub(count));
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.watch(),
                outcome => return Ok(outcome),
            }
        }
    }

    /// Reads more of a stored body. `in_turn`: the piece waits for its turn among the bulk transfers.
    async fn read_stored<F>(
        &self,
        mut poll_more: impl FnMut(&mut Context<'_>) -> Poll<Result<usize, Lost>>,
        amount: Amount,
        in_turn: bool,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Result<usize, Lost>, Interrupted<F>> {
        if in_turn {
            self.shard.bulk_turns.admit(amount.size).await;
        }
        let read = |cx: &mut Context<'_>| match poll_more(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => watch(cx).map(Err),
        };
        match self.timer.bound(read).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(Expired) => Err(Interrupted::Expired),
        }
    }

    /// Takes the received bytes out, to use them across a wait.
    pub fn take(&self) -> Block {
        match self.supply {
            Supply::Wire(wire) => wire.take(),
            Supply::Stored(body) => body.take(),
            Supply::Sliced(body) => body.take(),
        }
    }

    /// Puts the rest of the received bytes back.
    pub fn put(&self, received: Block) {
        match self.supply {
            Supply::Wire(wire) => wire.put(received, &self.shard.blocks),
            Supply::Stored(body) => body.put(received, &self.shard.blocks),
            Supply::Sliced(body) => body.put(received, &self.shard.blocks),
        }
    }

    /// Whether the whole body has come, as far as is known without another receive.
    pub fn is_complete(&self) -> bool {
        match self.supply {
            Supply::Wire(wire) => wire.stream.is_complete(),
            Supply::Stored(body) => body.is_at_end(),
            Supply::Sliced(body) => body.is_at_end(),
        }
    }

    /// The trailers that came behind the body outside of its framing, each `name: value CRLF`. A second call on a
    /// stream gives none.
    pub fn take_trailers(&self) -> Vec<u8> {
        match self.supply {
            Supply::Wire(wire) => wire.stream.take_trailers(),
            Supply::Stored(body) => body.trailers(),
            Supply::Sliced(_) => Vec::new(),
        }
    }
}
