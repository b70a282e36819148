//! From a connected socket to one that speaks TLS.

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, InvalidMessage, ProtocolVersion, ServerConfig};

use super::connection::{Negotiated, Tls, TlsVersion};
use super::failure::TlsFailure;
use super::records::TlsRecords;
use crate::base::limits;
use crate::net::{Block, Blocks, Expired, Socket, Timer};
use crate::tls::{Heard, Hearing};

/// The answer to a client that must offer a protocol and does not (RFC 7301 section 3.2): a fatal alert, in clear,
/// because no key is agreed on yet. rustls has this alert only for clients that offer others.
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

impl Socket {
    /// Answers a client's handshake, at most until the timer's deadline. `received` is what came already, behind
    /// whatever went before TLS.
    pub async fn accept_tls(
        self,
        config: Arc<ServerConfig>,
        received: Block,
        blocks: &Blocks,
        timer: &Timer,
    ) -> Result<Socket, TlsFailure> {
        let (config, hearing) = Hearing::of(&config);
        let records = TlsRecords::server(config)?;
        let handshake = Handshake::new(self, records, Some(hearing), blocks);
        handshake.run(received, timer).await
    }

    /// Makes a handshake with a server that must prove to be `name`, at most until the timer's deadline.
    pub async fn connect_tls(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        blocks: &Blocks,
        timer: &Timer,
    ) -> Result<Socket, TlsFailure> {
        #[cfg(test)]
        if self.secure_simulated(Arc::as_ptr(&config).addr()) {
            return Ok(self);
        }
        let records = TlsRecords::client(config, name)?;
        let handshake = Handshake::new(self, records, None, blocks);
        handshake.run(Block::default(), timer).await
    }
}

/// All that is needed until TLS is spoken; in one box, which is dropped then.
struct Handshake {
    socket: Socket,
    records: TlsRecords,
    /// The client's wishes in its first message; `None` when this process is the client.
    hearing: Option<Arc<Hearing>>,
    /// Whether nothing was received yet.
    is_untouched: bool,
    blocks: Blocks,
}

/// Why it went no further, before anybody is told.
enum Stop {
    Expired,
    PeerGone,
    PlainHttp,
    Refused(rustls::Error),
}

impl From<Expired> for Stop {
    fn from(_: Expired) -> Stop {
        Stop::Expired
    }
}

impl From<rustls::Error> for Stop {
    fn from(error: rustls::Error) -> Stop {
        Stop::Refused(error)
    }
}

impl Handshake {
    fn new(
        socket: Socket,
        records: TlsRecords,
        hearing: Option<Arc<Hearing>>,
        blocks: &Blocks,
    ) -> Box<Self> {
        Box::new(Handshake {
            socket,
            records,
            hearing,
            is_untouched: true,
            blocks: blocks.clone(),
        })
    }

    async fn run(
        mut self: Box<Self>,
        mut received: Block,
        timer: &Timer,
    ) -> Result<Socket, TlsFailure> {
        match self.negotiate(&mut received, timer).await {
            Ok(()) => Ok(self.done()),
            Err(stop) => Err(self.failed(stop, received)),
        }
    }

    /// Goes on with what `raw` holds, and with what is received into it, until all is agreed on.
    async fn negotiate(&mut self, raw: &mut Block, timer: &Timer) -> Result<(), Stop> {
        self.look_at(raw.filled())?;
        loop {
            self.records.open(raw, &mut Block::default(), 0)?;
            self.records.keep(raw);
            self.blocks.give(std::mem::take(raw));
            if !self.records.replies_may_wait() {
                self.send_replies(timer).await?;
            }
            if !self.records.is_handshaking() {
                return Ok(());
            }
            self.receive(raw, timer).await?;
        }
    }

    /// Looks at bytes that were just received.
    fn look_at(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.hearing.is_some() && self.is_untouched && looks_like_http(bytes) {
            return Err(Stop::PlainHttp);
        }
        self.is_untouched &= bytes.is_empty();
        Ok(())
    }

    async fn send_replies(&mut self, timer: &Timer) -> Result<(), Stop> {
        let mut replies = self.blocks.take();
        replies.extend(&self.records.replies());
        let sent = self.socket.send_all(&mut replies, timer).await;
        self.blocks.give(replies);
        sent?.map_err(|_| Stop::PeerGone)
    }

