//! Bytes in both directions between an exchange and one side of it: a socket, or a stream of an HTTP/2 connection. Over
//! a socket, heads are bytes like all others; HTTP/2 sends heads in a form of its own.

use std::io;
use std::task::{Context, Poll};

use crate::http::h2::to_h2;
use crate::net::{Block, Expired, Socket, Timer};
use crate::worker::multiplex;

pub use crate::worker::multiplex::Piece;

/// One side of an exchange.
pub enum Stream {
    /// HTTP/1.
    Socket(Socket),
    /// HTTP/2.
    Multiplexed(multiplex::MultiplexStream),
    /// Nobody: an exchange of the cache's own has no client. Nothing comes, and what is sent is dropped.
    Absent,
}

impl Stream {
    /// Begins to wait for bytes, or for the peer's end, unless a wait has begun already.
    pub fn watch(&self) {
        if let Stream::Socket(socket) = self {
            socket.watch();
        }
    }

    /// Whether a wait for bytes is under way.
    pub fn is_watched(&self) -> bool {
        match self {
            Stream::Socket(socket) => socket.is_watched(),
            Stream::Multiplexed(_) | Stream::Absent => true,
        }
    }

    /// Ready when there is something to receive; otherwise the task is woken when there is. A wait must have begun by
    /// [`Stream::watch`].
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Socket(socket) => socket.poll_readable(cx),
            Stream::Multiplexed(stream) => stream.poll_readable(cx),
            Stream::Absent => Poll::Pending,
        }
    }

    /// Receives at most `most` bytes that are there now, behind the content of `block`, which must have free space. 0:
    /// the peer has ended its side. Errors: [`io::ErrorKind::WouldBlock`] if no bytes are there.
    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        match self {
            Stream::Socket(socket) => socket.receive(block, most),
            Stream::Multiplexed(stream) => stream.receive(block, most),
            Stream::Absent => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether the whole message of the peer has come, as far as is known without another receive.
    pub fn is_complete(&self) -> bool {
        match self {
            Stream::Socket(_) => false,
            Stream::Multiplexed(stream) => stream.has_ended(),
            Stream::Absent => true,
        }
    }

    /// Whether the connection below can serve no other exchange: always after a failure of a socket, whereas a stream
    /// of HTTP/2 may end while its connection goes on.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Stream::Socket(_) | Stream::Absent => true,
            Stream::Multiplexed(stream) => stream.is_connection_lost(),
        }
    }

    /// The trailers that came behind a body over HTTP/2, each `name: value CRLF`. A second call gives none.
    pub fn take_trailers(&self) -> Vec<u8> {
        match self {
            Stream::Socket(_) | Stream::Absent => Vec::new(),
            Stream::Multiplexed(stream) => stream.take_trailers(),
        }
    }

    /// Sends the head of an answer over HTTP/2. Over a socket the head stays in `head`, and is sent with the bytes that
    /// follow. `is_last`: nothing follows. Errors: the client is gone.
    pub fn answer(&self, head: &mut Block, is_last: bool) -> io::Result<()> {
        match self {
            Stream::Socket(_) | Stream::Absent => Ok(()),
            Stream::Multiplexed(stream) => stream.answer(head, is_last),
        }
    }

    /// Sends an answer, its head and the part of a body in the block, at most until the timer's deadline. Errors: the
    /// client is gone.
    pub async fn send_answer(
        &self,
        answer: &mut Block,
        timer: &Timer,
    ) -> Result<io::Result<()>, Expired> {
        if let Stream::Multiplexed(stream) = self {
            let is_bare = to_h2::head_bytes(answer.filled()) == answer.len();
            if let Err(error) = stream.answer(answer, is_bare) {
                return Ok(Err(error));
            }
        }
        self.send_all(answer, true, timer).await
    }

    /// Sends a piece of a message from the front of `block`, at most until the timer's deadline; the block may be lost
    /// then. The sent bytes are taken out of the block, and [`Block::rewind`] brings them back. `progress` is called
    /// with the number of bytes whenever the peer took some of them, so that a slow peer that is alive can get more
    /// time. Errors: the peer is gone.
    pub async fn send(
        &self,
        block: &mut Block,
        piece: Piece,
        timer: &Timer,
        progress: impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        match self {
            Stream::Socket(socket) => socket.send(block, piece.count, timer, progress).await,
            Stream::Multiplexed(stream) => stream.send(block, piece, timer, progress).await,
            Stream::Absent => {
                block.consume(piece.count);
                Ok(Ok(()))
            }
        }
    }

    /// Sends all of `block`, at most until the timer's deadline. `is_last`: the message ends with the block. Errors:
    /// the peer is gone.
    pub async fn send_all(
        &self,
        block: &mut Block,
        is_last: bool,
        timer: &Timer,
    ) -> Result<io::Result<()>, Expired> {
        let count = block.len();
        let piece = Piece { count, is_last };
        self.send(block, piece, timer, |_| ()).await
    }

    /// Sends the trailers of a body over HTTP/2. Over a socket the framing of the body contains them. Errors: the peer
    /// is gone.
    pub fn send_trailers(&self, lines: &[u8]) -> io::Result<()> {
        match self {
            Stream::Socket(_) | Stream::Absent => Ok(()),
            Stream::Multiplexed(stream) => stream.send_trailers(lines),
        }
    }

    /// Notes that the whole answer of a backend was taken, so that its stream, which has not ended yet, is not reset at
    /// once.
    pub fn note_answered(&self) {
        if let Stream::Multiplexed(stream) = self {
            stream.note_answered();
        }
    }

    /// Exempts a client of HTTP/2 from the least rate of reading the answer.
    pub fn allow_leisure(&self) {
        if let Stream::Multiplexed(stream) = self {
            stream.allow_leisure();
        }
    }

    /// Whether the stream of HTTP/2 ended because its client takes too few bytes.
    pub fn is_too_slow(&self) -> bool {
        match self {
            Stream::Socket(_) | Stream::Absent => false,
            Stream::Multiplexed(stream) => stream.is_too_slow(),
        }
    }

    /// Makes the coming close one that the peer cannot take for an orderly end. A stream of HTTP/2 whose messages are
    /// not complete is reset in any case.
    pub fn reset_on_close(&self) {
        if let Stream::Socket(socket) = self {
            socket.reset_on_close();
        }
    }

    /// Ends palantir's sending side.
    pub fn end_sending(&self) {
        match self {
            Stream::Socket(socket) => socket.end_sending(),
            Stream::Multiplexed(stream) => stream.end_sending(),
            Stream::Absent => {}
        }
    }
}
