//! The TLS of one socket after its handshake: plaintext for the holder of the socket, records for its peer.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;

use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;

use super::alert::is_refusal;
use super::records::TlsRecords;
use crate::base::limits;
use crate::net::{Block, Blocks, Expired, PlainSocket, Timer, Unasked};
use crate::tls::Heard;

/// The facts that the two sides agreed on in their handshake, and the names that they gave themselves.
#[derive(Debug)]
pub struct Negotiated {
    /// The version of TLS.
    pub version: TlsVersion,
    /// Whether keys of an earlier connection were taken up again: a handshake without certificates.
    pub resumed: bool,
    /// The application protocol (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// The client's first request for a certificate, and the certificate that was shown; only known of clients.
    pub heard: Heard,
    /// The certificates that the peer showed, its own first: all those of a client, that one alone of a server.
    /// `None`: it showed none.
    pub peer_chain: Option<Rc<[CertificateDer<'static>]>>,
}

/// The version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// As in metrics and logs: `1.2` or `1.3`.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        }
    }
}

/// The TLS of one socket.
pub struct Tls {
    negotiated: Negotiated,
    blocks: Blocks,
    pub(super) records: RefCell<TlsRecords>,
    /// Why nothing more will be received although the peer did not say so: it broke the protocol, or the connection
    /// ended without close_notify, as it does for whoever can forge a packet.
    broken: Cell<Option<ErrorKind>>,
    /// Whether plaintext of the peer has come.
    is_heard: Cell<bool>,
    /// The alert by which the peer refused this side, before it sent any plaintext.
    refusal: Cell<Option<AlertDescription>>,
    /// Whether nothing may be sent behind what was sent so far: a record is on its way or was broken off, the end was
    /// said, or the peer must not take the end for an orderly one.
    mute: Cell<bool>,
}

impl Tls {
    /// The TLS of a socket whose handshake is over.
    pub(super) fn new(negotiated: Negotiated, records: TlsRecords, blocks: Blocks) -> Tls {
        Tls {
            negotiated,
            blocks,
            records: RefCell::new(records),
            broken: Cell::new(None),
            is_heard: Cell::new(false),
            refusal: Cell::new(None),
            mute: Cell::new(false),
        }
    }

    /// The outcome of the handshake.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The alert by which the peer refused this side, if it did so before it sent any plaintext. In TLS 1.3 a server
    /// judges the certificate of its client when the client's handshake is over (RFC 8446 section 4.4.2.4).
    pub fn refusal(&self) -> Option<AlertDescription> {
        self.refusal.get()
    }

    /// Whether [`Tls::receive`] may have something to say although the kernel has nothing to give. (It may turn out to
    /// be a part of a record; the next look then says no.)
    pub fn has_unread(&self) -> bool {
        self.broken.get().is_some() || self.records.borrow().has_unread()
    }

    /// The counterpart of [`crate::net::Socket::receive`] for plaintext.
    pub fn receive(
        &self,
        socket: &PlainSocket,
        block: &mut Block,
        most: usize,
    ) -> io::Result<usize> {
        let records = &mut *self.records.borrow_mut();
        let most = most.min(block.room());
        let taken = records.take_plain(block, most);
        if taken > 0 {
            self.is_heard.set(true);
            return Ok(taken);
        }
        if let Some(kind) = self.broken.get() {
            return Err(kind.into());
        }
        let mut raw = self.blocks.take_relay();
        records.load(&mut raw);
        let outcome = self.pull(records, socket, &mut raw, block, most);
        records.keep(&raw);
        self.blocks.give(raw);
        outcome
    }

