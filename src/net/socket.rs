//! A connected socket, TCP or Unix.
//!
//! The ring says when bytes are there; they are then received by a plain system call, into a block that is taken only
//! at that moment. So a connection that waits, on either side, holds no block, those in use stay few and warm, and
//! giving up a wait loses nothing. Sending goes through the ring: what all connections of a core have to send in one
//! turn is then handed over in one system call, which costs less than to send as it comes, although each send is waited
//! for.

use std::cell::{RefCell, UnsafeCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::operations::count_operation;
use super::tls::{Negotiated, Tls, TlsFailure};
use super::{Block, Expired, Timer};
use crate::shared::sockets::Counted;

pub(super) type Raw = UnsafeCell<TcpStream>;

/// A connected socket. After a TLS handshake on it ([`Socket::accept_tls`], [`Socket::connect_tls`]) it takes and gives
/// plaintext all the same.
pub struct Socket {
    // Dropped before the socket that it refers to.
    watch: RefCell<Pin<Box<dyn Watch>>>,
    socket: Rc<Raw>,
    pub(super) tls: Option<Box<Tls>>,
    _counted: Counted,
    /// The connection in the simulated world that takes the place of the kernel's.
    #[cfg(test)]
    pub(super) simulated: Option<super::simulated::End>,
}

/// The bytes in a socket's receive buffer. Their holder can see whether there are any, and does not have the socket.
#[derive(Clone)]
pub struct ReceiveQueue {
    socket: Rc<Raw>,
    #[cfg(test)]
    simulated: Option<super::simulated::End>,
}

impl ReceiveQueue {
    /// Whether nothing is there, not even the peer's end. The ring may not have told yet what the kernel knows.
    pub fn is_empty(&self) -> bool {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.peek().is_none();
        }
        // SAFETY: the only exclusive reference is made in `Socket::send`, for the length of one call.
        let fd = unsafe { (*self.socket.get()).as_raw_fd() };
        !has_event(fd, libc::POLLIN | libc::POLLHUP | libc::POLLERR)
    }
}

/// The wait for bytes, if there is one. Its future cannot be named, hence the trait; the allocation is made once for a
/// stream and used for all its waits.
pub(super) trait Watch {
    fn begin(self: Pin<&mut Self>, socket: &Raw);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
    fn is_pending(&self) -> bool;
}

