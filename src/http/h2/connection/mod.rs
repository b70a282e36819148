//! One connection's protocol, without I/O: bytes in, events out; commands in, bytes out. Time is an argument.
//!
//! The owner reads bytes from a socket and calls [`H2Connection::receive`] until they are used up; each call gives at
//! most one event. It answers by commands ([`H2Connection::send_head`], [`H2Connection::send_body`] and the like),
//! gives every stream its turn while [`H2Connection::next_to_send`] names one, and sends what
//! [`H2Connection::take_output`] yields: all frames of all streams in one write. After an error it sends what is in the
//! output and closes.

mod body;
mod control;
mod expire;
mod open;
mod receive;
mod release;
mod section;
mod send;

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::error::{Abuse, ConnectionError, ErrorCode};
use super::flood::Floods;
use super::frame;
use super::head::Head;
use super::hpack::{Decoder, Encoder};
use super::settings::{FIRST_WINDOW, LocalSettings, PeerSettings};
use super::stream::{EndedStreams, Streams};
use super::{Role, StreamId};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::refusal::Refusal;

pub use expire::Patience;
pub use open::StreamRequest;
pub use send::Closed;

/// An event that received bytes brought.
#[derive(Debug)]
pub enum H2Event<'a> {
    /// A request's head (as a server), or a response's, interim or final (as a client). `end`: nothing follows. What is
    /// not taken from `head` before the next call is lost.
    Head {
        /// The stream.
        stream: StreamId,
        /// The head in the form of HTTP/1.
        head: &'a mut Head,
        /// Whether the peer sends nothing more on the stream.
        end: bool,
    },
    /// A head that is not to be forwarded. `answer`: the stream is open, and its request to be answered with the
    /// refusal's status; otherwise it was reset, and nobody heard of it before if this is a server.
    Refused {
        /// The stream.
        stream: StreamId,
        /// The rule that the head breaks.
        refusal: Refusal,
        /// Whether the peer can still be answered on the stream.
        answer: bool,
    },
    /// A piece of a body, at least one byte long unless it is the end. Its bytes must be released, every one once, when
    /// they are no longer held ([`H2Connection::release`]), whatever has become of the stream.
    Body {
        /// The stream.
        stream: StreamId,
        /// The bytes of the body.
        bytes: &'a [u8],
        /// Whether the peer sends nothing more on the stream.
        end: bool,
    },
    /// The trailers that may be passed on, each `name: value CRLF`; perhaps none. The body ends.
    Trailers {
        /// The stream.
        stream: StreamId,
        /// The lines.
        lines: &'a [u8],
    },
    /// The trailers of a request must not be forwarded. The request ends, and is answered with the status of the
    /// refusal if no answer has begun.
    RefusedTrailers {
        /// The stream.
        stream: StreamId,
        /// The rule that the trailers break.
        refusal: Refusal,
    },
    /// The stream is gone: reset by the peer, or by us (`by_us`) because the peer broke a rule.
    Reset {
        /// The stream.
        stream: StreamId,
        /// The reason for the reset.
        code: ErrorCode,
        /// Whether this side reset the stream.
        by_us: bool,
    },
    /// The peer processes no stream of ours beyond `last`: those are gone, and their requests may be sent again
    /// elsewhere. No other can be opened.
    GoAway {
        /// The last stream that the peer may have processed.
        last: StreamId,
        /// The reason for which the peer goes away.
        code: ErrorCode,
    },
    /// The peer's settings changed: there may be room for more streams, and wider windows.
    Settings,
    /// Our PING came back.
    Pong,
}

/// An [`H2Event`] before the memory that it shows is borrowed.
#[derive(Debug)]
enum Note {
    Head {
        stream: StreamId,
        end: bool,
    },
    Refused {
        stream: StreamId,
        refusal: Refusal,
        answer: bool,
    },
    /// The range is within the bytes of the step that it came from.
    Body {
        stream: StreamId,
        range: Range<usize>,
        end: bool,
    },
    Trailers {
        stream: StreamId,
    },
    RefusedTrailers {
        stream: StreamId,
        refusal: Refusal,
    },
    Reset {
        stream: StreamId,
        code: ErrorCode,
        by_us: bool,
    },
    GoAway {
        last: StreamId,
        code: ErrorCode,
    },
    Settings,
    Pong,
}

/// How far our own going away has got (RFC 9113 section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// The peer was told, and may not have heard yet.
    Announced(Micros),
    /// Streams beyond this one are ignored.
    Final(StreamId),
}

