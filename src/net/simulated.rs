//! Sockets of the simulated world (`crate::simulated`) in place of the kernel's, only for tests.
//!
//! A [`PlainSocket`] of the tests is the kernel's or a simulated one; all above it, such as [`Socket`], is as always.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::task::{Context, Poll};

use monoio::net::{TcpStream, UnixStream};

use super::plain_socket::{self, Unasked};
use super::{Block, Expired, RemoteAddr, Socket, Timer};
use crate::shared::sockets::{CountedSocket, SocketSide};
use crate::simulated::End;

/// Runs a simulation inside an engine, which has nothing to do but to hold descriptors.
pub fn inside_engine<T>(run: impl FnOnce() -> T) -> T {
    let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build();
    runtime.unwrap().block_on(async { run() })
}

/// A connected socket of the kernel or of the simulated world.
pub enum PlainSocket {
    Kernel(plain_socket::PlainSocket),
    Simulated { end: End, _counted: CountedSocket },
}

/// The bytes in the receive buffer of such a socket.
#[derive(Clone)]
pub enum ReceiveQueue {
    /// The buffer of a socket of the kernel.
    Kernel(plain_socket::ReceiveQueue),
    /// The buffer of a socket of the simulated world.
    Simulated(End),
}

use PlainSocket::{Kernel, Simulated};

impl ReceiveQueue {
    /// Whether nothing is there, not even the peer's end.
    pub fn is_empty(&self) -> bool {
        match self {
            ReceiveQueue::Kernel(queue) => queue.is_empty(),
            ReceiveQueue::Simulated(end) => end.peek().is_none(),
        }
    }
}

impl PlainSocket {
    pub fn new(socket: TcpStream, counted: CountedSocket) -> PlainSocket {
        Kernel(plain_socket::PlainSocket::new(socket, counted))
    }

    pub fn of_unix(socket: UnixStream, counted: CountedSocket) -> io::Result<PlainSocket> {
        plain_socket::PlainSocket::of_unix(socket, counted).map(Kernel)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Kernel(socket) => socket.fd(),
            Simulated { .. } => unreachable!("a simulated socket has no descriptor"),
        }
    }

    pub fn watch(&self) {
        match self {
            Kernel(socket) => socket.watch(),
            Simulated { end, .. } if end.is_watched() => {}
            Simulated { end, .. } => end.watch(),
        }
    }

    pub fn is_watched(&self) -> bool {
        match self {
            Kernel(socket) => socket.is_watched(),
            Simulated { end, .. } => end.is_watched(),
        }
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Kernel(socket) => socket.poll_readable(cx),
            Simulated { end, .. } => end.poll_readable(cx),
        }
    }

    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        match self {
            Kernel(socket) => socket.receive(block, most),
            Simulated { end, .. } => {
                let bytes = end.receive(block.room().min(most))?;
                block.extend(&bytes);
                Ok(bytes.len())
            }
        }
    }

    pub fn unasked(&self) -> Option<Unasked> {
        let of = |is_bytes| {
            if is_bytes {
                Unasked::Bytes
            } else {
                Unasked::End
            }
        };
        match self {
            Kernel(socket) => socket.unasked(),
            Simulated { end, .. } => end.peek().map(of),
        }
    }

    pub fn unacknowledged(&self) -> usize {
        match self {
            Kernel(socket) => socket.unacknowledged(),
            Simulated { end, .. } => end.unacknowledged(),
        }
    }

    pub fn has_hung_up(&self) -> bool {
        match self {
            Kernel(socket) => socket.has_hung_up(),
            Simulated { end, .. } => end.has_hung_up(),
        }
    }

    pub fn is_over(&self) -> bool {
        match self {
            Kernel(socket) => socket.is_over(),
            Simulated { end, .. } => end.is_over(),
        }
    }

    pub fn is_reset(&self) -> bool {
        match self {
            Kernel(socket) => socket.is_reset(),
            Simulated { end, .. } => end.is_reset(),
        }
    }

    /// Loses the block if the deadline passes meanwhile, as the kernel's socket does.
    pub async fn send(
        &self,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: &impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        let end = match self {
            Kernel(socket) => return socket.send(block, count, timer, progress).await,
            Simulated { end, .. } => end,
        };
        while count > 0 {
            let taken = std::mem::take(block);
            let mut sending = pin!(end.send(taken.filled()[..count].to_vec()));
            let outcome = timer.bound(|cx| sending.as_mut().poll(cx)).await?;
            *block = taken;
            match outcome {
                Ok(sent) => {
                    block.advance(sent);
                    count -= sent;
                    progress(sent);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// The block that follows carries the bytes.
    pub fn send_ahead(&self, bytes: &[u8]) -> usize {
        match self {
            Kernel(socket) => socket.send_ahead(bytes),
            Simulated { .. } => 0,
        }
    }

    pub fn send_now(&self, bytes: &[u8]) {
        if let Kernel(socket) = self {
            socket.send_now(bytes); // Only TLS does so.
        }
    }

    pub fn end_sending(&self) {
        match self {
            Kernel(socket) => socket.end_sending(),
            Simulated { end, .. } => end.end_sending(),
        }
    }

    pub fn end(&self) {
        match self {
            Kernel(socket) => socket.end(),
            Simulated { end, .. } => end.end(),
        }
    }

    pub fn reset_on_close(&self) {
        match self {
            Kernel(socket) => socket.reset_on_close(),
            Simulated { end, .. } => end.reset_on_close(),
        }
    }

    pub fn receive_queue(&self) -> ReceiveQueue {
        match self {
            Kernel(socket) => ReceiveQueue::Kernel(socket.receive_queue()),
            Simulated { end, .. } => ReceiveQueue::Simulated(end.clone()),
        }
    }

    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Kernel(socket) => socket.local_addr(),
            Simulated { .. } => None,
        }
    }
}

impl Socket {
    /// A socket of the simulated world.
    pub(super) fn simulated(end: End, counted: CountedSocket) -> Socket {
        Socket {
            plain: Simulated {
                end,
                _counted: counted,
            },
            tls: None,
        }
    }

    /// Notes which settings a simulated connection is made with; false if the connection is the kernel's.
    pub(super) fn secure_simulated(&self, settings: usize) -> bool {
        if let Simulated { end, .. } = &self.plain {
            end.secure(settings);
        }
        matches!(self.plain, Simulated { .. })
    }
}

/// The socket of a client that was accepted.
pub fn accepted((end, from): (End, SocketAddr)) -> (Socket, RemoteAddr) {
    let socket = Socket::simulated(end, CountedSocket::new(SocketSide::Accepted));
    (socket, RemoteAddr::Tcp(from))
}
