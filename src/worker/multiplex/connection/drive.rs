//! Moves bytes both ways between the socket and the protocol, from the first byte of a connection to its last.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{End, MultiplexConnection, Terms};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::Role;
use crate::net::{Block, Expired, Socket, Timer};
use crate::worker::memory::Sending;
use crate::worker::min_rate::TooSlow;
use crate::worker::multiplex::{Gone, Unconnected};

impl MultiplexConnection {
    /// Moves bytes both ways until the connection has ended. `received`: bytes that came before.
    ///
    /// When receiving ends, sending ends too, because a send to a peer that is gone would never end. Only a peer that
    /// broke a rule is told so first.
    pub async fn drive(
        self: &Rc<Self>,
        socket: &Socket,
        received: Block,
        terms: &Terms<'_>,
    ) -> End {
        self.note_connected();
        self.protocol().start(Micros::now());
        let mut sending = pin!(self.send_all(socket, terms));
        let mut takes_nothing = false;
        let end = {
            let mut receiving = pin!(self.receive_all(socket, received, terms));
            let either = poll_fn(|cx| match receiving.as_mut().poll(cx) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending if takes_nothing => Poll::Pending,
                Poll::Pending => match sending.as_mut().poll(cx) {
                    // Bytes that the peer sent before it ended the connection may still wait to be received.
                    Poll::Ready(Err(_)) => {
                        takes_nothing = true;
                        Poll::Pending
                    }
                    polled => polled.map(|_| match self.sending_since.get() {
                        Some(_) => End::Stuck,
                        None => End::Orderly,
                    }),
                },
            });
            either.await
        };
        self.lose(match socket.tls_refusal() {
            Some(_) => Gone::Unconnected(Unconnected::Untrusted),
            None => Gone::Lost,
        });
        if let End::Broken(_) = end
            && !takes_nothing
        {
            self.timer.set(Duration::from_millis(limits::LINGER_MILLIS));
            let last_send = self.timer.bound(|cx| sending.as_mut().poll(cx));
            // A peer that does not take these bytes does not learn the reason.
            let _ = last_send.await;
        }
        end
    }

    /// Receives until the peer ends its side or breaks a rule, or the connection must end for another reason.
    async fn receive_all(
        self: &Rc<Self>,
        socket: &Socket,
        mut received: Block,
        terms: &Terms<'_>,
    ) -> End {
        let mut checked_at = self.timers.millis();
        loop {
            let taken = self.take_in(received.filled(), terms).await;
            terms.blocks.give(received);
            if let Err(error) = taken {
                return End::Broken(error);
            }
            self.timer.set(self.patience(terms));
            received = match self.more(socket, terms).await {
                Some(block) => block,
                None if terms.serves_half_closed => {
                    return self.finish_answers(socket, terms).await;
                }
                None => return End::Orderly,
            };
            let now = self.timers.millis();
            if now.saturating_sub(checked_at) >= limits::H2_CHECK_MILLIS || received.is_empty() {
                checked_at = now;
                if let Err(end) = self.check(now, received.is_empty(), terms) {
                    return end;
                }
            }
        }
    }

    /// Answers the complete requests of a peer that will send no more. If the peer is gone, its system shows that by a
    /// reset in response to the answers. The sending task ends the connection behind the last answer.
    async fn finish_answers(&self, socket: &Socket, terms: &Terms<'_>) -> End {
        self.lose_unfinished();
        self.protocol().finish();
        self.wake_sender();
        loop {
            self.timer.set(Duration::from_millis(limits::TICK_MILLIS));
            let _ = self.timer.bound(|_| Poll::<()>::Pending).await;
            if socket.is_over() {
                return End::Orderly;
            }
            if let Err(end) = self.check(self.timers.millis(), true, terms) {
                return end;
            }
        }
    }

    /// Waits for bytes. An empty block: the time for the next check has come. `None`: the peer has ended its side.
    async fn more(&self, socket: &Socket, terms: &Terms<'_>) -> Option<Block> {
        socket.watch();
        let waited = self.timer.bound(|cx| match poll_more(socket, terms, cx) {
            Poll::Pending if self.should_end(terms) => Poll::Ready(Some(Block::default())),
            polled => polled,
        });
        waited.await.unwrap_or_else(|_| Some(Block::default()))
    }

    /// Whether the connection is to begin its end. A connection that requests have chosen must serve them first.
    fn should_end(&self, terms: &Terms<'_>) -> bool {
        (terms.is_unwanted)() && !self.protocol.borrow().is_ending() && !self.is_awaited()
    }

    /// Sends all output until the connection is over, or the peer has taken no bytes, or too few, for too long. Errors:
    /// the peer is gone.
    async fn send_all(&self, socket: &Socket, terms: &Terms<'_>) -> io::Result<()> {
        let timer = Timer::new(&self.timers);
        let mut block = Block::default();
        while poll_fn(|cx| self.poll_output(cx)).await {
            let spare = std::mem::take(block.vec());
            *block.vec() = self.protocol().take_output(spare);
            if block.len() > limits::BLOCK_BYTES {
                let bytes = block.len().min(limits::BULK_BYTES_PER_TURN);
                terms.bulk_turns.admit(bytes).await;
            }
            match self.send_block(socket, &mut block, &timer, terms).await {
                Ok(Ok(Ok(()))) => block.clear(),
                Ok(Ok(Err(error))) => return Err(error),
                Ok(Err(Expired)) | Err(TooSlow) => return Ok(()),
            }
            self.sending_since.set(None);
            if self.open_streams() == 0 {
                block = Block::default();
            }
            self.wake_waiting();
        }
        Ok(())
    }

    /// Sends all of `block`. If a client takes the bytes too slowly, the answers end that it must take at the least
    /// rate.
    async fn send_block(
        &self,
        socket: &Socket,
        block: &mut Block,
        timer: &Timer,
        terms: &Terms<'_>,
    ) -> Result<Result<io::Result<()>, Expired>, TooSlow> {
        timer.set(terms.stall);
        let count = block.len();
        let noted = self.note_send(timer, block, terms);
        self.sending_since.set(Some(self.timers.millis()));
        let moves = || {
            timer.set(terms.stall);
            let now = self.timers.millis();
            self.sending_since.set(Some(now));
            noted.iter().for_each(|noted| noted.renew(now));
        };
        let has_moved = || {
            moves();
            // An answer that begins later must find the whole grace.
            if self.is_at_leisure() {
                terms.rate.pardon(self.timers.millis());
            }
        };
        let progress = |bytes| {
            terms.rate.note_sent(bytes);
            moves();
        };
        let mut sending = pin!(socket.send(block, count, timer, progress));
        loop {
            let sending = sending.as_mut();
            let watched = (terms.rate).watch(Some(socket), &self.timers, &has_moved, sending);
            match watched.await {
                Err(TooSlow) if self.lose_at_rate() => terms.rate.begin_anew(),
                outcome => return outcome,
            }
        }
    }

    /// Lists the memory that a client's connection holds while it takes no bytes. A connection to a backend serves
    /// other clients, whose own sends are listed.
    fn note_send<'a>(
        &self,
        timer: &Timer,
        block: &Block,
        terms: &Terms<'a>,
    ) -> Option<Sending<'a>> {
        let bytes = block.capacity() + self.open_streams() * limits::MEMORY_STREAM_BYTES;
        (self.role() == Role::Server).then(|| terms.memory.note_send(timer, bytes))
    }

    /// Ready when there is output to send; false when there is none and will be none. While more requests are taken in,
    /// their answers go out together.
    fn poll_output(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let protocol = self.protocol.borrow();
        let may_send = !self.takes_in.get() || protocol.is_full();
        if protocol.has_output() && may_send {
            return Poll::Ready(true);
        }
        if !protocol.has_output() && (self.deaf.get() || protocol.is_done()) {
            return Poll::Ready(false);
        }
        self.sender.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

fn poll_more(socket: &Socket, terms: &Terms<'_>, cx: &mut Context<'_>) -> Poll<Option<Block>> {
    loop {
        std::task::ready!(socket.poll_readable(cx));
        let mut block = terms.blocks.take();
        match socket.receive(&mut block, usize::MAX) {
            Ok(0) => return Poll::Ready(None),
            Ok(_) => return Poll::Ready(Some(block)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                terms.blocks.give(block);
                socket.watch();
            }
            Err(_) => return Poll::Ready(None),
        }
    }
}
