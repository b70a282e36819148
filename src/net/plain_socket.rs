//! The bytes of a connected socket as they go over the wire.
//!
//! The ring says when bytes are there; they are then received by a plain system call, into a block that is taken only
//! at that moment. So a connection that waits, on either side, holds no block, those in use stay few and warm, and
//! giving up a wait loses nothing. Sending goes through the ring: what all connections of a core have to send in one
//! turn is then handed over in one system call, which costs less than to send as it comes, although each send is waited
//! for.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::io::AsyncWriteRent;
use monoio::net::{TcpStream, UnixStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use super::operations::count_operation;
use super::{Block, Expired, Timer};
use crate::shared::sockets::CountedSocket;

type Raw = UnsafeCell<TcpStream>;

/// A connected socket, TCP or Unix.
pub struct PlainSocket {
    // Dropped before the socket that it refers to.
    watch: RefCell<Pin<Box<dyn Watch>>>,
    socket: Rc<Raw>,
    /// Whether the socket was told never to wait; see [`super::send_directly`].
    pub(super) never_waits: Cell<bool>,
    _counted: CountedSocket,
}

/// The thing that came on a connection on which nothing was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The peer has ended its side or is gone.
    End,
    /// Bytes came.
    Bytes,
}

/// The bytes in a socket's receive buffer. Their holder can see whether there are any, and does not have the socket.
#[derive(Clone)]
pub struct ReceiveQueue(Rc<Raw>);

impl ReceiveQueue {
    /// Whether nothing is there, not even the peer's end. The ring may not have told yet what the kernel knows.
    pub fn is_empty(&self) -> bool {
        let events = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        !has_event(borrowed(&self.0), events)
    }
}

/// The wait for bytes, if there is one. Its future cannot be named, hence the trait; the allocation is made once for a
/// stream and used for all its waits.
trait Watch {
    fn begin(self: Pin<&mut Self>, socket: &Raw);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
    fn is_pending(&self) -> bool;
}

struct Slot<F> {
    begin: fn(&'static TcpStream) -> F,
    pending: Option<F>,
}

impl<F: Future<Output = io::Result<()>>> Watch for Slot<F> {
    #[expect(unsafe_code, reason = "the future of a wait refers to its socket")]
    fn begin(self: Pin<&mut Self>, socket: &Raw) {
        // SAFETY: `pending` stays pinned where it is; `begin` is never pinned. The future refers to the socket, which
        // the stream keeps at its place for as long as it keeps this slot.
        unsafe {
            let this = self.get_unchecked_mut();
            let future = (this.begin)(&*socket.get());
            Pin::new_unchecked(&mut this.pending).set(Some(future));
        }
    }

    #[expect(unsafe_code, reason = "the future of a wait is pinned within its slot")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `pending` stays pinned where it is, and is only moved out of by being replaced.
        let mut pending = unsafe { self.map_unchecked_mut(|this| &mut this.pending) };
        let Some(future) = pending.as_mut().as_pin_mut() else {
            unreachable!("a wait is begun before it is polled");
        };
        // An error of the wait is shown by the next receive.
        let _ = std::task::ready!(future.poll(cx));
        pending.set(None);
        Poll::Ready(())
    }

    fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

fn slot<F: Future<Output = io::Result<()>> + 'static>(
    begin: fn(&'static TcpStream) -> F,
) -> Pin<Box<dyn Watch>> {
    Box::pin(Slot {
        begin,
        pending: None,
    })
}

/// The descriptor, which is open for as long as somebody holds the socket.
#[expect(
    unsafe_code,
    reason = "the engine gives away its descriptor as a number alone"
)]
fn borrowed(socket: &Raw) -> BorrowedFd<'_> {
    // SAFETY: the only exclusive reference is made in `PlainSocket::send`, for the length of one call.
    let fd = unsafe { (*socket.get()).as_raw_fd() };
    // SAFETY: the socket closes the descriptor when it is dropped, which the borrow does not outlive.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl PlainSocket {
    /// Takes over a socket that this thread's runtime waits on.
    pub(super) fn new(socket: TcpStream, counted: CountedSocket) -> PlainSocket {
        PlainSocket {
            watch: RefCell::new(slot(|socket| socket.readable(false))),
            socket: Rc::new(UnsafeCell::new(socket)),
            never_waits: Cell::new(false),
            _counted: counted,
        }
    }

    /// Takes over a Unix socket. The runtime treats every stream socket alike, whatever its family. Errors: the runtime
    /// does not take the descriptor.
    #[expect(
        unsafe_code,
        reason = "the engine gives away its descriptor as a number alone"
    )]
    pub(super) fn of_unix(socket: UnixStream, counted: CountedSocket) -> io::Result<PlainSocket> {
        // SAFETY: the socket has given its descriptor away, so that nobody else closes it.
        let socket = unsafe { std::net::TcpStream::from_raw_fd(socket.into_raw_fd()) };
        Ok(PlainSocket::new(TcpStream::from_std(socket)?, counted))
    }

    /// The descriptor, for system calls on it while the socket lives.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        borrowed(&self.socket)
    }

    /// Begins to wait for bytes, or for the peer's end, unless that is begun already.
    pub fn watch(&self) {
        let mut watch = self.watch.borrow_mut();
        if !watch.is_pending() {
            count_operation();
            watch.as_mut().begin(&self.socket);
        }
    }

    /// Whether bytes are waited for.
    pub fn is_watched(&self) -> bool {
        self.watch.borrow().is_pending()
    }

    /// Ready when there is something to receive; if not, the task is woken when there is. The socket must be watched.
    /// Afterwards it no longer is.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.borrow_mut().as_mut().poll(cx)
    }

    /// Receives at most `most` bytes of what is there now, behind what `block` holds. 0: the peer ended its side.
    /// Errors: [`io::ErrorKind::WouldBlock`] if nothing is there; as the system reports them.
    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        block.write(most, |room| {
            let ((received, _), _) = rustix::net::recv(self.fd(), room, RecvFlags::DONTWAIT)?;
            Ok(received)
        })
    }

    /// Bytes or an end that have come by now, which the kernel knows sooner than the ring tells.
    pub fn unasked(&self) -> Option<Unasked> {
        let mut byte = [0u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.fd(), &mut byte[..], flags) {
            Ok((_, 1..)) => Some(Unasked::Bytes),
            Err(rustix::io::Errno::AGAIN) => None,
            Ok(_) | Err(_) => Some(Unasked::End),
        }
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged; of a Unix socket, that the peer has not
    /// read.
    #[expect(unsafe_code, reason = "the request has no safe interface")]
    pub fn unacknowledged(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        let fd = self.fd().as_raw_fd();
        // SAFETY: the kernel writes one integer to `bytes`, during the call.
        let done = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
        debug_assert!(bytes >= 0);
        if done == 0 { bytes as usize } else { 0 }
    }

    /// Whether the peer has ended its side or is gone, whatever waits to be received before that.
    pub fn has_hung_up(&self) -> bool {
        has_event(
            self.fd(),
            PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR,
        )
    }

    /// Whether the connection is of no use in either direction. A peer that has only ended its sending side still
    /// reads.
    pub fn is_over(&self) -> bool {
        has_event(self.fd(), PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        has_event(self.fd(), PollFlags::ERR)
    }

    /// Sends the first `count` bytes of `block`, at most until the timer's deadline; the block may be lost then. The
    /// bytes are taken from the front of the block, and [`Block::rewind`] brings them back. `progress` is called with
    /// the number of bytes whenever the kernel took some of them for the peer. Errors: the peer is gone.
    #[expect(
        unsafe_code,
        reason = "the engine asks for an exclusive reference for as long as it sends"
    )]
    pub async fn send(
        &self,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: &impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        if self.never_waits.get() || block.before_pages().is_some() {
            return self.send_directly(block, count, timer, progress).await;
        }
        while count > 0 {
            block.bound(count);
            count_operation();
            let (outcome, rest) = {
                // SAFETY: the future owns a reference to the descriptor and keeps nothing of the stream it was made
                // from, so the lifetime that its type asks for is never relied on, and no other reference to the
                // stream is used during the call.
                let socket = unsafe { &mut *self.socket.get() };
                let mut sending = pin!(socket.write(std::mem::take(block)));
                timer.bound(|cx| sending.as_mut().poll(cx)).await?
            };
            *block = rest;
            block.bound(usize::MAX);
            match outcome {
                Ok(sent) => {
                    debug_assert!(sent <= count, "no more is sent than was asked for");
                    block.advance(sent);
                    count -= sent;
                    progress(sent);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Sends the beginning of a message, as far as the kernel takes it at once, and says that more follows at once.
    /// Returns the number of bytes.
    pub(super) fn send_ahead(&self, bytes: &[u8]) -> usize {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
        rustix::net::send(self.fd(), bytes, flags).unwrap_or(0) // The next send meets the same error.
    }

    /// Waits until the kernel takes more bytes for the peer, at most until the timer's deadline.
    #[expect(unsafe_code, reason = "the future of a wait refers to its socket")]
    pub(super) async fn await_writable(&self, timer: &Timer) -> Result<io::Result<()>, Expired> {
        count_operation();
        // SAFETY: the only exclusive reference is made in `PlainSocket::send`, for the length of one call.
        let socket = unsafe { &*self.socket.get() };
        let mut writable = pin!(socket.writable(false));
        timer.bound(|cx| writable.as_mut().poll(cx)).await
    }

    /// Sends a few last bytes if the kernel takes them at once: nobody waits for them.
    pub(super) fn send_now(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::send(self.fd(), bytes, flags); // Nobody could be told of a failure.
        }
    }

    /// Says that nothing more will be sent. A peer that is gone already is no error.
    pub fn end_sending(&self) {
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Ends the connection in both directions. A peer that is gone already is no error.
    pub fn end(&self) {
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Both);
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&self) {
        // The close is an orderly one where this cannot be set, which no socket of a stream family refuses.
        let _ = sockopt::set_socket_linger(self.fd(), Some(Duration::ZERO));
    }

    /// The bytes that the kernel holds for this socket.
    pub fn receive_queue(&self) -> ReceiveQueue {
        ReceiveQueue(self.socket.clone())
    }

    /// The address that a TCP client connected to. `None`: another kind of socket, or one that is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let addr = rustix::net::getsockname(self.fd()).ok()?;
        SocketAddr::try_from(addr).ok()
    }
}

/// Whether one of these events has happened.
pub(super) fn has_event(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(fd, events)];
    let _ = poll(&mut asked, Some(&Timespec::default())); // On an error no event is noted.
    asked[0].revents().intersects(events)
}