    /// Waits for more, behind what is held.
    async fn receive(&mut self, raw: &mut Block, timer: &Timer) -> Result<(), Stop> {
        loop {
            self.socket.watch();
            timer.bound(|cx| self.socket.poll_readable(cx)).await?;
            *raw = self.blocks.take_relay();
            self.records.load(raw);
            if raw.room() == 0 {
                return Err(Stop::Refused(
                    InvalidMessage::HandshakePayloadTooLarge.into(),
                ));
            }
            let before = raw.len();
            let most = limits::TLS_RECORD_BYTES + limits::TLS_RECORD_OVERHEAD_MOST;
            match self.socket.plain.receive(raw, most) {
                Ok(1..) => return self.look_at(&raw.filled()[before..]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocks.give(std::mem::take(raw));
                }
                _ => return Err(Stop::PeerGone),
            }
        }
    }

    /// The client's wishes, as far as its first message was read.
    fn heard(&self) -> Heard {
        self.hearing
            .as_ref()
            .map(|hearing| hearing.heard())
            .unwrap_or_default()
    }

    fn done(self) -> Socket {
        let heard = self.heard();
        let Handshake {
            mut socket,
            records,
            hearing,
            blocks,
            ..
        } = self;
        debug_assert!(
            !records.is_handshaking(),
            "a connection is used behind its handshake"
        );
        let state = records.state();
        let negotiated = Negotiated {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
                _ => TlsVersion::Tls13,
            },
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: state.alpn_protocol().map(Box::from),
            heard,
            peer_chain: state.peer_certificates().map(|chain| match hearing {
                Some(_) => Rc::from(chain),
                None => Rc::from(&chain[..chain.len().min(1)]),
            }),
        };
        socket.tls = Some(Box::new(Tls::new(negotiated, records, blocks)));
        socket
    }

    fn failed(mut self, stop: Stop, received: Block) -> TlsFailure {
        match stop {
            Stop::Expired => TlsFailure::Expired,
            Stop::PeerGone => TlsFailure::PeerGone,
            Stop::PlainHttp => TlsFailure::PlainHttp {
                socket: self.socket,
                received,
            },
            Stop::Refused(_) if self.heard().lacks_alpn => {
                self.say_why(&NO_APPLICATION_PROTOCOL);
                self.refused(rustls::Error::NoApplicationProtocol)
            }
            Stop::Refused(error) => {
                let alert = self.records.alert();
                self.say_why(&alert);
                self.refused(error)
            }
        }
    }

    fn refused(self, error: rustls::Error) -> TlsFailure {
        let of_client = self.hearing.map(|_| Box::new(self.socket));
        TlsFailure::Refused(error, of_client)
    }

    /// Sends the alert, and throws away what the peer has sent already: closing over it would reset the connection, and
    /// with it the alert.
    fn say_why(&mut self, alert: &[u8]) {
        self.socket.plain.send_now(alert);
        self.socket.end_sending();
        let mut left = limits::TLS_LINGER_BYTES;
        let mut waste = self.blocks.take();
        while left > 0
            && let Ok(count @ 1..) = self.socket.plain.receive(&mut waste, left)
        {
            left -= count;
            waste.clear();
        }
        self.blocks.give(waste);
    }
}

/// Whether a client that should speak TLS begins with a method instead, as far as can be seen. (A record of a handshake
/// begins with 22, which is no letter.)
fn looks_like_http(bytes: &[u8]) -> bool {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or(bytes);
    !method.is_empty() && method.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_told_from_a_record() {
        for http in [
            "G",
            "GET",
            "GET / HTTP/1.1\r\n",
            "PRI * HTTP/2.0",
            "DELETE ",
        ] {
            assert!(looks_like_http(http.as_bytes()), "{http}");
        }
        let records: [&[u8]; 5] = [b"", b" ", b"\x16\x03\x01", b"get / HTTP/1.1", b"SSH-2.0"];
        for record in records {
            assert!(!looks_like_http(record), "{record:?}");
        }
    }
}
