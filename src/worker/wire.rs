//! One side of an exchange: a stream, and the bytes that were received from it and not used yet.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use crate::base::limits;
use crate::net::{Block, Blocks, Expired, Interrupted, Timer};
use crate::worker::stream::Stream;

/// A stream with its received bytes. A block is held only while there are any.
pub struct Wire {
    /// The stream that the bytes come from.
    pub stream: Stream,
    received: RefCell<Block>,
}

/// How much is received at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The wanted size of a block, if a block has to be taken for the bytes.
    pub size: usize,
    /// The most bytes to receive.
    pub most: usize,
}

impl Amount {
    /// As many bytes as fit into a block of `limits::BLOCK_BYTES`.
    pub const BLOCK: Amount = Amount {
        size: limits::BLOCK_BYTES,
        most: usize::MAX,
    };
}

impl Wire {
    /// Bytes that were received and not taken yet.
    pub fn held(&self) -> usize {
        let waiting = match &self.stream {
            Stream::Socket(_) | Stream::Absent => 0, // The kernel holds the bytes of a socket.
            Stream::Multiplexed(stream) => stream.held(),
        };
        self.with(|block| block.len()) + waiting
    }

    /// Wraps a stream; nothing is received yet and no memory is held.
    pub fn new(stream: Stream) -> Wire {
        Wire {
            stream,
            received: RefCell::new(Block::default()),
        }
    }

    /// Takes the received bytes out, to use them across a wait.
    #[inline]
    pub fn take(&self) -> Block {
        self.received.take()
    }

    /// Puts the rest of the received bytes back.
    #[inline]
    pub fn put(&self, block: Block, blocks: &Blocks) {
        if block.is_empty() {
            blocks.give(block);
        } else {
            debug_assert!(self.is_empty(), "bytes that came meanwhile would be lost");
            self.received.replace(block);
        }
    }

    /// Gives the block back if nothing is left in it.
    pub fn release(&self, blocks: &Blocks) {
        if self.is_empty() {
            blocks.give(self.take());
        }
    }

    /// Gives `look` access to the received bytes.
    #[inline]
    pub fn with<T>(&self, look: impl FnOnce(&mut Block) -> T) -> T {
        look(&mut self.received.borrow_mut())
    }

    /// Whether all received bytes have been used.
    pub fn is_empty(&self) -> bool {
        self.received.borrow().is_empty()
    }

    /// Receives, if the watched stream has more bytes. The result is the number of bytes that came; 0: the peer has
    /// ended its side.
    pub fn poll_more(
        &self,
        cx: &mut Context<'_>,
        blocks: &Blocks,
        amount: Amount,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_readable(cx));
            match self.receive(blocks, amount) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.watch(),
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Waits for more bytes as [`Wire::poll_more`] does. `watch` is polled meanwhile.
    pub async fn more<F>(
        &self,
        blocks: &Blocks,
        amount: Amount,
        timer: &Timer,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<io::Result<usize>, Interrupted<F>> {
        if !self.stream.is_watched() {
            match self.receive(blocks, amount) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.watch(),
                outcome => return Ok(outcome),
            }
        }
        let waited = timer.bound(|cx| match self.poll_more(cx, blocks, amount) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => watch(cx).map(Err),
        });
        match waited.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(Expired) => Err(Interrupted::Expired),
        }
    }

    /// Receives the bytes that are there now. Errors: [`io::ErrorKind::WouldBlock`] if no bytes are there.
    #[inline]
    pub fn receive(&self, blocks: &Blocks, amount: Amount) -> io::Result<usize> {
        let mut block = self.take();
        if block.is_empty() {
            blocks.give(block);
            block = match amount.size {
                limits::RELAY_BLOCK_BYTES => blocks.take_relay(),
                _ => blocks.take(),
            };
        } else if block.room() == 0 {
            block = enlarged(blocks, block);
        }
        debug_assert!(block.room() > 0, "a receive without room looks like an end");
        let outcome = self.stream.receive(&mut block, amount.most);
        self.put(block, blocks);
        outcome
    }
}

/// A watch for [`Wire::more`] that is never ready.
pub fn nothing(_: &mut Context<'_>) -> Poll<std::convert::Infallible> {
    Poll::Pending
}

/// A block with the same bytes and free space: the bytes move to the front if that frees space, otherwise to a larger
/// block.
fn enlarged(blocks: &Blocks, mut block: Block) -> Block {
    block.compact();
    if block.room() > 0 {
        return block;
    }
    let mut larger = Block::with_capacity(2 * block.capacity());
    larger.extend(block.filled());
    debug_assert!(larger.room() > 0 && larger.len() == block.len());
    blocks.give(block);
    larger
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_room_moves_or_grows() {
        let blocks = Blocks::default();
        let full = || {
            let mut block = Block::with_capacity(8);
            block.extend(b"abcdefgh");
            block
        };
        let mut half_used = full();
        half_used.consume(4);
        let rows: [(Block, &[u8], usize); 2] = [(half_used, b"efgh", 4), (full(), b"abcdefgh", 8)];
        for (block, bytes, room) in rows {
            let enlarged = enlarged(&blocks, block);
            assert_eq!((enlarged.filled(), enlarged.room()), (bytes, room));
        }
    }
}
