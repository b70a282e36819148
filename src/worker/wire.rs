//! One side of an exchange: a stream, and what was received from it and is not used yet.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use crate::base::limits;
use crate::net::{Block, Blocks, Expired, Stream, Timer};

/// A stream with its received bytes. While a receive is armed the block is with it, and what the block holds cannot be
/// seen; that is so only when there is nothing in it that could be used without more.
pub struct Wire {
    pub stream: Stream,
    received: RefCell<Block>,
}

/// What can go wrong while waiting for more.
#[derive(Debug)]
pub enum Interrupted<F> {
    Expired,
    /// What was watched meanwhile happened.
    Watched(F),
}

impl Wire {
    /// Wraps a stream; nothing is received yet and no memory is held.
    pub fn new(stream: Stream) -> Wire {
        Wire {
            stream,
            received: RefCell::new(Block::default()),
        }
    }

    /// Takes the received bytes out, to use them across a wait.
    pub fn take(&self) -> Block {
        self.received.take()
    }

    /// Puts back what is left of them.
    pub fn put(&self, mut block: Block) {
        if block.is_empty() {
            block.clear();
        }
        self.received.replace(block);
    }

    /// Looks at the received bytes.
    pub fn with<T>(&self, look: impl FnOnce(&mut Block) -> T) -> T {
        look(&mut self.received.borrow_mut())
    }

    /// Whether nothing is received that is not used.
    pub fn is_empty(&self) -> bool {
        self.received.borrow().is_empty()
    }

    /// Begins a receive of at most `most` bytes behind what is there; `size` is the capacity wanted of a block that has
    /// to be taken or changed for it.
    pub fn arm(&self, blocks: &Blocks, size: usize, most: usize) {
        let mut block = self.take();
        if block.is_empty() && block.capacity() != size {
            blocks.give(std::mem::replace(&mut block, empty_block(blocks, size)));
        } else if block.room() == 0 {
            block = enlarged(blocks, block, size);
        }
        block.bound(most);
        self.stream.arm(block);
    }

    /// Looks whether the armed receive is done: the number of bytes that came, 0 if the peer has ended its side.
    pub fn poll_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (outcome, block) = ready!(self.stream.poll_receive(cx));
        self.put(block);
        Poll::Ready(outcome)
    }

    /// Waits for more bytes, at most `most`, arming a receive if none is. `watch` is polled meanwhile.
    pub async fn more<F>(
        &self,
        blocks: &Blocks,
        size: usize,
        most: usize,
        timer: &Timer,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<io::Result<usize>, Interrupted<F>> {
        if !self.stream.is_armed() {
            self.arm(blocks, size, most);
        }
        let waited = timer.bound(|cx| match self.poll_more(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => watch(cx).map(Err),
        });
        match waited.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(Expired) => Err(Interrupted::Expired),
        }
    }
}

/// Watches nothing: for [`Wire::more`].
pub fn nothing(_: &mut Context<'_>) -> Poll<std::convert::Infallible> {
    Poll::Pending
}

fn empty_block(blocks: &Blocks, size: usize) -> Block {
    match size {
        limits::BLOCK_BYTES => blocks.take(),
        limits::RELAY_BLOCK_BYTES => blocks.take_relay(),
        other => Block::with_capacity(other),
    }
}

/// A block with the same bytes and some room: the bytes moved to the front if that makes room, else copied to a larger
/// block.
fn enlarged(blocks: &Blocks, mut block: Block, size: usize) -> Block {
    block.compact();
    if block.room() > 0 {
        return block;
    }
    let wanted = size.max(2 * block.capacity());
    let mut larger = if block.capacity() < limits::BLOCK_BYTES {
        blocks.take()
    } else {
        Block::with_capacity(wanted)
    };
    larger.extend(block.filled());
    blocks.give(block);
    larger
}
