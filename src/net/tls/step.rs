//! The dialogue with rustls: it says at every step what it has or wants, and goes on when that is done.

use rustls::Error;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use crate::base::limits;
use crate::net::Block;

/// Where a step puts what it brings.
pub struct RecordSink<'a> {
    into: Option<&'a mut Block>,
    /// Most bytes that may still go there; the rest of a record goes to `plain`.
    room: usize,
    plain: &'a mut Block,
    replies: &'a mut Vec<u8>,
    /// Bytes of plaintext so far, wherever they went.
    pub opened: usize,
}

/// The result of a step of rustls.
pub enum Step {
    /// There may be more to do.
    On,
    /// Plaintext came.
    Opened,
    /// More must be received first.
    Starved,
    /// The peer has ended its side.
    Closed,
    /// The outgoing plaintext is sealed.
    Sealed,
}

/// A message that can be sealed.
#[derive(Clone, Copy)]
pub enum Outgoing<'a> {
    Plain(&'a [u8]),
    /// The end of the sending side: close_notify.
    End,
}

impl<'a> RecordSink<'a> {
    /// Plaintext goes where it waits for a receiver.
    pub fn aside(plain: &'a mut Block, replies: &'a mut Vec<u8>) -> RecordSink<'a> {
        RecordSink {
            into: None,
            room: 0,
            plain,
            replies,
            opened: 0,
        }
    }

    /// Offers a place for the plaintext behind the first `room` bytes, which goes behind the content of `into`.
    pub fn or_into(self, into: &'a mut Block, room: usize) -> RecordSink<'a> {
        let into = Some(into);
        RecordSink { into, room, ..self }
    }

    fn deliver(&mut self, plain: &[u8]) {
        let (fits, surplus) = plain.split_at(plain.len().min(self.room));
        if let Some(into) = &mut self.into {
            into.extend(fits);
        }
        self.room -= fits.len();
        self.plain.extend(surplus);
        self.opened += plain.len();
    }

    /// Whether opening ends before the record in front of `rest`, because it is not whole (`Some(false)`) or there is
    /// no room for its plaintext (`Some(true)`).
    pub fn ends_before(&self, rest: &[u8]) -> Option<bool> {
        let [_, _, _, high, low, record @ ..] = rest else {
            return Some(false);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if record.len() < length {
            return Some(false);
        }
        let plain = length.saturating_sub(limits::TLS_RECORD_OVERHEAD_LEAST);
        (plain > self.room).then_some(true)
    }
}

/// Does what rustls asks for, whichever role it plays. Returns how many of the bytes that it was shown are done with.
pub fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    sink: &mut RecordSink<'_>,
) -> (usize, Result<Step, Error>) {
    let mut used = status.discard;
    let look = || {
        Ok(match status.state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    used += record.discard;
                    sink.deliver(record.payload);
                }
                Step::Opened
            }
            ConnectionState::EncodeTlsData(mut reply) => {
                encode(&mut reply, sink.replies)?;
                Step::On
            }
            ConnectionState::TransmitTlsData(replies) => {
                replies.done(); // The bytes are in `replies`, which goes before everything else.
                Step::On
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Step::Starved,
            ConnectionState::PeerClosed | ConnectionState::Closed => Step::Closed,
            // Early data may be replayed, so no configuration of ours lets a client send any.
            _ => return Err(Error::General("not to be expected here".to_owned())),
        })
    };
    let step = look();
    (used, step)
}

/// Takes a step as [`step`] does; but when rustls is ready to write, the replies and then `what` are written to `out`.
pub fn step_or_write<D>(
    status: UnbufferedStatus<'_, '_, D>,
    sink: &mut RecordSink<'_>,
    what: Outgoing,
    room: usize,
    out: &mut Block,
) -> (usize, Result<Step, Error>) {
    match status {
        UnbufferedStatus {
            discard,
            state: Ok(ConnectionState::WriteTraffic(mut writer)),
            ..
        } => {
            out.extend(&std::mem::take(sink.replies));
            let written = write(&mut writer, what, room, out);
            (discard, written.map(|()| Step::Sealed))
        }
        status => step(status, sink),
    }
}

fn encode<D>(reply: &mut EncodeTlsData<'_, D>, replies: &mut Vec<u8>) -> Result<(), Error> {
    let start = replies.len();
    if let Err(EncodeError::InsufficientSize(needs)) = reply.encode(&mut []) {
        replies.resize(start + needs.required_size, 0);
    }
    match reply.encode(&mut replies[start..]) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::EncryptError),
    }
}

/// Writes `what` behind what `out` holds, as far as can be foreseen into `room` bytes.
fn write<D>(
    writer: &mut WriteTraffic<'_, D>,
    what: Outgoing,
    mut room: usize,
    out: &mut Block,
) -> Result<(), Error> {
    loop {
        let written = match what {
            Outgoing::Plain(plain) => writer.encrypt(plain, out.room_mut(room)),
            Outgoing::End => writer.queue_close_notify(out.room_mut(room)),
        };
        match written {
            Ok(count) => {
                out.fill(count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(needs)) => room = needs.required_size,
            Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
        }
    }
}