/// One side of an HTTP/2 connection.
#[derive(Debug)]
pub struct H2Connection {
    role: Role,
    local: LocalSettings,
    peer: PeerSettings,
    decoder: Decoder,
    encoder: Encoder,
    head: Head,
    streams: Streams,
    ended: EndedStreams,
    /// The next stream that we open, as a client.
    next_stream: StreamId,
    send_window: i64,
    receive_window: i64,
    released: u32,
    reading: receive::ReceiveState,
    /// A frame of which a part has come.
    partial: Vec<u8>,
    section: section::FieldSection,
    out: Vec<u8>,
    /// Replies in the output that the peer asked for.
    replies: u32,
    floods: Floods,
    waiting: Vec<StreamId>,
    turn: u64,
    /// Whether the stream that sent last had never sent before.
    is_after_new: bool,
    has_peer_settings: bool,
    /// The time at which bytes of a body last went either way, or a stream was opened.
    moved_at: Micros,
    /// The time at which the frame or field section began that is still incomplete.
    incomplete_since: Option<Micros>,
    /// The time at which bytes last came from the peer.
    heard_at: Micros,
    /// When our SETTINGS were sent, until they are acknowledged.
    unacknowledged: Option<Micros>,
    pinged: bool,
    ending: Ending,
    /// The last of our streams that the peer says it will process.
    peer_last: Option<StreamId>,
    failed: Option<ConnectionError>,
    /// Streams beyond which no other is taken from the peer, for want of something on our side.
    stream_bound: usize,
    /// Streams that were refused for that.
    refused: u32,
    /// Bytes of output at which no more DATA is taken.
    output_bound: usize,
}

impl H2Connection {
    /// A connection that has just been opened, or is about to be. Its output holds what must be sent first.
    pub fn new(role: Role, local: LocalSettings, now: Micros) -> H2Connection {
        let local = local.clamped(role);
        let mut out = Vec::new();
        if role == Role::Client {
            out.extend_from_slice(frame::PREFACE);
        }
        local.announce(role, &mut out);
        H2Connection {
            role,
            peer: PeerSettings::default(),
            decoder: Decoder::new(local.head),
            encoder: Encoder::new(),
            head: Head::default(),
            streams: Streams::default(),
            ended: EndedStreams::new(),
            next_stream: 1,
            send_window: i64::from(FIRST_WINDOW),
            receive_window: i64::from(local.connection_window),
            released: 0,
            reading: receive::ReceiveState::first(role),
            partial: Vec::new(),
            section: section::FieldSection::default(),
            out,
            replies: 0,
            floods: Floods::new(now),
            waiting: Vec::new(),
            turn: 0,
            is_after_new: false,
            has_peer_settings: false,
            moved_at: now,
            incomplete_since: (role == Role::Server).then_some(now),
            heard_at: now,
            unacknowledged: Some(now),
            pinged: false,
            ending: Ending::Open,
            peer_last: None,
            failed: None,
            stream_bound: usize::MAX,
            refused: 0,
            output_bound: limits::H2_OUTPUT_BYTES,
            local,
        }
    }

    /// Notes that the connection is made: a client's first words are written before. What the peer must do in time
    /// counts from now.
    pub fn start(&mut self, now: Micros) {
        self.unacknowledged = self.unacknowledged.map(|_| now);
        self.heard_at = now;
    }

    /// Takes the bytes to be sent, and gives `empty` (which must be empty) to be filled next.
    pub fn take_output(&mut self, empty: Vec<u8>) -> Vec<u8> {
        debug_assert!(empty.is_empty());
        self.replies = 0;
        std::mem::replace(&mut self.out, empty)
    }

    /// Refuses streams that the peer opens while this many are open, besides those that it may not open anyway: it
    /// knows that nothing of them was processed (RFC 9113 section 8.7).
    pub fn bound_streams(&mut self, most: usize) {
        self.stream_bound = most;
    }

    /// Lets the output grow by DATA to so many bytes at most.
    pub fn bound_output(&mut self, bytes: usize) {
        self.output_bound = bytes;
    }

    /// Streams that were refused so since the last call.
    pub fn take_refused(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }

    /// Whether there is something to be sent.
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether the output is so full that it should be sent before more is received: [`H2Connection::send_body`] takes
    /// nothing until then, and a peer that goes on asking for replies is cut off.
    pub fn is_full(&self) -> bool {
        self.out.len() >= self.output_bound
    }

    /// Whether no body can be sent now, on whatever stream: the peer takes no more of any, or what was given to the
    /// transport before is still on its way.
    pub fn is_congested(&self) -> bool {
        self.send_window <= 0 || self.is_full()
    }