struct Slot<F> {
    begin: fn(&'static TcpStream) -> F,
    pending: Option<F>,
}

impl<F: Future<Output = io::Result<()>>> Watch for Slot<F> {
    fn begin(self: Pin<&mut Self>, socket: &Raw) {
        // SAFETY: `pending` stays pinned where it is; `begin` is never pinned. The future refers to the socket, which
        // the stream keeps at its place for as long as it keeps this slot.
        unsafe {
            let this = self.get_unchecked_mut();
            let future = (this.begin)(&*socket.get());
            Pin::new_unchecked(&mut this.pending).set(Some(future));
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: as above.
        let mut pending = unsafe { self.map_unchecked_mut(|this| &mut this.pending) };
        let Some(future) = pending.as_mut().as_pin_mut() else {
            unreachable!("a wait is begun before it is polled");
        };
        // Whatever went wrong, receiving tells.
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

impl Socket {
    pub(super) fn new(socket: TcpStream, counted: Counted) -> Socket {
        Socket {
            watch: RefCell::new(slot(|socket| socket.readable(false))),
            socket: Rc::new(UnsafeCell::new(socket)),
            tls: None,
            _counted: counted,
            #[cfg(test)]
            simulated: None,
        }
    }

    /// A socket of the simulated world. `raw` is never used.
    #[cfg(test)]
    pub(super) fn simulated(raw: Rc<Raw>, end: super::simulated::End, counted: Counted) -> Socket {
        Socket {
            watch: RefCell::new(Box::pin(super::simulated::Watched(end.clone()))),
            socket: raw,
            tls: None,
            _counted: counted,
            simulated: Some(end),
        }
    }

    /// Takes over a connected descriptor of any stream family.
    pub(super) fn from_fd(fd: RawFd, counted: Counted) -> io::Result<Socket> {
        // SAFETY: the caller hands over a descriptor that nobody else closes.
        let socket = unsafe { std::net::TcpStream::from_raw_fd(fd) };
        Ok(Socket::new(TcpStream::from_std(socket)?, counted))
    }

    fn socket(&self) -> &TcpStream {
        // SAFETY: the only exclusive reference is made in `Socket::send`, for the length of one call.
        unsafe { &*self.socket.get() }
    }

    /// The descriptor, for system calls on it while the stream lives.
    pub(super) fn fd(&self) -> RawFd {
        self.socket().as_raw_fd()
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

    /// Ready when there is something to receive; if not, the task is woken when there is. The stream must be watched.
    /// Afterwards it no longer is, unless TLS had something left of what was received before.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(tls) = &self.tls
            && tls.has_unread()
        {
            return Poll::Ready(());
        }
        self.watch.borrow_mut().as_mut().poll(cx)
    }

    /// Receives at most `most` bytes of what is there now, behind what `block` holds, which must have room. 0: the peer
    /// ended its side. Errors: [`io::ErrorKind::WouldBlock`] if nothing is there; [`io::ErrorKind::UnexpectedEof`] if a
    /// TLS connection ended without the peer's word that this is all; [`io::ErrorKind::InvalidData`] if what came is
    /// not what the peer of the handshake sent.
    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        debug_assert!(block.room() > 0);
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return super::simulated::receive(end, block, most);
        }
        match &self.tls {
            None => receive_from(self.fd(), block, most),
            Some(tls) => tls.receive(self.fd(), block, most),
        }
    }

    /// Whether the peer has ended its side or is gone, whatever waits to be received before that.
    pub fn has_hung_up(&self) -> bool {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.has_hung_up();
        }
        has_event(self.fd(), libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR)
    }

