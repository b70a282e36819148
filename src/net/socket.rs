//! A connected socket, TCP or Unix, which speaks TLS after a handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::net::{TcpStream, UnixStream};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::tls::{Negotiated, Tls};
use super::{Block, Expired, PlainSocket, ReceiveQueue, Timer};
use crate::shared::sockets::CountedSocket;

/// A connected socket. After a TLS handshake on it ([`Socket::accept_tls`], [`Socket::connect_tls`]) it takes and gives
/// plaintext all the same.
pub struct Socket {
    pub(super) plain: PlainSocket,
    pub(super) tls: Option<Box<Tls>>,
}

impl Socket {
    /// Takes over a socket that this thread's runtime waits on.
    pub(super) fn new(socket: TcpStream, counted: CountedSocket) -> Socket {
        Socket {
            plain: PlainSocket::new(socket, counted),
            tls: None,
        }
    }

    /// Takes over a Unix socket. Errors: the runtime does not take the descriptor.
    pub(super) fn of_unix(socket: UnixStream, counted: CountedSocket) -> io::Result<Socket> {
        Ok(Socket {
            plain: PlainSocket::of_unix(socket, counted)?,
            tls: None,
        })
    }

    /// Begins to wait for bytes, or for the peer's end, unless that is begun already.
    pub fn watch(&self) {
        self.plain.watch();
    }

    /// Whether bytes are waited for.
    pub fn is_watched(&self) -> bool {
        self.plain.is_watched()
    }

    /// Ready when there is something to receive; if not, the task is woken when there is. The socket must be watched.
    /// Afterwards it no longer is, unless TLS had something left of what was received before.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(tls) = &self.tls
            && tls.has_unread()
        {
            return Poll::Ready(());
        }
        self.plain.poll_readable(cx)
    }

    /// Receives at most `most` bytes of what is there now, behind what `block` holds, which must have room. 0: the peer
    /// ended its side. Errors: [`io::ErrorKind::WouldBlock`] if nothing is there; [`io::ErrorKind::UnexpectedEof`] if a
    /// TLS connection ended without the peer's word that this is all; [`io::ErrorKind::InvalidData`] if what came is
    /// not what the peer of the handshake sent.
    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        debug_assert!(block.room() > 0);
        match &self.tls {
            None => self.plain.receive(block, most),
            Some(tls) => tls.receive(&self.plain, block, most),
        }
    }

    /// Whether the peer has ended its side or is gone, whatever waits to be received before that.
    pub fn has_hung_up(&self) -> bool {
        self.plain.has_hung_up()
    }

    /// Whether the connection is of no use in either direction. A peer that has only ended its sending side still
    /// reads.
    pub fn is_over(&self) -> bool {
        self.plain.is_over()
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        self.plain.is_reset()
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
            None => self.plain.send(block, count, timer, &progress).await,
            Some(tls) => tls.send(&self.plain, block, count, timer, &progress).await,
        }
    }

    /// Whether the kernel may be given pages by reference: what TLS sends is written anew.
    pub fn takes_pages(&self) -> bool {
        self.tls.is_none()
    }

    /// Sends the beginning of a message, as far as the kernel takes it at once, and says that more follows at once.
    /// Returns the number of bytes.
    pub fn send_ahead(&self, bytes: &[u8]) -> usize {
        match self.tls {
            None => self.plain.send_ahead(bytes),
            Some(_) => 0,
        }
    }

    /// Sends all of `block`, at most until the timer's deadline.
    pub async fn send_all(
        &self,
        block: &mut Block,
        timer: &Timer,
    ) -> Result<io::Result<()>, Expired> {
        self.send(block, block.len(), timer, |_| ()).await
    }

    /// Ends the sending side. Over TLS the close_notify (RFC 8446 section 6.1) is lost if the kernel holds so many
    /// bytes for the peer that it takes no more at once; where a peer must be able to tell the end from a broken
    /// connection, use [`Socket::finish_sending`].
    pub fn end_sending(&self) {
        if let Some(tls) = &self.tls {
            self.plain.send_now(tls.close_notify().filled());
        }
        self.plain.end_sending();
    }

    /// Ends the sending side, and waits until the kernel takes the close_notify of TLS, at most until the timer's
    /// deadline.
    pub async fn finish_sending(&self, timer: &Timer) {
        if let Some(tls) = &self.tls {
            let mut record = tls.close_notify();
            let length = record.len();
            let _ = self.plain.send(&mut record, length, timer, &|_| ()).await; // The result does not matter.
        }
        self.end_sending();
    }

    /// The bytes that the kernel holds for this socket.
    pub fn receive_queue(&self) -> ReceiveQueue {
        self.plain.receive_queue()
    }

    /// Ends the connection in both directions.
    pub fn end(&self) {
        self.plain.end();
    }

    /// Makes the coming close a reset, so that the peer cannot take what it got so far for the whole.
    pub fn reset_on_close(&self) {
        if let Some(tls) = &self.tls {
            tls.cut();
        }
        self.plain.reset_on_close();
    }

    /// The address that a TCP client connected to. `None`: another kind of socket, or one that is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.plain.local_addr()
    }

    /// Whether what is sent and received is encrypted on the way.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The result of the TLS handshake.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.tls.as_ref().map(|tls| tls.negotiated())
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
        shown.field("fd", &self.plain.fd().as_raw_fd());
        shown.field("negotiated", &self.negotiated()).finish()
    }
}

impl Drop for Socket {
    /// Closing is the orderly end, which TLS announces by close_notify (RFC 8446 section 6.1).
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            self.plain.send_now(tls.close_notify().filled());
        }
    }
}