    /// Gives back the memory that only a busy connection needs: for one that is idle.
    pub fn shed(&mut self) {
        self.head = Head::default();
        self.out.shrink_to_fit();
        self.partial.shrink_to_fit();
        self.streams.shrink_to_fit();
        self.waiting.shrink_to_fit();
    }

    /// Whether a stream has begun and not ended.
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Streams that have begun and not ended.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is a stream on which nothing waits to be sent. Such a stream waits for its owner, not for its
    /// peer.
    pub fn awaits_owner(&self) -> bool {
        debug_assert!(
            self.waiting.len() <= self.streams.len(),
            "only open streams wait"
        );
        self.waiting.len() < self.streams.len()
    }

    /// Whether we or the peer said that no more streams are wanted, or the connection failed.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::Open || self.peer_last.is_some() || self.failed.is_some()
    }

    /// Whether the connection can be closed without taking anything from anybody.
    pub fn is_done(&self) -> bool {
        let is_final = matches!(self.ending, Ending::Final(_)) || self.peer_last.is_some();
        self.failed.is_some() || (is_final && self.streams.is_empty())
    }

    /// Takes no new streams any more, in two steps (RFC 9113 section 6.8): announces it, and refuses only those that
    /// come after the peer has heard of it. As a client simply opens none.
    pub fn drain(&mut self, now: Micros) {
        if self.ending != Ending::Open || self.failed.is_some() {
            return;
        }
        match self.role {
            Role::Server => {
                frame::write_goaway(&mut self.out, frame::MAX_31_BITS, ErrorCode::NO_ERROR, "");
                self.ending = Ending::Announced(now);
                self.ping();
            }
            Role::Client => self.finish_drain(),
        }
    }

    /// Takes no new streams any more, and tells the peer so at once. The peer has ended its side and can open none.
    pub fn finish(&mut self) {
        if !matches!(self.ending, Ending::Final(_)) && self.failed.is_none() {
            self.finish_drain();
        }
    }

    /// The second step.
    fn finish_drain(&mut self) {
        debug_assert!(
            self.failed.is_none(),
            "a connection that has failed has had its GOAWAY"
        );
        let last = match self.role {
            Role::Server => self.ended.newest(),
            Role::Client => 0,
        };
        frame::write_goaway(&mut self.out, last, ErrorCode::NO_ERROR, "");
        self.ending = Ending::Final(last);
    }

    /// Asks the peer for a sign of life; [`H2Event::Pong`] tells of it. Does nothing while one is awaited.
    pub fn ping(&mut self) {
        if !self.pinged {
            frame::write(&mut self.out, frame::kind::PING, 0, 0, b"palantir");
            self.pinged = true;
        }
    }

    /// Ends the connection with an error, and with it all streams: the GOAWAY that says so is the last frame of any
    /// use.
    fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        if self.failed.is_none() {
            let last = match self.role {
                Role::Server => self.ended.newest(),
                Role::Client => 0,
            };
            frame::write_goaway(&mut self.out, last, error.code(), error.label());
            self.failed = Some(error);
            self.abandon();
        }
        error
    }

    /// Forgets all streams, because the connection is lost: nothing more is taken on any of them.
    pub fn abandon(&mut self) {
        self.streams.clear();
        self.waiting.clear();
    }

    /// Counts a reply that the peer asked for.
    fn count_reply(&mut self) -> Result<(), Abuse> {
        self.replies += 1;
        if self.replies > limits::H2_UNREAD_REPLIES {
            Err(Abuse::UnreadReplies)
        } else {
            Ok(())
        }
    }

    /// Forgets a stream.
    fn remove(&mut self, stream: StreamId) {
        if self.streams.remove(&stream).is_some_and(|gone| gone.waits) {
            self.waiting.retain(|waiting| *waiting != stream);
        }
    }

    /// Notes that one side of a stream is through; with the other, the stream has ended as it should.
    fn close_half(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id)
            && !stream.sends
            && !stream.receives
        {
            self.remove(id);
            self.floods.earn_by_exchange();
        }
    }

    /// Resets a stream by which the peer broke a rule.
    fn reset_for(
        &mut self,
        stream: StreamId,
        code: ErrorCode,
        now: Micros,
    ) -> Result<Option<Note>, ConnectionError> {
        let was_open = self.streams.contains_key(&stream);
        frame::write_reset(&mut self.out, stream, code);
        self.count_reply()?;
        self.remove(stream);
        self.ended.note_reset_by_us(stream);
        self.floods.count(Abuse::ProvokedReset, now)?;
        let by_us = true;
        Ok(was_open.then_some(Note::Reset {
            stream,
            code,
            by_us,
        }))
    }
}
