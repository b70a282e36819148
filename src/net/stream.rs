//! A connected socket, TCP or Unix.
//!
//! Receiving goes through the ring, one receive at a time, and the receive outlives whoever waits for it: it is armed,
//! polled by whichever task is interested now, and never cancelled while the stream is wanted, because a cancelled
//! receive may lose bytes. Sending goes through the ring as well: what all connections of a core have to send in one turn
//! is then handed over in one system call, which costs less than to send as it comes, although each send is waited for.

use std::cell::{RefCell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;

use super::operations::count_operation;
use super::{Block, Expired, Timer};

/// What a receive brought: the number of bytes added to the block (0: the peer ended its side), and the block.
pub type Received = (io::Result<usize>, Block);

type Socket = UnsafeCell<TcpStream>;

/// A connected socket.
pub struct Stream {
    socket: Rc<Socket>,
    receiver: RefCell<Pin<Box<dyn Receiver>>>,
}

/// The armed receive, if there is one. Its future cannot be named, hence the trait; the allocation is made once for a
/// stream and used for all its receives.
trait Receiver {
    fn arm(self: Pin<&mut Self>, socket: &Socket, block: Block);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received>;
    fn is_armed(&self) -> bool;
}

struct Slot<F> {
    begin: fn(&'static mut TcpStream, Block) -> F,
    pending: Option<F>,
}

impl<F: Future<Output = Received>> Receiver for Slot<F> {
    fn arm(self: Pin<&mut Self>, socket: &Socket, block: Block) {
        // SAFETY: `pending` stays pinned where it is; `begin` is never pinned. The future that `begin` makes owns a
        // reference to the descriptor and keeps nothing of the stream it was made from, so the lifetime that its type
        // asks for is never relied on, and no other reference to the stream exists during the call.
        unsafe {
            let this = self.get_unchecked_mut();
            let future = (this.begin)(&mut *socket.get(), block);
            Pin::new_unchecked(&mut this.pending).set(Some(future));
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        // SAFETY: as above.
        let mut pending = unsafe { self.map_unchecked_mut(|this| &mut this.pending) };
        let Some(future) = pending.as_mut().as_pin_mut() else {
            unreachable!("a receive is armed before it is polled");
        };
        let received = std::task::ready!(future.poll(cx));
        pending.set(None);
        Poll::Ready(received)
    }

    fn is_armed(&self) -> bool {
        self.pending.is_some()
    }
}

fn slot<F: Future<Output = Received> + 'static>(
    begin: fn(&'static mut TcpStream, Block) -> F,
) -> Pin<Box<dyn Receiver>> {
    Box::pin(Slot {
        begin,
        pending: None,
    })
}

impl Stream {
    pub(super) fn new(socket: TcpStream) -> Stream {
        Stream {
            socket: Rc::new(UnsafeCell::new(socket)),
            receiver: RefCell::new(slot(|socket, block| socket.read(block))),
        }
    }

    /// Takes over a connected descriptor of any stream family.
    pub(super) fn from_fd(fd: RawFd) -> io::Result<Stream> {
        // SAFETY: the caller hands over a descriptor that nobody else closes.
        let socket = unsafe { std::net::TcpStream::from_raw_fd(fd) };
        Ok(Stream::new(TcpStream::from_std(socket)?))
    }

    fn socket(&self) -> &TcpStream {
        // SAFETY: the only exclusive reference is made in `Receiver::arm` and ends there.
        unsafe { &*self.socket.get() }
    }

    /// The descriptor, for system calls on it while the stream lives.
    pub(super) fn fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    /// Begins a receive into the room of `block`. There must be room, and no receive may be armed.
    pub fn arm(&self, block: Block) {
        debug_assert!(!self.is_armed() && block.room() > 0);
        count_operation();
        self.receiver.borrow_mut().as_mut().arm(&self.socket, block);
    }

    /// Whether a receive is under way.
    pub fn is_armed(&self) -> bool {
        self.receiver.borrow().is_armed()
    }

    /// Looks whether the armed receive is done; if not, the task is woken when it is.
    pub fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Received> {
        self.receiver.borrow_mut().as_mut().poll(cx)
    }

    /// Receives into the room of `block`, at most until the timer's deadline; then the receive stays armed and the
    /// block with it.
    pub async fn receive(&self, block: Block, timer: &Timer) -> Result<Received, Expired> {
        self.arm(block);
        timer.bound(|cx| self.poll_receive(cx)).await
    }

    /// Receives at most `most` bytes of what is there now, behind what `block` holds: for bytes that are likely to be
    /// there already, while no receive is armed. 0: the peer ended its side. Errors: [`io::ErrorKind::WouldBlock`] if
    /// nothing is there.
    pub fn try_receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        debug_assert!(!self.is_armed());
        let room = block.vec().spare_capacity_mut();
        let length = room.len().min(most);
        // SAFETY: the kernel writes at most `length` bytes to the vector's spare capacity, during the call.
        let received = unsafe {
            let start = room.as_mut_ptr().cast();
            libc::recv(self.fd(), start, length, libc::MSG_DONTWAIT)
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let filled = block.vec().len() + received as usize;
        // SAFETY: so many bytes are initialised now.
        unsafe { block.vec().set_len(filled) };
        Ok(received as usize)
    }

    /// Sends the first `count` bytes of `block`, at most until the timer's deadline; the block is lost then. They are
    /// taken from its front, and [`Block::rewind`] brings them back. `progress` is called whenever the peer took some of it, so that a slow but living peer can
    /// be given more time. Errors: the peer is gone.
    pub async fn send(
        &self,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: impl Fn(),
    ) -> Result<io::Result<()>, Expired> {
        while count > 0 {
            block.bound(count);
            count_operation();
            let (outcome, rest) = {
                // SAFETY: as in `Receiver::arm`: the future keeps nothing of the stream.
                let socket = unsafe { &mut *self.socket.get() };
                let mut sending = pin!(socket.write(std::mem::take(block)));
                timer.bound(|cx| sending.as_mut().poll(cx)).await?
            };
            *block = rest;
            block.bound(usize::MAX);
            match outcome {
                Ok(sent) => {
                    block.advance(sent);
                    count -= sent;
                    progress();
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Sends all of `block`, at most until the timer's deadline.
    pub async fn send_all(
        &self,
        block: &mut Block,
        timer: &Timer,
    ) -> Result<io::Result<()>, Expired> {
        self.send(block, block.len(), timer, || ()).await
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&self) {
        // SAFETY: plain system call on a live descriptor; a peer that is gone already is no error to us.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_WR) };
    }

    /// Ends the connection in both directions.
    pub fn end(&self) {
        // SAFETY: as above.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_RDWR) };
    }

    /// Makes the coming close a reset, so that the peer cannot take what it got so far for the whole.
    pub fn reset_on_close(&self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: plain system call on a live descriptor with a live argument of the size named.
        unsafe {
            libc::setsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
    }

    /// Waits for the armed receive without a deadline.
    pub async fn received(&self) -> Received {
        poll_fn(|cx| self.poll_receive(cx)).await
    }
}