    /// Whether the connection is of no use in either direction. A peer that has only ended its sending side still
    /// reads.
    pub fn is_over(&self) -> bool {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.is_over();
        }
        has_event(self.fd(), libc::POLLHUP | libc::POLLERR)
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.is_reset();
        }
        has_event(self.fd(), libc::POLLERR)
    }

    /// Sends the first `count` bytes of `block`, at most until the timer's deadline; the block may be lost then. The
    /// bytes are taken from the front of the block, and [`Block::rewind`] brings them back. `progress` is called with
    /// the number of bytes whenever the kernel took some of them for the peer, so that a slow but living peer can be
    /// given more time. Errors: the peer is gone.
    pub async fn send(
        &self,
        block: &mut Block,
        count: usize,
        timer: &Timer,
        progress: impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        match &self.tls {
            None => self.send_raw(block, count, timer, &progress).await,
            Some(tls) => tls.send(self, block, count, timer, &progress).await,
        }
    }

    /// The same for bytes as they go over the wire.
    pub(super) async fn send_raw(
        &self,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: &impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        while count > 0 {
            block.bound(count);
            count_operation();
            #[cfg(test)]
            if let Some(end) = &self.simulated {
                let sent = super::simulated::send(end, block, count, timer).await?;
                match sent {
                    Ok(sent) => {
                        block.advance(sent);
                        count -= sent;
                        progress(sent);
                        continue;
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
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
                    block.advance(sent);
                    count -= sent;
                    progress(sent);
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
        self.send(block, block.len(), timer, |_| ()).await
    }

    /// Says that nothing more will be sent. Over TLS the word is lost if the kernel holds so much for the peer that it
    /// takes no more at once; where a peer must be able to tell the end from a broken connection, use
    /// [`Socket::finish_sending`].
    pub fn end_sending(&self) {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.end_sending();
        }
        if let Some(tls) = &self.tls {
            send_now(self.fd(), tls.last_word().filled());
        }
        // SAFETY: plain system call on a live descriptor; a peer that is gone already is no error to us.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_WR) };
    }

    /// The same, but waits until the kernel takes the word, at most until the timer's deadline.
    pub async fn finish_sending(&self, timer: &Timer) {
        if let Some(tls) = &self.tls {
            let mut word = tls.last_word();
            let length = word.len();
            let _ = self.send_raw(&mut word, length, timer, &|_| ()).await; // The result does not matter.
        }
        self.end_sending();
    }

    /// The bytes that the kernel holds for this socket.
    pub fn receive_queue(&self) -> ReceiveQueue {
        ReceiveQueue {
            socket: self.socket.clone(),
            #[cfg(test)]
            simulated: self.simulated.clone(),
        }
    }

    /// Ends the connection in both directions.
    pub fn end(&self) {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.end();
        }
        // SAFETY: as above.
        unsafe { libc::shutdown(self.fd(), libc::SHUT_RDWR) };
    }

    /// Makes the coming close a reset, so that the peer cannot take what it got so far for the whole.
    pub fn reset_on_close(&self) {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.reset_on_close();
        }
        if let Some(tls) = &self.tls {
            tls.cut();
        }
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

    /// The address that a TCP client connected to. `None`: another kind of socket, or one that is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket().local_addr().ok()
    }

    /// Whether what is sent and received is encrypted on the way.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the TLS handshake came to.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.tls.as_ref().map(|tls| tls.negotiated())
    }

    /// Why the peer refused the TLS of this side, if it said so behind the handshake and before anything else.
    pub fn tls_refusal(&self) -> Option<TlsFailure> {
        self.tls.as_ref()?.refusal()
    }

    /// The application protocol that the TLS handshake chose.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.negotiated()?.alpn.as_deref()
    }

    /// The server name that a TLS client asked for.
    pub fn server_name(&self) -> Option<&str> {
        self.negotiated()?.heard.server_name.as_deref()
    }

    /// The certificate that a TLS client was shown.
    pub fn shown_certificate(&self) -> Option<&CertifiedKey> {
        self.negotiated()?.heard.certificate.as_deref()
    }

    /// The certificates that a TLS client showed, its own first; of a server, its own alone.
    pub fn peer_chain(&self) -> Option<&Rc<[CertificateDer<'static>]>> {
        self.negotiated()?.peer_chain.as_ref()
    }

    /// The TLS peer's own certificate, in DER, if it showed one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer_chain()?.first().map(AsRef::as_ref)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Socket");
        shown.field("fd", &self.fd());
        shown.field("negotiated", &self.negotiated()).finish()
    }
}

impl Drop for Socket {
    /// Closing is the orderly end, which TLS has a word for.
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            send_now(self.fd(), tls.last_word().filled());
        }
    }
}

/// Receives at most `most` bytes of what is there now, as they came over the wire.
pub(super) fn receive_from(fd: RawFd, block: &mut Block, most: usize) -> io::Result<usize> {
    // SAFETY: the kernel writes as many bytes as it says, at most as many as there is room for, during the call.
    unsafe {
        block.write(most, |start, length| {
            match libc::recv(fd, start.cast(), length, libc::MSG_DONTWAIT) {
                received @ 0.. => Ok(received as usize),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }
}

/// Whether one of these events has happened.
fn has_event(fd: RawFd, events: libc::c_short) -> bool {
    let mut asked = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: the kernel writes to the one live argument, during the call, which waits for nothing.
    unsafe { libc::poll(&raw mut asked, 1, 0) };
    asked.revents & events != 0
}

/// Sends a few last bytes if the kernel takes them at once: nobody waits for them.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) {
    if !bytes.is_empty() {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads as many bytes as there are, during the call.
        unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    }
}