    /// Opens what is in `raw` if that may bring something, and otherwise what is received behind it.
    fn pull(
        &self,
        records: &mut TlsRecords,
        socket: &PlainSocket,
        raw: &mut Block,
        block: &mut Block,
        most: usize,
    ) -> io::Result<usize> {
        if records.has_unread()
            && let Some(opened) = self.open(records, socket, raw, block, most)?
        {
            return Ok(opened);
        }
        // One record at least, and not much more than the caller has room for.
        let wanted = most.max(limits::TLS_RECORD_BYTES) + limits::TLS_RECORD_OVERHEAD_MOST;
        if raw.room() == 0 {
            return Err(self.fail(records, socket, rustls::Error::PeerSentOversizedRecord));
        }
        if socket.receive(raw, wanted)? == 0 {
            self.broken.set(Some(ErrorKind::UnexpectedEof));
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let opened = self.open(records, socket, raw, block, most)?;
        opened.ok_or(ErrorKind::WouldBlock.into())
    }

    /// Opens what is in `raw`. `None`: that brings nothing until more is received.
    fn open(
        &self,
        records: &mut TlsRecords,
        socket: &PlainSocket,
        raw: &mut Block,
        block: &mut Block,
        most: usize,
    ) -> io::Result<Option<usize>> {
        match records.open(raw, block, most) {
            Ok(0) if !records.has_closed() => Ok(None),
            Ok(opened) => {
                self.is_heard.set(true);
                Ok(Some(opened))
            }
            Err(error) => Err(self.fail(records, socket, error)),
        }
    }

    /// Gives up, and lets the peer know why if that is possible.
    fn fail(
        &self,
        records: &mut TlsRecords,
        socket: &PlainSocket,
        error: rustls::Error,
    ) -> io::Error {
        self.broken.set(Some(ErrorKind::InvalidData));
        if let rustls::Error::AlertReceived(alert) = error
            && is_refusal(alert)
            && !self.is_heard.get()
            && !records.has_plain()
        {
            self.refusal.set(Some(alert));
        }
        if !self.mute.replace(true) {
            socket.send_now(&records.alert());
        }
        io::Error::new(ErrorKind::InvalidData, error)
    }

    /// Whether received bytes are kept that nobody has taken, or the end is known.
    pub fn holds_any(&self) -> bool {
        self.has_unread() || self.records.borrow().holds_any()
    }

    /// The counterpart of [`crate::net::Socket::unasked`] for plaintext. Records that are there have to be opened for
    /// that, and are kept: the beginning of a record may be one of anything.
    pub fn unasked(&self, socket: &PlainSocket) -> Option<Unasked> {
        if self.records.borrow().has_plain() {
            return Some(Unasked::Bytes);
        }
        match self.receive(socket, &mut Block::default(), 0) {
            Ok(0) => Some(Unasked::End),
            Ok(_) => Some(Unasked::Bytes),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(Unasked::End),
            Err(_) => self.records.borrow().holds_any().then_some(Unasked::Bytes),
        }
    }

    /// The counterpart of [`crate::net::Socket::send`] for plaintext, in pieces, so that the sealed copy stays small.
    pub async fn send(
        &self,
        socket: &PlainSocket,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: &impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        while count > 0 {
            let piece = count.min(limits::TLS_PIECE_BYTES);
            let mut sealed = match self.seal(socket, &block.filled()[..piece]) {
                Ok(sealed) => sealed,
                Err(error) => return Ok(Err(error)),
            };
            let length = sealed.len();
            let sent = socket.send(&mut sealed, length, timer, progress).await;
            self.blocks.give(sealed);
            if !matches!(sent, Ok(Ok(()))) {
                return sent;
            }
            self.mute.set(false);
            block.advance(piece);
            count -= piece;
        }
        Ok(Ok(()))
    }

    fn seal(&self, socket: &PlainSocket, plain: &[u8]) -> io::Result<Block> {
        if self.mute.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        debug_assert!(!plain.is_empty() && plain.len() <= limits::TLS_PIECE_BYTES);
        let records = &mut *self.records.borrow_mut();
        let mut sealed = match records.sealed_bytes(plain.len()) {
            ..=limits::BLOCK_BYTES => self.blocks.take(),
            _ => self.blocks.take_relay(),
        };
        match records.seal(plain, &mut sealed) {
            Ok(()) => {
                self.mute.set(true);
                Ok(sealed)
            }
            Err(error) => Err(self.fail(records, socket, error)),
        }
    }

    /// The record with close_notify, which ends the sending side (RFC 8446 section 6.1); empty if the record was sent
    /// already, or would be misunderstood.
    pub fn close_notify(&self) -> Block {
        let mut sealed = Block::default();
        if !self.mute.replace(true) && self.records.borrow_mut().seal_end(&mut sealed).is_err() {
            sealed.clear();
        }
        sealed
    }

    /// Ends without close_notify, so that the peer cannot take what it got so far for the whole.
    pub fn cut(&self) {
        self.mute.set(true);
    }
}
