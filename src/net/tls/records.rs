//! The records of one connection, without its socket: received bytes are opened into plaintext, plaintext is sealed
//! into bytes to send.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, Error, ProtocolVersion, ServerConfig};

use super::step::{Outgoing, RecordSink, Step, step, step_or_write};
use crate::base::limits;
use crate::net::Block;

/// One end of a TLS connection.
pub struct TlsRecords {
    role: Role,
    /// Received bytes that are not opened yet.
    held: Vec<u8>,
    /// Whether a whole record may be among them.
    unopened: bool,
    /// Plaintext that its receiver had no room for.
    plain: Block,
    /// The bytes that the protocol wants sent before the next plaintext: handshake messages, session tickets, alerts.
    /// An answer to a KeyUpdate may wait for that too (RFC 8446 section 4.6.3); rustls keeps it.
    replies: Vec<u8>,
    closed: bool,
    /// The error of the records behind the plaintext that was opened last.
    failed: Option<Error>,
}

enum Role {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// The two roles are different types of rustls with the same methods.
macro_rules! in_role {
    ($role:expr, $connection:ident => $does:expr) => {
        match $role {
            Role::Server($connection) => $does,
            Role::Client($connection) => $does,
        }
    };
}

impl TlsRecords {
    /// The side that accepts. Errors: the configuration is of no use.
    pub fn server(config: Arc<ServerConfig>) -> Result<TlsRecords, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(TlsRecords::new(Role::Server(Box::new(connection))))
    }

    /// The side that connects, to the server that can prove to be `name`. Errors: as above.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<TlsRecords, Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(TlsRecords::new(Role::Client(Box::new(connection))))
    }

    fn new(role: Role) -> TlsRecords {
        TlsRecords {
            role,
            held: Vec::new(),
            unopened: false,
            plain: Block::default(),
            replies: Vec::new(),
            closed: false,
            failed: None,
        }
    }

    /// The state of the connection as rustls knows it.
    pub fn state(&self) -> &CommonState {
        in_role!(&self.role, connection => connection)
    }

    /// Whether no plaintext may pass yet.
    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Whether the replies may go with the first plaintext: nobody waits for a server's session tickets, which are all
    /// that it has to say after a handshake of TLS 1.3.
    pub fn replies_may_wait(&self) -> bool {
        matches!(self.role, Role::Server(_))
            && !self.is_handshaking()
            && self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Takes out what has to be sent now.
    pub fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// Whether the peer has said that nothing more comes.
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Whether opened plaintext waits for a receiver.
    pub fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    /// Whether there may be plaintext, or is an end of it, without receiving more.
    pub fn has_unread(&self) -> bool {
        self.unopened || self.has_plain() || self.closed
    }

    /// Whether bytes wait for more, or for a receiver.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty() || self.has_plain()
    }

    /// How many do, by the memory that they take.
    pub fn held_bytes(&self) -> usize {
        self.held.capacity() + self.plain.capacity()
    }

    /// Moves at most `most` bytes of waiting plaintext behind what `into` holds.
    pub fn take_plain(&mut self, into: &mut Block, most: usize) -> usize {
        let count = self.plain.len().min(most);
        if count > 0 {
            into.extend(&self.plain.filled()[..count]);
            self.plain.consume(count);
            if self.plain.is_empty() {
                self.plain = Block::default();
            }
        }
        count
    }

    /// Puts the bytes that are held into the empty block `raw`, to receive behind them.
    pub fn load(&mut self, raw: &mut Block) {
        raw.extend(&self.held);
    }

    /// Holds what is left in `raw`, and only that.
    pub fn keep(&mut self, raw: &Block) {
        self.held.clear();
        if raw.is_empty() {
            self.held = Vec::new()
        } else {
            self.held.extend_from_slice(raw.filled())
        }
    }

    /// Opens the records in `raw`, whose front is what was held: at most `most` bytes of plaintext go behind what
    /// `into` holds. Stops before a record that does not fit, unless it is the first, whose rest is kept. Returns the
    /// bytes of plaintext that came. Errors: the peer breaks the protocol; [`TlsRecords::alert`] is then what to send
    /// it.
    pub fn open(&mut self, raw: &mut Block, into: &mut Block, most: usize) -> Result<usize, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut sink = RecordSink::aside(&mut self.plain, &mut self.replies).or_into(into, most);
        self.unopened = loop {
            let (used, step) = in_role!(&mut self.role, connection => {
                step(connection.process_tls_records(raw.filled_mut()), &mut sink)
            });
            raw.consume(used);
            match step {
                Ok(Step::On | Step::Sealed) => {}
                Ok(Step::Opened) => {
                    if let Some(unopened) = sink.ends_before(raw.filled()) {
                        break unopened;
                    }
                }
                Ok(Step::Starved) => break false,
                Err(error) if sink.opened == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error); // The bytes before the error are genuine.
                    break true;
                }
                Ok(Step::Closed) => {
                    self.closed = true;
                    raw.clear(); // Bytes behind the end are to be ignored (RFC 8446 section 6.1).
                    break false;
                }
            }
        };
        Ok(sink.opened)
    }

    /// How long `length` bytes of plaintext may become with what is sent before them.
    pub fn sealed_bytes(&self, length: usize) -> usize {
        let records = length / limits::TLS_RECORD_BYTES + 1;
        self.replies.len() + length + records * limits::TLS_RECORD_OVERHEAD
    }

    /// Seals `plain` behind what `out` holds, and before it what the protocol wants sent. Errors: the peer broke the
    /// protocol, or the keys are used up.
    pub fn seal(&mut self, plain: &[u8], out: &mut Block) -> Result<(), Error> {
        let room = self.sealed_bytes(plain.len());
        self.write(Outgoing::Plain(plain), room, out)
    }

    /// Seals the alert that says that nothing more will be sent.
    pub fn seal_end(&mut self, out: &mut Block) -> Result<(), Error> {
        let room = self.sealed_bytes(0);
        self.write(Outgoing::End, room, out)
    }

    /// Lets rustls work until it is ready to write, and then writes. It wants to see the received bytes at every step,
    /// because a part of a handshake message that it has looked at stays there.
    fn write(&mut self, what: Outgoing, room: usize, out: &mut Block) -> Result<(), Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut sink = RecordSink::aside(&mut self.plain, &mut self.replies);
        let mut used = 0;
        let outcome = loop {
            let held = &mut self.held[used..];
            let (discarded, step) = in_role!(&mut self.role, connection => {
                step_or_write(connection.process_tls_records(held), &mut sink, what, room, out)
            });
            used += discarded;
            match step {
                Ok(Step::Sealed) => break Ok(()),
                Ok(Step::Closed) if !self.closed => self.closed = true,
                Ok(Step::Starved | Step::Closed) => break Err(Error::HandshakeNotComplete),
                Ok(Step::On | Step::Opened) => {}
                Err(error) => break Err(error),
            }
        };
        self.held.drain(..used);
        outcome
    }

    /// The bytes that are sent after an error: the replies so far, and an alert that names the error.
    pub fn alert(&mut self) -> Vec<u8> {
        let mut sink = RecordSink::aside(&mut self.plain, &mut self.replies);
        in_role!(&mut self.role, connection => {
            while connection.wants_write() {
                // rustls hands these out before it looks at anything received.
                let _ = step(connection.process_tls_records(&mut []), &mut sink);
            }
        });
        self.replies()
    }
}
